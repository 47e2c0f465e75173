//! The summary of a dump (5.0 and later, RHEL 8):
//! `oom-kill:constraint=..,nodemask=..,cpuset=..,mems_allowed=..,{oom_memcg=P|global_oom},task_memcg=P,task=x,pid=N,uid=U`.
//!
//! Lists of nodes hold commas and names of processes hold anything (`a,task=b`, `x,pid=1,uid=0`), so
//! the end is read from the right, the rest from the left, and the name is what is left between.

use super::fields::{self, LONGEST_COMM, LONGEST_DECODED_COMM};
use crate::model::Pid;

/// What a summary says, however far it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary<'a> {
    /// `CONSTRAINT_NONE`, `CONSTRAINT_CPUSET`, `CONSTRAINT_MEMORY_POLICY`, `CONSTRAINT_MEMCG`, or a later word.
    pub constraint: Option<&'a str>,
    /// The last name of the *triggering* process' cpuset path.
    pub cpuset: Option<&'a str>,
    /// The cgroup whose limit was hit.
    pub oom_memcg: Option<&'a str>,
    /// No cgroup's limit, but the machine's.
    pub global_oom: bool,
    /// The victim's cgroup.
    pub task_memcg: Option<&'a str>,
    /// The victim's name.
    pub task: Option<&'a str>,
    /// The victim.
    pub pid: Option<Pid>,
    /// The victim's user id.
    pub uid: Option<u32>,
}

impl<'a> Summary<'a> {
    /// How a summary begins.
    pub const START: &'static str = "oom-kill:";
    /// How the pieces begin that it falls into when another CPU prints in between.
    pub const FRAGMENTS: [&'static str; 7] =
        [",nodemask=", ",cpuset=", ",mems_allowed=", ",oom_memcg=", ",global_oom", ",task_memcg=", ",task="];

    /// Reads the text behind `oom-kill:`, whole or cut.
    pub fn parse(text: &'a str) -> Self {
        let (before_uid, uid) = split_number(text, ",uid=");
        let (before_pid, pid) = split_number(before_uid, ",pid=");
        let body = if pid.is_some() { before_pid } else { without_cut_key(before_pid, ",pid=") };
        let (cgroups, task) = split_task(body);
        let (head, task_memcg) = match cgroups.split_once(",task_memcg=") {
            Some((head, path)) => (head, path_of(path)),
            None => (without_cut_key(cgroups, ",task_memcg="), None),
        };
        let (_, oom_memcg) = head.split_once(",oom_memcg=").unzip();
        Self {
            constraint: value(head, "constraint="),
            cpuset: value(head, ",cpuset="),
            oom_memcg: oom_memcg.and_then(path_of),
            global_oom: head.contains(",global_oom"),
            task_memcg,
            task,
            pid: pid.map(Pid),
            uid,
        }
    }

    /// Whether nothing of the line is missing.
    pub fn is_whole(&self) -> bool {
        self.uid.is_some()
    }
}

/// Splits the last `key` and its number off; a later field of a longer line may follow the number.
fn split_number<'a>(text: &'a str, key: &str) -> (&'a str, Option<u32>) {
    let split = text.rfind(key).and_then(|at| {
        let (number, _) = fields::leading_number(text.get(at + key.len()..)?)?;
        Some((text.get(..at)?, Some(number)))
    });
    split.unwrap_or((text, None))
}

/// Splits at the `,task=` behind which a name of possible length stands. A name that itself holds
/// `,task=` is found by taking the first one.
fn split_task(text: &str) -> (&str, Option<&str>) {
    const KEY: &str = ",task=";
    let candidates = || text.match_indices(KEY).map(|(at, _)| (text.get(..at).unwrap_or(text), text.get(at + KEY.len()..).unwrap_or("")));
    let fits = |longest| candidates().find(|(_, name)| fields::comm_length(name) <= longest);
    match fits(LONGEST_COMM).or_else(|| fits(LONGEST_DECODED_COMM)).or_else(|| candidates().last()) {
        Some((before, "")) => (before, None),
        Some((before, name)) => (before, Some(name)),
        None => (without_cut_key(text, KEY), None),
    }
}

