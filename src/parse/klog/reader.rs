//! Puts records together that a stream brings in several lines: `=<` blocks, sentences with line
//! breaks, lines that a terminal or a mail program wrapped. Lines in, whole records out.
//!
//! One reader serves one stream (one process, one file): lines of two processes must not meet here.
//! In a stream from a journal or a file a line ends where the kubelet ended it; in text that people
//! pasted anything may have been wrapped, the header included, and prose may follow.

use super::header;
use super::pairs::OpenEnd;
use super::record::{Form, KlogRecord};
use super::wrapper::{self, Unwrapped};

/// A record that spans more lines is cut: kubelets put at most an exec probe's output (10 KiB) or a
/// mount command's into one.
const MOST_LINES: usize = 64;
/// Longer records are cut; journald itself cuts lines at 48 KiB.
const MOST_BYTES: usize = 32 << 10;
/// A broken value or a sentence goes on over this many lines at most: behind a line that was cut
/// stands other text, which must not all be taken for its end.
const MOST_LOOSE_LINES: usize = 16;

/// Wider pasted lines are taken as they are: terminals and mail programs wrap earlier.
const WIDEST_WRAP: usize = 250;
/// Where mail programs wrap at the latest; terminals are wider.
const MAIL_WIDTH: usize = 80;
/// Where mail programs wrap at the earliest.
const NARROWEST_WRAP: usize = 68;

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
    pasted: bool,
    /// The newest line had the mark of a quotation.
    quoted: bool,
}

#[derive(Debug)]
struct Assembly {
    text: String,
    /// What stood before the header of the first line.
    before: String,
    lines: usize,
    /// Length of the newest line in characters, to tell how it was wrapped.
    width: usize,
    /// Width of the widest line so far that a mail program could have wrapped and did not.
    widest: usize,
    end: OpenEnd,
    pasted: bool,
}

impl KlogReader {
    /// A reader for text that people copied: lines may be wrapped.
    pub fn for_pasted_text() -> Self {
        Self { pasted: true, ..Self::default() }
    }

    /// Takes the next line and gives the record that is complete with it or before it.
    pub fn push(&mut self, line: &str) -> Option<KlogText> {
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if self.pasted { self.without_quotation(line) } else { line };
        if let Some(open) = self.open.as_mut().filter(|open| open.may_go_on()) {
            match open.take(line) {
                Taken::More => return None,
                Taken::Last => return self.flush(),
                Taken::No => {}
            }
        }
        let next = Assembly::begin(line, self.pasted);
        match self.open.take() {
            Some(done) => {
                self.open = next;
                Some(KlogText(done.text))
            }
            None => {
                self.open = next;
                let complete = self.open.as_ref().is_some_and(|open| !open.may_go_on());
                complete.then(|| self.flush())?
            }
        }
    }

    /// Takes the marks of a quotation off, but leaves the `>` that ends a block.
    fn without_quotation<'l>(&mut self, line: &'l str) -> &'l str {
        let in_block = self.open.as_ref().is_some_and(|open| open.end == OpenEnd::Block);
        let marked = line.starts_with('>') && (self.quoted || !in_block);
        self.quoted = if in_block { self.quoted } else { marked };
        if !marked {
            return line;
        }
        let rest = line.trim_start_matches("> ");
        if rest.len() == line.len() { line.strip_prefix('>').unwrap_or(line) } else { rest }
    }

    /// Whether a record waits for more lines.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
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
    fn begin(line: &str, pasted: bool) -> Option<Self> {
        let (Unwrapped::Line(text) | Unwrapped::Piece(text) | Unwrapped::Foreign(text)) = wrapper::unwrap(line);
        if text.trim().is_empty() {
            return None;
        }
        let before = header::find(&text).map_or(String::new(), |found| found.before.to_owned());
        let mut assembly = Self {
            text: String::new(),
            before,
            lines: 1,
            width: line.chars().count(),
            widest: breakable_width(line),
            end: OpenEnd::Closed,
            pasted,
        };
        assembly.append("", &text);
        Some(assembly)
    }

    /// Whether the next line may belong to this record.
    fn may_go_on(&self) -> bool {
        self.end != OpenEnd::Closed || self.pasted && self.width < WIDEST_WRAP && self.lines < MOST_LOOSE_LINES
    }

    /// Whether the line before may have been wrapped in front of this text: its first word did not
    /// fit. The caller may have taken a prefix off the line before, so the wider of both counts.
    fn may_be_wrapped(&self, next: &str) -> bool {
        let word = next.split(' ').next().unwrap_or("").chars().count();
        let width = self.width.max(next.chars().count());
        self.pasted && width < WIDEST_WRAP && width + word >= NARROWEST_WRAP
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
            OpenEnd::Value | OpenEnd::Sentence | OpenEnd::Header if long => OpenEnd::Closed,
            OpenEnd::Closed if self.pasted && ends_in_header(&self.text) => OpenEnd::Header,
            OpenEnd::Header if !self.pasted => OpenEnd::Sentence,
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
        let (text, own_prefix) = behind_prefix(&self.before, &text);
        if self.end == OpenEnd::Block && text.starts_with('\t') {
            return self.taken("\n", text, line);
        }
        if own_prefix && !matches!(self.end, OpenEnd::Block | OpenEnd::Sentence) {
            return Taken::No;
        }
        let outside = is_gap(text) || is_framed(text);
        let belongs = match self.end {
            OpenEnd::Block => !begins_record(text),
            OpenEnd::Header => !is_gap(text) && header::find(text).is_none_or(|found| found.header.severity.is_none()),
            OpenEnd::Value => !outside && !has_header(text),
            OpenEnd::Closed if self.text.ends_with('=') => !outside && !has_header(text),
            OpenEnd::Closed => !outside && !begins_record(text) && self.may_be_wrapped(text) && is_piece(text),
            OpenEnd::Sentence => !outside && !begins_record(text),
        };
        if !belongs {
            return Taken::No;
        }
        self.widest = self.widest.max(breakable_width(line));
        let separator = match self.end {
            OpenEnd::Block => "\n",
            OpenEnd::Sentence if own_prefix || !self.may_be_wrapped(text) => "\n",
            _ => self.wrap_separator(text),
        };
        self.taken(separator, text, line)
    }

    fn taken(&mut self, separator: &str, text: &str, line: &str) -> Taken {
        self.lines += 1;
        self.append(separator, text);
        self.width = line.chars().count();
        if self.may_go_on() { Taken::More } else { Taken::Last }
    }

    /// Mail programs wrap at a blank before column 80 and drop it, terminals cut at their last column.
    fn wrap_separator(&self, next: &str) -> &'static str {
        let blank_kept = self.text.ends_with(' ') || next.starts_with(' ');
        let between_pairs = self.end == OpenEnd::Closed && self.text.ends_with(['"', '}', ']']) && next.contains('=');
        let cut = self.widest >= MAIL_WIDTH && !between_pairs;
        if blank_kept || cut { "" } else { " " }
    }
}

