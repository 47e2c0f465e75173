//! The state machine that puts the lines of OOM dumps together.
//!
//! Made for a live agent: an event leaves with its `Killed process` line, and whatever is said
//! about it later amends it. Made for damage: dumps that lost their head or tail, kills without a
//! dump, lines that come twice, and lines of other subsystems in between. Two dumps must never be
//! mixed up, so a line that a dump already has, or that stands before what it already has, begins
//! the next one.

use super::draft::{Chosen, Draft, Evidence, TaskIn, victim_of};
use super::event::{GroupKill, LimitUse, OomEvent, OomId, OomOutcome, Position, Process, ReaperWord, Victim};
use super::kill_line::{Announcement, Decision, Killed};
use super::line::{Header, LimitOf, OomLine};
use super::memory_stats::StatsLine;
use super::summary::Summary;
use crate::model::{BootTime, Pid};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a line, a gap or the passing of time brought to light.
#[derive(Debug, Clone, PartialEq)]
pub enum OomNews {
    /// An OOM that was not reported before.
    Event(Box<OomEvent>),
    /// More, or a correction, about the reported event of the same id: it replaces that one.
    Amended(Box<OomEvent>),
    /// The kernel did not print this many dumps. Their kills were printed all the same.
    DumpsSuppressed {
        /// Where it says so.
        at: Position,
        /// How many.
        dumps: u64,
    },
    /// An OOM killer ran and killed nothing: no process could be killed, the victim was about to
    /// exit, or the kernel panicked instead.
    NothingKilled(Box<OomEvent>),
}

/// Assembles the events of one kernel log.
#[derive(Debug, Default)]
pub struct OomAssembler {
    draft: Option<Draft>,
    recent: VecDeque<OomEvent>,
    group: Option<OpenGroup>,
    last_kill: Option<LastKill>,
    cut: Option<CutLine>,
    trace: Option<Trace>,
    gap_since_kill: bool,
    ids: u64,
}

/// A group whose members are being printed.
#[derive(Debug)]
struct OpenGroup {
    id: OomId,
    last: Position,
}

/// The latest kill line: a group notice that follows is about its process.
#[derive(Debug)]
struct LastKill {
    id: OomId,
    at: Position,
    line: Arc<str>,
    victim: Victim,
    announcement: Option<Announcement>,
    /// The line made its process a member of a group that was being printed.
    joined_group: bool,
}

/// The head of the latest stack trace. It names the trigger of a dump whose header is lost.
#[derive(Debug)]
struct Trace {
    at: Position,
    pid: Pid,
    comm: Arc<str>,
}

/// A line that ended too early: the next one may be its rest, if someone's screen wrapped it.
#[derive(Debug)]
struct CutLine {
    text: String,
    at: Position,
    of_kill: bool,
}

/// A dump takes milliseconds, on a slow serial console seconds. Lines further apart are of two dumps.
const DUMP_PATIENCE_MICROS: u64 = 10_000_000;
/// The members of a group are killed in one loop.
const GROUP_PATIENCE_MICROS: u64 = 1_000_000;
/// A kill line for the same pid within this time is the same kill told again; pids are not reused so soon.
const SAME_KILL_MICROS: u64 = 60_000_000;
/// Reported events that can still be amended: more than the reaper (seconds behind) or a sorted log needs.
const MOST_RECENT: usize = 32;
/// The longest summary that is put together from fragments: two paths of the kernel's longest (4 KiB).
const LONGEST_SUMMARY: usize = 10 << 10;

impl OomAssembler {
    /// Takes the text of one record.
    pub fn push(&mut self, at: Position, text: &str) -> Vec<OomNews> {
        let mut news = Vec::new();
        self.push_into(at, text, &mut news);
        news
    }

    fn push_into(&mut self, at: Position, text: &str, news: &mut Vec<OomNews>) {
        match OomLine::recognise(text) {
            Some(line) => {
                self.close_stale(at, news);
                self.take(at, text, line, news);
            }
            None if text.contains('\n') => text.lines().for_each(|line| self.push_into(at, line, news)),
            None => self.take_rest_of_cut_line(at, text, news),
        }
    }

