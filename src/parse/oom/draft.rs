//! The dump that is being printed: what its lines have said so far.

use super::event::{
    Completeness, Constraint, GroupKill, LimitUse, OomEvent, OomId, OomOutcome, Position, Process, ReaperWord, Trigger, Victim,
};
use super::kill_line::{Announcement, Decision, Killed};
use super::memory_stats::MemoryStats;
use super::summary::Summary;
use super::task_table::TableReader;
use crate::model::{Bytes, Pid};
use std::sync::Arc;

/// The lines of one dump between its header and its kill, in whatever number and order they came.
#[derive(Debug)]
pub struct Draft {
    pub id: OomId,
    pub first: Position,
    pub last: Position,
    /// Records were lost since the first line.
    pub gap: bool,
    pub has_header: bool,
    pub trigger: Trigger,
    pub task_in: Option<TaskIn>,
    pub says_global: bool,
    pub memory: Option<LimitUse>,
    pub memory_and_swap: Option<LimitUse>,
    pub swap: Option<LimitUse>,
    pub kmem: Option<LimitUse>,
    pub stats: MemoryStats,
    /// The first block of statistics followed the figures of the limit without a line between, so
    /// it is of the cgroup whose limit was hit.
    pub stats_name_limit: bool,
    pub table: TableReader,
    /// The text behind `oom-kill:`, with the fragments that followed.
    pub summary: Option<String>,
    pub decision: Option<Chosen>,
    pub reaped: Option<Process>,
    pub group: Option<GroupKill>,
    pub evidence: Evidence,
}

/// What a `Task in` line says.
#[derive(Debug, Clone, Default)]
pub struct TaskIn {
    pub task_memcg: Option<Arc<str>>,
    pub limit: Option<Arc<str>>,
}

/// Whom a line before the kill names.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub announcement: Option<Announcement>,
    pub process: Process,
}

impl Chosen {
    pub fn of(decision: &Decision<'_>) -> Self {
        Self { announcement: decision.announcement, process: Process { pid: decision.pid, comm: decision.comm.map(Into::into) } }
    }
}

/// The decisive lines as printed.
#[derive(Debug, Clone, Default)]
pub struct Evidence(Vec<Arc<str>>);

impl Evidence {
    /// Header, cgroups, figures, summary, decision, kill, group: one line each.
    pub const MOST_LINES: usize = 8;
    /// The kernel cuts a record at 1 KiB.
    const LONGEST_LINE: usize = 1024;

    pub fn of(line: &str) -> Self {
        let mut evidence = Self::default();
        evidence.push(line);
        evidence
    }

    pub fn push(&mut self, line: &str) {
        if self.0.len() < Self::MOST_LINES {
            let end = line.floor_char_boundary(Self::LONGEST_LINE);
            self.0.push(line.get(..end).unwrap_or(line).trim().into());
        }
    }

    pub fn into_lines(self) -> Vec<Arc<str>> {
        self.0
    }
}

impl Draft {
    pub fn new(id: OomId, at: Position) -> Self {
        Self {
            id,
            first: at,
            last: at,
            gap: false,
            has_header: false,
            trigger: Trigger::default(),
            task_in: None,
            says_global: false,
            memory: None,
            memory_and_swap: None,
            swap: None,
            kmem: None,
            stats: MemoryStats::default(),
            stats_name_limit: false,
            table: TableReader::default(),
            summary: None,
            decision: None,
            reaped: None,
            group: None,
            evidence: Evidence::default(),
        }
    }

