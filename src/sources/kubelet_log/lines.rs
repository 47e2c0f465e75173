//! Cuts the bytes of a growing file into lines.
//!
//! Flows in: pieces of the file in order, cut anywhere. Flows out: whole lines with where they end.
//! Bounded: of a line at most [`LIMIT`] bytes are kept, however long it is.

/// The longest line that is kept whole. The kubelet's longest are dumps of a container's
/// specification; journald cuts at 48 KiB.
pub(super) const LIMIT: usize = 64 << 10;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its text without the newline, cut at [`LIMIT`].
    pub(super) text: String,
    /// Its length in the file, in bytes.
    pub(super) length: u64,
    /// Where the next line begins in the file.
    pub(super) end: u64,
}

impl Line {
    pub(super) fn is_cut(&self) -> bool {
        self.length > LIMIT as u64
    }
}

/// The cutter, at some place of the file.
#[derive(Debug)]
pub(super) struct Lines {
    /// How far the file has been read.
    at: u64,
    /// The beginning of the line that has not ended yet.
    open: Vec<u8>,
    /// How long that line is so far.
    length: u64,
    /// The next line began before the place where reading began: it is passed over.
    partial: bool,
}

impl Lines {
    /// Begins at a place where a line begins.
    pub(super) const fn from(at: u64) -> Self {
        Self { at, open: Vec::new(), length: 0, partial: false }
    }

    /// Begins in the middle of a line, which is passed over.
    pub(super) const fn inside(at: u64) -> Self {
        Self { at, open: Vec::new(), length: 0, partial: true }
    }

    /// How far the file has been read, in bytes.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Takes the next piece and gives the lines that end in it. Empty lines are left out.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<Line> {
        let parts = piece.split_inclusive(|byte| *byte == b'\n');
        parts.filter_map(|part| self.part(part)).collect()
    }

    /// The last line of a file to which nothing will be added.
    pub(super) fn rest(&mut self) -> Option<Line> {
        self.finish()
    }

    fn part(&mut self, part: &[u8]) -> Option<Line> {
        self.at = self.at.saturating_add(part.len() as u64);
        let Some(whole) = part.strip_suffix(b"\n") else {
            self.add(part);
            return None;
        };
        self.add(whole);
        self.finish()
    }

    fn add(&mut self, bytes: &[u8]) {
        // A writer that keeps its place in a file which was emptied leaves a hole of zeros before it.
        let zeros = if self.length == 0 { bytes.iter().take_while(|byte| **byte == 0).count() } else { 0 };
        let bytes = bytes.get(zeros..).unwrap_or_default();
        let room = LIMIT.saturating_sub(self.open.len());
        self.open.extend(bytes.iter().take(room));
        self.length = self.length.saturating_add(bytes.len() as u64);
    }

    fn finish(&mut self) -> Option<Line> {
        let text = String::from_utf8_lossy(&self.open).trim_end_matches('\r').to_owned();
        let line = Line { text, length: self.length, end: self.at };
        self.open.clear();
        self.length = 0;
        let partial = std::mem::take(&mut self.partial);
        Some(line).filter(|line| !partial && !line.text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(lines: Vec<Line>) -> Vec<(String, u64)> {
        lines.into_iter().map(|line| (line.text, line.end)).collect()
    }

    #[test]
    fn lines_end_where_the_file_says() {
        let mut lines = Lines::from(100);
        assert_eq!(texts(lines.take(b"one\r\n\ntw")), [("one".to_owned(), 105)]);
        assert_eq!(texts(lines.take(b"o\nthree")), [("two".to_owned(), 110)]);
        assert_eq!(lines.at(), 115);
        assert_eq!(lines.rest().map(|line| (line.text, line.end)), Some(("three".into(), 115)));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn a_line_that_began_earlier_is_passed_over() {
        assert_eq!(texts(Lines::inside(9).take(b"rest of it\nwhole\n")), [("whole".to_owned(), 26)]);
        assert_eq!(texts(Lines::inside(9).take(b"\nwhole\n")), [("whole".to_owned(), 16)]);
    }

    #[test]
    fn a_long_line_is_cut_and_measured() {
        let mut lines = Lines::from(0);
        for _ in 0..16 {
            assert_eq!(lines.take(&vec![b'x'; 64 << 10]), []);
        }
        let told = lines.take(b"y\nnext\n");
        assert_eq!((told[0].text.len(), told[0].length, told[0].is_cut()), (LIMIT, (1 << 20) + 1, true));
        assert_eq!((told[1].text.as_str(), told[1].is_cut()), ("next", false));
    }

    #[test]
    fn a_hole_before_a_line_is_no_text() {
        let mut lines = Lines::from(0);
        assert_eq!(lines.take(&[0; 70 << 10]), []);
        let told = lines.take(b"\0\0after\n");
        assert_eq!((told[0].text.as_str(), told[0].is_cut(), told[0].end), ("after", false, (70 << 10) + 8));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_changes_nothing(text in "[ab\u{0}\r\né]{0,60}", cuts in proptest::collection::vec(0_usize..80, 0..6)) {
            let bytes = text.as_bytes();
            let mut at_once = Lines::from(7);
            let mut whole = at_once.take(bytes);
            whole.extend(at_once.rest());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut pieces = Lines::from(7);
            let mut found: Vec<Line> = cuts.windows(2).flat_map(|pair| pieces.take(&bytes[pair[0]..pair[1]])).collect();
            found.extend(pieces.rest());
            prop_assert_eq!(found, whole);
            prop_assert_eq!(pieces.at(), 7 + bytes.len() as u64);
        }
    }
}
