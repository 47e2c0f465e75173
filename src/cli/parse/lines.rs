//! The lines of a file, each held only up to a limit, decoded as well as they can be.

use std::borrow::Cow;
use std::io::{self, BufRead};

/// A line beyond this is cut. The kernel prints at most about 1 KiB, journald at most 48 KiB.
pub(super) const LONGEST_LINE: usize = 64 << 10;

/// Reads lines with bounded memory.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    number: u64,
    cut: u64,
    undecodable: u64,
}

/// One line.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u64,
    /// Without its end.
    pub(super) text: Cow<'a, str>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), number: 0, cut: 0, undecodable: 0 }
    }

    /// The next line, or `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        if !self.fill()? {
            return Ok(None);
        }
        self.number += 1;
        let text = String::from_utf8_lossy(&self.buffer);
        if matches!(text, Cow::Owned(_)) {
            self.undecodable += 1;
        }
        Ok(Some(Line { number: self.number, text }))
    }

    /// The number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many lines were cut.
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    /// How many lines were not UTF-8.
    pub(super) fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Fills the buffer with one line; whether there was one.
    fn fill(&mut self) -> io::Result<bool> {
        let mut began = false;
        let mut was_cut = false;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                break;
            }
            began = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let piece = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let room = LONGEST_LINE.saturating_sub(self.buffer.len());
            self.buffer.extend(piece.iter().take(room));
            was_cut |= piece.len() > room;
            let used = piece.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.cut += u64::from(was_cut);
        Ok(began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn read(bytes: &[u8]) -> (Vec<String>, u64, u64) {
        let mut lines = Lines::new(BufReader::with_capacity(7, bytes));
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("memory") {
            all.push(line.text.into_owned());
        }
        (all, lines.cut(), lines.undecodable())
    }

    #[test]
    fn lines_of_every_length() {
        assert_eq!(
            read(b"a\n\nlonger than the buffer\nlast"),
            (vec!["a".into(), String::new(), "longer than the buffer".into(), "last".into()], 0, 0)
        );
        assert_eq!(read(b"").0, Vec::<String>::new());
    }

    #[test]
    fn a_huge_line_is_cut_and_the_next_is_whole() {
        let mut bytes = vec![b'x'; LONGEST_LINE + 100];
        bytes.extend(b"\nnext");
        let (lines, cut, _) = read(&bytes);
        assert_eq!((lines[0].len(), lines[1].as_str(), cut), (LONGEST_LINE, "next", 1));
    }

    #[test]
    fn rubbish_is_read_as_far_as_possible() {
        assert_eq!(read(b"a\xffb\nc"), (vec!["a\u{fffd}b".into(), "c".into()], 0, 1));
    }
}
