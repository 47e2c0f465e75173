//! Puts records together that a stream brings in several lines: `=<` blocks, sentences with line
//! breaks, lines that a terminal or a mail program wrapped. Lines in, whole records out.
//!
//! One reader serves one stream (one process, one file): lines of two processes must not meet here.

use super::header;
use super::pairs::OpenEnd;
use super::record::KlogRecord;
use super::wrapper::{self, Unwrapped};

/// A record that spans more lines is cut: kubelets put at most an exec probe's output (10 KiB) or a
/// mount command's into one.
const MOST_LINES: usize = 64;
/// Longer records are cut; journald itself cuts lines at 48 KiB.
const MOST_BYTES: usize = 32 << 10;
/// A broken value or a sentence goes on over this many lines at most: behind a line that was cut
/// stands other text, which must not all be taken for its end.
const MOST_LOOSE_LINES: usize = 16;

/// The text of one whole record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KlogText(String);

impl KlogText {
    /// The record.
    pub fn record(&self) -> KlogRecord<'_> {
        KlogRecord::parse(&self.0)
    }

    /// The text as it stands, unwrapped and joined.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads one stream of lines.
#[derive(Debug, Default)]
pub struct KlogReader {
    open: Option<Assembly>,
}

#[derive(Debug)]
struct Assembly {
    text: String,
    /// What stood before the header of the first line.
    before: String,
    lines: usize,
    /// Length of the newest line in characters, to tell how it was wrapped.
    width: usize,
    end: OpenEnd,
}

impl KlogReader {
    /// Takes the next line and gives the record that is complete with it or before it.
    pub fn push(&mut self, line: &str) -> Option<KlogText> {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(open) = self.open.as_mut().filter(|open| open.end != OpenEnd::Closed) {
            match open.take(line) {
                Taken::More => return None,
                Taken::Last => return self.flush(),
                Taken::No => {}
            }
        }
        let next = Assembly::begin(line);
        match self.open.take() {
            Some(done) => {
                self.open = next;
                Some(KlogText(done.text))
            }
            None => {
                self.open = next;
                let complete = self.open.as_ref().is_some_and(|open| open.end == OpenEnd::Closed);
                complete.then(|| self.flush())?
            }
        }
    }

    /// Gives the record that was still waiting for more lines: at the end of the stream, or when it
    /// has been silent for so long that nothing more will come.
    pub fn flush(&mut self) -> Option<KlogText> {
        self.open.take().map(|done| KlogText(done.text))
    }
}

enum Taken {
    More,
    Last,
    No,
}

impl Assembly {
    fn begin(line: &str) -> Option<Self> {
        let (Unwrapped::Line(text) | Unwrapped::Piece(text) | Unwrapped::Foreign(text)) = wrapper::unwrap(line);
        if text.trim().is_empty() {
            return None;
        }
        let before = header::find(&text).map_or(String::new(), |found| found.before.to_owned());
        let mut assembly = Self { text: String::new(), before, lines: 1, width: line.chars().count(), end: OpenEnd::Closed };
        assembly.append("", &text);
        Some(assembly)
    }

    fn append(&mut self, separator: &str, text: &str) {
        let room = MOST_BYTES.saturating_sub(self.text.len() + separator.len());
        let text = text.get(..text.floor_char_boundary(room)).unwrap_or("");
        self.text.push_str(separator);
        self.text.push_str(text);
        let full = self.text.len() + 4 >= MOST_BYTES || self.lines >= MOST_LINES;
        let long = self.lines >= MOST_LOOSE_LINES;
        self.end = match KlogRecord::parse(&self.text).open_end() {
            _ if full => OpenEnd::Closed,
            OpenEnd::Value | OpenEnd::Sentence if long => OpenEnd::Closed,
            end => end,
        };
    }

