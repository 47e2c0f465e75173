//! The kubelet's log through real journal files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]
#![cfg(feature = "journal")]

mod journal_files;
mod source_thread;

use journal_files::{Entry, Node, OTHER_BOOT, THIS_BOOT, append, entry};
use nodewhy::{
    config::{KubeletLogChoice, Roots, UnitChoice, Units},
    model::{BootId, BootTime, Pid, UnitRole},
    signal::{Body, Gap, KubeletLine, KubeletOrigin, SourceState},
    sources::kubelet_log::{Probe, Resume, probe, spawn},
};
use source_thread::Running;
use std::fs;

/// The number of microseconds in a minute.
const MINUTE: u64 = 60_000_000;
const OOMD_KILL: &str = "d989611b15e44c9dbf31e3c81256e4ed";
const SUPPRESSED: &str = "a596d6fe7bfa4994828e72309e95d61e";

fn start(choice: KubeletLogChoice, roots: Roots, resume: Resume) -> Running {
    start_with(choice, &Units::default(), roots, resume)
}

fn start_with(choice: KubeletLogChoice, units: &Units, roots: Roots, resume: Resume) -> Running {
    Running::start(|outlet, stop| spawn(choice, units, roots, BootId(THIS_BOOT.into()), resume, outlet, stop))
}

/// Units that somebody named.
fn named(kubelets: &[&str], runtimes: &[&str]) -> Units {
    let choice = |names: &[&str]| UnitChoice::of(names.iter().map(|name| name.parse().expect("a name")).collect());
    Units { kubelet: choice(kubelets), runtime: choice(runtimes) }
}

fn start_on(node: &Node, resume: Resume) -> Running {
    start(KubeletLogChoice::Journal, node.roots(), resume)
}

fn probe_on(node: &Node) -> Probe {
    probe(&KubeletLogChoice::Journal, &Units::default(), &node.roots(), &BootId(THIS_BOOT.into()))
}

/// A line that a unit printed.
fn printed(unit: &str, time: u64, message: &str) -> Entry {
    let fields = [
        ("_TRANSPORT", "stdout"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "kubelet"),
        ("_PID", "812"),
        ("_SYSTEMD_UNIT", unit),
        ("_SYSTEMD_INVOCATION_ID", "11112222333344445555666677778888"),
        ("_STREAM_ID", "aaaabbbbccccddddeeeeffff00001111"),
        ("MESSAGE", message),
    ];
    entry(time, &fields)
}

fn kubelet(time: u64, message: &str) -> Entry {
    printed("kubelet.service", time, message)
}

/// What PID 1 says about a unit.
fn pid1(time: u64, unit: &str, message: &str) -> Entry {
    let fields = [("_PID", "1"), ("_SYSTEMD_UNIT", "init.scope"), ("SYSLOG_IDENTIFIER", "systemd"), ("UNIT", unit), ("MESSAGE", message)];
    entry(time, &fields)
}

fn with(mut entry: Entry, name: &'static str, value: &str) -> Entry {
    entry.fields.push((name, value.to_owned()));
    entry
}

fn line(body: Body) -> KubeletLine {
    match body {
        Body::Kubelet(line) => line,
        other => panic!("{other:?}"),
    }
}

fn expect(running: &Running, texts: &[&str]) {
    for text in texts {
        assert_eq!(line(running.next()).text, *text);
    }
}

