//! The kernel's log through real journal files.

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
    config::{KernelLogChoice, Roots},
    model::{BootId, BootTime},
    signal::{Body, Gap, KernelLine, SourceState},
    sources::{
        channel,
        kernel_log::{Probe, Resume, probe, spawn},
        stop,
    },
};
use source_thread::Running;
use std::{fs, process::Command};

/// Where a file says which features a reader must know (JOURNAL_FILE_FORMAT.md, the header).
const INCOMPATIBLE_FLAGS: usize = 12;

fn start(choice: KernelLogChoice, roots: Roots, resume: Resume) -> Running {
    Running::start(|outlet, stop| spawn(choice, roots, BootId(THIS_BOOT.into()), resume, outlet, stop).map(|(_, thread)| thread))
}

fn start_on(node: &Node, resume: Resume) -> Running {
    start(KernelLogChoice::Journal, node.roots(), resume)
}

fn probe_on(node: &Node) -> Probe {
    probe(KernelLogChoice::Journal, &node.roots(), &BootId(THIS_BOOT.into())).remove(0)
}

fn kernel(boot: &'static str, time: u64, message: &str) -> Entry {
    let fields =
        [("_TRANSPORT", "kernel"), ("PRIORITY", "6"), ("SYSLOG_FACILITY", "0"), ("SYSLOG_IDENTIFIER", "kernel"), ("MESSAGE", message)];
    let mut entry = entry(time, &fields);
    entry.boot = boot;
    entry.fields.push(("_SOURCE_MONOTONIC_TIMESTAMP", time.to_string()));
    entry
}