    /// Takes the line when it belongs to this record.
    fn take(&mut self, line: &str) -> Taken {
        let text = match wrapper::unwrap(line) {
            Unwrapped::Foreign(_) => return Taken::No,
            Unwrapped::Piece(piece) if !begins_record(&piece) => return self.taken("", &piece, line),
            Unwrapped::Piece(_) => return Taken::No,
            Unwrapped::Line(text) => text,
        };
        let text = behind_prefix(&self.before, &text);
        let in_block = self.end == OpenEnd::Block;
        if in_block && text.starts_with('\t') {
            return self.taken("\n", text, line);
        }
        if begins_record(text) || !in_block && (is_gap(text) || is_framed(text)) {
            return Taken::No;
        }
        let separator = if self.end == OpenEnd::Value { self.wrap_separator(text) } else { "\n" };
        self.taken(separator, text, line)
    }

    fn taken(&mut self, separator: &str, text: &str, line: &str) -> Taken {
        self.lines += 1;
        self.append(separator, text);
        self.width = line.chars().count();
        if self.end == OpenEnd::Closed { Taken::Last } else { Taken::More }
    }

    /// Mail programs wrap at a blank before column 80 and drop it, terminals cut at their last column.
    fn wrap_separator(&self, next: &str) -> &'static str {
        let blank_kept = self.text.ends_with(' ') || next.starts_with(' ');
        if blank_kept || self.width >= 80 { "" } else { " " }
    }
}

fn begins_record(text: &str) -> bool {
    header::find(text).is_some() || matches!(KlogRecord::parse(text).form, super::Form::Structured | super::Form::Json)
}

/// The part of a continuation line behind what stood before the first line's header as well: the
/// mark of a quotation, an indentation, or a syslog prefix with another time and the same tag.
fn behind_prefix<'a>(before: &str, line: &'a str) -> &'a str {
    if let Some(rest) = line.strip_prefix(before) {
        return rest;
    }
    let tag = before.trim_end().rsplit(' ').next().filter(|tag| tag.len() > 2 && tag.ends_with(':'));
    match tag.and_then(|tag| line.split_once(tag)) {
        Some((_, rest)) => rest.strip_prefix(' ').unwrap_or(rest),
        None if !before.trim().is_empty() => line.strip_prefix(before.trim_end()).unwrap_or(line),
        None => line,
    }
}

/// A line that says that lines were left out, or separates two excerpts.
fn is_gap(text: &str) -> bool {
    let text = text.trim();
    text.chars().all(|char| matches!(char, '.' | '…' | '[' | ']' | '(' | ')' | '-' | '*' | '`' | '<' | '>' | '=' | ' '))
        || text.contains("snip")
}

