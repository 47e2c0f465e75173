//! Kernel messages that a mail program, a terminal or an author broke into several lines.
//!
//! Each line waits for the next one. A line without a frame is the rest of the line above it if both
//! together say more about a kernel problem than the line above alone, or if the line above carries a
//! frame and ends exactly where terminals do.

use crate::parse::frame::Frame;
use crate::parse::kernel_problem::recognise;
use crate::parse::oom::Position;

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
    /// The line had a frame, so the log's lines have frames.
    framed: bool,
    /// The last piece filled its terminal's width.
    fills_terminal: bool,
    pieces: u8,
}

impl Wrapped {
    /// Takes a line of `width` characters; returns the one before it, when that is known to be whole.
    pub(super) fn push(&mut self, at: Position, frame: &Frame<'_>, text: &str, width: usize) -> Option<(Position, String)> {
        if !frame.framed
            && let Some(held) = &mut self.held
            && held.absorb(text, width)
        {
            return None;
        }
        let fills_terminal = is_terminal_width(width);
        let next = Held { at, text: text.to_owned(), framed: frame.framed, fills_terminal, pieces: 1 };
        self.held.replace(next).map(|held| (held.at, held.text))
    }

    /// The last line.
    pub(super) fn flush(&mut self) -> Option<(Position, String)> {
        self.held.take().map(|held| (held.at, held.text))
    }
}

impl Held {
    /// Joins the line if it belongs to this one.
    fn absorb(&mut self, text: &str, width: usize) -> bool {
        if self.pieces >= MOST_PIECES || text.trim().is_empty() || recognise(text).is_some() {
            return false;
        }
        let Some(joined) = self.joined(text) else { return false };
        self.text = joined;
        self.fills_terminal = is_terminal_width(width);
        self.pieces += 1;
        true
    }

    /// The line with its rest, in the way that says most: broken at a blank, as people and mail programs do,
    /// or anywhere, as terminals do.
    fn joined(&self, text: &str) -> Option<String> {
        let by_terminal = self.framed && self.fills_terminal;
        let text = text.trim_start();
        let at_blank = format!("{} {text}", self.text);
        let inside_word = format!("{}{text}", self.text);
        let (known, at_blank_says, inside_word_says) = (fields_said(&self.text), fields_said(&at_blank), fields_said(&inside_word));
        let may_be_inside_word = by_terminal || self.text.len() >= NARROWEST_TERMINAL;
        if may_be_inside_word
            && inside_word_says > known
            && (inside_word_says > at_blank_says || by_terminal && inside_word_says == at_blank_says)
        {
            return Some(inside_word);
        }
        if at_blank_says > known {
            return Some(at_blank);
        }
        by_terminal.then_some(inside_word)
    }
}

/// Terminals and pagers are 80, 132 or some other tens of columns wide.
fn is_terminal_width(width: usize) -> bool {
    (70..=300).contains(&width) && (width.is_multiple_of(10) || width == 132)
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
    use crate::parse::frame;

    fn join(lines: &[&str]) -> Vec<String> {
        let mut wrapped = Wrapped::default();
        let at = Position { record: 1, boot: None };
        let mut push = |line: &&str| {
            let frame = frame::frame(line, frame::Format::Auto);
            wrapped.push(at, &frame, &frame.text, line.len())
        };
        let mut whole: Vec<_> = lines.iter().filter_map(&mut push).collect();
        whole.extend(wrapped.flush());
        whole.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_message_broken_at_a_blank_or_inside_a_word() {
        assert_eq!(
            join(&["[ 1.000000] INFO: task shop:77 blocked for more than", "120 seconds."]),
            ["INFO: task shop:77 blocked for more than 120 seconds."]
        );
        let head = "shop[77]: segfault at 18 ip 000055d0c1a2b3c4 sp 00007ffd01020304 er";
        assert_eq!(join(&[head, "ror 4 in shop[55d0c1a10000+9000]"]), [format!("{head}ror 4 in shop[55d0c1a10000+9000]")]);
    }

    #[test]
    fn a_terminal_breaks_lines_at_its_width() {
        let (head, tail) = ("Nov 23 20:26:56 node-a kernel: cgroup: fork rejected by pids controller in /syst", "em.slice/shop.service");
        assert_eq!(head.len(), 80);
        assert_eq!(join(&[head, tail]), ["cgroup: fork rejected by pids controller in /system.slice/shop.service"]);
    }

    #[test]
    fn lines_of_their_own_stay_so() {
        let lines = ["Aborting journal on device vdb7-8.", "some comment", "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]"];
        assert_eq!(join(&lines), lines);
    }
}