fn message(body: Body) -> String {
    match body {
        Body::Kernel(KernelLine::Journal { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

fn expect(running: &Running, messages: &[&str]) {
    for expected in messages {
        assert_eq!(message(running.next()), *expected);
    }
}

#[test]
fn only_kernel_entries_of_this_boot_are_read_with_their_fields() {
    let Some(node) = Node::new() else { return };
    let mut device = kernel(THIS_BOOT, 3_000_000, "nvme0: I/O timeout");
    device.fields.extend([("_KERNEL_SUBSYSTEM", "nvme".to_owned()), ("_KERNEL_DEVICE", "c241:0".to_owned())]);
    device.fields[1].1 = "4".into();
    node.write(
        "system.journal",
        &[
            kernel(OTHER_BOOT, 1_000_000, "of the last boot"),
            kernel(THIS_BOOT, 2_000_000, "Linux version"),
            entry(2_500_000, &[("_TRANSPORT", "stdout"), ("MESSAGE", "Killed process 1 (forged)")]),
            entry(2_600_000, &[("_TRANSPORT", "driver"), ("MESSAGE", "Journal started")]),
            device,
        ],
    );
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["Linux version"]);
    match running.next() {
        Body::Kernel(KernelLine::Journal { priority, facility, boot_time, wall, subsystem, device, cursor, message }) => {
            assert_eq!((priority, facility, boot_time), (Some(4), Some(0), Some(BootTime(3_000_000))));
            assert_eq!(wall.map(|wall| wall.as_microsecond()), Some(1_780_000_003_000_000));
            assert_eq!((subsystem.as_deref(), device.as_deref()), (Some("nvme"), Some("c241:0")));
            assert!(message == "nvme0: I/O timeout" && cursor.starts_with("s="), "{message} {cursor}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(running.stop(), []);
}

#[test]
fn a_new_entry_wakes_the_reader() {
    let Some(node) = Node::new() else { return };
    node.write("system.journal", &[kernel(THIS_BOOT, 1_000, "first")]);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["first"]);
    node.write("system.journal", &[kernel(THIS_BOOT, 2_000, "second")]);
    expect(&running, &["second"]);
    node.write("system.journal", &[kernel(THIS_BOOT, 2_000, "third, in the same microsecond")]);
    expect(&running, &["third, in the same microsecond"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn a_rotation_loses_and_repeats_nothing_and_leaks_no_descriptor() {
    let Some(node) = Node::new() else { return };
    node.write("system@1.journal", &[kernel(THIS_BOOT, 1_000, "0")]);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["0"]);
    for n in 1..6_u64 {
        node.rotate_to(&format!("system@{}.journal", n + 1), &[kernel(THIS_BOOT, n * 10_000, &n.to_string())]);
        expect(&running, &[&n.to_string()]);
        fs::remove_file(node.file(&format!("system@{n}.journal"))).expect("remove");
    }
    node.rotate_to("system@9.journal", &[kernel(THIS_BOOT, 90_000, "9")]);
    expect(&running, &["9"]);
    assert!(node.deleted_and_open() <= 1, "{}", node.deleted_and_open());
    assert_eq!(running.stop(), []);
}

#[test]
fn a_file_that_journald_shrinks_or_removes_during_the_reading_is_no_loss() {
    // Far more than the channel holds: the reader waits among them until the test takes them.
    const ENTRIES: u64 = 20_000;
    let Some(node) = Node::new() else { return };
    node.write("system@1.journal", &[kernel(THIS_BOOT, 500, "0")]);
    node.write("system@2.journal", &[kernel(OTHER_BOOT, 500, "old")]);
    let entries: Vec<_> = (1..=ENTRIES).map(|n| kernel(THIS_BOOT, n * 1_000, &n.to_string())).collect();
    node.write("system.journal", &entries);
    let (outlet, mut signals) = channel();
    let (stopper, order) = stop().expect("pipe");
    let resume = Resume::default();
    let (_, thread) = spawn(KernelLogChoice::Journal, node.roots(), BootId(THIS_BOOT.into()), resume, outlet, order).expect("thread");
    let mut next = || signals.blocking_recv().expect("a signal").body;
    assert!(matches!(next(), Body::Source(report) if report.state == SourceState::Up));
    assert_eq!(message(next()), "0");
    // What it does with a file that it archives: the space that was set aside and is not used is given back.
    assert!(Command::new("fallocate").arg("--dig-holes").arg(node.file("system@1.journal")).status().expect("fallocate").success());
    fs::remove_file(node.file("system@2.journal")).expect("remove");
    for n in 1..=ENTRIES {
        assert_eq!(message(next()), n.to_string());
    }
    node.write("system.journal", &[kernel(THIS_BOOT, 90_000_000, "later")]);
    assert_eq!(message(next()), "later");
    drop(stopper);
    thread.join().expect("thread");
}

#[test]
fn a_file_that_is_still_being_made_is_no_loss() {
    let Some(node) = Node::new() else { return };
    node.write("system@1.journal", &[kernel(THIS_BOOT, 1_000, "before the rotation")]);
    // As journald makes it: its space is set aside before its header is written.
    let new = node.file("system.journal");
    assert!(Command::new("fallocate").args(["--length", "8MiB"]).arg(&new).status().expect("fallocate").success());
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["before the rotation"]);
    append(&node.root().join("made.journal"), &[kernel(THIS_BOOT, 2_000, "after it")]);
    fs::write(&new, fs::read(node.root().join("made.journal")).expect("read")).expect("write");
    expect(&running, &["after it"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn reading_resumes_after_a_cursor_or_a_time() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<_> = (1..=5).map(|n| kernel(THIS_BOOT, n * 1_000, &n.to_string())).collect();
    node.write("system.journal", &entries);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["1", "2"]);
    let cursor = match running.next() {
        Body::Kernel(KernelLine::Journal { cursor, .. }) => cursor,
        other => panic!("{other:?}"),
    };
    running.stop();
    for (resume, expected) in [
        (Resume { cursor: Some(cursor.clone()), boot_time: Some(BootTime(3_000)), seq: None }, ["4", "5"].as_slice()),
        (Resume { cursor: Some(cursor), ..Resume::default() }, &["4", "5"]),
        (Resume { cursor: Some("rubbish".into()), boot_time: Some(BootTime(3_000)), seq: None }, &["4", "5"]),
        (Resume { cursor: Some("rubbish".into()), ..Resume::default() }, &["1", "2", "3", "4", "5"]),
        (Resume { boot_time: Some(BootTime(4_000)), ..Resume::default() }, &["5"]),
    ] {
        let running = start_on(&node, resume);
        running.up();
        expect(&running, expected);
        assert_eq!(running.stop(), []);
    }
}

#[test]
fn the_journal_tells_its_own_losses() {
    let Some(node) = Node::new() else { return };
    let missed = [("_TRANSPORT", "driver"), ("MESSAGE_ID", "e9bf28e6e834481bb6f48f548ad13606"), ("MESSAGE", "Missed 17 kernel messages")];
    let overrun = [("_TRANSPORT", "driver"), ("MESSAGE", "/dev/kmsg buffer overrun, some messages lost.")];
    let entries = [kernel(THIS_BOOT, 1_000, "a"), entry(2_000, &missed), entry(3_000, &overrun), kernel(THIS_BOOT, 4_000, "b")];
    node.write("system.journal", &entries);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["a"]);
    let lost = |body| match body {
        Body::Gap(Gap { lost, .. }) => lost,
        other => panic!("{other:?}"),
    };
    assert_eq!([lost(running.next()), lost(running.next())], [Some(17), None]);
    expect(&running, &["b"]);
    running.stop();
}

#[test]
fn a_large_backlog_is_read_once() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<_> = (0..1_500).map(|n| kernel(THIS_BOOT, n * 7, &n.to_string())).collect();
    node.write("system.journal", &entries);
    let running = start_on(&node, Resume::default());
    running.up();
    (0..1_500).for_each(|n: u64| expect(&running, &[&n.to_string()]));
    node.write("system.journal", &[kernel(THIS_BOOT, 1_000_000, "live")]);
    expect(&running, &["live"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn the_directory_with_the_newest_entries_is_read() {
    let Some(node) = Node::new() else { return };
    let volatile = node.root().join("volatile");
    fs::create_dir(&volatile).expect("dir");
    append(&volatile.join("system.journal"), &[kernel(THIS_BOOT, 1_000, "old")]);
    node.write("system.journal", &[kernel(THIS_BOOT, 1_000, "old"), kernel(THIS_BOOT, 2_000, "new")]);
    let roots = Roots { journal: vec![volatile, node.file("")], ..node.roots() };
    let running = start(KernelLogChoice::Auto, roots, Resume::default());
    let report = running.report();
    assert!(report.state == SourceState::Up && report.detail.starts_with("journal: "), "{report:?}");
    assert!(report.detail.contains("; not kmsg: "), "{report:?}");
    expect(&running, &["old", "new"]);
    running.stop();
}

#[test]
fn a_journal_without_kernel_entries_of_this_boot_does_not_work() {
    let Some(node) = Node::new() else { return };
    assert_eq!(probe_on(&node).state, SourceState::Absent, "no file at all");
    node.write("system.journal", &[kernel(OTHER_BOOT, 1_000, "a"), entry(2_000, &[("_TRANSPORT", "stdout"), ("MESSAGE", "x")])]);
    let told = probe_on(&node);
    assert_eq!(told.state, SourceState::Stale, "{told:?}");
    assert!(told.remedy.is_some_and(|remedy| remedy.contains("ReadKMsg")));
}

#[test]
fn files_of_a_newer_format_are_told_instead_of_silence() {
    let Some(node) = Node::new() else { return };
    node.write("system.journal", &[kernel(THIS_BOOT, 1_000, "a")]);
    let mut bytes = fs::read(node.file("system.journal")).expect("read");
    bytes[INCOMPATIBLE_FLAGS + 3] |= 0x80;
    fs::write(node.file("system.journal"), &bytes).expect("write");
    let told = probe_on(&node);
    assert_eq!(told.state, SourceState::Unreadable, "{told:?}");
    assert!(told.detail.contains("newer format (incompatible flags 0x80000000)"), "{told:?}");
    fs::write(node.file("system.journal"), b"this is no journal").expect("write");
    assert!(probe_on(&node).detail.contains("does not begin like a journal file"), "{:?}", probe_on(&node));
    fs::write(node.file("system.journal"), b"").expect("write");
    assert_eq!(probe_on(&node).state, SourceState::Unreadable);
}

#[test]
fn damage_is_told_and_ends_nothing() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<_> = (1..=2_000).map(|n| kernel(THIS_BOOT, n * 1_000, &format!("line {n}"))).collect();
    node.write("system@1.journal", &entries);
    let path = node.file("system@1.journal");
    let mut bytes = fs::read(&path).expect("read");
    // The second half of what is written becomes rubbish, as after a power cut.
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("written");
    bytes[written / 2..=written].fill(0xa5);
    fs::write(&path, &bytes).expect("write");
    let told = probe_on(&node);
    assert!(told.state == SourceState::Unreadable && told.detail.contains("damaged"), "{told:?}");
    node.write("system.journal", &[kernel(THIS_BOOT, 9_000_000, "after the damage")]);
    let running = start_on(&node, Resume::default());
    running.up();
    expect(&running, &["after the damage"]);
    match running.next() {
        Body::Gap(Gap { lost: None, detail, .. }) => assert!(detail.contains("left out"), "{detail}"),
        other => panic!("{other:?}"),
    }
    node.write("system.journal", &[kernel(THIS_BOOT, 9_000_001, "later")]);
    expect(&running, &["later"]);
    assert_eq!(running.stop(), [], "the loss is told once");
}
