//! Whole dumps: eras, damage, storms and groups, as a live agent and as a reader of old posts sees them.

use super::*;
use crate::model::{BootTime, Bytes, Pid};
use proptest::prelude::*;
use std::collections::BTreeMap;

const POD: &str = "/kubepods/burstable/pod0f8e1c52-6d1b-4a77-9b0e-2f5a4c3d2e10";

fn container() -> String {
    format!("{POD}/{}", "c1d2".repeat(16))
}

/// Feeds lines, one record each, 10 µs apart from `start` on.
struct Log {
    assembler: OomAssembler,
    at: Position,
    news: Vec<OomNews>,
}

impl Log {
    fn new() -> Self {
        let at = Position { record: 0, boot: Some(BootTime(1_000_000)) };
        Self { assembler: OomAssembler::default(), at, news: Vec::new() }
    }

    fn of<T: AsRef<str>>(lines: &[T]) -> Self {
        let mut log = Self::new();
        log.add(lines);
        log
    }

    fn add<T: AsRef<str>>(&mut self, lines: &[T]) {
        for line in lines {
            self.at = Position { record: self.at.record + 1, boot: self.at.boot.map(|boot| BootTime(boot.0 + 10)) };
            self.news.extend(self.assembler.push(self.at, line.as_ref()));
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.at.boot = self.at.boot.map(|boot| boot.plus_seconds(seconds));
    }

    /// The events as they stand, in the order in which they were first told.
    fn told(&self) -> Vec<OomEvent> {
        let mut events = BTreeMap::new();
        for news in &self.news {
            match news {
                OomNews::Event(event) => assert!(events.insert(event.id, event.as_ref().clone()).is_none(), "told twice"),
                OomNews::Amended(event) => assert!(events.insert(event.id, event.as_ref().clone()).is_some(), "amended before told"),
                OomNews::DumpsSuppressed { .. } | OomNews::NothingKilled(_) => {}
            }
        }
        events.into_values().collect()
    }

    fn end(mut self) -> Vec<OomEvent> {
        self.news.extend(self.assembler.flush());
        self.told()
    }
}

fn killed(pid: u32, comm: &str) -> String {
    format!(
        "Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:40960kB, anon-rss:32000kB, file-rss:400kB, shmem-rss:0kB, UID:1000 pgtables:120kB oom_score_adj:970"
    )
}

fn summary(pid: u32, comm: &str, limit: &str, victim: &str) -> String {
    format!(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=web,mems_allowed=0,oom_memcg={limit},task_memcg={victim},task={comm},pid={pid},uid=1000"
    )
}

fn modern(pid: u32, comm: &str) -> Vec<String> {
    [
        &format!("{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=970"),
        &format!("CPU: 1 UID: 1000 PID: {pid} Comm: {comm} Not tainted 6.12.3 #1 PREEMPT(none)"),
        "Call Trace:",
        " <TASK>",
        " mem_cgroup_out_of_memory+0xc0/0x110",
        "memory: usage 32768kB, limit 32768kB, failcnt 122",
        "swap: usage 0kB, limit 0kB, failcnt 0",
        &format!("Memory cgroup stats for {POD}:"),
        "anon 30000000",
        "file 2000000",
        "kernel 700000",
        "shmem 1500000",
        "Tasks state (memory values in pages):",
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
        "[      9]     0     9      250        1        1        0         0    28672        0          -998 pause",
        &format!("[{pid:7}]  1000 {pid:5}    10240     8100     8000      100         0   122880        0           970 {comm}"),
        &summary(pid, comm, POD, &container()),
        &killed(pid, comm),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn old(pid: u32, comm: &str, decision: (u32, &str)) -> Vec<String> {
    [
        "app invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=970",
        "app cpuset=web mems_allowed=0",
        "CPU: 0 PID: 3 Comm: app Not tainted 3.10.0 #1",
        &format!("Task in {} killed as a result of limit of {POD}", container()),
        "memory: usage 131072kB, limit 131072kB, failcnt 29",
        "memory+swap: usage 131072kB, limit 9007199254740988kB, failcnt 0",
        "kmem: usage 1000kB, limit 9007199254740988kB, failcnt 0",
        &format!("Memory cgroup stats for {POD}: cache:0KB rss:0KB"),
        &format!("Memory cgroup stats for {}: cache:40KB rss:130000KB", container()),
        "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
        &format!("[{pid:5}]    33 {pid:5}    10240     8000      30        0           970 {comm}"),
        &format!("Memory cgroup out of memory: Kill process {} ({}) score 1500 or sacrifice child", decision.0, decision.1),
        &format!("Killed process {pid} ({comm}) total-vm:40960kB, anon-rss:32000kB, file-rss:400kB"),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn only(events: Vec<OomEvent>) -> OomEvent {
    let [event] = <[OomEvent; 1]>::try_from(events).expect("exactly one event");
    event
}

#[test]
fn a_modern_dump_is_told_with_its_kill_line_and_says_everything() {
    let mut log = Log::of(&modern(40, "worker"));
    let event = only(log.told());
    assert_eq!((event.outcome, event.constraint(), event.scope()), (OomOutcome::Killed, Constraint::Memcg, OomScope::Pod));
    assert_eq!((event.first.record, event.last.record, event.killed_at), (1, 18, log.at.boot));
    assert_eq!((event.victim.pid, event.victim.uid, event.victim.oom_score_adj), (Some(Pid(40)), Some(1000), Some(970)));
    assert_eq!(
        (event.trigger.comm.as_deref(), event.trigger.pid, event.trigger.cpuset.as_deref()),
        (Some("worker"), Some(Pid(40)), Some("web"))
    );
    assert_eq!(event.memory, Some(LimitUse { usage_kib: Some(32768), limit_kib: Some(32768), failcnt: Some(122) }));
    let split = event.split.expect("split");
    assert_eq!((split.anon, split.file(), split.shmem), (Some(Bytes(30_000_000)), Some(Bytes(500_000)), Some(Bytes(1_500_000))));
    assert_eq!((event.tasks.rows, event.page_size()), (2, Some(4096)));
    assert_eq!(event.tasks.largest.first().and_then(|row| row.comm.as_deref()), Some("worker"));
    assert_eq!(event.container().map(String::from), Some("c1d2".repeat(16)));
    assert_eq!(event.completeness, Completeness { header: true, summary: true, kill: true, table: true, gap: false });
    assert!(!event.is_manual());
    log.add(&["oom_reaper: reaped process 40 (worker), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"]);
    assert_eq!(only(log.end()).reaper, Some(ReaperWord::Reaped));
}

#[test]
fn an_old_dump_kills_the_child_and_not_the_chosen() {
    let event = only(Log::of(&old(62, "cp", (61, "bash"))).end());
    assert_eq!((event.victim.pid, event.victim.comm.as_deref(), event.victim.uid), (Some(Pid(62)), Some("cp"), Some(33)));
    assert_eq!((event.constraint(), event.scope(), event.oom_memcg.as_deref()), (Constraint::Memcg, OomScope::Pod, Some(POD)));
    assert_eq!(event.split.and_then(|split| split.anon), Some(Bytes::from_kib(130_000)));
    assert_eq!(event.cgroups.first().map(|cgroup| cgroup.cgroup.to_string()), Some(container()));
    let report = serde_json::to_value(event.to_report()).expect("json");
    assert_eq!(
        (&report["type"], &report["constraint"], &report["scope"], &report["oom_group"]),
        (&"oom".into(), &"memcg".into(), &"pod".into(), &false.into())
    );
    assert_eq!(
        (&report["victim_anon_rss_kb"], &report["victim_shmem_rss_kb"], &report["limit_kb"]),
        (&32000.into(), &serde_json::Value::Null, &131_072.into())
    );
}

#[test]
fn memcg_or_global_is_decided_by_the_cgroup_and_not_by_the_word() {
    for (lines, constraint, scope) in [
        (vec![summary(5, "x", POD, POD).replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE"), killed(5, "x")], Constraint::Memcg, OomScope::Pod),
        (vec![summary(5, "x", "/kubepods", &container())], Constraint::Memcg, OomScope::Other),
        (vec![summary(5, "x", &container(), &container())], Constraint::Memcg, OomScope::Container),
        (vec![summary(5, "x", "/system.slice/web.service", "/system.slice/web.service")], Constraint::Memcg, OomScope::Other),
        (vec![summary(5, "x", "/lxc/101", "/lxc/101/ns")], Constraint::Memcg, OomScope::Container),
        (
            vec![summary(5, "x", &format!("/docker/{}", "ab".repeat(32)), &format!("/docker/{}{POD}", "ab".repeat(32)))],
            Constraint::Memcg,
            OomScope::Other,
        ),
        (
            vec![summary(5, "x", &format!("/docker/{}", "ab".repeat(32)), &format!("/docker/{}", "ab".repeat(32)))],
            Constraint::Memcg,
            OomScope::Container,
        ),
        (vec![summary(5, "x", &format!("{POD}/12ab"), &format!("{POD}/12ab"))], Constraint::Memcg, OomScope::Container),
        (
            vec![format!(
                "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=(null),cpuset=a,mems_allowed=0,global_oom,task_memcg={POD},task=x,pid=5,uid=0"
            )],
            Constraint::Cpuset,
            OomScope::System,
        ),
        (
            vec![
                "Task in /user.slice killed as a result of limit of host".into(),
                "Out of memory: Kill process 5 (x) score 9 or sacrifice child".into(),
            ],
            Constraint::None,
            OomScope::System,
        ),
        (vec![killed(5, "x")], Constraint::Memcg, OomScope::Other),
        (vec![killed(5, "x").replace("Memory cgroup out", "Out")], Constraint::None, OomScope::System),
        (vec!["Killed process 5 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB".into()], Constraint::Unknown, OomScope::Other),
        (
            vec!["Out of memory (oom_kill_allocating_task): Killed process 5 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB".into()],
            Constraint::None,
            OomScope::System,
        ),
    ] {
        let event = only(Log::of(&lines).end());
        assert_eq!((event.constraint(), event.scope()), (constraint, scope), "{lines:?}");
    }
}

#[test]
fn a_kill_by_hand_is_marked() {
    let lines = [
        "bash invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0",
        "Mem-Info:",
        "Out of memory: Killed process 5 (x) total-vm:1kB, anon-rss:1kB, file-rss:0kB",
    ];
    assert!(only(Log::of(&lines).end()).is_manual());
}

#[test]
fn page_tables_in_bytes_are_not_taken_for_kib() {
    let line = killed(5, "x").replace("pgtables:120kB", "pgtables:122880kB");
    assert_eq!(only(Log::of(&[line]).end()).victim.page_tables, Some(Bytes(122_880)));
    let mut lines = modern(40, "worker");
    let kill = lines.pop().expect("kill").replace("pgtables:120kB", "pgtables:122880kB").replace("total-vm:40960kB", "total-vm:409600kB");
    lines.push(kill);
    assert_eq!(only(Log::of(&lines).end()).victim.page_tables, Some(Bytes(122_880)));
}

#[test]
fn a_group_is_one_event_whose_first_victim_is_printed_twice() {
    let mut lines = modern(40, "worker");
    lines.push(format!("Tasks in {} are going to be killed due to memory.oom.group set", container()));
    lines.extend([killed(40, "worker"), killed(41, "sh"), "usb 1-1: new device".into(), killed(42, "sh")]);
    lines.push("oom_reaper: reaped process 41 (sh), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB".into());
    lines.extend(modern(50, "other"));
    let events = Log::of(&lines).end();
    let [event, next] = <[OomEvent; 2]>::try_from(events).expect("two events");
    let group = event.group.expect("group");
    assert_eq!(group.members.iter().map(|member| member.pid.0).collect::<Vec<_>>(), [40, 41, 42]);
    assert_eq!((event.victim.pid, group.cgroup.as_deref()), (Some(Pid(40)), Some(container().as_str())));
    assert_eq!((next.group, next.victim.pid), (None, Some(Pid(50))));
}

#[test]
fn in_a_storm_without_dumps_each_group_gets_its_own_members() {
    let notice = |cgroup: &str| format!("Tasks in {cgroup} are going to be killed due to memory.oom.group set");
    let lines = [
        killed(1, "a"),
        notice("/one"),
        killed(1, "a"),
        killed(2, "a"), //
        killed(3, "b"),
        notice("/two"),
        killed(3, "b"),
        killed(4, "b"),
        "oom_kill_process: 2 callbacks suppressed".into(),
    ];
    let log = Log::of(&lines);
    assert!(log.news.iter().any(|news| matches!(news, OomNews::DumpsSuppressed { dumps: 2, .. })));
    let groups: Vec<_> = log
        .end()
        .into_iter()
        .map(|event| {
            let group = event.group.expect("group");
            (event.victim.pid.map(|pid| pid.0), event.task_memcg, group.members.iter().map(|member| member.pid.0).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(groups, [(Some(1), Some("/one".into()), vec![1, 2]), (Some(3), Some("/two".into()), vec![3, 4])]);
}

#[test]
fn a_group_whose_first_kill_is_lost() {
    let lines = ["Tasks in /test are going to be killed due to memory.oom.group set".into(), killed(7, "a"), killed(8, "b")];
    let event = only(Log::of(&lines).end());
    assert_eq!((event.victim.pid, event.task_memcg.as_deref()), (Some(Pid(7)), Some("/test")));
    assert_eq!(event.group.map(|group| group.members.len()), Some(2));
}

#[test]
fn a_group_whose_first_victim_only_the_summary_names() {
    let notice = format!("Tasks in {} are going to be killed due to memory.oom.group set", container());
    let event =
        only(Log::of(&[summary(40, "worker", POD, &container()), notice, killed(41, "sh"), killed(40, "worker"), killed(42, "sh")]).end());
    assert_eq!((event.victim.pid, event.outcome, event.victim.anon_rss.is_some()), (Some(Pid(40)), OomOutcome::Killed, true));
    assert_eq!(event.group.map(|group| group.members.iter().map(|member| member.pid.0).collect()), Some(vec![40, 41, 42]));
}

#[test]
fn a_late_kill_line_within_a_group_belongs_to_the_event_that_chose_its_process() {
    let notice = "Tasks in /test are going to be killed due to memory.oom.group set".to_owned();
    let decision = "Memory cgroup out of memory: Kill process 41 (bash) score 1500 or sacrifice child".to_owned();
    let events =
        Log::of(&[decision, modern(42, "worker").remove(0), notice.clone(), killed(42, "worker"), killed(41, "bash"), notice]).end();
    let told: Vec<_> = events.iter().map(|event| (event.victim.pid.map(|pid| pid.0), event.outcome)).collect();
    assert_eq!(told, [(Some(41), OomOutcome::Killed), (Some(42), OomOutcome::Killed)]);
}

#[test]
fn a_burst_of_dumps_and_bare_kills_is_counted_exactly() {
    let mut lines = Vec::new();
    (100..110).for_each(|pid| lines.extend(modern(pid, "worker")));
    (110..114).for_each(|pid| lines.push(killed(pid, "worker")));
    lines.extend(old(120, "java", (121, "thread")));
    let events = Log::of(&lines).end();
    let pids: Vec<u32> = events.iter().filter_map(|event| event.victim.pid).map(|pid| pid.0).collect();
    assert_eq!(pids, (100..114).chain([120]).collect::<Vec<_>>());
    let bare = events.get(10).expect("bare kill");
    assert_eq!((bare.oom_memcg.as_ref(), bare.memory, bare.completeness.header), (None, None, false));
}

#[test]
fn a_lost_tail_is_closed_by_the_next_header_or_by_time() {
    let mut lines = modern(40, "worker");
    lines.truncate(lines.len() - 2);
    let mut log = Log::of(&lines);
    assert!(log.told().is_empty());
    log.wait(11);
    let now = log.at.boot.expect("time");
    log.news.extend(log.assembler.expire(now));
    let event = only(log.told());
    assert_eq!((event.outcome, event.victim.pid, event.memory.is_some()), (OomOutcome::Unseen, None, true));
    log.add(&modern(41, "other"));
    assert_eq!(log.end().len(), 2);
}

#[test]
fn after_a_gap_nothing_of_the_old_dump_is_given_to_another_kill() {
    let mut log = Log::of(&modern(40, "worker")[..7]);
    log.assembler.note_gap();
    log.add(&[killed(99, "other")]);
    let event = only(log.end());
    assert_eq!((event.victim.pid, event.memory, event.trigger.comm, event.completeness.gap), (Some(Pid(99)), None, None, true));
}

#[test]
fn after_a_gap_a_kill_whose_process_is_in_the_table_belongs_to_the_dump() {
    let mut log = Log::of(&modern(40, "worker")[..16]);
    log.assembler.note_gap();
    log.add(&[killed(40, "worker")]);
    let event = only(log.end());
    assert_eq!((event.memory.is_some(), event.completeness.gap), (true, true));
}

#[test]
fn a_summary_in_pieces_with_another_line_between() {
    let lines = [
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)".to_owned(),
        ",cpuset=web,mems_allowed=0".into(),
        "eth0: link up".into(),
        ",oom_memcg=".into(),
        POD.into(),
        ",task_memcg=".into(),
        container(),
        ",task=a,task=b,pid=40,uid=0".into(),
        killed(40, "a,task=b"),
    ];
    let event = only(Log::of(&lines).end());
    assert_eq!((event.oom_memcg.as_deref(), event.task_memcg.as_deref()), (Some(POD), Some(container().as_str())));
    assert_eq!(event.victim.comm.as_deref(), Some("a,task=b"));
}

#[test]
fn wrapped_lines_are_joined() {
    for width in [60, 80, 100, 132] {
        let wrapped = |line: String| -> Vec<String> {
            line.as_bytes().chunks(width).map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect()
        };
        let mut lines = wrapped(summary(40, "worker", POD, &container()));
        lines.extend(wrapped(killed(40, "worker")));
        let event = only(Log::of(&lines).end());
        assert_eq!((event.oom_memcg.as_deref(), event.task_memcg.as_deref()), (Some(POD), Some(container().as_str())), "{width}");
        assert_eq!(event.victim.file_rss, Some(Bytes::from_kib(400)), "{width}");
        let task_in = wrapped(format!("Task in {} killed as a result of limit of {POD}", container()));
        let event = only(Log::of(&task_in).end());
        assert_eq!((event.oom_memcg.as_deref(), event.task_memcg.as_deref()), (Some(POD), Some(container().as_str())), "{width}");
    }
}

#[test]
fn grepped_and_sorted_lines_find_their_kill() {
    let lines =
        [summary(1, "a", POD, &container()), summary(2, "b", "/kubepods", &container()), killed(1, "a"), killed(2, "b"), killed(1, "a")];
    let events = Log::of(&lines).end();
    let told: Vec<_> =
        events.iter().map(|event| (event.victim.pid, event.outcome, event.oom_memcg.as_deref(), event.victim.anon_rss.is_some())).collect();
    assert_eq!(told, [(Some(Pid(1)), OomOutcome::Killed, Some(POD), true), (Some(Pid(2)), OomOutcome::Killed, Some("/kubepods"), true)]);
    let reversed = [killed(1, "a"), summary(1, "a", POD, &container())];
    assert_eq!(only(Log::of(&reversed).end()).oom_memcg.as_deref(), Some(POD));
}

#[test]
fn the_lines_of_several_kills_without_their_victims() {
    let task_in = format!("Task in {} killed as a result of limit of {POD}", container());
    let events = Log::of(&[&task_in, &task_in, &task_in]).end();
    assert_eq!(events.iter().map(|event| (event.outcome, event.scope())).collect::<Vec<_>>(), [(OomOutcome::Unseen, OomScope::Pod); 3]);
}

#[test]
fn a_kill_of_another_process_is_no_tail_of_this_dump() {
    let lines = [summary(1, "a", POD, &container()), killed(2, "b")];
    let events = Log::of(&lines).end();
    assert_eq!(events.iter().map(|event| event.oom_memcg.is_some()).collect::<Vec<_>>(), [true, false]);
    let global = ["memory: usage 1kB, limit 1kB, failcnt 0".into(), killed(2, "b").replace("Memory cgroup out", "Out")];
    assert!(Log::of(&global).end().iter().any(|event| event.victim.pid == Some(Pid(2)) && event.memory.is_none()));
}

#[test]
fn what_killed_nothing_is_no_event() {
    for last in [
        "Out of memory and no killable processes...",
        "Memory cgroup out of memory: OOM victim 40 (worker) is already exiting. Skip killing the task",
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
    ] {
        let mut lines = modern(40, "worker");
        lines.pop();
        lines.push(last.into());
        let log = Log::of(&lines);
        assert!(log.news.iter().any(|news| matches!(news, OomNews::NothingKilled(_))));
        assert!(log.end().is_empty(), "{last}");
    }
}

#[test]
fn a_pid_is_reused_after_a_while() {
    let mut log = Log::of(&modern(40, "worker"));
    log.wait(600);
    log.add(&modern(40, "worker"));
    assert_eq!(log.end().len(), 2);
}

#[test]
fn a_reader_without_clocks_works_the_same() {
    let mut log = Log::new();
    log.at.boot = None;
    log.add(&modern(40, "worker"));
    log.add(&old(62, "cp", (61, "bash")));
    assert_eq!(log.end().len(), 2);
}

#[test]
fn the_trigger_of_a_dump_without_head_is_in_its_stack_trace() {
    let event = only(Log::of(&old(62, "cp", (61, "bash"))[2..]).end());
    assert_eq!((event.trigger.comm.as_deref(), event.trigger.pid), (Some("app"), Some(Pid(3))));
    let mut older = old(62, "cp", (61, "bash"));
    older[2] = "Pid: 3, comm: app Not tainted 2.6.32 #1".into();
    assert_eq!(only(Log::of(&older).end()).trigger.pid, Some(Pid(3)));
    let bare = ["CPU: 0 PID: 3 Comm: app Not tainted 6.1.0 #1".into(), killed(5, "x")];
    assert_eq!(only(Log::of(&bare).end()).trigger.comm, None);
}

/// Lines of dumps of five processes in any order and number, cut anywhere, with foreign lines between.
fn damaged_log() -> impl Strategy<Value = Vec<String>> {
    let line = (0..5_u32, 0..40_usize, any::<proptest::sample::Index>(), any::<bool>()).prop_map(|(pid, line, end, cut)| {
        let mut lines = modern(pid + 40, "worker");
        lines.extend(old(pid + 40, "cp", (pid + 41, "bash")));
        lines.push(format!("Tasks in {} are going to be killed due to memory.oom.group set", container()));
        lines.push(format!("oom_reaper: reaped process {} (worker), now anon-rss:0kB", pid + 40));
        lines.push("eth0: link up".into());
        lines.push("Out of memory and no killable processes...".into());
        let text = lines.swap_remove(line % lines.len());
        let end = text.floor_char_boundary(end.index(text.len() + 1));
        if cut { text[..end].to_owned() } else { text }
    });
    proptest::collection::vec(prop_oneof![8 => line, 1 => ".{0,80}"], 0..60)
}

proptest! {
    #[test]
    fn any_damage_is_survived_and_no_kill_invented(lines in damaged_log(), gaps in proptest::collection::vec(0..60_usize, 0..3)) {
        let mut log = Log::new();
        for (number, line) in lines.iter().enumerate() {
            if gaps.contains(&number) {
                log.assembler.note_gap();
            }
            log.add(&[line]);
        }
        let events = log.end();
        let kill_lines = lines.iter().filter(|line| line.contains("Killed process ")).count();
        let kills = events.iter().filter(|event| event.outcome == OomOutcome::Killed).count();
        prop_assert!(kills <= kill_lines, "{} kills from {} lines", kills, kill_lines);
        for event in &events {
            prop_assert!(event.first <= event.last);
            prop_assert!(event.evidence.len() <= 8 && event.tasks.largest.len() <= TaskTable::LARGEST);
            prop_assert!(serde_json::to_string(&event.to_report()).is_ok());
        }
        let pids: Vec<_> = events.iter().filter_map(|event| event.victim.pid).collect();
        let distinct: std::collections::BTreeSet<_> = pids.iter().collect();
        prop_assert_eq!(distinct.len(), pids.len(), "a kill was told twice");
    }

    #[test]
    fn a_whole_dump_survives_foreign_lines_anywhere(foreign in proptest::collection::vec(("[a-z0-9:=, ]{1,40}\\.", 0..18_usize), 0..8)) {
        let mut lines = modern(40, "worker");
        for (text, at) in foreign {
            lines.insert(at, text);
        }
        let clean = only(Log::of(&modern(40, "worker")).end()).to_report();
        prop_assert_eq!(only(Log::of(&lines).end()).to_report(), clean);
    }
}
