//! The kubelet's log in a file: growth, both kinds of rotation, and what may stand in its place.

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

mod source_thread;

use nix::{sys::stat::Mode, unistd::mkfifo};
use nodewhy::{
    config::{KubeletLogChoice, Roots, Units},
    model::BootId,
    signal::{Body, Gap, KubeletLine, KubeletOrigin, SourceState},
    sources::kubelet_log::{Resume, probe, spawn},
};
use source_thread::Running;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

struct Log {
    directory: TempDir,
    path: PathBuf,
}

impl Log {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().expect("temp dir");
        let path = directory.path().join("logs/kubelet.log");
        fs::create_dir(directory.path().join("logs")).expect("dir");
        fs::write(&path, text).expect("write");
        Self { directory, path }
    }

    fn start(&self, resume: Resume) -> Running {
        let choice = KubeletLogChoice::File(self.path.clone());
        Running::start(|outlet, stop| spawn(choice, &Units::default(), no_roots(), BootId("0".repeat(32)), resume, outlet, stop))
    }

    fn running(&self) -> Running {
        let running = self.start(Resume::default());
        running.up();
        running
    }

    /// The writer's own descriptor.
    fn writer(&self) -> File {
        OpenOptions::new().append(true).create(true).open(&self.path).expect("open")
    }

    fn aside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }
}

fn no_roots() -> Roots {
    Roots { journal: Vec::new(), kubelet_logs: Vec::new(), ..Roots::default() }
}

