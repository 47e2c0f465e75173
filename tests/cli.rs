//! The program as people call it: exit status, what is said where, and input of every kind.

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

use assert_cmd::Command;
use serde_json::Value;
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

/// A kill as `dmesg` shows it.
const KILL: &str = "[  100.000001] app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
[  100.000002] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=app,pid=17,uid=0
[  100.000003] Memory cgroup out of memory: Killed process 17 (app) total-vm:90000kB, anon-rss:60000kB, file-rss:400kB, shmem-rss:0kB, UID:0 pgtables:160kB oom_score_adj:0
";

fn nodewhy(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodewhy"));
    command.args(arguments);
    command
}

/// Exit status, standard output, standard error.
fn run(arguments: &[&str], input: impl Into<Vec<u8>>) -> (i32, String, String) {
    let output = nodewhy(arguments).write_stdin(input).output().expect("run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("not killed"), text(&output.stdout), text(&output.stderr))
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

fn stream(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn help_names_every_command() {
    let (status, out, _) = run(&["--help"], "");
    assert_eq!(status, 0);
    for command in ["agent", "demo", "doctor", "parse", "record", "replay", "ready", "causes"] {
        assert!(out.contains(&format!("  {command} ")), "{command}: {out}");
    }
}

#[test]
fn wrong_use_is_told_with_status_2() {
    for arguments in [&[][..], &["explode"], &["parse", "--format", "xml", "-"], &["replay"], &["agent", "--listen", "nowhere"]] {
        let (status, out, err) = run(arguments, "");
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains("Usage") || err.contains("--help"), "{err}");
    }
}

#[test]
fn the_catalogue_of_causes_for_people_and_programs() {
    let (status, human, _) = run(&["causes"], "");
    let (_, json, _) = run(&["causes", "-o", "json"], "");
    let causes = objects(&json);
    assert_eq!((status, human.lines().count()), (0, causes.len()));
    for cause in causes {
        let (name, meaning) = (cause["cause"].as_str().expect("name"), cause["meaning"].as_str().expect("meaning"));
        assert!(human.lines().any(|line| line.starts_with(name) && line.ends_with(meaning)), "{name}");
    }
}

#[test]
fn a_file_and_a_pipe_are_parsed_alike() {
    let folder = tempfile::tempdir().expect("dir");
    let file = folder.path().join("dmesg.txt");
    std::fs::write(&file, KILL).expect("write");
    let (status, from_file, err) = run(&["parse", text(&file)], "");
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(objects(&from_file)[0]["victim_pid"], 17);
    assert_eq!(run(&["parse"], KILL), (0, from_file.clone(), String::new()));
    assert_eq!(run(&["parse", "-"], KILL), (0, from_file, String::new()));
}

#[test]
fn a_missing_file_is_named() {
    let (status, out, err) = run(&["parse", "/nowhere/dmesg.txt"], "");
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(err.starts_with("nodewhy: ") && err.contains("/nowhere/dmesg.txt") && err.contains("No such file"), "{err}");
}

#[test]
fn rubbish_does_not_hide_a_kill() {
    let rubbish: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (status, out, err) = run(&["parse"], [&rubbish[..], b"\n", KILL.as_bytes(), &rubbish[..]].concat());
    assert_eq!(status, 0);
    assert!(objects(&out).iter().any(|object| object["victim_pid"] == 17), "{out}");
    assert!(err.contains("not valid UTF-8"), "{err}");
}

#[test]
fn a_line_of_100_megabytes_takes_little_memory() {
    const PIECE: usize = 1 << 20;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_nodewhy"))
        .arg("parse")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let mut input = child.stdin.take().expect("stdin");
    let piece = vec![b'x'; PIECE];
    for _ in 0..100 {
        input.write_all(&piece).expect("it reads on");
    }
    let peak = peak_kib(child.id());
    input.write_all(b"\n").and_then(|()| input.write_all(KILL.as_bytes())).expect("it reads on");
    drop(input);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("stdout").read_to_string(&mut out).expect("text");
    child.stderr.take().expect("stderr").read_to_string(&mut err).expect("text");
    assert!(child.wait().expect("end").success());
    assert_eq!(objects(&out)[0]["victim_pid"], 17);
    assert!(err.contains("1 longer than 64 KiB and cut"), "{err}");
    assert!(peak < 40 << 10, "{peak} KiB resident");
}

/// `VmHWM` of `/proc/<pid>/status`.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("number")
}

#[test]
fn a_recording_of_another_version_is_refused() {
    let folder = tempfile::tempdir().expect("dir");
    let file = folder.path().join("new.jsonl");
    std::fs::write(&file, "{\"nodewhy_recording\":7,\"agent\":\"3.0.0\"}\n").expect("write");
    let (status, out, err) = run(&["replay", text(&file)], "");
    assert_eq!((status, out.as_str()), (2, ""));
    for part in ["version 7", "agent 3.0.0", "reads version 1", text(&file)] {
        assert!(err.contains(part), "{part}: {err}");
    }
}

#[test]
fn the_good_part_of_a_truncated_recording_is_told() {
    let whole = std::fs::read(stream("group-kill.jsonl")).expect("recording");
    let folder = tempfile::tempdir().expect("dir");
    let file = folder.path().join("cut.jsonl");
    std::fs::write(&file, &whole[..whole.len() - 30]).expect("write");
    let (status, out, err) = run(&["replay", "-o", "json", text(&file)], "");
    assert_eq!(status, 2);
    assert!(out.contains("oom_container_limit"), "{out}");
    assert!(err.contains(text(&file)) && err.contains("line "), "{err}");
}

#[test]
fn a_summary_is_the_same_each_time() {
    let file = stream("kill-storm.jsonl.zst");
    let first = run(&["replay", "--summary", text(&file)], "");
    assert_eq!(first.0, 0);
    let answer: Value = serde_json::from_str(&first.1).expect("JSON");
    assert_eq!(answer["node"], "node-1");
    assert_eq!(answer["findings"].as_array().expect("list").len(), 3);
    assert_eq!(run(&["replay", "--summary", text(&file)], ""), first);
}

#[test]
fn the_doctor_knows_a_useless_place() {
    let folder = tempfile::tempdir().expect("dir");
    let at = text(folder.path());
    let proc = proc_of_nothing(folder.path());
    let kmsg = format!("{at}/kmsg");
    let arguments = ["doctor", "--proc-root", text(&proc), "--cgroup-root", at, "--kmsg", &kmsg, "--journal-dir", at, "--pod-log-dir", at];
    let (status, out, _) = run(&[&arguments[..], &["--kernel-log", "kmsg"]].concat(), "");
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("absent") && out.contains("->") && out.contains("could not explain kills here"), "{out}");
}

