//! Kernel messages that a mail program, a terminal or an author broke into several lines.
//!
//! Each line waits for the next one. A line without a frame is the rest of the line above it if that one
//! has a frame and the line means nothing by itself, or if both together say more about a kernel problem.

use crate::parse::frame::Frame;
use crate::parse::kernel_problem::recognise;
use crate::parse::oom::{OomLine, Position};

/// A message is not broken into more lines than this.
const MOST_PIECES: u8 = 16;
/// Nobody breaks lines into narrower columns.
const NARROWEST: usize = 60;
/// A message put together is not longer than this: the kernel's records with two paths of 4 KiB.
const LONGEST_MESSAGE: usize = 10 << 10;

/// One line behind.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    held: Option<Held>,
    edge: Edge,
}

#[derive(Debug)]
struct Held {
    at: Position,
    text: String,
    /// The line had a frame, so the log's lines have frames.
    framed: bool,
    last: Piece,
    pieces: u8,
}

/// One physical line of a message.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Its width in characters.
    width: usize,
    /// That is the width of a terminal.
    fills_terminal: bool,
    begins_with_blank: bool,
    ends_with_blank: bool,
}

/// The widest framed lines of a log, if several are equally wide: the width of the terminal it was copied from.
#[derive(Debug, Default)]
struct Edge {
    width: usize,
    times: u64,
}

impl Wrapped {
    /// Takes the text of a line; returns the message before it, when that is known to be whole. `raw` is the
    /// line before anything was taken off.
    pub(super) fn push(&mut self, at: Position, frame: &Frame<'_>, text: &str, raw: &str) -> Option<(Position, String)> {
        let piece = self.piece(raw, frame.framed);
        if !frame.framed
            && let Some(held) = &mut self.held
            && held.absorb(text.trim_start(), piece)
        {
            return None;
        }
        let next = Held { at, text: text.to_owned(), framed: frame.framed, last: piece, pieces: 1 };
        self.held.replace(next).map(|held| (held.at, held.text))
    }

    fn piece(&mut self, raw: &str, framed: bool) -> Piece {
        let raw = raw.trim_end_matches('\r');
        let width = raw.chars().count();
        if framed {
            self.edge.note(width);
        }
        let fills_terminal = self.edge.is_reached(width);
        Piece { width, fills_terminal, begins_with_blank: raw.starts_with(' '), ends_with_blank: raw.ends_with(' ') }
    }

    /// The last line: nothing more belongs to it.
    pub(super) fn flush(&mut self) -> Option<(Position, String)> {
        self.held.take().map(|held| (held.at, held.text))
    }
}

impl Edge {
    fn note(&mut self, width: usize) {
        if width > self.width {
            *self = Self { width, times: 0 };
        }
        self.times += u64::from(width == self.width);
    }

    /// Terminals and pagers are 80, 132 or some other tens of columns wide, or as wide as the widest lines.
    fn is_reached(&self, width: usize) -> bool {
        let is_usual = (70..=300).contains(&width) && (width.is_multiple_of(10) || width == 132);
        is_usual || (width == self.width && self.times > 1)
    }
}

impl Held {
    /// Joins the line if it belongs to this one.
    fn absorb(&mut self, text: &str, piece: Piece) -> bool {
        if self.pieces >= MOST_PIECES || self.text.len() + text.len() > LONGEST_MESSAGE || is_remark(text) {
            return false;
        }
        let begins_here = self.framed && self.text.trim().is_empty();
        let joined = if begins_here { Some(text.to_owned()) } else { self.joined(text, piece) };
        let Some(joined) = joined else { return false };
        // A terminal fills every line but the last.
        let fills_terminal = self.last.fills_terminal && piece.width == self.last.width;
        self.text = joined;
        self.last = Piece { fills_terminal, ..piece };
        self.pieces += 1;
        true
    }

