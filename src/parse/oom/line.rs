//! Recognising one line of the kernel log as a line of an OOM dump.
//!
//! Flows in: the text of a record, without the prefixes of dmesg, journal or syslog. Flows out: a
//! member of one closed set, or `None` for every line that has nothing to do with OOM. This is the
//! hot path of a log flood, so a foreign line costs one look at its first byte and three searches.

use super::LimitUse;
use super::fields::{self, LONGEST_COMM, LONGEST_DECODED_COMM};
use super::kill_line::{Decision, Killed};
use super::memory_stats::StatsLine;
use super::summary::Summary;
use super::task_table::{Columns, RawRow};
use crate::model::Pid;

/// One line of an OOM dump, or around it.
#[derive(Debug, Clone, PartialEq)]
pub enum OomLine<'a> {
    /// `X invoked oom-killer: gfp_mask=.., order=0, oom_score_adj=0`: a dump begins.
    Header(Header<'a>),
    /// `X cpuset=P mems_allowed=0` (until 4.20).
    TriggerCpuset {
        /// The triggering thread's name.
        comm: &'a str,
        /// Its cpuset.
        cpuset: &'a str,
    },
    /// `CPU: 1 [UID: 0] PID: 5 Comm: X ..`, before 3.10 `Pid: 5, comm: X ..`: every stack trace has it.
    TriggerPid {
        /// The thread's id.
        pid: Pid,
        /// Its name.
        comm: &'a str,
    },
    /// `Task in A killed as a result of limit of B` (until 4.20).
    TaskIn {
        /// The victim's cgroup.
        task_memcg: Option<&'a str>,
        /// The cgroup whose limit was hit.
        limit: Option<LimitOf<'a>>,
    },
    /// `memory: usage ..`.
    Memory(LimitUse),
    /// `memory+swap: usage ..`.
    MemoryAndSwap(LimitUse),
    /// `swap: usage ..`.
    Swap(LimitUse),
    /// `kmem: usage ..`.
    Kmem(LimitUse),
    /// `Memory cgroup stats for P: ..`.
    Stats(StatsLine<'a>),
    /// `anon 4096`: a line of `memory.stat`. Other kernel lines look the same; only a block that
    /// has begun makes it one.
    StatsRow {
        /// The statistic.
        key: &'a str,
        /// Bytes, pages or events.
        value: u64,
    },
    /// `Mem-Info:`: the memory of the whole machine follows, so no cgroup's limit was hit.
    MemInfo,
    /// The header of the table of tasks.
    TableHeader(Columns),
    /// A row of it.
    TableRow(RawRow<'a>),
    /// `oom-kill:constraint=..`: the text behind `oom-kill:`.
    Summary(&'a str),
    /// A piece of a summary that another CPU's line broke up: `,task_memcg=..`, or a bare path.
    SummaryFragment(&'a str),
    /// `Kill process N (x) score ..`.
    Decision(Decision<'a>),
    /// `Killed process N (x) ..`.
    Killed(Killed<'a>),
    /// `Tasks in P are going to be killed due to memory.oom.group set`.
    GroupNotice {
        /// The cgroup with `memory.oom.group`.
        cgroup: Option<&'a str>,
    },
    /// `oom_reaper: reaped process N (x), ..`.
    Reaped {
        /// The process.
        pid: Pid,
        /// Its name.
        comm: Option<&'a str>,
    },
    /// `oom_reaper: unable to reap pid:N (x)`.
    UnableToReap {
        /// The process.
        pid: Pid,
    },
    /// `oom_kill_process: N callbacks suppressed`: so many dumps are missing.
    DumpsSuppressed(u64),
    /// `OOM victim N (x) is already exiting. Skip killing the task`: not a kill.
    AlreadyExiting,
    /// `Out of memory and no killable processes...`: not a kill.
    NoKillableProcess,
    /// `Kernel panic - not syncing: Out of memory: ..`: not a kill either.
    Panic,
}

/// The limit that a `Task in` line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOf<'a> {
    /// A cgroup's.
    Cgroup(&'a str),
    /// The machine's (`limit of host`, Alibaba's 4.x kernels).
    Host,
}

/// The first line of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The triggering thread's name.
    pub comm: Option<&'a str>,
    /// The allocation's flags as printed.
    pub gfp_mask: Option<&'a str>,
    /// The allocation's order; -1 for SysRq-f.
    pub order: Option<i32>,
    /// The trigger's `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
}

impl<'a> OomLine<'a> {
    /// Reads the text of one record. Spaces before it are skipped.
    pub fn recognise(text: &'a str) -> Option<Self> {
        let text = text.trim_ascii_start();
        match text.as_bytes().first()? {
            b'T' => task_line(text),
            b'm' | b's' | b'k' => limit_line(text),
            b'M' => memory_line(text),
            b'[' => table_line(text),
            b'o' => oom_line(text),
            b',' | b'/' => return fragment(text),
            b'O' | b'K' => no_kill_line(text),
            b'C' | b'P' => stack_owner(text),
            _ => None,
        }
        .or_else(|| naming_line(text))
        .or_else(|| stats_row(text))
    }
}

fn task_line(text: &str) -> Option<OomLine<'_>> {
    if let Some(rest) = text.strip_prefix("Task in ") {
        return Some(task_in(rest));
    }
    let (cgroup, _) = text.strip_prefix("Tasks in ")?.split_once(" are going to be killed")?;
    Some(OomLine::GroupNotice { cgroup: Some(cgroup).filter(|path| path.starts_with('/')) })
}

fn task_in(text: &str) -> OomLine<'_> {
    let (task, limit) = text.split_once(" killed as a result of limit of").unwrap_or((text, ""));
    let task_memcg = task.split_once(" killed").map_or(task, |(task, _)| task).trim_end();
    let limit = match limit.trim() {
        "host" => Some(LimitOf::Host),
        path if path.starts_with('/') => Some(LimitOf::Cgroup(path)),
        _ => None,
    };
    OomLine::TaskIn { task_memcg: Some(task_memcg).filter(|path| path.starts_with('/')), limit }
}

fn limit_line(text: &str) -> Option<OomLine<'_>> {
    type Line = fn(LimitUse) -> OomLine<'static>;
    const LINES: [(&str, Line); 4] = [
        ("memory: usage ", OomLine::Memory),
        ("memory+swap: usage ", OomLine::MemoryAndSwap),
        ("swap: usage ", OomLine::Swap),
        ("kmem: usage ", OomLine::Kmem),
    ];
    let (line, figures) = LINES.iter().find_map(|(start, line)| Some((line, text.strip_prefix(start)?)))?;
    let (usage, _) = fields::leading_number(figures).filter(|(_, rest)| rest.starts_with("kB"))?;
    Some(line(LimitUse { usage_kib: Some(usage), limit_kib: fields::kib(figures, "limit "), failcnt: fields::number(figures, "failcnt ") }))
}

fn memory_line(text: &str) -> Option<OomLine<'_>> {
    if let Some(rest) = text.strip_prefix("Memory cgroup stats for ") {
        return Some(OomLine::Stats(StatsLine::parse(rest)));
    }
    if text.starts_with("Mem-Info:") {
        return Some(OomLine::MemInfo);
    }
    (text.starts_with("Memory cgroup out of memory") && says_no_kill(text)).then(|| not_a_kill(text))
}

fn no_kill_line(text: &str) -> Option<OomLine<'_>> {
    if text.starts_with("Kernel panic") {
        return text.contains("ut of memory").then_some(OomLine::Panic);
    }
    (text.starts_with("OOM victim ") || text.starts_with("Out of memory")).then_some(text).filter(|text| says_no_kill(text)).map(not_a_kill)
}

