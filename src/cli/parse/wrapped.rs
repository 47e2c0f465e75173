//! Kernel messages that a mail program, a terminal or an author broke into several lines.
//!
//! A line without a frame is taken as the rest of the line above it exactly if both together say more
//! about a kernel problem than the line above alone. So each line waits for the next one.

use crate::parse::kernel_problem::{Position, recognise};

/// A message is not broken into more lines than this.
const MOST_PIECES: u8 = 8;
/// Terminals break lines anywhere, but not short ones.
const NARROWEST_TERMINAL: usize = 60;

/// One line behind.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    at: Position,
    text: String,
    pieces: u8,
}

impl Wrapped {
    /// Takes a line; returns the one before it, when that is known to be whole.
    pub(super) fn push(&mut self, at: Position, text: &str, framed: bool) -> Option<(Position, String)> {
        if !framed
            && let Some(held) = &mut self.held
            && held.absorb(text)
        {
            return None;
        }
        let next = Held { at, text: text.to_owned(), pieces: 1 };
        self.held.replace(next).map(|held| (held.at, held.text))
    }

    /// The last line.
    pub(super) fn flush(&mut self) -> Option<(Position, String)> {
        self.held.take().map(|held| (held.at, held.text))
    }
}

impl Held {
    /// Joins the line if that says more.
    fn absorb(&mut self, text: &str) -> bool {
        if self.pieces >= MOST_PIECES || text.trim().is_empty() || recognise(text).is_some() {
            return false;
        }
        let known = fields_said(&self.text);
        let at_blank = format!("{} {}", self.text, text.trim_start());
        let inside_word = format!("{}{}", self.text, text.trim_start());
        let ways = [Some(inside_word).filter(|_| self.text.len() >= NARROWEST_TERMINAL), Some(at_blank)];
        // Where both ways say as much, the last one counts: people break lines more often than terminals.
        let joined = ways.into_iter().flatten().filter(|way| fields_said(way) > known).max_by_key(|way| fields_said(way));
        let Some(joined) = joined else { return false };
        self.text = joined;
        self.pieces += 1;
        true
    }
}

/// How many fields of a problem a message says.
fn fields_said(text: &str) -> usize {
    let report = recognise(text).and_then(|problem| serde_json::to_value(problem).ok());
    let fields = report.as_ref().and_then(|report| report.as_object());
    fields.map_or(0, |fields| fields.values().filter(|value| !value.is_null()).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(lines: &[(&str, bool)]) -> Vec<String> {
        let mut wrapped = Wrapped::default();
        let at = Position { record: 1, boot: None };
        let mut whole: Vec<_> = lines.iter().filter_map(|(line, framed)| wrapped.push(at, line, *framed)).collect();
        whole.extend(wrapped.flush());
        whole.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_message_broken_at_a_blank_or_inside_a_word() {
        assert_eq!(
            join(&[("INFO: task shop:77 blocked for more than", true), ("120 seconds.", false)]),
            ["INFO: task shop:77 blocked for more than 120 seconds."]
        );
        let head = "shop[77]: segfault at 18 ip 000055d0c1a2b3c4 sp 00007ffd01020304 er";
        assert_eq!(join(&[(head, true), ("ror 4 in shop[55d0c1a10000+9000]", false)]), [format!("{head}ror 4 in shop[55d0c1a10000+9000]")]);
    }

    #[test]
    fn lines_of_their_own_stay_so() {
        let lines = [
            ("Aborting journal on device vdb7-8.", true),
            ("some comment", false),
            ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]", false),
        ];
        assert_eq!(join(&lines), lines.map(|(line, _)| line));
    }
}
