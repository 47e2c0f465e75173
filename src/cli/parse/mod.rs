//! `nodewhy parse`: what a saved log says, one object a line.
//!
//! Flows in: a saved kernel log, journal or syslog file, however damaged. Flows out: JSON lines or
//! sentences, in the order of the log. It does not explain: no pods, no causes, no state beyond the file.
//!
//! ```text
//!   bytes ─▶ Lines ─▶ frame ─▶ Readers ─▶ Findings ─▶ out
//!           (bounded)  (who     (kernel problems,  (in order,
//!                     wrote it)  OOM, kubelet)      told once)
//! ```

mod findings;
mod lines;
mod readers;
mod sentence;
mod wrapped;

use crate::parse::frame::{self, Format};
use findings::Findings;
use lines::Lines;
use readers::Readers;
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

/// What `nodewhy parse` was asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the log was saved; `auto` decides line by line.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Print sentences instead of JSON.
    #[arg(long)]
    pub human: bool,
    /// Also print notices that are normal on healthy nodes and only mean something beside a death:
    /// failed allocations of contiguous memory, TCP's memory limit, network namespaces that stay, lost records.
    #[arg(long)]
    pub notices: bool,
    /// The saved log; `-` is standard input.
    #[arg(default_value = "-")]
    pub file: PathBuf,
}

impl clap::ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Kmsg, Self::Dmesg, Self::DmesgWallClock, Self::Journal, Self::Syslog]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let (name, help) = match self {
            Self::Auto => ("auto", "decide line by line"),
            Self::Kmsg => ("kmsg", "records of /dev/kmsg"),
            Self::Dmesg => ("dmesg", "output of dmesg"),
            Self::DmesgWallClock => ("dmesg-T", "output of dmesg -T"),
            Self::Journal => ("journal", "output of journalctl, in any short format or JSON"),
            Self::Syslog => ("syslog", "a syslog daemon's file"),
        };
        Some(clap::builder::PossibleValue::new(name).help(help))
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Sentences instead of JSON.
    pub human: bool,
    /// Notices too.
    pub notices: bool,
}

/// What was odd about a log. Its sentence is empty when nothing was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines read.
    pub lines: u64,
    /// Objects printed.
    pub printed: u64,
    /// Lines longer than the limit; what was beyond it was not read.
    pub cut_lines: u64,
    /// Lines that are not UTF-8; their other parts were read.
    pub undecodable_lines: u64,
    /// Messages that a process wrote into the kernel's log; they prove nothing and were not read.
    pub forged_lines: u64,
    /// How many records the log itself says it lost; at least.
    pub lost_records: u64,
    /// Whoever read the output stopped reading.
    pub reader_gone: bool,
}

impl Summary {
    /// Whether there is anything to tell.
    pub fn is_odd(&self) -> bool {
        self.cut_lines + self.undecodable_lines + self.forged_lines + self.lost_records > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines read", self.lines)?;
        for (count, what) in [
            (self.cut_lines, format!("longer than {} KiB and cut", lines::LONGEST_LINE / 1024)),
            (self.undecodable_lines, "not valid UTF-8".to_owned()),
            (self.forged_lines, "written into the kernel log by a process and ignored".to_owned()),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.lost_records > 0 {
            write!(f, "; the log says that it lost at least {} records", self.lost_records)?;
        }
        Ok(())
    }
}

/// Why a log could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The file cannot be opened.
    #[error("cannot open {name}: {source}; check the path and the permission to read it, or pipe the log in with `-`")]
    Open {
        /// The file.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// Reading stopped before the end. What came before was printed.
    #[error("cannot read {name} beyond line {line}: {source}; what came before it is printed, save the log again to see the rest")]
    Read {
        /// The file.
        name: String,
        /// The last line that was read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the result: {source}; check the disk or pipe that standard output goes to")]
    Write {
        /// What the system says.
        source: io::Error,
    },
}

/// Runs the command on its file or standard input, printing to standard output.
pub fn main(args: &Args) -> Result<Summary, ParseError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let style = Style { human: args.human, notices: args.notices };
    if args.file.as_os_str() == "-" {
        return run(io::stdin().lock(), "standard input", args.format, style, &mut out);
    }
    let name = args.file.display().to_string();
    let file = File::open(&args.file).map_err(|source| ParseError::Open { name: name.clone(), source })?;
    run(BufReader::new(file), &name, args.format, style, &mut out)
}

/// Reads a log to its end and prints what it says.
pub fn run(input: impl BufRead, name: &str, format: Format, style: Style, out: &mut impl Write) -> Result<Summary, ParseError> {
    let mut lines = Lines::new(input);
    let mut readers = Readers::default();
    let mut findings = Findings::new(style);
    let mut summary = Summary::default();
    let end = loop {
        match lines.next() {
            Ok(Some(line)) => {
                let text = tidy(&line.text);
                readers.push(line.number, &text, &frame::frame(&text, format), &mut findings);
            }
            Ok(None) => break Ok(()),
            Err(source) => break Err(ParseError::Read { name: name.to_owned(), line: lines.number(), source }),
        }
        if let Err(gone) = findings.print_excess(out) {
            return stopped(gone, summary);
        }
    };
    readers.finish(&mut findings);
    if let Err(gone) = findings.print_all(out).and_then(|()| out.flush()) {
        return stopped(gone, summary);
    }
    summary.lines = lines.number();
    (summary.cut_lines, summary.undecodable_lines) = (lines.cut(), lines.undecodable());
    (summary.forged_lines, summary.lost_records) = (readers.forged(), readers.lost());
    summary.printed = findings.printed();
    end.map(|()| summary)
}

/// A reader such as `head` that has enough is no error.
fn stopped(error: io::Error, summary: Summary) -> Result<Summary, ParseError> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(Summary { reader_gone: true, ..summary });
    }
    Err(ParseError::Write { source: error })
}

/// Removes terminal colours, also where the escape character was lost or written out (`[0m`, `^[[31m`).
fn tidy(line: &str) -> Cow<'_, str> {
    const ESCAPE: char = '\u{1b}';
    if !line.contains(ESCAPE) && !line.contains("[0m") {
        return line.into();
    }
    let line = line.replace("^[[", "\u{1b}[");
    let mut text = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some((before, behind)) = rest.split_once('[') {
        let escaped = before.ends_with(ESCAPE);
        let last = behind.trim_start_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, ';' | '?'));
        let is_bare_colour = last.starts_with('m') && last.len() < behind.len();
        text.push_str(before);
        rest = match last.chars().next() {
            Some(letter) if is_bare_colour || (escaped && letter.is_ascii_alphabetic()) => last.get(1..).unwrap_or_default(),
            _ => {
                text.push('[');
                behind
            }
        };
    }
    text.push_str(rest);
    text.retain(|letter| letter != ESCAPE);
    text.into()
}

#[cfg(test)]
mod tests;