    /// What the summary says so far.
    pub fn summary(&self) -> Summary<'_> {
        self.summary.as_deref().map(Summary::parse).unwrap_or_default()
    }

    /// Whether a line was seen that only an OOM killer prints and that belongs to one kill.
    pub fn is_identified(&self) -> bool {
        self.has_header || self.task_in.is_some() || self.names_victim() || self.group.is_some()
    }

    /// Whether a victim is named: the figures and tables of a dump come before that.
    pub fn names_victim(&self) -> bool {
        self.summary.is_some() || self.decision.is_some()
    }

    /// Whether this dump's victim can be the process of this kill line.
    pub fn leads_to(&self, killed: &Killed<'_>) -> bool {
        if let Some(chosen) = self.summary().pid {
            // Until 5.0 the victim may be a child of the chosen process; then a decision line stands
            // between. A leader that has exited is listed by the thread that holds its memory.
            return chosen == killed.pid
                || self.decision.is_some()
                || self.summary_is_cut_within(killed.pid)
                || self.is_thread_of(killed.pid, chosen);
        }
        if self.decision.is_some() {
            return true;
        }
        if self.gap {
            return self.table.holds(killed.pid);
        }
        self.is_of_kind(killed.announcement)
    }

    fn summary_is_cut_within(&self, pid: Pid) -> bool {
        let summary = self.summary();
        !summary.is_whole() && summary.pid.is_some_and(|cut| pid.to_string().starts_with(&cut.to_string()))
    }

    fn is_thread_of(&self, thread: Pid, process: Pid) -> bool {
        self.table.process_of(thread) == Some(process)
    }

    fn is_of_kind(&self, announcement: Option<Announcement>) -> bool {
        let of_cgroup = self.memory.is_some() || (self.task_in.is_some() && !self.says_global);
        match announcement {
            Some(Announcement::Memcg) => !self.says_global,
            Some(Announcement::Global) => !of_cgroup,
            None => true,
        }
    }

    /// Closes the dump with its kill line, or without.
    pub fn into_event(self, killed: Option<(&Killed<'_>, Position)>) -> OomEvent {
        let named = self.named_victim();
        let (outcome, mut victim) = match (killed, &named) {
            (Some((killed, _)), _) => (OomOutcome::Killed, victim_of(killed)),
            (None, Some(named)) => (OomOutcome::Chosen, named.clone()),
            (None, None) => (OomOutcome::Unseen, Victim::default()),
        };
        if let Some(named) = named.filter(|named| named.pid.is_none() || named.pid == victim.pid) {
            victim.comm = victim.comm.or(named.comm);
            victim.uid = victim.uid.or(named.uid);
        }
        let announcement =
            killed.and_then(|(killed, _)| killed.announcement).or(self.decision.as_ref().and_then(|chosen| chosen.announcement));
        let summary = self.summary();
        let task_in = self.task_in.clone().unwrap_or_default();
        let oom_memcg = summary.oom_memcg.map(Into::into).or(task_in.limit).or_else(|| self.limit_of_stats());
        let completeness = Completeness {
            header: self.has_header,
            summary: self.summary.is_some() || self.task_in.is_some(),
            kill: killed.is_some(),
            table: self.table.has_rows(),
            gap: self.gap,
        };
        let mut event = OomEvent {
            id: self.id,
            first: self.first,
            last: self.last,
            killed_at: killed.map_or(self.last, |(_, at)| at).boot,
            outcome,
            announcement,
            constraint_word: summary.constraint.map(Into::into),
            says_global: self.says_global || summary.global_oom,
            oom_memcg,
            task_memcg: summary.task_memcg.map(Into::into).or(task_in.task_memcg).or_else(|| self.group.as_ref()?.cgroup.clone()),
            trigger: Trigger { cpuset: self.trigger.cpuset.clone().or_else(|| summary.cpuset.map(Into::into)), ..self.trigger },
            memory: self.memory,
            memory_and_swap: self.memory_and_swap,
            swap: self.swap,
            kmem: self.kmem,
            split: self.stats.split(),
            cgroups: self.stats.into_cgroups(),
            tasks: self.table.finish(victim.pid),
            victim,
            group: self.group,
            reaper: self.reaped.map(|_| ReaperWord::Reaped),
            completeness,
            evidence: self.evidence.into_lines(),
        };
        event.learn_from_row();
        event
    }

    /// The victim as the lines before the kill name it.
    fn named_victim(&self) -> Option<Victim> {
        let summary = self.summary();
        let of_process = |process: &Process| Victim { pid: Some(process.pid), comm: process.comm.clone(), ..Victim::default() };
        let of_summary = || {
            let named = summary.pid.is_some() || summary.task.is_some();
            named.then(|| Victim { pid: summary.pid, comm: summary.task.map(Into::into), uid: summary.uid, ..Victim::default() })
        };
        let decision = self.decision.as_ref().map(|chosen| {
            let uid = summary.uid.filter(|_| summary.pid == Some(chosen.process.pid));
            Victim { uid, ..of_process(&chosen.process) }
        });
        decision.or_else(of_summary).or_else(|| self.reaped.as_ref().map(of_process))
    }

    fn limit_of_stats(&self) -> Option<Arc<str>> {
        self.stats.first_cgroup().filter(|_| self.stats_name_limit).cloned()
    }
}

/// The victim as its kill line names it.
pub fn victim_of(killed: &Killed<'_>) -> Victim {
    Victim {
        pid: Some(killed.pid),
        comm: killed.comm.map(Into::into),
        total_vm: killed.total_vm,
        anon_rss: killed.anon_rss,
        file_rss: killed.file_rss,
        shmem_rss: killed.shmem_rss,
        page_tables: page_tables(killed),
        uid: killed.uid,
        oom_score_adj: killed.oom_score_adj,
    }
}

