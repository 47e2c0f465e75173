//! The lines of a dump that stand before its kill: header, cgroups, figures, tables, chosen victim.

use super::{CutLine, Draft, GROUP_PATIENCE_MICROS, LONGEST_SUMMARY, OomAssembler, OomNews, Trace, within};
use crate::model::Pid;
use crate::parse::oom::draft::{Chosen, TaskIn};
use crate::parse::oom::event::{LimitUse, OomId, Position};
use crate::parse::oom::kill_line::Decision;
use crate::parse::oom::line::{Header, LimitOf};
use crate::parse::oom::memory_stats::StatsLine;
use crate::parse::oom::summary::Summary;

/// Before the victim is named.
impl OomAssembler {
    pub(super) fn header(&mut self, at: Position, text: &str, header: Header<'_>, news: &mut Vec<OomNews>) {
        self.close(news);
        let draft = self.continued(at);
        draft.has_header = true;
        draft.trigger.comm = header.comm.map(Into::into);
        draft.trigger.gfp_mask = header.gfp_mask.map(Into::into);
        draft.trigger.order = header.order;
        draft.trigger.oom_score_adj = header.oom_score_adj;
        draft.evidence.push(text);
    }

    pub(super) fn trigger_cpuset(&mut self, at: Position, comm: &str, cpuset: &str, news: &mut Vec<OomNews>) {
        let draft = self.before_victim(at, news);
        let comm = draft.trigger.comm.get_or_insert_with(|| comm.into());
        draft.trigger.cpuset = Some(cpuset.into()).filter(|_| !comm.is_empty());
    }

    /// Stack traces of other troubles have the same line, so it counts at once only behind its own
    /// header, and otherwise when the figures of a cgroup's limit follow.
    pub(super) fn trigger_pid(&mut self, at: Position, pid: Pid, comm: &str) {
        match self.draft.as_mut().filter(|draft| draft.has_header) {
            Some(draft) if draft.trigger.pid.is_none() && draft.trigger.comm.as_deref() == Some(comm) => draft.trigger.pid = Some(pid),
            Some(_) => {}
            None => self.trace = Some(Trace { at, pid, comm: comm.into() }),
        }
    }

    pub(super) fn take_trigger_from_trace(&mut self) {
        let Some(draft) = self.draft.as_mut().filter(|draft| draft.trigger.comm.is_none()) else { return };
        if let Some(trace) = self.trace.take().filter(|trace| trace.precedes(draft.first)) {
            draft.trigger.comm = Some(trace.comm);
            draft.trigger.pid = Some(trace.pid);
        }
    }

    pub(super) fn task_in(
        &mut self,
        at: Position,
        text: &str,
        task_memcg: Option<&str>,
        limit: Option<LimitOf<'_>>,
        news: &mut Vec<OomNews>,
    ) {
        if self.draft.as_ref().is_some_and(|draft| draft.task_in.is_some()) {
            self.close(news);
        }
        let draft = self.before_victim(at, news);
        draft.says_global |= limit == Some(LimitOf::Host);
        let limit = match limit {
            Some(LimitOf::Cgroup(path)) => Some(path.into()),
            _ => None,
        };
        draft.task_in = Some(TaskIn { task_memcg: task_memcg.map(Into::into), limit });
        draft.evidence.push(text);
        self.take_trigger_from_trace();
        self.cut = Some(CutLine { text: text.trim().to_owned(), at, of_kill: false });
    }

    pub(super) fn memory(&mut self, at: Position, text: &str, usage: LimitUse, news: &mut Vec<OomNews>) {
        if self.draft.as_ref().is_some_and(|draft| draft.memory.is_some_and(|known| known != usage)) {
            self.close(news);
        }
        let draft = self.before_victim(at, news);
        if draft.memory.is_none() {
            draft.evidence.push(text);
        }
        draft.memory = Some(usage);
        self.take_trigger_from_trace();
    }

    pub(super) fn figures(
        &mut self,
        at: Position,
        news: &mut Vec<OomNews>,
        slot: fn(&mut Draft) -> &mut Option<LimitUse>,
        usage: LimitUse,
    ) {
        slot(self.before_victim(at, news)).get_or_insert(usage);
    }