/// Takes the beginning of `key` off the end of a line that was cut within it (`..,tas`, and `..,tas0`
/// where a terminal printed the line's last character over its last column).
fn without_cut_key<'a>(text: &'a str, key: &str) -> &'a str {
    let Some((before, tail)) = text.rsplit_once(',') else { return text };
    let name = tail.strip_suffix(|last: char| last.is_ascii_digit()).unwrap_or(tail);
    let is_cut = key.get(1..).is_some_and(|key| key.starts_with(name));
    if is_cut && tail.len() <= name.len() + 1 { before } else { text }
}

/// The value behind `key` up to the next comma that begins another key.
fn value<'a>(head: &'a str, key: &str) -> Option<&'a str> {
    let rest = fields::after(head, key)?;
    let end = Summary::FRAGMENTS.iter().filter_map(|key| rest.find(key)).min().unwrap_or(rest.len());
    rest.get(..end).filter(|value| !value.is_empty())
}

/// A path as the line shows it, without the `>` with which a pager cuts lines.
fn path_of(text: &str) -> Option<&str> {
    let path = text.strip_suffix('>').unwrap_or(text).trim_end();
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: &str = "/kubepods/burstable/pod0f8e1c52-6d1b-4a77-9b0e-2f5a4c3d2e10";

    fn summary(task: &str) -> String {
        format!(
            "constraint=CONSTRAINT_MEMCG,nodemask=0,2,cpuset=web,mems_allowed=0-1,3,oom_memcg={LIMIT},task_memcg={LIMIT}/abc,task={task},pid=41,uid=1000"
        )
    }

    #[test]
    fn names_that_look_like_fields() {
        for task in ["stress", "a,task=b", "x,pid=1,uid=0", "Web Content", ",task=,task=", "(sd-pam)", "a\nb"] {
            let text = summary(task);
            let read = Summary::parse(&text);
            assert_eq!(read.task, Some(task));
            assert_eq!((read.pid, read.uid), (Some(Pid(41)), Some(1000)));
            assert_eq!((read.oom_memcg, read.task_memcg.map(str::len)), (Some(LIMIT), Some(LIMIT.len() + 4)));
            assert_eq!((read.constraint, read.cpuset), (Some("CONSTRAINT_MEMCG"), Some("web")));
        }
    }

    #[test]
    fn a_cut_summary_names_no_other_limit_and_no_other_task() {
        let text = summary("stress");
        for end in 0..text.len() {
            let cut = Summary::parse(&text[..end]);
            assert!(cut.oom_memcg.is_none_or(|path| LIMIT.starts_with(path)), "{}", &text[..end]);
            assert!(cut.task_memcg.is_none_or(|path| text.contains(path)), "{}", &text[..end]);
            assert!(cut.task.is_none_or(|task| "stress".starts_with(task)), "{:?}", cut);
            assert!(!cut.global_oom);
            assert_eq!(cut.uid.is_some(), end > text.len() - 4);
        }
    }

    #[test]
    fn a_global_summary() {
        let read =
            Summary::parse("constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=x,pid=5,uid=0");
        assert!(read.global_oom);
        assert_eq!((read.oom_memcg, read.task_memcg, read.cpuset), (None, Some("/"), Some("/")));
    }

    #[test]
    fn the_wreck_of_a_narrow_terminal() {
        let read = Summary::parse(
            "constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/user.slice/a.service,ta7",
        );
        assert_eq!((read.task_memcg, read.task), (Some("/user.slice/a.service"), None));
        let read = Summary::parse("constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/kubepods/podx>");
        assert_eq!(read.oom_memcg, Some("/kubepods/podx"));
    }
}