/// Kernels 5.4.0 to 5.4.8 print bytes as `pgtables:..kB`. Page tables are always smaller than what
/// they map, a few upper levels aside, so a larger number cannot be KiB.
fn page_tables(killed: &Killed<'_>) -> Option<Bytes> {
    const UPPER_LEVELS_KIB: u64 = 64;
    let printed = killed.page_tables_kib?;
    let is_bytes = killed.total_vm.is_some_and(|total_vm| printed > total_vm.kib().saturating_add(UPPER_LEVELS_KIB));
    Some(if is_bytes { Bytes(printed) } else { Bytes::from_kib(printed) })
}

impl OomEvent {
    /// Completes the victim from its row of the table.
    fn learn_from_row(&mut self) {
        let Some(row) = &self.tasks.victim else { return };
        self.victim.uid = self.victim.uid.or(row.uid);
        self.victim.oom_score_adj = self.victim.oom_score_adj.or(row.oom_score_adj);
        self.victim.comm = self.victim.comm.take().or_else(|| row.comm.clone());
        let printed_as_kib = row.page_tables.map(|bytes| Bytes::from_kib(bytes.0));
        if self.victim.page_tables.is_some() && self.victim.page_tables == printed_as_kib {
            self.victim.page_tables = row.page_tables;
        }
    }

    /// Takes over what this event does not know yet from a second account of the same kill.
    pub(super) fn fill_from(&mut self, other: OomEvent) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        if self.outcome != OomOutcome::Killed && other.outcome == OomOutcome::Killed {
            self.outcome = other.outcome;
            self.killed_at = other.killed_at;
            // The kill line's name is whole; that of a summary may be cut.
            self.victim.comm = other.victim.comm.clone().or(self.victim.comm.take());
        }
        self.fill_victim(other.victim);
        self.fill_trigger(other.trigger);
        if self.constraint() == Constraint::Unknown || self.constraint_word.is_none() {
            self.constraint_word = self.constraint_word.take().or(other.constraint_word);
        }
        self.announcement = self.announcement.or(other.announcement);
        self.says_global |= other.says_global;
        self.oom_memcg = self.oom_memcg.take().or(other.oom_memcg);
        self.task_memcg = self.task_memcg.take().or(other.task_memcg);
        self.memory = self.memory.or(other.memory);
        self.memory_and_swap = self.memory_and_swap.or(other.memory_and_swap);
        self.swap = self.swap.or(other.swap);
        self.kmem = self.kmem.or(other.kmem);
        self.split = self.split.or(other.split);
        self.group = self.group.take().or(other.group);
        self.reaper = self.reaper.or(other.reaper);
        if self.cgroups.is_empty() {
            self.cgroups = other.cgroups;
        }
        if self.tasks.rows == 0 {
            self.tasks = other.tasks;
        }
        self.completeness.join(other.completeness);
        let room = Evidence::MOST_LINES.saturating_sub(self.evidence.len());
        let news = other.evidence.into_iter().filter(|line| !self.evidence.contains(line)).take(room).collect::<Vec<_>>();
        self.evidence.extend(news);
        self.learn_from_row();
    }

    fn fill_victim(&mut self, other: Victim) {
        let victim = &mut self.victim;
        victim.pid = victim.pid.or(other.pid);
        victim.comm = victim.comm.take().or(other.comm);
        victim.total_vm = victim.total_vm.or(other.total_vm);
        victim.anon_rss = victim.anon_rss.or(other.anon_rss);
        victim.file_rss = victim.file_rss.or(other.file_rss);
        victim.shmem_rss = victim.shmem_rss.or(other.shmem_rss);
        victim.page_tables = victim.page_tables.or(other.page_tables);
        victim.uid = victim.uid.or(other.uid);
        victim.oom_score_adj = victim.oom_score_adj.or(other.oom_score_adj);
    }

    fn fill_trigger(&mut self, other: Trigger) {
        let trigger = &mut self.trigger;
        trigger.comm = trigger.comm.take().or(other.comm);
        trigger.pid = trigger.pid.or(other.pid);
        trigger.cpuset = trigger.cpuset.take().or(other.cpuset);
        trigger.gfp_mask = trigger.gfp_mask.take().or(other.gfp_mask);
        trigger.order = trigger.order.or(other.order);
        trigger.oom_score_adj = trigger.oom_score_adj.or(other.oom_score_adj);
    }
}

impl Completeness {
    fn join(&mut self, other: Self) {
        self.header |= other.header;
        self.summary |= other.summary;
        self.kill |= other.kill;
        self.table |= other.table;
        self.gap |= other.gap;
    }
}
