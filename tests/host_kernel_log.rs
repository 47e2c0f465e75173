//! The kernel's log of this very machine. With `CI=true` a missing right fails the test; elsewhere
//! it says what is missing and passes.

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

use nodewhy::{
    config::{KernelLogChoice, Roots},
    model::BootId,
    signal::{Body, KernelLine, SourceState},
    sources::{
        kernel_log::{Resume, Transport, probe, spawn},
        node_facts,
    },
};
use source_thread::Running;
use std::{fs::OpenOptions, io::Write, time::SystemTime};

fn boot_id() -> BootId {
    node_facts::read(&Roots::default(), None).expect("facts").boot_id
}

/// Whether this machine lets the test run.
fn readable(choice: KernelLogChoice) -> bool {
    let probes = probe(choice, &Roots::default(), &boot_id());
    let missing: Vec<_> = probes.iter().filter(|probe| probe.state != SourceState::Up).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing:?}");
    if let Some(probe) = missing.first() {
        eprintln!("not run: {}; {}", probe.detail, probe.remedy.as_deref().unwrap_or_default());
    }
    missing.is_empty()
}

/// Writes a line of a text that was never there before into the kernel's log.
fn inject(what: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("clock").as_nanos();
    let token = format!("nodewhy test {what} {} {now}", std::process::id());
    // With its newline: without one the record stays invisible until the next.
    let mut log = OpenOptions::new().write(true).open("/dev/kmsg").expect("root can write to the log");
    log.write_all(format!("<6>{token}\n").as_bytes()).expect("write");
    token
}

fn start(choice: KernelLogChoice, resume: Resume) -> Running {
    let running = Running::start(|outlet, stop| spawn(choice, Roots::default(), boot_id(), resume, outlet, stop).map(|(_, thread)| thread));
    running.up();
    running
}

/// Priority, sequence number and time of a record.
fn position(record: &str) -> (u64, u64, u64) {
    let mut fields = record.split([',', ';']).map(|field| field.parse().expect("number"));
    let mut next = || fields.next().expect("field");
    (next(), next(), next())
}

fn next_kmsg(running: &Running) -> String {
    match running.next() {
        Body::Kernel(KernelLine::Kmsg(record)) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_record_of_the_ring_is_read_in_order_and_a_new_one_arrives() {
    if !readable(KernelLogChoice::Kmsg) {
        return;
    }
    let token = inject("history");
    let running = start(KernelLogChoice::Kmsg, Resume::default());
    let mut records = vec![next_kmsg(&running)];
    while !records.last().expect("one").ends_with(&token) {
        records.push(next_kmsg(&running));
    }
    let numbers: Vec<u64> = records.iter().map(|record| position(record).1).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "gap-free while the ring is not overrun");
    assert!(records.iter().all(|record| record.contains(';') && !record.ends_with('\n')));
    let token = inject("live");
    let live = std::iter::repeat_with(|| next_kmsg(&running)).find(|record| record.contains(&token)).expect("endless");
    assert_eq!(position(&live).0 >> 3, 1, "user space cannot forge the kernel's facility: {live}");
    running.stop();
}

#[test]
fn reading_resumes_after_a_record_of_the_device() {
    if !readable(KernelLogChoice::Kmsg) {
        return;
    }
    let tokens = [inject("before"), inject("after")];
    let running = start(KernelLogChoice::Kmsg, Resume::default());
    let before = std::iter::repeat_with(|| next_kmsg(&running)).find(|record| record.contains(&tokens[0])).expect("endless");
    running.stop();
    let resume = Resume { seq: Some(position(&before).1), ..Resume::default() };
    let running = start(KernelLogChoice::Kmsg, resume);
    let next = next_kmsg(&running);
    assert_eq!(position(&next).1, position(&before).1 + 1);
    assert!(next.contains(&tokens[1]) || std::iter::repeat_with(|| next_kmsg(&running)).any(|record| record.contains(&tokens[1])));
    running.stop();
}

#[test]
fn syslog_gives_the_history_and_what_is_new() {
    if !readable(KernelLogChoice::Syslog) || !readable(KernelLogChoice::Kmsg) {
        return;
    }
    let history = inject("syslog history");
    let running = start(KernelLogChoice::Syslog, Resume::default());
    let find = |token: &str| {
        let line = std::iter::repeat_with(|| running.next()).find_map(|body| match body {
            Body::Kernel(KernelLine::Syslog(line)) => line.contains(token).then_some(line),
            other => panic!("{other:?}"),
        });
        line.expect("endless")
    };
    assert!(find(&history).starts_with("<14>["), "facility 1, level 6");
    let live = inject("syslog live");
    find(&live);
    let rest = running.stop();
    let repeated = |body: &Body| matches!(body, Body::Kernel(KernelLine::Syslog(line)) if line.contains(&history) || line.contains(&live));
    assert!(!rest.iter().any(repeated), "each line once");
}

#[test]
fn every_transport_says_whether_it_works_here() {
    let probes = probe(KernelLogChoice::Auto, &Roots::default(), &boot_id());
    assert_eq!(probes.iter().map(|probe| probe.transport).collect::<Vec<_>>(), Transport::ALL);
    for probe in probes {
        eprintln!("{}: {} {} {:?}", probe.transport, probe.state.as_str(), probe.detail, probe.remedy);
        assert_eq!(probe.remedy.is_none(), probe.state == SourceState::Up, "{probe:?}");
        assert!(!probe.detail.is_empty());
    }
}