    /// The source lost records here.
    pub fn note_gap(&mut self) {
        if let Some(draft) = &mut self.draft {
            draft.gap = true;
        }
        self.group = None;
        self.last_kill = None;
        self.cut = None;
        self.trace = None;
        self.gap_since_kill = true;
    }

    /// Time has passed without a line: a dump that stopped coming will not go on.
    pub fn expire(&mut self, now: BootTime) -> Vec<OomNews> {
        let mut news = Vec::new();
        let stale = |draft: &Draft| draft.last.boot.is_some_and(|last| now.micros_since(last) > DUMP_PATIENCE_MICROS);
        if self.draft.as_ref().is_some_and(stale) {
            self.close(&mut news);
        }
        news
    }

    /// The first line of the dump that is being put together.
    pub fn open_since(&self) -> Option<Position> {
        self.draft.as_ref().map(|draft| draft.first)
    }

    /// The log has ended.
    pub fn flush(&mut self) -> Vec<OomNews> {
        let mut news = Vec::new();
        self.close(&mut news);
        news
    }

    fn take(&mut self, at: Position, text: &str, line: OomLine<'_>, news: &mut Vec<OomNews>) {
        if !matches!(line, OomLine::StatsRow { .. } | OomLine::SummaryFragment(_)) {
            self.cut = None;
        }
        match line {
            OomLine::Header(header) => self.header(at, text, header, news),
            OomLine::TriggerCpuset { comm, cpuset } => self.trigger_cpuset(at, comm, cpuset, news),
            OomLine::TriggerPid { pid, comm } => self.trigger_pid(at, pid, comm),
            OomLine::TaskIn { task_memcg, limit } => self.task_in(at, text, task_memcg, limit, news),
            OomLine::Memory(usage) => self.memory(at, text, usage, news),
            OomLine::MemoryAndSwap(usage) => self.figures(at, news, |draft| &mut draft.memory_and_swap, usage),
            OomLine::Swap(usage) => self.figures(at, news, |draft| &mut draft.swap, usage),
            OomLine::Kmem(usage) => self.figures(at, news, |draft| &mut draft.kmem, usage),
            OomLine::Stats(stats) => self.stats(at, stats, news),
            OomLine::StatsRow { key, value } => self.stats_row(at, key, value),
            OomLine::MemInfo => self.before_victim(at, news).says_global = true,
            OomLine::TableHeader(columns) => self.table_of_next_rows(at, news).table.begin(columns),
            OomLine::TableRow(row) => self.continued(at).table.row(row),
            OomLine::Summary(rest) => self.summary(at, text, rest, news),
            OomLine::SummaryFragment(fragment) => self.summary_fragment(at, fragment, news),
            OomLine::Decision(decision) => self.decision(at, text, &decision, news),
            OomLine::Killed(killed) => self.killed(at, text, &killed, news),
            OomLine::GroupNotice { cgroup } => self.group_notice(at, text, cgroup, news),
            OomLine::Reaped { pid, comm } => self.reaped(at, pid, comm, news),
            OomLine::UnableToReap { pid } => self.amend_victim(at, pid, news, |event| event.reaper = Some(ReaperWord::UnableToReap)),
            OomLine::DumpsSuppressed(dumps) => news.push(OomNews::DumpsSuppressed { at, dumps }),
            OomLine::AlreadyExiting | OomLine::NoKillableProcess | OomLine::Panic => self.nothing_killed(at, text, news),
        }
    }
}

/// The lines before the victim is named.
impl OomAssembler {
    fn header(&mut self, at: Position, text: &str, header: Header<'_>, news: &mut Vec<OomNews>) {
        self.close(news);
        let draft = self.continued(at);
        draft.has_header = true;
        draft.trigger.comm = header.comm.map(Into::into);
        draft.trigger.gfp_mask = header.gfp_mask.map(Into::into);
        draft.trigger.order = header.order;
        draft.trigger.oom_score_adj = header.oom_score_adj;
        draft.evidence.push(text);
    }

    fn trigger_cpuset(&mut self, at: Position, comm: &str, cpuset: &str, news: &mut Vec<OomNews>) {
        let draft = self.before_victim(at, news);
        let comm = draft.trigger.comm.get_or_insert_with(|| comm.into());
        draft.trigger.cpuset = Some(cpuset.into()).filter(|_| !comm.is_empty());
    }