fn says_no_kill(text: &str) -> bool {
    text.contains("is already exiting") || text.contains("no killable process")
}

fn not_a_kill(text: &str) -> OomLine<'_> {
    if text.contains("is already exiting") { OomLine::AlreadyExiting } else { OomLine::NoKillableProcess }
}

fn table_line(text: &str) -> Option<OomLine<'_>> {
    let first = text.as_bytes().iter().skip(1).find(|byte| **byte != b' ')?;
    match first {
        b'p' => Columns::parse(text).map(OomLine::TableHeader),
        b'0'..=b'9' => RawRow::parse(text).map(OomLine::TableRow),
        _ => None,
    }
}

fn oom_line(text: &str) -> Option<OomLine<'_>> {
    if let Some(rest) = text.strip_prefix(Summary::START) {
        return Some(OomLine::Summary(rest));
    }
    if let Some(rest) = text.strip_prefix("oom_reaper: ") {
        return reaper_line(rest);
    }
    let (count, rest) = fields::leading_number(text.strip_prefix("oom_kill_process: ")?)?;
    rest.starts_with(" callbacks suppressed").then_some(OomLine::DumpsSuppressed(count))
}

fn reaper_line(text: &str) -> Option<OomLine<'_>> {
    if let Some(rest) = text.strip_prefix("unable to reap pid:") {
        return fields::leading_number(rest).map(|(pid, _)| OomLine::UnableToReap { pid: Pid(pid) });
    }
    let (pid, rest) = fields::leading_number(text.strip_prefix("reaped process ")?)?;
    let name = rest.strip_prefix(" (").and_then(|name| name.rsplit_once("), now").or_else(|| name.rsplit_once(')')));
    Some(OomLine::Reaped { pid: Pid(pid), comm: name.map(|(comm, _)| comm) })
}