/// The begin of a line that another program, the kernel or a shell wrote.
fn is_framed(text: &str) -> bool {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let dated = text
        .split_once(' ')
        .is_some_and(|(month, rest)| MONTHS.contains(&month) && rest.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let mut iso = text.bytes();
    let iso = iso.by_ref().take(4).all(|byte| byte.is_ascii_digit()) && iso.next() == Some(b'-');
    let kernel = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    dated || iso || kernel || text.starts_with("$ ") || text.starts_with("# ") || text.starts_with("root@")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "I0307 04:05:06.070809    1234 prober.go:107] ";

    fn read(lines: &[&str]) -> Vec<String> {
        let mut reader = KlogReader::default();
        let mut records: Vec<_> = lines.iter().filter_map(|line| reader.push(line)).collect();
        records.extend(reader.flush());
        records.into_iter().map(|record| record.0).collect()
    }

    #[test]
    fn a_complete_line_is_given_at_once() {
        let mut reader = KlogReader::default();
        assert!(reader.push(&format!("{HEAD}\"x\" a=1")).is_some());
        assert!(reader.flush().is_none());
    }

    #[test]
    fn a_block_is_one_record_whatever_stands_in_front_of_its_lines() {
        let lines =
            ["\"Probe failed\" output=<", "\tcat: no such file", "\tE0307 04:05:06.070809 1 a.go:1] not a record", " > pod=\"ns/a\""];
        for before in ["", "> ", "    "] {
            let quoted: Vec<_> =
                lines.iter().enumerate().map(|(at, line)| format!("{before}{}{line}", if at == 0 { HEAD } else { "" })).collect();
            let records = read(&quoted.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(records.len(), 1, "{records:?}");
            let record = KlogRecord::parse(&records[0]);
            assert_eq!(record.text_of("pod").as_deref(), Some("ns/a"));
            assert!(record.text_of("output").expect("output").starts_with("cat: no such file\nE0307"));
        }
    }

    #[test]
    fn syslog_prefixes_of_a_block_go_by_their_tag() {
        let records = read(&[
            &format!("Mar  7 04:05:06 n1 kubelet[9]: {HEAD}\"Probe failed\" output=<"),
            "Mar  7 04:05:07 n1 kubelet[9]:         out",
            "Mar  7 04:05:07 n1 kubelet[9]:  >",
            "next",
        ]);
        assert_eq!(records.len(), 2);
        assert_eq!(KlogRecord::parse(&records[0]).text_of("output").as_deref().map(str::trim), Some("out"));
    }

    #[test]
    fn wrapped_values_are_joined() {
        let records = read(&[&format!("{HEAD}\"x\" err=\"one"), "two\" pod=\"ns/a\"", &format!("{HEAD}\"y\"")]);
        assert_eq!(records.len(), 2);
        assert_eq!(KlogRecord::parse(&records[0]).err().as_deref(), Some("one two"));
        let wide = format!("{HEAD}\"x\" err=\"{}spl", "e".repeat(60));
        assert!(KlogRecord::parse(&read(&[&wide, "it\""])[0]).err().is_some_and(|err| err.ends_with("esplit")));
    }

    #[test]
    fn a_cut_line_takes_nothing_from_behind_a_gap() {
        for gap in ["...", "…", "", "[ 12.5] kernel", "Mar  7 04:05:06 n1 sshd[1]: x", "2026-01-01 x", "$ dmesg"] {
            let records = read(&[&format!("{HEAD}\"x\" err=\"cut"), gap]);
            assert!(records[0].ends_with("cut"), "{gap}: {records:?}");
        }
    }

    #[test]
    fn sentences_keep_the_output_behind_them() {
        let records = read(&[&format!("{HEAD}Operation failed: exit status 32"), "Output: mount: wrong fs type", &format!("{HEAD}next")]);
        assert_eq!(records.len(), 2);
        assert!(records[0].ends_with("exit status 32\nOutput: mount: wrong fs type"));
    }

    #[test]
    fn pieces_of_k0s_are_joined_without_a_blank() {
        let piece = |text: &str| format!("time=\"t\" level=info msg={text:?} component=kubelet stream=stderr");
        let records = read(&[&piece(&format!("{HEAD}\"x\" err=\"spl")), &piece("it\"")]);
        assert_eq!(KlogRecord::parse(&records[0]).err().as_deref(), Some("split"));
    }

    #[test]
    fn lines_of_other_programs_are_records_of_their_own() {
        let records = read(&[&format!("{HEAD}a sentence"), "time=\"t\" level=error msg=\"from containerd\""]);
        assert_eq!(records, [format!("{HEAD}a sentence"), "from containerd".to_owned()]);
    }

    #[test]
    fn endless_records_are_cut() {
        let mut lines = vec![format!("{HEAD}\"x\" output=<")];
        lines.extend((0..500).map(|at| format!("\t{at} {}", "x".repeat(400))));
        let records = read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(records[0].len() <= MOST_BYTES && records[0].lines().count() <= MOST_LINES);
        assert!(read(&["é".repeat(MOST_BYTES).as_str()])[0].len() <= MOST_BYTES);
    }

    proptest! {
        #[test]
        fn any_stream_is_survived_within_bounds(lines in proptest::collection::vec("(I0307 04:05:06.1 1 a.go:1\\] )?[ -~\\té]{0,80}(=<)?", 0..100)) {
            for record in read(&lines.iter().map(String::as_str).collect::<Vec<_>>()) {
                prop_assert!(record.len() <= MOST_BYTES);
                let _ = KlogRecord::parse(&record).pairs().count();
            }
        }
    }
}
