//! The kernel's log through real journal files, made by systemd-journal-remote from text. With
//! `CI=true` a missing systemd-journal-remote fails the test; elsewhere it says so and passes.
#![cfg(feature = "journal")]

mod kernel_log_thread;

use kernel_log_thread::Running;
use nodewhy::{
    config::{KernelLogChoice, Roots},
    model::{BootId, BootTime},
    signal::{Body, Gap, KernelLine, SourceState},
    sources::kernel_log::{Probe, Resume, probe},
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const JOURNAL_REMOTE: &str = "/lib/systemd/systemd-journal-remote";
const THIS_BOOT: &str = "0a1b2c3d-4e5f-4a6b-8c7d-0123456789ab";
const OTHER_BOOT: &str = "ffffffff-4e5f-4a6b-8c7d-0123456789ab";
/// Where a file says which features a reader must know (JOURNAL_FILE_FORMAT.md, the header).
const INCOMPATIBLE_FLAGS: usize = 12;

/// A directory of journal files.
struct Node {
    directory: TempDir,
}

impl Node {
    /// None when this machine cannot make journal files.
    fn new() -> Option<Self> {
        let present = Path::new(JOURNAL_REMOTE).exists();
        assert!(present || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "install systemd-journal-remote");
        if !present {
            eprintln!("not run: {JOURNAL_REMOTE} is missing (package systemd-journal-remote)");
            return None;
        }
        let directory = tempfile::tempdir().expect("temp dir");
        fs::create_dir(directory.path().join("journal")).expect("dir");
        Some(Self { directory })
    }

    fn roots(&self) -> Roots {
        let root = self.directory.path();
        Roots { proc: root.join("proc"), kmsg: root.join("kmsg"), journal: vec![root.join("journal")], ..Roots::default() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("journal").join(name)
    }

    /// Adds entries to a file, new or not.
    fn write(&self, name: &str, entries: &[Entry]) {
        append(&self.file(name), entries);
    }

    /// A new file that appears whole, as the one that journald begins after a rotation.
    fn rotate_to(&self, name: &str, entries: &[Entry]) {
        let aside = self.directory.path().join(name);
        append(&aside, entries);
        fs::rename(aside, self.file(name)).expect("rename");
    }

    fn start(&self, resume: Resume) -> Running {
        Running::start(KernelLogChoice::Journal, self.roots(), BootId(THIS_BOOT.into()), resume)
    }

    fn probe(&self) -> Probe {
        probe(KernelLogChoice::Journal, &self.roots(), &BootId(THIS_BOOT.into())).remove(0)
    }
}

/// One entry, as journald would have written it.
#[derive(Clone)]
struct Entry {
    boot: &'static str,
    /// The kernel's own time, and journald's a little later, in microseconds since boot.
    time: u64,
    fields: Vec<(&'static str, String)>,
}

fn kernel(boot: &'static str, time: u64, message: &str) -> Entry {
    let fields =
        [("_TRANSPORT", "kernel"), ("PRIORITY", "6"), ("SYSLOG_FACILITY", "0"), ("SYSLOG_IDENTIFIER", "kernel"), ("MESSAGE", message)];
    let fields = fields.into_iter().map(|(name, value)| (name, value.to_owned()));
    Entry { boot, time, fields: fields.chain([("_SOURCE_MONOTONIC_TIMESTAMP", time.to_string())]).collect() }
}

fn other(time: u64, fields: &[(&'static str, &str)]) -> Entry {
    Entry { boot: THIS_BOOT, time, fields: fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect() }
}

fn append(file: &Path, entries: &[Entry]) {
    let mut text = String::new();
    for Entry { boot, time, fields } in entries {
        let start: u64 = if *boot == THIS_BOOT { 1_780_000_000_000_000 } else { 1_770_000_000_000_000 };
        text += &format!("__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n", start + time, time + 40);
        text += &format!("_BOOT_ID={}\n", boot.replace('-', ""));
        fields.iter().for_each(|(name, value)| text += &format!("{name}={value}\n"));
        text.push('\n');
    }
    let mut remote = Command::new(JOURNAL_REMOTE);
    let mut remote =
        remote.arg("--split-mode=none").arg("-o").arg(file).arg("-").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start");
    remote.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
    assert!(remote.wait().expect("wait").success());
}

fn message(body: Body) -> String {
    match body {
        Body::Kernel(KernelLine::Journal { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

fn up(running: &Running) {
    let report = running.report();
    assert_eq!(report.state, SourceState::Up, "{report:?}");
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
            other(2_500_000, &[("_TRANSPORT", "stdout"), ("MESSAGE", "Killed process 1 (forged)")]),
            other(2_600_000, &[("_TRANSPORT", "driver"), ("MESSAGE", "Journal started")]),
            device,
        ],
    );
    let running = node.start(Resume::default());
    up(&running);
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
    let running = node.start(Resume::default());
    up(&running);
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
    let running = node.start(Resume::default());
    up(&running);
    expect(&running, &["0"]);
    let deleted = |node: &Node| {
        let fds = fs::read_dir("/proc/self/fd").expect("fds").flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        let root = node.directory.path().to_owned();
        fds.filter(|path| path.starts_with(&root) && path.to_string_lossy().ends_with("(deleted)")).count()
    };
    for n in 1..6_u64 {
        node.rotate_to(&format!("system@{}.journal", n + 1), &[kernel(THIS_BOOT, n * 10_000, &n.to_string())]);
        expect(&running, &[&n.to_string()]);
        fs::remove_file(node.file(&format!("system@{n}.journal"))).expect("remove");
    }
    node.rotate_to("system@9.journal", &[kernel(THIS_BOOT, 90_000, "9")]);
    expect(&running, &["9"]);
    assert!(deleted(&node) <= 1, "{}", deleted(&node));
    assert_eq!(running.stop(), []);
}

#[test]
fn reading_resumes_after_a_cursor_or_a_time() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<Entry> = (1..=5).map(|n| kernel(THIS_BOOT, n * 1_000, &n.to_string())).collect();
    node.write("system.journal", &entries);
    let running = node.start(Resume::default());
    up(&running);
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
        let running = node.start(resume);
        up(&running);
        expect(&running, expected);
        assert_eq!(running.stop(), []);
    }
}

#[test]
fn the_journal_tells_its_own_losses() {
    let Some(node) = Node::new() else { return };
    let missed = [("_TRANSPORT", "driver"), ("MESSAGE_ID", "e9bf28e6e834481bb6f48f548ad13606"), ("MESSAGE", "Missed 17 kernel messages")];
    let overrun = [("_TRANSPORT", "driver"), ("MESSAGE", "/dev/kmsg buffer overrun, some messages lost.")];
    let entries = [kernel(THIS_BOOT, 1_000, "a"), other(2_000, &missed), other(3_000, &overrun), kernel(THIS_BOOT, 4_000, "b")];
    node.write("system.journal", &entries);
    let running = node.start(Resume::default());
    up(&running);
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
    let entries: Vec<Entry> = (0..1_500).map(|n| kernel(THIS_BOOT, n * 7, &n.to_string())).collect();
    node.write("system.journal", &entries);
    let running = node.start(Resume::default());
    up(&running);
    (0..1_500).for_each(|n: u64| expect(&running, &[&n.to_string()]));
    node.write("system.journal", &[kernel(THIS_BOOT, 1_000_000, "live")]);
    expect(&running, &["live"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn the_directory_with_the_newest_entries_is_read() {
    let Some(node) = Node::new() else { return };
    let volatile = node.directory.path().join("volatile");
    fs::create_dir(&volatile).expect("dir");
    append(&volatile.join("system.journal"), &[kernel(THIS_BOOT, 1_000, "old")]);
    node.write("system.journal", &[kernel(THIS_BOOT, 1_000, "old"), kernel(THIS_BOOT, 2_000, "new")]);
    let roots = Roots { journal: vec![volatile, node.file("")], ..node.roots() };
    let running = Running::start(KernelLogChoice::Auto, roots, BootId(THIS_BOOT.into()), Resume::default());
    let report = running.report();
    assert!(report.state == SourceState::Up && report.detail.starts_with("journal: "), "{report:?}");
    assert!(report.detail.contains("; not kmsg: "), "{report:?}");
    expect(&running, &["old", "new"]);
    running.stop();
}

#[test]
fn a_journal_without_kernel_entries_of_this_boot_does_not_work() {
    let Some(node) = Node::new() else { return };
    assert_eq!(node.probe().state, SourceState::Absent, "no file at all");
    node.write("system.journal", &[kernel(OTHER_BOOT, 1_000, "a"), other(2_000, &[("_TRANSPORT", "stdout"), ("MESSAGE", "x")])]);
    let told = node.probe();
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
    let told = node.probe();
    assert_eq!(told.state, SourceState::Unreadable, "{told:?}");
    assert!(told.detail.contains("newer format (incompatible flags 0x80000000)"), "{told:?}");
    fs::write(node.file("system.journal"), b"this is no journal").expect("write");
    assert!(node.probe().detail.contains("does not begin like a journal file"), "{:?}", node.probe());
    fs::write(node.file("system.journal"), b"").expect("write");
    assert_eq!(node.probe().state, SourceState::Unreadable);
}

#[test]
fn damage_is_told_and_ends_nothing() {
    let Some(node) = Node::new() else { return };
    let entries: Vec<Entry> = (1..=2_000).map(|n| kernel(THIS_BOOT, n * 1_000, &format!("line {n}"))).collect();
    node.write("system@1.journal", &entries);
    let path = node.file("system@1.journal");
    let mut bytes = fs::read(&path).expect("read");
    // The second half of what is written becomes rubbish, as after a power cut.
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("written");
    bytes[written / 2..=written].fill(0xa5);
    fs::write(&path, &bytes).expect("write");
    let told = node.probe();
    assert!(told.state == SourceState::Unreadable && told.detail.contains("damaged"), "{told:?}");
    node.write("system.journal", &[kernel(THIS_BOOT, 9_000_000, "after the damage")]);
    let running = node.start(Resume::default());
    up(&running);
    expect(&running, &["after the damage"]);
    match running.next() {
        Body::Gap(Gap { lost: None, detail, .. }) => assert!(detail.contains("left out"), "{detail}"),
        other => panic!("{other:?}"),
    }
    node.write("system.journal", &[kernel(THIS_BOOT, 9_000_001, "later")]);
    expect(&running, &["later"]);
    assert_eq!(running.stop(), [], "the loss is told once");
}