/// The width of a line in characters, zero when it has no blank to wrap it at.
fn breakable_width(line: &str) -> usize {
    if line.trim().contains(' ') { line.chars().count() } else { 0 }
}

/// Whether a record of its own begins here, be it without its header.
fn begins_record(text: &str) -> bool {
    has_header(text) || KlogRecord::parse(text).form == Form::Structured
}

fn has_header(text: &str) -> bool {
    header::find(text).is_some() || KlogRecord::parse(text).form == Form::Json
}

/// Whether a line ends within a header: `… kubelet[812]: E0307 04:05`.
fn ends_in_header(text: &str) -> bool {
    let begins = |at: usize| {
        let rest = text.get(at + 1..).unwrap_or("");
        let date = rest.bytes().take_while(u8::is_ascii_digit).count();
        date == rest.len().min(4) && rest.bytes().skip(4).all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b':' | b'.'))
    };
    let tail = text.floor_char_boundary(text.len().saturating_sub(30));
    text.match_indices(['I', 'W', 'E', 'F'])
        .any(|(at, _)| at >= tail && text.get(..at).is_some_and(|before| before.ends_with(": ") || before.is_empty()) && begins(at))
}

/// Whether a line behind a record that looks complete may be its rest: pairs, or the end of a word.
fn is_piece(text: &str) -> bool {
    text.contains('=') || !text.trim().contains(' ')
}

/// The part of a continuation line behind what stood before the first line's header as well: an
/// indentation, or a syslog prefix with another time and the same tag. Also tells whether the line
/// had such a prefix of its own, so that it is a line of the log and no piece of a wrapped one.
fn behind_prefix<'a>(before: &str, line: &'a str) -> (&'a str, bool) {
    let named = !before.trim().is_empty();
    if let Some(rest) = line.strip_prefix(before) {
        return (rest, named);
    }
    let tag = before.trim_end().rsplit(' ').next().filter(|tag| tag.len() > 2 && tag.ends_with(':'));
    match tag.and_then(|tag| line.split_once(tag)) {
        Some((_, rest)) => (rest.strip_prefix(' ').unwrap_or(rest), true),
        None => (line, false),
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
    let date = text.get(..10).unwrap_or("").bytes().enumerate();
    let iso =
        date.map(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() }).filter(|fits| *fits).count() == 10;
    let kernel = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    dated || iso || kernel || text.starts_with("$ ") || text.starts_with("# ") || text.starts_with("root@")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "I0307 04:05:06.070809    1234 prober.go:107] ";

    fn read(lines: &[&str]) -> Vec<String> {
        read_with(KlogReader::default(), lines)
    }

    fn read_with(mut reader: KlogReader, lines: &[&str]) -> Vec<String> {
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

    /// Breaks a text where a terminal of this width does.
    fn broken(text: &str, width: usize) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(width).map(|line| line.iter().collect()).collect()
    }

    #[test]
    fn a_page_may_break_a_line_anywhere() {
        let text = format!(
            "Mar  7 04:05:06 node-1 kubelet[1234]: {HEAD}\"Probe failed\" probeType=\"Liveness\" pod=\"ns/web-0\" podUID=0a1b2c3d-0000-1111-2222-333344445555 output=\"a b c d e f\""
        );
        for width in 80..160 {
            let lines = broken(&text, width);
            let records = read_with(KlogReader::for_pasted_text(), &lines.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(records.join("|"), text, "{width}");
        }
    }

    #[test]
    fn prose_behind_a_pasted_record_stays_outside() {
        let record = format!("{HEAD}\"x\" pod=\"ns/a\" a=\"something to make it wide enough\"");
        let records = read_with(KlogReader::for_pasted_text(), &[&record, "and then I restarted the node", "```"]);
        assert_eq!(records[0], record);
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