fn write(file: &mut File, text: impl AsRef<[u8]>) {
    file.write_all(text.as_ref()).expect("write");
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
fn a_line_arrives_when_it_is_whole() {
    let log = Log::new("one\n");
    let running = log.running();
    let first = line(running.next());
    match &first.origin {
        KubeletOrigin::File { path, offset, .. } => assert_eq!((Path::new(&**path), *offset), (log.path.as_path(), 4)),
        other @ KubeletOrigin::Journal { .. } => panic!("{other:?}"),
    }
    let mut writer = log.writer();
    write(&mut writer, "tw");
    write(&mut writer, "o\nthree\n");
    expect(&running, &["two", "three"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn a_rotation_by_rename_loses_and_repeats_nothing() {
    let log = Log::new("0\n");
    let running = log.running();
    expect(&running, &["0"]);
    let mut old = log.writer();
    for n in 1..6 {
        let aside = log.aside(&format!("kubelet.log.{n}"));
        fs::rename(&log.path, &aside).expect("rename");
        write(&mut old, format!("{n} to the old file\n"));
        expect(&running, &[&format!("{n} to the old file")]);
        let mut new = log.writer();
        write(&mut old, format!("{n} to the old file, late"));
        write(&mut new, format!("{n} to the new file\n"));
        expect(&running, &[&format!("{n} to the old file, late"), &format!("{n} to the new file")]);
        fs::remove_file(aside).expect("remove");
        old = new;
    }
    let open = fs::read_dir("/proc/self/fd").expect("fds").flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let deleted: Vec<_> =
        open.filter(|path| path.starts_with(log.directory.path()) && path.to_string_lossy().ends_with("(deleted)")).collect();
    assert_eq!(deleted, Vec::<PathBuf>::new());
    assert_eq!(running.stop(), []);
}

#[test]
fn a_file_that_is_emptied_is_read_from_its_beginning() {
    let log = Log::new("the first line\n");
    let running = log.running();
    expect(&running, &["the first line"]);
    let mut writer = log.writer();
    for n in 0..3 {
        fs::copy(&log.path, log.aside("kubelet.log.1")).expect("copy");
        writer.set_len(0).expect("truncate");
        write(&mut writer, format!("{n}\n"));
        expect(&running, &[&n.to_string()]);
    }
    // Emptied and filled beyond the place that was reached, before anybody looks.
    fs::write(&log.path, "longer than all that was there before\n").expect("write");
    expect(&running, &["longer than all that was there before"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn a_writer_that_keeps_its_place_leaves_a_hole_that_is_no_text() {
    let log = Log::new("");
    let mut writer = File::create(&log.path).expect("create");
    write(&mut writer, format!("{}\n", "x".repeat(100)));
    let running = log.running();
    expect(&running, &[&"x".repeat(100)]);
    writer.set_len(0).expect("truncate");
    write(&mut writer, "after the hole\n");
    expect(&running, &["after the hole"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn a_long_line_is_cut_and_told() {
    let log = Log::new(format!("{}\nnext\n", "y".repeat(1 << 20)));
    // The end of the file is in the middle of the long line: what it ends with is no line.
    let running = log.running();
    expect(&running, &["next"]);
    write(&mut log.writer(), format!("{}\nand on\n", "z".repeat(1 << 20)));
    let told = gap(running.next());
    assert!(told.lost.is_none() && told.detail.contains("1048576 bytes"), "{told:?}");
    expect(&running, &[&"z".repeat(64 << 10), "and on"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn rubbish_is_survived() {
    let rubbish: Vec<u8> = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let log = Log::new(rubbish);
    let running = log.running();
    write(&mut log.writer(), "\nafter the rubbish\n");
    while line(running.next()).text != "after the rubbish" {}
    assert_eq!(running.stop(), []);
}

#[test]
fn a_first_start_reads_the_end_of_a_large_file() {
    let lines: Vec<String> = (0..40_000).map(|n| format!("line {n:06}")).collect();
    let log = Log::new(lines.join("\n") + "\n");
    let running = log.running();
    let first = line(running.next()).text;
    // 256 KiB of 12 bytes a line, less the one that is cut.
    assert_eq!(first, "line 018155");
    for expected in lines.iter().skip(18_156) {
        assert_eq!(&line(running.next()).text, expected);
    }
    assert_eq!(running.stop(), []);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let log = Log::new("a\nb\nc\n");
    let running = log.running();
    let mut position = Resume::default();
    position.pass(&line(running.next()));
    running.stop();

    let running = log.start(position.clone());
    running.up();
    expect(&running, &["b", "c"]);
    assert_eq!(running.stop(), []);

    fs::rename(&log.path, log.aside("kubelet.log.1")).expect("rename");
    write(&mut log.writer(), "of the new file\n");
    let running = log.start(position.clone());
    running.up();
    assert!(gap(running.next()).detail.contains("rotated"));
    expect(&running, &["of the new file"]);
    assert_eq!(running.stop(), []);

    // The position of another file says nothing about this one.
    position.file = position.file.map(|file| nodewhy::signal::FilePosition { path: "/elsewhere".into(), ..file });
    let running = log.start(position);
    running.up();
    expect(&running, &["of the new file"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn an_inode_that_another_file_got_is_no_position() {
    let log = Log::new("one line\nanother\n");
    let running = log.running();
    let mut position = Resume::default();
    position.pass(&line(running.next()));
    running.stop();
    // The same inode, but no line ends at the place any more.
    fs::write(&log.path, "quite another line\n").expect("write");
    let running = log.start(position);
    running.up();
    assert!(gap(running.next()).detail.contains("rotated"));
    expect(&running, &["quite another line"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn a_directory_that_vanishes_and_comes_back_is_survived() {
    let log = Log::new("a\n");
    let running = log.running();
    expect(&running, &["a"]);
    write(&mut log.writer(), "last words");
    let logs = log.path.parent().expect("directory").to_owned();
    fs::rename(&logs, log.directory.path().join("aside")).expect("rename");
    expect(&running, &["last words"]);
    assert_eq!(running.report().state, SourceState::Absent);
    fs::create_dir(&logs).expect("dir");
    fs::write(log.aside("new"), "b\n").expect("write");
    fs::rename(log.aside("new"), &log.path).expect("rename");
    running.up();
    expect(&running, &["b"]);
    assert_eq!(running.stop(), []);
}

#[test]
fn only_a_regular_file_is_read() {
    let directory = tempfile::tempdir().expect("temp dir");
    let path = |name: &str| directory.path().join(name);
    mkfifo(&path("fifo"), Mode::S_IRWXU).expect("fifo");
    let _listener = UnixListener::bind(path("socket")).expect("socket");
    let boot_id = BootId("0".repeat(32));
    for (path, what) in [
        (path("fifo"), "a FIFO"),
        (path("socket"), "a socket"),
        (directory.path().to_owned(), "a directory"),
        ("/dev/null".into(), "a device"),
    ] {
        let told = probe(&KubeletLogChoice::File(path.clone()), &Units::default(), &no_roots(), &boot_id);
        assert_eq!(told.state, SourceState::Absent);
        assert!(told.detail.contains(&path.display().to_string()) && told.detail.contains(what), "{told:?}");
        assert!(told.remedy.is_some());
    }
}

#[test]
fn none_is_told_once_and_ends() {
    let choice = KubeletLogChoice::None;
    let running = Running::start(|outlet, stop| {
        spawn(choice, &Units::default(), no_roots(), BootId("0".repeat(32)), Resume::default(), outlet, stop)
    });
    assert_eq!(running.report().state, SourceState::Absent);
    assert_eq!(running.stop(), []);
}