/// A `/proc` with the facts that the doctor greets with, and no process.
fn proc_of_nothing(folder: &Path) -> PathBuf {
    let proc = folder.join("proc");
    let random = proc.join("sys/kernel/random");
    std::fs::create_dir_all(&random).expect("dir");
    std::fs::write(random.join("boot_id"), "6f1c2a4e-0d53-4a86-9b1e-2f7f60c1d0aa\n").expect("write");
    std::fs::write(proc.join("sys/kernel/hostname"), "node-1\n").expect("write");
    std::fs::write(proc.join("sys/kernel/osrelease"), "6.8.0\n").expect("write");
    proc
}

#[test]
fn the_doctor_says_what_is_missing_without_any_facts() {
    let folder = tempfile::tempdir().expect("dir");
    let (status, _, err) = run(&["doctor", "--proc-root", text(folder.path())], "");
    assert_eq!(status, 2);
    assert!(err.contains("--proc-root"), "{err}");
}

#[test]
fn the_doctor_finds_this_machine_useful() {
    let (status, out, _) = run(&["doctor"], "");
    let lines_up = out.lines().filter(|line| line.contains(" up ")).count();
    assert_eq!(status == 0, out.contains("would be useful here"), "{out}");
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") || status == 0 {
        assert!(status == 0 && lines_up > 0, "{out}");
    } else {
        eprintln!("left out: {out}");
    }
}

#[test]
fn the_demonstration_without_rights_replays_the_shipped_kill() {
    let folder = tempfile::tempdir().expect("dir");
    let (status, out, err) = run(&["demo", "-o", "json", "--kernel-log", "none", "--cgroup-root", text(folder.path())], "");
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("oom_container_limit") && err.contains("no kill can be made here"), "{out}{err}");
}

#[test]
fn the_demonstration_explains_a_real_kill() {
    let (status, out, err) = run(&["demo", "-o", "json"], "");
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("oom_container_limit"), "{out}{err}");
    if err.contains("no kill can be made here") {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI must be able to do this: {err}");
        eprintln!("left out: {err}");
    }
}

#[test]
fn what_is_recorded_can_be_replayed() {
    let folder = tempfile::tempdir().expect("dir");
    let file = folder.path().join("a.nodewhy");
    let (status, _, err) = run(&["record", "--seconds", "1", text(&file)], "");
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("nodewhy replay"), "{err}");
    let (status, out, err) = run(&["replay", "--summary", text(&file)], "");
    assert_eq!(status, 0, "{err}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert!(answer["findings"].is_array() && answer["node"].as_str().is_some_and(|node| !node.is_empty()), "{out}");
    let (status, _, err) = run(&["record", "--seconds", "1", text(&file)], "");
    assert_eq!(status, 2, "an existing file is not overwritten");
    assert!(err.contains(text(&file)), "{err}");
}

/// Answers one request with this, and returns the address to ask.
fn answering_once(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("address").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a question");
        // Whole: a connection that is closed with something unread in it is reset.
        let mut question = Vec::new();
        while !question.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a question");
            question.extend(byte);
        }
        stream.write_all(answer.as_bytes()).expect("written");
    });
    address
}

#[test]
fn whether_an_agent_is_ready() {
    let yes = "HTTP/1.0 200 OK\r\n\r\n{\"ready\":true,\"sources\":[{\"source\":\"pods\",\"state\":\"up\",\"why\":\"it can be read\"}]}";
    let (status, out, err) = run(&["ready", "--address", &answering_once(yes), "-o", "json"], "");
    assert_eq!((status, Some(out.trim())), (0, yes.lines().last()), "{err}");
    let address = answering_once(concat!(
        "HTTP/1.0 503 Service Unavailable\r\n\r\n",
        r#"{"ready":false,"why_not":["no source is up"],"sources":[{"source":"pods","state":"absent","why":"it does not exist"}]}"#
    ));
    let (status, out, err) = run(&["ready", "--address", &address], "");
    assert_eq!(status, 1, "{err}");
    assert!(out.contains("absent") && out.contains("not ready: no source is up"), "{out}");
}

#[test]
fn an_agent_that_does_not_answer_is_told_with_its_address() {
    let address = answering_once("");
    for address in [address.as_str(), "127.0.0.1:1", "nowhere"] {
        for command in ["ready", "findings"] {
            let (status, out, err) = run(&[command, "--address", address], "");
            assert_eq!((status, out.as_str()), (2, ""), "{address}");
            assert!(err.contains(address) && err.contains("--address"), "{err}");
        }
    }
}