    pub(super) fn stats(&mut self, at: Position, stats: StatsLine<'_>, news: &mut Vec<OomNews>) {
        let draft = self.before_victim(at, news);
        if !draft.stats.has_begun() {
            draft.stats_name_limit = draft.memory.is_some() && !draft.table.has_rows();
        }
        draft.stats.begin(stats);
    }

    pub(super) fn stats_row(&mut self, at: Position, key: &str, value: u64) {
        let Some(draft) = &mut self.draft else { return };
        // A screen that wraps `memory: usage .., failcnt 7` leaves its last field on a line of its own.
        if let (Some(memory), "failcnt") = (&mut draft.memory, key) {
            memory.failcnt = memory.failcnt.or(Some(value));
        } else if draft.stats.has_begun() && !draft.table.has_rows() {
            draft.stats.row(key, Some(value));
            draft.last = at;
        }
    }

    /// The open dump, for a line of which a dump has any number.
    pub(super) fn continued(&mut self, at: Position) -> &mut Draft {
        let ids = &mut self.ids;
        let draft = self.draft.get_or_insert_with(|| {
            *ids += 1;
            Draft::new(OomId(*ids), at)
        });
        draft.last = at;
        draft
    }

    /// The open dump if it has not named its victim yet, else the next one.
    pub(super) fn before_victim(&mut self, at: Position, news: &mut Vec<OomNews>) -> &mut Draft {
        if self.draft.as_ref().is_some_and(Draft::names_victim) {
            self.close(news);
        }
        self.continued(at)
    }

    pub(super) fn table_of_next_rows(&mut self, at: Position, news: &mut Vec<OomNews>) -> &mut Draft {
        if self.draft.as_ref().is_some_and(|draft| draft.table.has_rows()) {
            self.close(news);
        }
        self.before_victim(at, news)
    }
}

/// Where the victim is named.
impl OomAssembler {
    pub(super) fn summary(&mut self, at: Position, text: &str, rest: &str, news: &mut Vec<OomNews>) {
        let pid = Summary::parse(rest).pid;
        let other_decision = |draft: &Draft| draft.decision.as_ref().is_some_and(|chosen| Some(chosen.process.pid) != pid);
        if self.draft.as_ref().is_some_and(|draft| draft.summary.is_some() || other_decision(draft)) {
            self.close(news);
        }
        let draft = self.continued(at);
        draft.summary = Some(rest.trim_end().to_owned());
        draft.evidence.push(text);
    }

    /// Appends a piece of a summary that was broken up, or of any line that a screen wrapped.
    pub(super) fn summary_fragment(&mut self, at: Position, fragment: &str, news: &mut Vec<OomNews>) {
        if self.cut.is_some() {
            return self.take_rest_of_cut_line(at, fragment, news);
        }
        self.append_to_summary(at, fragment);
    }

    pub(super) fn append_to_summary(&mut self, at: Position, fragment: &str) {
        let Some(draft) = self.draft.as_mut().filter(|draft| !draft.summary().is_whole()) else { return };
        let Some(summary) = &mut draft.summary else { return };
        if summary.len() + fragment.len() <= LONGEST_SUMMARY {
            summary.push_str(fragment.trim());
            draft.evidence.push(fragment);
            draft.last = at;
        }
    }

    pub(super) fn decision(&mut self, at: Position, text: &str, decision: &Decision<'_>, news: &mut Vec<OomNews>) {
        let other_victim = |draft: &Draft| draft.decision.is_some() || draft.summary().pid.is_some_and(|pid| pid != decision.pid);
        if self.draft.as_ref().is_some_and(other_victim) {
            self.close(news);
        }
        let draft = self.continued(at);
        draft.decision = Some(Chosen::of(decision));
        draft.evidence.push(text);
    }
}

impl Trace {
    /// Whether the trace leads to a line of this position: the kernel prints both in microseconds,
    /// with fewer frames and registers in between than this.
    pub(super) fn precedes(&self, line: Position) -> bool {
        const MOST_FRAMES: u64 = 100;
        let records = line.record.checked_sub(self.at.record);
        records.is_some_and(|records| records <= MOST_FRAMES) && within(self.at, line, GROUP_PATIENCE_MICROS)
    }
}