    /// Stack traces of other troubles have the same line, so it counts at once only behind its own
    /// header, and otherwise when the figures of a cgroup's limit follow.
    fn trigger_pid(&mut self, at: Position, pid: Pid, comm: &str) {
        match self.draft.as_mut().filter(|draft| draft.has_header) {
            Some(draft) if draft.trigger.pid.is_none() && draft.trigger.comm.as_deref() == Some(comm) => draft.trigger.pid = Some(pid),
            Some(_) => {}
            None => self.trace = Some(Trace { at, pid, comm: comm.into() }),
        }
    }

    fn take_trigger_from_trace(&mut self) {
        let Some(draft) = self.draft.as_mut().filter(|draft| draft.trigger.comm.is_none()) else { return };
        if let Some(trace) = self.trace.take().filter(|trace| trace.precedes(draft.first)) {
            draft.trigger.comm = Some(trace.comm);
            draft.trigger.pid = Some(trace.pid);
        }
    }

    fn task_in(&mut self, at: Position, text: &str, task_memcg: Option<&str>, limit: Option<LimitOf<'_>>, news: &mut Vec<OomNews>) {
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

    fn memory(&mut self, at: Position, text: &str, usage: LimitUse, news: &mut Vec<OomNews>) {
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

    fn figures(&mut self, at: Position, news: &mut Vec<OomNews>, slot: fn(&mut Draft) -> &mut Option<LimitUse>, usage: LimitUse) {
        slot(self.before_victim(at, news)).get_or_insert(usage);
    }

    fn stats(&mut self, at: Position, stats: StatsLine<'_>, news: &mut Vec<OomNews>) {
        let draft = self.before_victim(at, news);
        if !draft.stats.has_begun() {
            draft.stats_name_limit = draft.memory.is_some() && !draft.table.has_rows();
        }
        draft.stats.begin(stats);
    }

    fn stats_row(&mut self, at: Position, key: &str, value: u64) {
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
    fn continued(&mut self, at: Position) -> &mut Draft {
        let ids = &mut self.ids;
        let draft = self.draft.get_or_insert_with(|| {
            *ids += 1;
            Draft::new(OomId(*ids), at)
        });
        draft.last = at;
        draft
    }

    /// The open dump if it has not named its victim yet, else the next one.
    fn before_victim(&mut self, at: Position, news: &mut Vec<OomNews>) -> &mut Draft {
        if self.draft.as_ref().is_some_and(Draft::names_victim) {
            self.close(news);
        }
        self.continued(at)
    }

    fn table_of_next_rows(&mut self, at: Position, news: &mut Vec<OomNews>) -> &mut Draft {
        if self.draft.as_ref().is_some_and(|draft| draft.table.has_rows()) {
            self.close(news);
        }
        self.before_victim(at, news)
    }
}

/// The lines that name a victim before it is killed.
impl OomAssembler {
    fn summary(&mut self, at: Position, text: &str, rest: &str, news: &mut Vec<OomNews>) {
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
    fn summary_fragment(&mut self, at: Position, fragment: &str, news: &mut Vec<OomNews>) {
        if self.cut.is_some() {
            return self.take_rest_of_cut_line(at, fragment, news);
        }
        self.append_to_summary(at, fragment);
    }

    fn append_to_summary(&mut self, at: Position, fragment: &str) {
        let Some(draft) = self.draft.as_mut().filter(|draft| !draft.summary().is_whole()) else { return };
        let Some(summary) = &mut draft.summary else { return };
        if summary.len() + fragment.len() <= LONGEST_SUMMARY {
            summary.push_str(fragment.trim());
            draft.evidence.push(fragment);
            draft.last = at;
        }
    }

    fn decision(&mut self, at: Position, text: &str, decision: &Decision<'_>, news: &mut Vec<OomNews>) {
        let other_victim = |draft: &Draft| draft.decision.is_some() || draft.summary().pid.is_some_and(|pid| pid != decision.pid);
        if self.draft.as_ref().is_some_and(other_victim) {
            self.close(news);
        }
        let draft = self.continued(at);
        draft.decision = Some(Chosen::of(decision));
        draft.evidence.push(text);
    }
}

/// The kill, and what follows it.
impl OomAssembler {
    fn killed(&mut self, at: Position, text: &str, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
        let joins = self.draft.as_ref().is_none_or(|draft| !draft.is_identified()) && self.group_takes(at, killed);
        if joins {
            self.join_group(at, text, killed, news);
        } else {
            self.group = None;
            self.close_with_kill(at, text, killed, news);
        }
        if !killed.has_sizes() {
            self.cut = Some(CutLine { text: text.trim_end().to_owned(), at, of_kill: true });
        }
        self.gap_since_kill = false;
    }

    fn close_with_kill(&mut self, at: Position, text: &str, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
        let mut draft = self.draft_of_kill(at, killed, news);
        draft.last = at;
        draft.evidence.push(text);
        let group = draft.group.is_some();
        let mut event = draft.into_event(Some((killed, at)));
        if let Some(group) = &mut event.group {
            remember_member(group, Process { pid: killed.pid, comm: killed.comm.map(Into::into) });
        }
        let id = self.report(event, news);
        self.last_kill = Some(LastKill {
            id,
            at,
            line: text.trim().into(),
            victim: victim_of(killed),
            announcement: killed.announcement,
            joined_group: false,
        });
        if group {
            self.group = Some(OpenGroup { id, last: at });
        }
    }

    /// The open dump if it leads to this kill; otherwise the kill stands alone.
    fn draft_of_kill(&mut self, at: Position, killed: &Killed<'_>, news: &mut Vec<OomNews>) -> Draft {
        let mut lost_head = self.gap_since_kill && self.draft.is_none();
        if let Some(draft) = &self.draft {
            let told_again = self.find_recent(killed.pid, at).is_some();
            if told_again || draft.leads_to(killed) {
                if let Some(draft) = self.draft.take() {
                    return draft;
                }
            } else if draft.gap && !draft.names_victim() {
                // Its own kill is among the lost records, or is this one: nobody can tell, and one
                // kill must not be told twice.
                self.draft = None;
                lost_head = true;
            } else {
                self.close(news);
            }
        }
        self.ids += 1;
        Draft { gap: lost_head, ..Draft::new(OomId(self.ids), at) }
    }

    fn group_takes(&self, at: Position, killed: &Killed<'_>) -> bool {
        let Some(group) = &self.group else { return false };
        let Some(event) = self.recent.iter().find(|event| event.id == group.id) else { return false };
        let same_kind = killed.announcement.is_none() || event.announcement.is_none() || event.announcement == killed.announcement;
        same_kind && within(group.last, at, GROUP_PATIENCE_MICROS)
    }

    fn join_group(&mut self, at: Position, text: &str, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
        let Some(open) = &mut self.group else { return };
        open.last = at;
        let id = open.id;
        let Some(event) = self.recent.iter_mut().find(|event| event.id == id) else { return };
        let group = event.group.get_or_insert_default();
        let joined_group = remember_member(group, Process { pid: killed.pid, comm: killed.comm.map(Into::into) });
        let told_again = Draft::new(id, at).into_event(Some((killed, at)));
        if event.victim.pid == killed.pid.into() {
            event.fill_from(told_again);
        }
        event.last = at;
        news.push(OomNews::Amended(Box::new(event.clone())));
        self.last_kill =
            Some(LastKill { id, at, line: text.trim().into(), victim: victim_of(killed), announcement: killed.announcement, joined_group });
    }

    /// `Tasks in P are going to be killed ..` directly follows the kill of the first victim.
    fn group_notice(&mut self, at: Position, text: &str, cgroup: Option<&str>, news: &mut Vec<OomNews>) {
        let of_draft = self.draft.as_ref().is_some_and(|draft| draft.summary.is_some() && lies_in(draft.summary().task_memcg, cgroup));
        if !of_draft {
            self.close(news);
            if let Some(last) = self.last_kill.take().filter(|last| within(last.at, at, GROUP_PATIENCE_MICROS)) {
                let id = self.event_of_first_victim(last, news);
                return self.open_group(at, id, text, cgroup, news);
            }
        }
        let draft = self.continued(at);
        draft.group = Some(GroupKill { cgroup: cgroup.map(Into::into), ..GroupKill::default() });
        draft.evidence.push(text);
    }

    /// The event whose victim was killed last. In a storm without dumps, the first victim of the
    /// next group looked like a member of the previous one until its own notice came.
    fn event_of_first_victim(&mut self, last: LastKill, news: &mut Vec<OomNews>) -> OomId {
        let previous = self.recent.iter_mut().find(|event| event.id == last.id && event.group.is_some());
        let Some(previous) = previous.filter(|_| last.joined_group) else { return last.id };
        if let Some(group) = &mut previous.group {
            group.members.retain(|member| Some(member.pid) != last.victim.pid);
        }
        news.push(OomNews::Amended(Box::new(previous.clone())));
        self.ids += 1;
        let draft = Draft { evidence: Evidence::of(&last.line), ..Draft::new(OomId(self.ids), last.at) };
        let mut event = draft.into_event(None);
        event.outcome = OomOutcome::Killed;
        event.completeness.kill = true;
        event.victim = last.victim;
        event.announcement = last.announcement;
        self.remember(event, news)
    }

    fn open_group(&mut self, at: Position, id: OomId, text: &str, cgroup: Option<&str>, news: &mut Vec<OomNews>) {
        self.group = Some(OpenGroup { id, last: at });
        let Some(event) = self.recent.iter_mut().find(|event| event.id == id) else { return };
        let victim = event.victim.pid.map(|pid| Process { pid, comm: event.victim.comm.clone() });
        let group = event.group.get_or_insert_default();
        group.cgroup = group.cgroup.take().or_else(|| cgroup.map(Into::into));
        victim.into_iter().for_each(|victim| {
            remember_member(group, victim);
        });
        event.task_memcg = event.task_memcg.take().or_else(|| cgroup.map(Into::into));
        if event.evidence.len() < Evidence::MOST_LINES {
            event.evidence.extend(Evidence::of(text).into_lines());
        }
        event.last = at;
        news.push(OomNews::Amended(Box::new(event.clone())));
    }

    fn reaped(&mut self, at: Position, pid: Pid, comm: Option<&str>, news: &mut Vec<OomNews>) {
        self.amend_victim(at, pid, news, |event| event.reaper = Some(ReaperWord::Reaped));
        let unknown = self.find_recent(pid, at).is_none();
        if let Some(draft) = self.draft.as_mut().filter(|draft| unknown && draft.is_identified() && !draft.gap) {
            draft.reaped = Some(Process { pid, comm: comm.map(Into::into) });
        }
    }

    fn amend_victim(&mut self, at: Position, pid: Pid, news: &mut Vec<OomNews>, change: impl FnOnce(&mut OomEvent)) {
        let Some(event) = self.find_recent(pid, at).and_then(|index| self.recent.get_mut(index)) else { return };
        if event.victim.pid == Some(pid) {
            change(event);
            event.last = event.last.max(at);
            news.push(OomNews::Amended(Box::new(event.clone())));
        }
    }

    fn nothing_killed(&mut self, at: Position, text: &str, news: &mut Vec<OomNews>) {
        let Some(mut draft) = self.draft.take() else { return };
        draft.last = at;
        draft.evidence.push(text);
        news.push(OomNews::NothingKilled(Box::new(draft.into_event(None))));
    }
}

/// Closing dumps, and remembering what was reported.
impl OomAssembler {
    fn close_stale(&mut self, at: Position, news: &mut Vec<OomNews>) {
        if self.draft.as_ref().is_some_and(|draft| !within(draft.last, at, DUMP_PATIENCE_MICROS)) {
            self.close(news);
        }
    }

    /// Ends the open dump without a kill line.
    fn close(&mut self, news: &mut Vec<OomNews>) {
        self.group = None;
        let Some(draft) = self.draft.take() else { return };
        if draft.is_identified() {
            self.report(draft.into_event(None), news);
        } else if draft.memory.is_some() {
            self.report_loose_figures(draft, news);
        }
    }

    /// Figures of a limit without anything that names a kill: of the last kill if that came without
    /// its dump and nothing was lost in between, else of an OOM of which the log shows no more.
    fn report_loose_figures(&mut self, draft: Draft, news: &mut Vec<OomNews>) {
        let follows = |event: &&mut OomEvent| event.memory.is_none() && within(event.last, draft.first, DUMP_PATIENCE_MICROS);
        let bare_kill = self.recent.back_mut().filter(|_| !draft.gap && !self.gap_since_kill).filter(follows);
        match bare_kill {
            Some(event) => {
                event.fill_from(draft.into_event(None));
                news.push(OomNews::Amended(Box::new(event.clone())));
            }
            None => {
                self.remember(draft.into_event(None), news);
            }
        }
    }

    /// Reports an event, or amends the one that already told of this victim.
    fn report(&mut self, event: OomEvent, news: &mut Vec<OomNews>) -> OomId {
        let known = event.victim.pid.and_then(|pid| self.find_recent(pid, event.last)).and_then(|index| self.recent.get_mut(index));
        let Some(known) = known else { return self.remember(event, news) };
        if known.victim.pid == event.victim.pid {
            known.fill_from(event);
            news.push(OomNews::Amended(Box::new(known.clone())));
        }
        known.id
    }

    fn remember(&mut self, event: OomEvent, news: &mut Vec<OomNews>) -> OomId {
        let id = event.id;
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        news.push(OomNews::Event(Box::new(event)));
        id
    }

    /// The reported event that killed this process, alone or in its group.
    fn find_recent(&self, pid: Pid, at: Position) -> Option<usize> {
        let kills = |event: &OomEvent| {
            let in_group = |group: &GroupKill| group.members.iter().any(|member| member.pid == pid);
            event.victim.pid == Some(pid) || event.group.as_ref().is_some_and(in_group)
        };
        self.recent.iter().rposition(|event| kills(event) && within(event.last, at, SAME_KILL_MICROS))
    }
}

/// Lines that a screen wrapped.
impl OomAssembler {
    /// An unknown line directly behind a line that ended too early may be the rest of it.
    fn take_rest_of_cut_line(&mut self, at: Position, text: &str, news: &mut Vec<OomNews>) {
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

    fn take_rest_of_kill(&mut self, cut: CutLine, rest: &str, news: &mut Vec<OomNews>) {
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

    fn take_rest_of_task_in(&mut self, cut: CutLine, rest: &str) {
        if rest.contains(char::is_whitespace) && !rest.starts_with("killed as a result") && !rest.contains(" limit of") {
            return;
        }
        let space = if cut.text.ends_with("limit of") || rest.starts_with("killed") { " " } else { "" };
        let text = format!("{}{space}{rest}", cut.text);
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
    fn take_rest_of_summary(&mut self, at: Position, text: &str) {
        let Some(draft) = &self.draft else { return };
        let rest = text.trim();
        let follows_directly = draft.summary.is_some() && draft.last.record.checked_add(1).is_none_or(|next| at.record <= next);
        if follows_directly && (!rest.contains(char::is_whitespace) || rest.contains(",pid=")) {
            self.append_to_summary(at, rest);
        }
    }
}

impl Trace {
    /// Whether the trace leads to a line of this position: the kernel prints both in microseconds,
    /// with fewer frames and registers in between than this.
    fn precedes(&self, line: Position) -> bool {
        const MOST_FRAMES: u64 = 100;
        let records = line.record.checked_sub(self.at.record);
        records.is_some_and(|records| records <= MOST_FRAMES) && within(self.at, line, GROUP_PATIENCE_MICROS)
    }
}

/// Adds a process to the group, once.
fn remember_member(group: &mut GroupKill, process: Process) -> bool {
    if group.members.iter().any(|member| member.pid == process.pid) {
        return false;
    }
    if group.members.len() >= GroupKill::MOST_LISTED {
        group.unlisted = group.unlisted.saturating_add(1);
        return false;
    }
    group.members.push(process);
    true
}

/// Whether two lines are at most this far apart, as far as the log has clocks.
fn within(one: Position, other: Position, micros: u64) -> bool {
    match (one.boot, other.boot) {
        (Some(one), Some(other)) => one.0.abs_diff(other.0) <= micros,
        _ => true,
    }
}

/// Whether a cgroup is `parent` or below it, as far as both are known.
fn lies_in(path: Option<&str>, parent: Option<&str>) -> bool {
    match (path, parent) {
        (Some(path), Some(parent)) => path.strip_prefix(parent).is_some_and(|below| below.is_empty() || below.starts_with('/')),
        _ => true,
    }
}
