//! Lines that a screen or a mail program wrapped before someone posted them.

use super::{CutLine, Draft, LONGEST_SUMMARY, OomAssembler, OomNews};
use crate::parse::oom::draft::TaskIn;
use crate::parse::oom::event::{OomId, Position};
use crate::parse::oom::kill_line::Killed;
use crate::parse::oom::line::{LimitOf, OomLine};

impl OomAssembler {
    /// An unknown line directly behind a line that ended too early may be the rest of it.
    pub(super) fn take_rest_of_cut_line(&mut self, at: Position, text: &str, news: &mut Vec<OomNews>) {
        let Some(cut) = self.cut.take() else { return self.take_rest_of_summary(at, text) };
        let rest = text.trim();
        if rest.is_empty() || cut.text.len() + rest.len() > LONGEST_SUMMARY {
            return;
        }
        if cut.of_kill {
            self.take_rest_of_kill(cut, rest, news);
        } else {
            self.take_rest_of_task_in(cut, rest);
        }
    }

    pub(super) fn take_rest_of_kill(&mut self, cut: CutLine, rest: &str, news: &mut Vec<OomNews>) {
        let joined = [format!("{}{rest}", cut.text), format!("{} {rest}", cut.text)];
        let known = Killed::parse(&cut.text).map_or(0, |killed| killed.fields_known());
        let candidates = joined.iter().filter_map(|text| Some((text, Killed::parse(text)?)));
        let Some((text, killed)) =
            candidates.filter(|(_, killed)| killed.fields_known() > known).max_by_key(|(_, killed)| killed.fields_known())
        else {
            return;
        };
        let told_fully = Draft::new(OomId(0), cut.at).into_event(Some((&killed, cut.at)));
        self.amend_victim(cut.at, killed.pid, news, |event| event.fill_from(told_fully));
        if !killed.has_sizes() {
            self.cut = Some(CutLine { text: text.clone(), ..cut });
        }
    }

    pub(super) fn take_rest_of_task_in(&mut self, cut: CutLine, rest: &str) {
        let joined = [format!("{}{rest}", cut.text), format!("{} {rest}", cut.text)];
        let Some(text) = joined.into_iter().find(|text| begins_task_in(text)) else { return };
        let Some(OomLine::TaskIn { task_memcg, limit }) = OomLine::recognise(&text) else { return };
        let Some(draft) = self.draft.as_mut().filter(|draft| draft.task_in.is_some()) else { return };
        let limit = match limit {
            Some(LimitOf::Cgroup(path)) => Some(path.into()),
            _ => None,
        };
        draft.task_in = Some(TaskIn { task_memcg: task_memcg.map(Into::into), limit });
        self.cut = Some(CutLine { text, ..cut });
    }

    /// A wrapped summary goes on without a key in front, but no field of it except a name has spaces.
    pub(super) fn take_rest_of_summary(&mut self, at: Position, text: &str) {
        let Some(draft) = &self.draft else { return };
        let rest = text.trim();
        let follows_directly = draft.summary.is_some() && draft.last.record.checked_add(1).is_none_or(|next| at.record <= next);
        if follows_directly && (!rest.contains(char::is_whitespace) || rest.contains(",pid=")) {
            self.append_to_summary(at, rest);
        }
    }
}

/// Whether a text can be the beginning of `Task in A killed as a result of limit of B`, or all of it.
fn begins_task_in(text: &str) -> bool {
    const BETWEEN: &str = "killed as a result of limit of ";
    let Some(rest) = text.strip_prefix("Task in ") else { return false };
    let Some((_, behind)) = rest.split_once(' ') else { return true };
    match behind.strip_prefix(BETWEEN) {
        Some(limit) => !limit.contains(char::is_whitespace),
        None => BETWEEN.starts_with(behind) || BETWEEN.trim_end() == behind,
    }
}
