//! The kill line, and what follows it: the rest of a group, the reaper, or word that nothing was killed.

use super::{CutLine, Draft, GROUP_PATIENCE_MICROS, LastKill, OomAssembler, OomNews, OpenGroup, within};
use crate::model::Pid;
use crate::parse::oom::draft::{Evidence, victim_of};
use crate::parse::oom::event::{GroupKill, OomEvent, OomId, OomOutcome, Position, Process, ReaperWord};
use crate::parse::oom::kill_line::Killed;

impl OomAssembler {
    pub(super) fn killed(&mut self, at: Position, text: &str, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
        self.open_group_of_lost_kill(at, killed, news);
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

    /// A notice whose own kill line is lost: the dump names the first victim, the next kills are of its group.
    pub(super) fn open_group_of_lost_kill(&mut self, at: Position, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
        let lost = |draft: &mut Draft| draft.group.is_some() && draft.names_victim() && !draft.leads_to(killed);
        let Some(draft) = self.draft.take_if(lost) else { return };
        let mut event = draft.into_event(None);
        if let (Some(group), Some(pid)) = (&mut event.group, event.victim.pid) {
            remember_member(group, Process { pid, comm: event.victim.comm.clone() });
        }
        let id = self.report(event, news);
        self.group = Some(OpenGroup { id, last: at });
    }

    pub(super) fn close_with_kill(&mut self, at: Position, text: &str, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
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
    pub(super) fn draft_of_kill(&mut self, at: Position, killed: &Killed<'_>, news: &mut Vec<OomNews>) -> Draft {
        let relation = self.draft.as_ref().map(|draft| self.relation(draft, at, killed));
        if relation == Some(Relation::Same)
            && let Some(draft) = self.draft.take()
        {
            return draft;
        }
        match relation {
            Some(Relation::Other) => self.close(news),
            Some(Relation::Undecidable) => self.draft = None,
            Some(Relation::Same | Relation::Waiting) | None => {}
        }
        let lost_head = relation == Some(Relation::Undecidable) || (relation.is_none() && self.gap_since_kill);
        self.ids += 1;
        Draft { gap: lost_head, ..Draft::new(OomId(self.ids), at) }
    }

    fn relation(&self, draft: &Draft, at: Position, killed: &Killed<'_>) -> Relation {
        let told_again = self.find_recent(killed.pid, at).is_some();
        match draft.leads_to(killed) {
            true => Relation::Same,
            false if told_again && draft.names_victim() => Relation::Waiting,
            false if told_again => Relation::Same,
            false if draft.gap && !draft.names_victim() => Relation::Undecidable,
            false => Relation::Other,
        }
    }

    pub(super) fn group_takes(&self, at: Position, killed: &Killed<'_>) -> bool {
        let Some(group) = &self.group else { return false };
        let Some(event) = self.recent.iter().find(|event| event.id == group.id) else { return false };
        // The victim of an earlier event is that event's, even if its kill line comes late.
        let is_told = self.recent.iter().any(|other| other.id != group.id && other.victim.pid == Some(killed.pid));
        let same_kind = killed.announcement.is_none() || event.announcement.is_none() || event.announcement == killed.announcement;
        !is_told && same_kind && within(group.last, at, GROUP_PATIENCE_MICROS)
    }

    pub(super) fn join_group(&mut self, at: Position, text: &str, killed: &Killed<'_>, news: &mut Vec<OomNews>) {
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
    pub(super) fn group_notice(&mut self, at: Position, text: &str, cgroup: Option<&str>, news: &mut Vec<OomNews>) {
        let expects_kill = |draft: &Draft| draft.is_identified() && draft.group.is_none() && lies_in(draft.summary().task_memcg, cgroup);
        // An open dump in front of the notice has lost its own kill line.
        let of_draft = self.draft.as_ref().is_some_and(expects_kill);
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
    pub(super) fn event_of_first_victim(&mut self, last: LastKill, news: &mut Vec<OomNews>) -> OomId {
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
        self.report(event, news)
    }

    pub(super) fn open_group(&mut self, at: Position, id: OomId, text: &str, cgroup: Option<&str>, news: &mut Vec<OomNews>) {
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

    pub(super) fn reaped(&mut self, at: Position, pid: Pid, comm: Option<&str>, news: &mut Vec<OomNews>) {
        self.amend_victim(at, pid, news, |event| event.reaper = Some(ReaperWord::Reaped));
        let unknown = self.find_recent(pid, at).is_none();
        if let Some(draft) = self.draft.as_mut().filter(|draft| unknown && draft.is_identified() && !draft.gap) {
            draft.reaped = Some(Process { pid, comm: comm.map(Into::into) });
        }
    }

    pub(super) fn amend_victim(&mut self, at: Position, pid: Pid, news: &mut Vec<OomNews>, change: impl FnOnce(&mut OomEvent)) {
        let Some(event) = self.find_recent(pid, at).and_then(|index| self.recent.get_mut(index)) else { return };
        if event.victim.pid == Some(pid) {
            change(event);
            event.last = event.last.max(at);
            news.push(OomNews::Amended(Box::new(event.clone())));
        }
    }

    pub(super) fn nothing_killed(&mut self, at: Position, text: &str, news: &mut Vec<OomNews>) {
        let Some(mut draft) = self.draft.take() else { return };
        draft.last = at;
        draft.evidence.push(text);
        news.push(OomNews::NothingKilled(Box::new(draft.into_event(None))));
    }
}

/// What a kill line has to do with the open dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// The dump ends with this kill.
    Same,
    /// The kill tells an earlier one again, as in a sorted log: the dump waits for its own.
    Waiting,
    /// The dump's own kill is among lost records, or is this one. One kill must not be told twice,
    /// and nothing of one dump may be given to another: the dump is dropped.
    Undecidable,
    /// The dump lost its kill line.
    Other,
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

/// Whether a cgroup is `parent` or below it, as far as both are known.
fn lies_in(path: Option<&str>, parent: Option<&str>) -> bool {
    match (path, parent) {
        (Some(path), Some(parent)) => path.strip_prefix(parent).is_some_and(|below| below.is_empty() || below.starts_with('/')),
        _ => true,
    }
}