fn stack_owner(text: &str) -> Option<OomLine<'_>> {
    let ids = text.strip_prefix("CPU: ").and_then(|ids| fields::after(ids, " PID: ")).or_else(|| text.strip_prefix("Pid: "))?;
    let (pid, rest) = fields::leading_number(ids)?;
    let name = rest.strip_prefix(" Comm: ").or_else(|| rest.strip_prefix(", comm: "))?;
    let behind_name = [" Not tainted", " Tainted: ", " Kdump: "];
    let end = behind_name.iter().filter_map(|words| name.find(words)).min()?;
    Some(OomLine::TriggerPid { pid: Pid(pid), comm: name.get(..end)? })
}

fn fragment(text: &str) -> Option<OomLine<'_>> {
    let is_fragment = text.starts_with('/') || Summary::FRAGMENTS.iter().any(|key| text.starts_with(key));
    is_fragment.then_some(OomLine::SummaryFragment(text))
}

/// Lines that begin with a process' name, or that name a victim behind any message.
///
/// `contains` before `split_once`: it compares 16 bytes at a time, the other prepares a search that
/// costs more than the whole of a foreign line may.
fn naming_line(text: &str) -> Option<OomLine<'_>> {
    if text.contains(" process ") {
        let killed = Killed::parse(text).map(OomLine::Killed);
        return killed.or_else(|| Decision::parse(text).map(OomLine::Decision));
    }
    if text.contains("oom-kill") {
        return header_or_summary(text);
    }
    if text.contains(" cpuset=") {
        return text.split_once(" cpuset=").and_then(|(comm, rest)| trigger_cpuset(comm, rest));
    }
    None
}

fn trigger_cpuset<'a>(comm: &'a str, rest: &'a str) -> Option<OomLine<'a>> {
    let (cpuset, _) = rest.split_once(" mems_allowed=")?;
    is_comm(comm).then_some(OomLine::TriggerCpuset { comm, cpuset })
}

fn header_or_summary(text: &str) -> Option<OomLine<'_>> {
    if let Some((before, rest)) = text.split_once(" invoked oom-killer") {
        return header(before, rest);
    }
    let (_, rest) = text.split_once(Summary::START)?;
    rest.starts_with("constraint=").then_some(OomLine::Summary(rest))
}

fn header<'a>(before: &'a str, rest: &'a str) -> Option<OomLine<'a>> {
    // Someone's command (`grep "invoked oom-killer"`) is no header.
    if !(rest.is_empty() || rest.starts_with([':', ' ', '.'])) {
        return None;
    }
    Some(OomLine::Header(Header {
        comm: comm_behind_prefix(before),
        gfp_mask: fields::after(rest, "gfp_mask=").and_then(|mask| mask.split(", ").next()),
        order: fields::number(rest, "order="),
        oom_score_adj: fields::number(rest, "oom_score_adj="),
    }))
}

/// The name, even behind a prefix that nobody recognised.
fn comm_behind_prefix(text: &str) -> Option<&str> {
    let candidates = [Some(text), text.rsplit_once("] ").map(|(_, comm)| comm), text.rsplit_once(": ").map(|(_, comm)| comm)];
    candidates.into_iter().flatten().find(|comm| is_comm(comm))
}

fn is_comm(text: &str) -> bool {
    let length = fields::comm_length(text);
    let decoded = text.contains(char::REPLACEMENT_CHARACTER) && length <= LONGEST_DECODED_COMM;
    length > 0 && (length <= LONGEST_COMM || decoded)
}

