//! The state machine that puts the lines of OOM dumps together.
//!
//! Made for a live agent: an event leaves with its `Killed process` line, and whatever is said
//! about it later amends it. Made for damage: dumps that lost their head or tail, kills without a
//! dump, lines that come twice, and lines of other subsystems in between. Two dumps must never be
//! mixed up, so a line that a dump already has, or that stands before what it already has, begins
//! the next one.

mod before_kill;
mod kill;
mod wrapped;

use super::draft::Draft;
use super::event::{GroupKill, OomEvent, OomId, Position, ReaperWord, Victim};
use super::kill_line::Announcement;
use super::line::OomLine;
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

/// Whether two lines are at most this far apart, as far as the log has clocks.
fn within(one: Position, other: Position, micros: u64) -> bool {
    match (one.boot, other.boot) {
        (Some(one), Some(other)) => one.0.abs_diff(other.0) <= micros,
        _ => true,
    }
}