fn gap(body: Body) -> Gap {
    match body {
        Body::Gap(gap) => gap,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_comes_with_what_journald_vouches_for() {
    let Some(node) = Node::new() else { return };
    let mut of_another_boot = kubelet(1_000, "of the last boot");
    of_another_boot.boot = OTHER_BOOT;
    node.write("system.journal", &[of_another_boot, kubelet(3_000_000, "E0307 one")]);
    let running = start_on(&node, Resume::default());
    running.up();
    let KubeletLine { origin, text } = line(running.next());
    assert_eq!(text, "E0307 one");
    let KubeletOrigin::Journal { unit, role, identifier, pid, stream, invocation, cursor, boot_time, wall, is_pid1 } = origin else {
        panic!("{origin:?}")
    };
    assert_eq!(role, None, "nobody has to say what kubelet.service is");
    assert_eq!((&*unit, identifier.as_deref(), pid, is_pid1), ("kubelet.service", Some("kubelet"), Some(Pid(812)), false));
    assert_eq!(stream.as_deref(), Some("aaaabbbbccccddddeeeeffff00001111"));
    assert_eq!(invocation.as_deref(), Some("11112222333344445555666677778888"));
    assert_eq!(boot_time, Some(BootTime(3_000_040)));
    assert_eq!(wall.map(|wall| wall.as_microsecond()), Some(1_780_000_003_000_000));
    assert!(cursor.starts_with("s="), "{cursor}");
    assert_eq!(running.stop(), []);
}

#[test]
fn a_forged_name_is_no_kubelet() {
    let Some(node) = Node::new() else { return };
    let forged = |time, fields: &[(&'static str, &str)]| {
        let said = [("SYSLOG_IDENTIFIER", "kubelet"), ("MESSAGE", "kubelet.service: Failed with result 'oom-kill'.")];
        entry(time, &[&said, fields].concat())
    };
    node.write(
        "system.journal",
        &[
            forged(1_000, &[("_TRANSPORT", "syslog"), ("_PID", "77"), ("_SYSTEMD_UNIT", "cri-containerd-0.scope")]),
            forged(2_000, &[("_TRANSPORT", "syslog"), ("_PID", "77"), ("UNIT", "kubelet.service"), ("_SYSTEMD_UNIT", "cron.service")]),
            forged(3_000, &[("_TRANSPORT", "journal"), ("_PID", "77"), ("UNIT", "kubelet.service"), ("MESSAGE_ID", OOMD_KILL)]),
            forged(4_000, &[("_TRANSPORT", "journal"), ("_PID", "77"), ("MESSAGE_ID", SUPPRESSED), ("N_DROPPED", "9")]),
            forged(5_000, &[("_TRANSPORT", "kernel")]),
            kubelet(9_000, "own"),
        ],
    );
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["own"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn pid_1_and_the_killer_in_user_space_are_heard() {
    let Some(node) = Node::new() else { return };
    let scope_killed = pid1(5_000, "cri-containerd-0.scope", "cri-containerd-0.scope: systemd-oomd killed 3 process(es) in this unit.");
    node.write(
        "system.journal",
        &[
            kubelet(1_000, "first"),
            pid1(2_000, "kubelet.service", "kubelet.service: Main process exited, code=killed, status=9/KILL"),
            pid1(3_000, "containerd.service", "containerd.service: A process of this unit has been killed by the OOM killer."),
            pid1(3_500, "cron.service", "cron.service: Failed with result 'exit-code'."),
            printed("systemd-oomd.service", 4_000, "Killed /kubepods.slice/x due to memory pressure"),
            with(scope_killed, "MESSAGE_ID", OOMD_KILL),
            printed("containerd.service", 6_000, "level=info"),
        ],
    );
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["first"]);
    let who = |line: KubeletLine| match line.origin {
        KubeletOrigin::Journal { unit, is_pid1, .. } => (unit.to_string(), is_pid1),
        KubeletOrigin::File { .. } => panic!("{line:?}"),
    };
    let told: Vec<_> = (0..4).map(|_| who(line(running.next()))).collect();
    let expected =
        [("kubelet.service", true), ("containerd.service", true), ("systemd-oomd.service", false), ("cri-containerd-0.scope", true)];
    assert_eq!(told, expected.map(|(unit, is_pid1)| (unit.to_owned(), is_pid1)));
    assert_eq!(running.stop(), []);
}

#[test]
fn named_units_are_read_instead_of_the_known_ones() {
    let Some(node) = Node::new() else { return };
    let suppressed = |time, from: &str| {
        let message = format!("Suppressed 5 messages from {from}");
        entry(time, &[("_TRANSPORT", "driver"), ("MESSAGE_ID", SUPPRESSED), ("MESSAGE", &message), ("N_DROPPED", "5")])
    };
    node.write(
        "system.journal",
        &[
            kubelet(1_000, "of a kubelet that nobody named"),
            printed("node-agent.service", 2_000, "E0307 one"),
            pid1(3_000, "kubelet.service", "kubelet.service: Main process exited, code=killed, status=9/KILL"),
            pid1(4_000, "node-agent.service", "node-agent.service: Main process exited, code=killed, status=9/KILL"),
            pid1(5_000, "our-containerd.service", "our-containerd.service: Failed with result 'exit-code'."),
            suppressed(6_000, "kubelet.service"),
            suppressed(7_000, "node-agent.service"),
        ],
    );
    let units = named(&["node-agent"], &["our-containerd"]);
    let running = start_with(KubeletLogChoice::Auto, &units, node.roots(), Resume::default());
    assert!(running.up().starts_with("the journal in "));
    let who = |line: KubeletLine| match line.origin {
        KubeletOrigin::Journal { unit, role, is_pid1, .. } => (unit.to_string(), role, is_pid1),
        KubeletOrigin::File { .. } => panic!("{line:?}"),
    };
    let told: Vec<_> = (0..3).map(|_| who(line(running.next()))).collect();
    let expected = [
        ("node-agent.service", UnitRole::Kubelet, false),
        ("node-agent.service", UnitRole::Kubelet, true),
        ("our-containerd.service", UnitRole::Runtime, true),
    ];
    assert_eq!(told, expected.map(|(unit, role, is_pid1)| (unit.to_owned(), Some(role), is_pid1)));
    assert!(gap(running.next()).detail.ends_with("node-agent.service"));
    assert_eq!(running.stop(), []);
}

#[test]
fn a_named_unit_that_is_not_there_is_told_with_its_name() {
    let Some(node) = Node::new() else { return };
    node.write("system.journal", &[kubelet(1_000, "of a kubelet that nobody named")]);
    let units = named(&["node-agnet"], &[]);
    let boot = BootId(THIS_BOOT.into());
    let told = probe(&KubeletLogChoice::Journal, &units, &node.roots(), &boot);
    assert!(told.state == SourceState::Stale && told.detail.ends_with("by node-agnet.service"), "{told:?}");
    assert!(told.remedy.expect("one").contains("correct --kubelet-unit"));

    // What an earlier run has read was another unit's.
    let running = start_on(&node, Resume::default());
    running.up();
    let mut position = Resume::default();
    position.pass(&line(running.next()));
    running.stop();
    let running = start_with(KubeletLogChoice::Auto, &units, node.roots(), position.clone());
    let report = running.report();
    assert_eq!(report.state, SourceState::Stale);
    assert!(report.detail.contains("node-agnet.service") && report.detail.contains("correct --kubelet-unit"), "{}", report.detail);
    node.write("system.journal", &[printed("node-agnet.service", 2_000, "it starts")]);
    assert!(running.up().starts_with("the journal in "), "it is looked for again");
    expect(&running, &["it starts"]);
    running.stop();

    // A unit that runs a kubelet which logs to a file is still one when it is named.
    let supervisor = named(&["rke2-agent"], &[]);
    let told = probe(&KubeletLogChoice::Auto, &supervisor, &node.roots(), &boot);
    assert!(told.state == SourceState::Stale && told.detail.contains("by rke2-agent.service"), "{told:?}");
    node.write("system.journal", &[printed("rke2-agent.service", 3_000, "Running kubelet")]);
    let told = probe(&KubeletLogChoice::Auto, &supervisor, &node.roots(), &boot);
    assert!(told.state == SourceState::Up && told.detail.contains("without the kubelet's own lines"), "{told:?}");
}

#[test]
fn what_the_rate_limit_took_is_a_gap() {
    let Some(node) = Node::new() else { return };
    let suppressed = |time, from: &str, count: Option<&'static str>| {
        let message = format!("Suppressed 812 messages from {from}");
        let entry = entry(time, &[("_TRANSPORT", "driver"), ("MESSAGE_ID", SUPPRESSED), ("MESSAGE", &message)]);
        count.map_or(entry.clone(), |count| with(entry, "N_DROPPED", count))
    };
    node.write(
        "system.journal",
        &[
            kubelet(1_000, "a"),
            suppressed(2_000, "kubelet.service", Some("811")),
            suppressed(3_000, "/system.slice/kubelet.service", None),
            suppressed(4_000, "cron.service", Some("5")),
            kubelet(5_000, "b"),
        ],
    );
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["a"]);
    assert_eq!([gap(running.next()).lost, gap(running.next()).lost], [Some(811), Some(812)]);
    expect(&running, &["b"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn the_rest_of_a_cut_line_is_passed_over() {
    let Some(node) = Node::new() else { return };
    let long = "x".repeat(48 << 10);
    node.write(
        "system.journal",
        &[
            with(kubelet(1_000, &long), "_LINE_BREAK", "line-max"),
            kubelet(2_000, "E0307 04:05:06.070809 1 a.go:1] \"forged\""),
            kubelet(3_000, "whole"),
            with(kubelet(4_000, "last words"), "_LINE_BREAK", "eof"),
            kubelet(5_000, "of the next process"),
        ],
    );
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &[&long, "whole", "last words", "of the next process"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn a_first_start_reads_ten_minutes_and_a_restart_goes_on() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<_> = [5 * MINUTE, 9 * MINUTE, 14 * MINUTE, 15 * MINUTE].iter().map(|time| kubelet(*time, &time.to_string())).collect();
    node.write("system.journal", &entries);
    let running = start_on(&node, Resume::default());
    running.up();
    let mut position = Resume::default();
    for expected in [5 * MINUTE, 9 * MINUTE, 14 * MINUTE, 15 * MINUTE] {
        let line = line(running.next());
        assert_eq!(line.text, expected.to_string(), "exactly ten minutes are still read");
        if expected == 9 * MINUTE {
            position.pass(&line);
        }
    }
    running.stop();
    node.write("system.journal", &[kubelet(16 * MINUTE, "later")]);
    for (resume, expected) in [
        (position, &["840000000", "900000000", "later"][..]),
        (Resume { cursor: Some("rubbish".into()), file: None }, &["540000000", "840000000", "900000000", "later"]),
        (Resume::default(), &["540000000", "840000000", "900000000", "later"]),
    ] {
        let running = start_on(&node, resume);
        running.up();
        expect(&running, expected);
        assert_eq!(running.stop(), []);
    }
}

#[test]
fn a_position_that_was_vacuumed_away_is_told_as_a_loss() {
    let Some(node) = Node::new() else { return };
    node.write("system@1.journal", &[kubelet(1_000, "a")]);
    let running = start_on(&node, Resume::default());
    running.up();
    let mut position = Resume::default();
    position.pass(&line(running.next()));
    running.stop();
    node.write("system@2.journal", &[kubelet(9_000, "c")]);
    fs::remove_file(node.file("system@1.journal")).expect("remove");
    let running = start_on(&node, position);
    running.up();
    assert_eq!(gap(running.next()).lost, None);
    expect(&running, &["c"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn ten_thousand_entries_arrive_once_and_in_order() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<_> = (0..10_000).map(|n| kubelet(n * 11, &n.to_string())).collect();
    node.write("system.journal", &entries);
    let running = start_on(&node, Resume::default());
    running.up();
    (0..10_000).for_each(|n: u64| expect(&running, &[&n.to_string()]));
    node.write("system.journal", &[kubelet(1_000_000, "live")]);
    expect(&running, &["live"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn rotation_and_vacuum_lose_and_repeat_nothing_and_leak_no_descriptor() {
    let Some(node) = Node::new() else { return };
    node.write("system@1.journal", &[kubelet(1_000, "0")]);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["0"]);
    for n in 1..6_u64 {
        node.rotate_to(&format!("system@{}.journal", n + 1), &[kubelet(n * 10_000, &n.to_string())]);
        expect(&running, &[&n.to_string()]);
        fs::remove_file(node.file(&format!("system@{n}.journal"))).expect("remove");
    }
    node.rotate_to("system@9.journal", &[kubelet(90_000, "9")]);
    expect(&running, &["9"]);
    assert!(node.deleted_and_open() <= 1, "{}", node.deleted_and_open());
    assert_eq!(running.stop(), []);
}

#[test]
fn damaged_files_are_told_and_end_nothing() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<_> = (1..=2_000).map(|n| kubelet(n * 1_000, &format!("line {n}"))).collect();
    node.write("system@1.journal", &entries);
    let path = node.file("system@1.journal");
    let mut bytes = fs::read(&path).expect("read");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("written");
    bytes[written / 2..=written].fill(0xa5);
    fs::write(&path, &bytes).expect("write");
    let told = probe_on(&node);
    assert!(told.state == SourceState::Unreadable && told.detail.contains("damaged"), "{told:?}");
    node.write("system.journal", &[kubelet(9_000_000, "after the damage")]);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["after the damage"]);
    assert!(gap(running.next()).detail.contains("left out"));
    node.write("system.journal", &[kubelet(9_000_001, "later")]);
    expect(&running, &["later"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn auto_goes_where_the_kubelet_logs() {
    let Some(node) = Node::new() else { return };
    let file = node.root().join("kubelet.log");
    let roots = Roots { kubelet_logs: vec![node.root().join("missing"), file.clone()], ..node.roots() };
    let auto = || start(KubeletLogChoice::Auto, roots.clone(), Resume::default());
    let detail = |running: Running| (running.report(), running.stop()).0.detail;

    let absent = detail(auto());
    assert!(absent.contains("no journal files") && absent.contains("no such file"), "{absent}");

    node.write("system.journal", &[printed("rke2-agent.service", 1_000, "time=\"now\" level=info msg=\"Running kubelet\"")]);
    let supervised = detail(auto());
    assert!(supervised.contains("without the kubelet's own lines"), "{supervised}");

    fs::write(&file, "from the file\n").expect("write");
    let running = auto();
    let in_file = running.up();
    assert!(in_file.starts_with("the file ") && in_file.contains("; not the journal: "), "{in_file}");
    expect(&running, &["from the file"]);
    running.stop();

    append(&node.file("system.journal"), &[kubelet(2_000, "from the journal")]);
    let running = auto();
    assert!(running.up().starts_with("the journal in "));
    expect(&running, &["time=\"now\" level=info msg=\"Running kubelet\"", "from the journal"]);
    running.stop();
}

#[test]
fn a_probe_names_what_is_missing() {
    let Some(node) = Node::new() else { return };
    assert_eq!(probe_on(&node).state, SourceState::Absent, "no file at all");
    node.write("system.journal", &[printed("cron.service", 1_000, "x")]);
    let told = probe_on(&node);
    assert!(told.state == SourceState::Stale && told.detail.contains("kubelet.service"), "{told:?}");
    node.write("system.journal", &[kubelet(2_000, "x")]);
    let told = probe_on(&node);
    assert_eq!((told.state, told.remedy), (SourceState::Up, None));
}

#[test]
fn an_entry_of_a_mebibyte_is_cut_and_the_next_one_arrives() {
    let Some(node) = Node::new() else { return };
    node.write("system.journal", &[kubelet(1_000, &"y".repeat(1 << 20)), kubelet(2_000, "next")]);
    let running = start_on(&node, Resume::default());
    running.up();
    let long = line(running.next()).text;
    assert!(long.len() <= 64 << 10 && long.starts_with("yyy"), "{} bytes", long.len());
    expect(&running, &["next"]);
    assert_eq!(running.stop(), []);
}

/// Root may read everything: the program is run as somebody who may not.
#[test]
fn a_journal_without_the_right_to_read_it_names_the_right() {
    use std::{os::unix::fs::PermissionsExt, process::Command};
    let Some(node) = Node::new() else { return };
    node.write("system.journal", &[kubelet(1_000, "x")]);
    let open = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    let program = node.root().join("nodewhy");
    // Another process copies it: here it could still be open for writing in a child that another test has just begun.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_nodewhy")).arg(&program).status().expect("cp").success());
    open(&program, 0o755);
    open(node.root(), 0o755);
    open(&node.file("system.journal"), 0o000);
    let is_root = nix::unistd::geteuid().is_root();
    let mut command = if is_root { Command::new("setpriv") } else { Command::new(&program) };
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    }
    let journal = node.file("system.journal");
    let journal = journal.parent().expect("a folder");
    let asked = command.arg("doctor").arg("--journal-dir").arg(journal).args(["--kubelet-log", "journal", "--pods", "none"]).output();
    let told = String::from_utf8(asked.expect("run").stdout).expect("text");
    let of_kubelet: Vec<_> = told.lines().skip_while(|line| !line.starts_with("kubelet_log")).take(2).collect();
    assert!(of_kubelet[0].contains("unreadable"), "{told}");
    assert!(of_kubelet[1].contains("systemd-journal"), "{told}");
}
