//! The finding log: each change of a finding, written as it happens.
//!
//! Flows in: findings that opened, counted, were amended or resolved. Flows out: text for a person,
//! or one JSON object a line for a machine, to any writer. Knows nothing of where findings come from.

mod human;
mod paint;
mod wrap;

use crate::findings::{Finding, FindingId};
use paint::Paint;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{self, IsTerminal, Write},
};

/// The most findings whose last telling is remembered: twice as many as the agent keeps.
const MAX_REMEMBERED: usize = 1024;

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person, in colour or plain.
    Human {
        /// Whether to colour.
        colour: bool,
    },
    /// One JSON object a line: the finding's public form with the field `change` before it.
    Json,
}

impl Form {
    /// The human form, in colour where the output is a terminal that can show it and nobody has
    /// asked for none (`NO_COLOR`, <https://no-color.org>).
    pub fn human_for(output: &impl IsTerminal) -> Self {
        let variable = |name| std::env::var_os(name);
        Self::Human { colour: output.is_terminal() && wants_colour(variable("NO_COLOR").as_deref(), variable("TERM").as_deref()) }
    }
}

fn wants_colour(no_color: Option<&OsStr>, terminal: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && terminal.is_none_or(|terminal| terminal != "dumb")
}

/// Writes changes of findings.
#[derive(Debug)]
pub struct FindingLog<W> {
    output: W,
    form: Form,
    /// The last telling of each finding, so that evidence that changes no conclusion is not told again.
    told: BTreeMap<FindingId, Told>,
}

/// What was concluded when a finding was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    summary: String,
    confidence: crate::model::Confidence,
}

/// A line of the JSON form.
#[derive(Serialize)]
struct JsonLine<'a> {
    change: &'static str,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl<W: Write> FindingLog<W> {
    /// Writes to `output` in this form.
    pub fn new(output: W, form: Form) -> Self {
        Self { output, form, told: BTreeMap::new() }
    }

    /// A finding that is new, or has come back: told in full.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn opened(&mut self, finding: &Finding) -> io::Result<()> {
        self.remember(finding);
        self.write("opened", finding, human::in_full)
    }

    /// The same condition again: told in a line.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn counted(&mut self, finding: &Finding) -> io::Result<()> {
        self.remember(finding);
        self.write("counted", finding, human::again)
    }

    /// More evidence for what is already told: told only where it changes the sentence or how sure it is.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn amended(&mut self, finding: &Finding) -> io::Result<()> {
        let is_news = self.remember(finding);
        match self.form {
            Form::Human { .. } if !is_news => Ok(()),
            Form::Human { .. } | Form::Json => self.write("amended", finding, human::amended),
        }
    }

    /// The condition has stopped: told in a line.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn resolved(&mut self, finding: &Finding) -> io::Result<()> {
        self.told.remove(&finding.id);
        self.write("resolved", finding, human::resolved)
    }

    /// Keeps what this telling concludes; whether it differs from the last.
    fn remember(&mut self, finding: &Finding) -> bool {
        if self.told.len() >= MAX_REMEMBERED {
            self.told.clear();
        }
        let telling = Told { summary: finding.summary.clone(), confidence: finding.confidence };
        self.told.insert(finding.id.clone(), telling.clone()) != Some(telling)
    }

    /// Writes at once and whole, so that lines of other threads do not come between.
    fn write(&mut self, change: &'static str, finding: &Finding, human: fn(&Finding, Paint) -> String) -> io::Result<()> {
        let text = match self.form {
            Form::Human { colour } => human(finding, Paint { colour }),
            Form::Json => serde_json::to_string(&JsonLine { change, finding })? + "\n",
        };
        self.output.write_all(text.as_bytes())?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exporters::examples, model::Confidence};

    fn written(form: Form, tell: impl FnOnce(&mut FindingLog<Vec<u8>>) -> io::Result<()>) -> String {
        let mut log = FindingLog::new(Vec::new(), form);
        tell(&mut log).expect("a vector can be written");
        String::from_utf8(log.output).expect("text")
    }

    const PLAIN: Form = Form::Human { colour: false };

    #[test]
    fn a_kill_from_the_first_to_the_last() {
        let kill = examples::oom_kill();
        let text = written(PLAIN, |log| {
            log.opened(&kill)?;
            log.counted(&kill)?;
            log.amended(&Finding { confidence: Confidence::Likely, ..kill.clone() })?;
            log.resolved(&kill)
        });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colour_changes_no_word() {
        let coloured = written(Form::Human { colour: true }, |log| log.opened(&examples::oom_kill()));
        let plain = written(PLAIN, |log| log.opened(&examples::oom_kill()));
        let mut stripped = String::new();
        for (number, part) in coloured.split('\u{1b}').enumerate() {
            stripped.push_str(if number == 0 { part } else { part.split_once('m').expect("a colour ends with m").1 });
        }
        assert!(coloured.contains('\u{1b}'));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_process_cannot_write_to_the_terminal() {
        let text = written(PLAIN, |log| log.opened(&examples::hostile()));
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'));
        assert!(text.contains("\\u{1b}[31m") && !text.contains('\u{202e}'));
    }

    #[test]
    fn evidence_that_changes_nothing_is_not_told_to_a_person() {
        let kill = examples::oom_kill();
        let text = written(PLAIN, |log| {
            log.opened(&kill)?;
            log.amended(&kill)
        });
        assert_eq!(text, written(PLAIN, |log| log.opened(&kill)));
    }

    #[test]
    fn a_json_line_is_the_public_form() {
        let kill = examples::oom_kill();
        let text = written(Form::Json, |log| {
            log.opened(&kill)?;
            log.amended(&kill)
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.iter().map(|line| line["change"].as_str()).collect::<Vec<_>>(), [Some("opened"), Some("amended")]);
        let mut told = lines[0].clone();
        told.as_object_mut().expect("an object").remove("change");
        assert_eq!(told, serde_json::to_value(&kill).expect("JSON"));
    }

    #[test]
    fn the_memory_of_what_was_told_is_bounded() {
        let mut log = FindingLog::new(io::sink(), PLAIN);
        for n in 0..3 * MAX_REMEMBERED {
            let finding = Finding { id: FindingId(n.to_string()), ..examples::resolved() };
            log.opened(&finding).expect("a sink");
        }
        assert!(log.told.len() <= MAX_REMEMBERED);
    }

    #[test]
    fn colour_is_off_when_asked() {
        let text = |text: &'static str| Some(OsStr::new(text));
        assert!(wants_colour(None, text("xterm")) && wants_colour(text(""), None));
        assert!(!wants_colour(text("1"), text("xterm")) && !wants_colour(None, text("dumb")));
    }
}