    /// The line with its rest, in the way that says most: broken at a blank, as people and mail programs do,
    /// or anywhere, as terminals do.
    fn joined(&self, text: &str, piece: Piece) -> Option<String> {
        if is_own_message(text) && !self.announces() {
            return None;
        }
        let at_blank = format!("{} {text}", self.text);
        let inside_word = format!("{}{text}", self.text);
        let (known, at_blank_says, inside_word_says) = (says(&self.text), says(&at_blank), says(&inside_word));
        let is_hard_break = self.last.fills_terminal && !self.last.ends_with_blank && !piece.begins_with_blank;
        let likes_word = self.framed && (is_hard_break || self.is_inside_summary());
        let is_inside_word = inside_word_says > at_blank_says || likes_word && inside_word_says == at_blank_says;
        let (joined, joined_says) = if is_inside_word { (inside_word, inside_word_says) } else { (at_blank, at_blank_says) };
        (joined_says > known || self.is_full_for(text)).then_some(joined)
    }

    /// The words before a kill, which is a message by itself, too.
    fn announces(&self) -> bool {
        self.framed && self.text.ends_with("ut of memory:")
    }

    /// The summary of an OOM has no blanks but those of a process' name.
    fn is_inside_summary(&self) -> bool {
        let ends_in_name = self.text.rsplit_once(",task=").is_some_and(|(_, name)| !name.contains(','));
        self.text.starts_with("oom-kill:") && !ends_in_name
    }

    /// Whether the next word did not fit any more: only then a line is broken.
    fn is_full_for(&self, text: &str) -> bool {
        let next = text.split_whitespace().next().unwrap_or_default();
        self.framed && self.last.width + next.chars().count() >= NARROWEST
    }
}

/// Whether a line begins a message of its own. A bare path is a message only where its summary broke.
fn is_own_message(text: &str) -> bool {
    recognise(text).is_some() || OomLine::recognise(text).is_some_and(|line| !matches!(line, OomLine::SummaryFragment(_)))
}

/// How much a message says, in fields.
fn says(text: &str) -> usize {
    problem_fields(text) + OomLine::recognise(text).map_or(0, |line| oom_fields(&line))
}

fn oom_fields(line: &OomLine<'_>) -> usize {
    let count = |said: &[bool]| said.iter().filter(|said| **said).count();
    1 + match line {
        OomLine::Header(header) => {
            count(&[header.comm.is_some(), header.gfp_mask.is_some(), header.order.is_some(), header.oom_score_adj.is_some()])
        }
        OomLine::TaskIn { task_memcg, limit } => count(&[task_memcg.is_some(), limit.is_some()]),
        OomLine::Memory(used) | OomLine::MemoryAndSwap(used) | OomLine::Swap(used) | OomLine::Kmem(used) => {
            count(&[used.usage_kib.is_some(), used.limit_kib.is_some(), used.failcnt.is_some()])
        }
        OomLine::Killed(killed) => killed.fields_known(),
        _ => 0,
    }
}

/// An empty line, or the dots of someone who left something out.
fn is_remark(text: &str) -> bool {
    text.is_empty() || text.starts_with("...") || text.starts_with('…') || text.starts_with("[...]") || text.starts_with("---")
}

/// How many fields of a kernel problem a message says.
fn problem_fields(text: &str) -> usize {
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
            wrapped.push(at, &frame, &frame.text, line)
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
    fn people_break_before_a_long_word() {
        let path = format!("/kubepods/burstable/{}", "x".repeat(80));
        assert_eq!(
            join(&["Nov 23 20:26:56 n kernel: Task in", &path, "killed as a result of limit of", &path]),
            [format!("Task in {path} killed as a result of limit of {path}")]
        );
    }

    #[test]
    fn rows_below_a_framed_line_stay_rows() {
        let lines = ["[ 1.000000] Memory cgroup stats for /kubepods/burstable/podx/y and so on and on:", "anon 4096", "file 0"];
        assert_eq!(join(&lines)[1..], ["anon 4096", "file 0"]);
    }

    #[test]
    fn what_was_left_out_joins_nothing() {
        let long = "[ 1.000000] EXT4-fs (vdb7): Remounting filesystem read-only and some words";
        assert_eq!(join(&[long, "...", "x"]).len(), 3);
    }

    #[test]
    fn lines_of_their_own_stay_so() {
        let lines = ["Aborting journal on device vdb7-8.", "some comment", "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a:1]"];
        assert_eq!(join(&lines), lines);
    }
}
