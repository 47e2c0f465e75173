//! The thread as a whole, on files and FIFOs in the device's place.

use super::*;
use crate::{
    model::BootTime,
    signal::{Body, KernelLine, Signal, SourceReport},
    sources::{Stopper, channel, stop},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use std::{fs, io::Write, path::Path, sync::mpsc, time::Duration};
use tempfile::TempDir;

/// So long that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    signals: mpsc::Receiver<Signal>,
    stopper: Stopper,
    thread: thread::JoinHandle<()>,
}

impl Running {
    fn start(choice: KernelLogChoice, roots: Roots, resume: Resume) -> Self {
        let (outlet, mut receiver) = channel();
        let (sender, signals) = mpsc::channel();
        thread::spawn(move || while receiver.blocking_recv().is_some_and(|signal| sender.send(signal).is_ok()) {});
        let (stopper, stop) = stop().expect("pipe");
        let (_, thread) = spawn(choice, roots, BootId("0".repeat(32)), resume, outlet, stop).expect("thread");
        Self { signals, stopper, thread }
    }

    fn next(&self) -> Body {
        self.signals.recv_timeout(PATIENCE).expect("a signal").body
    }

    fn report(&self) -> SourceReport {
        match self.next() {
            Body::Source(report) => report,
            other => panic!("{other:?}"),
        }
    }

    fn record(&self) -> String {
        match self.next() {
            Body::Kernel(KernelLine::Kmsg(record)) => record,
            other => panic!("{other:?}"),
        }
    }

    fn stop(self) {
        drop(self.stopper);
        self.thread.join().expect("thread");
    }
}

fn roots(directory: &TempDir) -> Roots {
    let root = directory.path();
    Roots {
        proc: root.join("proc"),
        sys: root.join("sys"),
        cgroup: root.join("cgroup"),
        kmsg: root.join("kmsg"),
        journal: vec![root.join("journal")],
        pod_logs: root.join("pods"),
        kubelet: Vec::new(),
        runtime: Vec::new(),
        images: None,
        container_storage: Vec::new(),
        kubelet_logs: Vec::new(),
    }
}

fn fifo(path: &Path) -> fs::File {
    mkfifo(path, Mode::S_IRWXU).expect("fifo");
    fs::OpenOptions::new().read(true).write(true).open(path).expect("open")
}

#[test]
fn a_file_in_the_devices_place_is_read_to_its_end() {
    let directory = tempfile::tempdir().expect("temp dir");
    let roots = roots(&directory);
    // More than one buffer, so that records are cut anywhere.
    let records: Vec<String> =
        (0..500).map(|n| format!("6,{n},{n}000,-;event {n} {}\n SUBSYSTEM=test\n DEVICE=+test:{n}", "x".repeat(n % 97))).collect();
    fs::write(&roots.kmsg, records.join("\n") + "\n").expect("write");
    let running = Running::start(KernelLogChoice::Kmsg, roots, Resume::default());
    assert_eq!(running.report().state, SourceState::Up);
    for record in &records {
        assert_eq!(&running.record(), record);
    }
    let end = running.report();
    assert_eq!(end.state, SourceState::Stale);
    assert!(end.detail.contains("at its end"), "{end:?}");
    running.thread.join().expect("the thread ends by itself");
}

#[test]
fn a_new_record_arrives_and_the_thread_stops_when_told() {
    let directory = tempfile::tempdir().expect("temp dir");
    let roots = roots(&directory);
    let mut log = fifo(&roots.kmsg);
    log.write_all(b"6,7,100,-;old\n").expect("write");
    let running = Running::start(KernelLogChoice::Auto, roots, Resume::default());
    let up = running.report();
    assert!(up.state == SourceState::Up && up.detail.starts_with("kmsg: "), "{up:?}");
    assert_eq!(running.record(), "6,7,100,-;old");
    log.write_all(b"6,8,200,-;new\n KEY=value\n").expect("write");
    assert_eq!(running.record(), "6,8,200,-;new\n KEY=value");
    running.stop();
}

#[test]
fn what_a_checkpoint_covers_is_not_sent_again() {
    let directory = tempfile::tempdir().expect("temp dir");
    let roots = roots(&directory);
    fs::write(&roots.kmsg, "6,7,100,-;a\n6,8,100,-;b\n6,9,90,-;c\n").expect("write");
    for (resume, expected) in [
        (Resume { seq: Some(7), ..Resume::default() }, &["6,8,100,-;b", "6,9,90,-;c"][..]),
        (Resume { seq: Some(8), boot_time: Some(BootTime(100)), ..Resume::default() }, &["6,9,90,-;c"]),
        (Resume { boot_time: Some(BootTime(100)), ..Resume::default() }, &[]),
    ] {
        let running = Running::start(KernelLogChoice::Kmsg, roots.clone(), resume);
        running.report();
        for record in expected {
            assert_eq!(running.record(), *record);
        }
        assert_eq!(running.report().state, SourceState::Stale);
    }
}

#[test]
fn a_device_that_comes_later_is_found() {
    let directory = tempfile::tempdir().expect("temp dir");
    let roots = roots(&directory);
    let running = Running::start(KernelLogChoice::Kmsg, roots.clone(), Resume::default());
    let absent = running.report();
    assert_eq!(absent.state, SourceState::Absent);
    assert!(absent.detail.contains("mount the host's /dev/kmsg"), "{absent:?}");
    fs::write(directory.path().join("new"), "6,1,1,-;first\n").expect("write");
    fs::rename(directory.path().join("new"), &roots.kmsg).expect("rename");
    assert_eq!(running.report().state, SourceState::Up);
    assert_eq!(running.record(), "6,1,1,-;first");
    running.stop();
}

#[test]
fn no_transport_is_told_once() {
    let directory = tempfile::tempdir().expect("temp dir");
    let running = Running::start(KernelLogChoice::None, roots(&directory), Resume::default());
    assert_eq!(running.report().state, SourceState::Absent);
    running.thread.join().expect("the thread ends by itself");
}

#[test]
fn when_none_works_each_says_why() {
    let directory = tempfile::tempdir().expect("temp dir");
    let machine = Machine { roots: roots(&directory), boot_id: BootId("0".repeat(32)) };
    let failure = open_first(&[Transport::Kmsg, Transport::Journal], &machine).err().expect("nothing there");
    assert_eq!(failure.state, SourceState::Absent);
    assert!(failure.why.contains("kmsg: ") && failure.why.contains("journal: "), "{failure:?}");
}

#[test]
fn a_probe_tells_the_missing_path_and_the_remedy() {
    let directory = tempfile::tempdir().expect("temp dir");
    let roots = roots(&directory);
    let boot_id = BootId("0".repeat(32));
    let probes = probe(KernelLogChoice::Kmsg, &roots, &boot_id);
    assert_eq!(probes.len(), 1);
    assert!(probes[0].detail.contains(&roots.kmsg.display().to_string()), "{probes:?}");
    assert!(probes[0].remedy.is_some());
    fs::write(&roots.kmsg, "6,1,1,-;first\n").expect("write");
    let probes = probe(KernelLogChoice::Kmsg, &roots, &boot_id);
    assert_eq!((probes[0].state, &probes[0].remedy), (SourceState::Up, &None));
    assert_eq!(probe(KernelLogChoice::Auto, &roots, &boot_id).len(), Transport::ALL.len());
    assert_eq!(probe(KernelLogChoice::None, &roots, &boot_id), []);
}