/// `anon 4096`: a lower-case word, one space, a number, nothing else.
fn stats_row(text: &str) -> Option<OomLine<'_>> {
    let key_length = text.bytes().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_').count();
    let (key, number) = text.split_at_checked(key_length)?;
    let value = number.strip_prefix(' ')?.trim_end().parse().ok()?;
    (!key.is_empty()).then_some(OomLine::StatsRow { key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_troubles_are_not_recognised() {
        for line in [
            "",
            "   ",
            "TCP: out of memory -- consider tuning tcp_mem",
            "EXT4-fs (sda4): re-mounted. Opts: errors=remount-ro",
            "worker (2998): /proc/2998/oom_adj is deprecated, please use /proc/2998/oom_score_adj instead.",
            "Huh VM_FAULT_OOM leaked out to the #PF handler. Retrying PF",
            "kworker/u8:1: page allocation failure: order:7, mode:0xc04(GFP_NOIO|GFP_DMA32), nodemask=(null),cpuset=/,mems_allowed=0",
            "INFO: task x:19 blocked for more than 122 seconds.",
            "cgroup: fork rejected by pids controller in /kubepods/podx",
            "Killed /user.slice/a.scope due to memory pressure",
            "memory: usage is what top shows",
            "sending SIGKILL to process 26 uid 1000 \"simple\": badness 966",
            "$ dmesg | grep \"invoked oom-killer\"",
            " oom_kill_process+0xe6/0x120",
            "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009",
        ] {
            assert_eq!(OomLine::recognise(line), None, "{line}");
        }
    }

    #[test]
    fn the_trigger_is_read_whatever_it_is_called() {
        for comm in ["java", "CPU 2/KVM", "tmux: client", "a] b", "oom-killer"] {
            let line = format!(
                "{comm} invoked oom-killer: gfp_mask=0x6200ca(GFP_HIGHUSER_MOVABLE), nodemask=(null),  order=-1, oom_score_adj=-998"
            );
            let Some(OomLine::Header(header)) = OomLine::recognise(&line) else { panic!("{line}") };
            assert_eq!(header.gfp_mask, Some("0x6200ca(GFP_HIGHUSER_MOVABLE)"));
            assert_eq!((header.comm, header.order, header.oom_score_adj), (Some(comm), Some(-1), Some(-998)));
        }
    }

    #[test]
    fn figures_beyond_a_cut_are_unknown() {
        assert_eq!(
            OomLine::recognise("memory: usage 1024kB, limit 20"),
            Some(OomLine::Memory(LimitUse { usage_kib: Some(1024), limit_kib: None, failcnt: None }))
        );
        assert_eq!(
            OomLine::recognise("\tmemory+swap: usage 0kB, limit 9007199254740988kB, failcnt 3"),
            Some(OomLine::MemoryAndSwap(LimitUse { usage_kib: Some(0), limit_kib: Some(9_007_199_254_740_988), failcnt: Some(3) }))
        );
    }

    #[test]
    fn a_limit_may_be_the_host() {
        let limit = |line| match OomLine::recognise(line) {
            Some(OomLine::TaskIn { limit, .. }) => limit,
            other => panic!("{other:?}"),
        };
        assert_eq!(limit("Task in /a killed as a result of limit of host"), Some(LimitOf::Host));
        assert_eq!(limit("Task in /a killed as a result of limit of /b"), Some(LimitOf::Cgroup("/b")));
        assert_eq!(limit("Task in /a killed as a res"), None);
    }

    #[test]
    fn what_is_not_a_kill_is_known_as_such() {
        for (line, expected) in [
            ("Memory cgroup out of memory: OOM victim 5 (x) is already exiting. Skip killing the task", OomLine::AlreadyExiting),
            ("OOM victim 5 (x) is already exiting. Skip killing the task", OomLine::AlreadyExiting),
            ("Out of memory and no killable processes...", OomLine::NoKillableProcess),
            ("Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled", OomLine::Panic),
            ("oom_kill_process: 14 callbacks suppressed", OomLine::DumpsSuppressed(14)),
            ("oom_reaper: unable to reap pid:5 (x)", OomLine::UnableToReap { pid: Pid(5) }),
            ("oom_reaper: reaped process 5 (a) b), now anon-rss:0kB", OomLine::Reaped { pid: Pid(5), comm: Some("a) b") }),
        ] {
            assert_eq!(OomLine::recognise(line), Some(expected));
        }
    }
}
