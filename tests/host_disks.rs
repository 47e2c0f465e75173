//! Real filesystems: CRI-O's layers and images on two tmpfs, apart from the kubelet's own, as a recording tells them.
//!
//! Needs root, for mounts in a namespace of their own that end with it. Without it the test says so, and fails where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends where it is surprised"
)]

use nodewhy::{
    core::Core,
    findings::Finding,
    model::{Bytes, Cause, EvictionSignal, FilesystemRole},
    record::Recording,
    signal::{Body, FilesystemSample, RoomSample, Signal},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// The node's name, which its kubelet calls itself by: others may run on this kernel.
const NODE: &str = "split-node";
const MIB: u64 = 1 << 20;

/// Runs each line that it reads, in a namespace whose mounts nobody else sees, and answers with its status.
const SHELL: &str = r#"
    mount -t tmpfs -o size=64M,nr_inodes=4096 kubelet "$1/kubelet"
    mount -t tmpfs -o size=32M,nr_inodes=4096 layers "$1/layers"
    mount -t tmpfs -o size=16M,nr_inodes=4096 images "$1/images"
    while read -r line; do eval "$line" >&2; echo $?; done
"#;

/// A shell among the mounts, and a process that looks like their kubelet.
struct SplitNode {
    shell: Child,
    lines: Option<ChildStdin>,
    answers: BufReader<std::process::ChildStdout>,
    kubelet: Child,
    root: tempfile::TempDir,
}

impl SplitNode {
    fn start() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            let why = "only root may mount";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
            eprintln!("not run: {why}");
            return None;
        }
        let root = tempfile::tempdir().expect("dir");
        let path = |name: &str| root.path().join(name);
        ["kubelet", "layers", "images"].iter().for_each(|name| fs::create_dir(path(name)).expect("dir"));
        let thresholds =
            "kind: KubeletConfiguration\nevictionHard: {nodefs.available: 25%, nodefs.inodesFree: 5%, imagefs.available: 4Mi}\n";
        fs::write(path("config.yaml"), thresholds).expect("file");
        // A process is called what its program is called. A program that is written here could still be open for writing in
        // a child that another test has just begun, and not be executed.
        let program = path("kubelet.d/kubelet");
        fs::create_dir(path("kubelet.d")).expect("dir");
        symlink("/bin/sh", &program).expect("link");
        let mut kubelet = Command::new(program);
        let kubelet = kubelet.args(["-c", "read forever"]);
        let kubelet = kubelet.arg(format!("--config={}", path("config.yaml").display())).arg(format!("--hostname-override={NODE}"));
        let kubelet = kubelet.stdin(Stdio::piped()).spawn().expect("kubelet");
        let mut shell = Command::new("unshare");
        let shell = shell.args(["--mount", "--propagation", "private", "sh", "-c", SHELL, "sh"]).arg(root.path());
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let (lines, answers) = (shell.stdin.take(), BufReader::new(shell.stdout.take().expect("stdout")));
        let mut node = Self { shell, lines, answers, kubelet, root };
        node.run("mkdir -p $1/layers/overlay/l $1/layers/overlay-containers $1/images/overlay-images");
        Some(node)
    }

    fn run(&mut self, line: &str) {
        writeln!(self.lines.as_mut().expect("open"), "{line}").expect("the shell reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the shell answers");
        assert_eq!(answer, "0\n", "{line}");
    }

    /// What the agent's own `record` sees, in a second.
    fn record(&mut self, more: &str) -> Vec<Signal> {
        let out = self.root.path().join("recording");
        let program = env!("CARGO_BIN_EXE_nodewhy");
        self.run(&format!(
            "{program} record $1/recording --seconds 1 --node-name {NODE} --kernel-log none --kubelet-log none --pods none --pod-log-dir /nowhere --kubelet-root $1/kubelet --runtime-root $1/layers {more}"
        ));
        let signals = Recording::open(&out).expect("a recording").map(|signal| signal.expect("whole")).collect();
        fs::remove_file(out).expect("remove");
        signals
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }
}

impl Drop for SplitNode {
    fn drop(&mut self) {
        drop(self.lines.take());
        let _ = self.shell.wait();
        let _ = self.kubelet.kill();
        let _ = self.kubelet.wait();
    }
}

fn room(signals: &[Signal]) -> &RoomSample {
    let room = |signal: &&Signal| matches!(signal.body, Body::Room(_));
    match &signals.iter().find(room).expect("the disks were looked at").body {
        Body::Room(sample) => sample,
        other => panic!("{other:?}"),
    }
}

fn filesystem(sample: &RoomSample, role: FilesystemRole) -> Option<&FilesystemSample> {
    sample.filesystems.iter().find(|filesystem| filesystem.roles.contains(&role))
}

/// What the core makes of several recordings of one node, one after another.
fn findings(core: &mut Core, signals: Vec<Signal>) -> Vec<Finding> {
    for signal in signals.into_iter().filter(|signal| matches!(signal.body, Body::Node(_) | Body::EvictionSettings(_) | Body::Room(_))) {
        core.apply(signal);
    }
    core.snapshot().findings
}

#[test]
fn layers_and_images_on_filesystems_of_their_own() {
    let Some(mut node) = SplitNode::start() else { return };
    let images = format!("--image-root {}", node.path("images"));

    let signals = node.record("");
    let unknown = room(&signals);
    assert!(unknown.images_apart, "no images are beside the layers");
    assert_eq!(filesystem(unknown, FilesystemRole::Imagefs), None, "and nobody says where they are");
    let detail = signals.iter().find_map(|signal| match &signal.body {
        Body::Source(report) if report.detail.contains("containerfs at ") => Some(report.detail.clone()),
        _ => None,
    });
    assert!(detail.expect("told").contains("--image-root"));

    let signals = node.record(&images);
    let sample = room(&signals);
    let told = |role| filesystem(sample, role).map(|found| (found.size, found.path.clone(), found.roles.len())).expect("told");
    assert_eq!(told(FilesystemRole::Nodefs), (Bytes(64 * MIB), node.path("kubelet"), 1));
    assert_eq!(told(FilesystemRole::Containerfs), (Bytes(32 * MIB), node.path("layers/overlay"), 1));
    assert_eq!(told(FilesystemRole::Imagefs), (Bytes(16 * MIB), node.path("images"), 1));
    let mut core = Core::new();
    assert_eq!(findings(&mut core, signals), []);
    let signal = |core: &Core, wanted| {
        let figures = core.snapshot().room.signals.into_iter().find(|figures| figures.signal == wanted);
        figures.map(|figures| figures.threshold).expect("told")
    };
    let space = EvictionSignal::Space;
    assert_eq!(signal(&core, space(FilesystemRole::Containerfs)), Some(8 * MIB), "a quarter, as nodefs");
    assert_eq!(signal(&core, space(FilesystemRole::Imagefs)), Some(4 * MIB));

    node.run("head -c 26M /dev/zero > $1/layers/overlay/l/file");
    for _ in 0..2 {
        let signals = node.record(&images);
        findings(&mut core, signals);
    }
    let found = core.snapshot().findings;
    assert_eq!(found.iter().map(|finding| finding.cause).collect::<Vec<_>>(), [Cause::EvictionImminent], "{found:#?}");
    assert!(
        found[0].summary.contains("containerfs.available: 6 MiB of 32 MiB are left; the kubelet evicts below 8 MiB"),
        "{}",
        found[0].summary
    );

    node.run("cat /dev/zero > $1/layers/overlay/l/file || test -s $1/layers/overlay/l/file");
    let signals = node.record(&images);
    let found = findings(&mut core, signals);
    let full = found.iter().find(|finding| finding.cause == Cause::DiskFull).expect("full");
    assert!(full.summary.contains("(containerfs) has no space left"), "{}", full.summary);
}

#[test]
fn one_filesystem_for_layers_and_images_is_told_as_before() {
    let Some(mut node) = SplitNode::start() else { return };
    node.run("mkdir $1/layers/overlay-images");
    let signals = node.record("");
    let sample = room(&signals);
    assert!(!sample.images_apart);
    let shared = filesystem(sample, FilesystemRole::Imagefs).expect("told");
    assert_eq!(shared.roles, [FilesystemRole::Imagefs, FilesystemRole::Containerfs]);
    assert!(Path::new(&shared.path).ends_with("layers/overlay-images"));
    let mut core = Core::new();
    findings(&mut core, signals);
    let figures = core.snapshot().room.signals;
    let threshold = |role| figures.iter().find(|figures| figures.signal == EvictionSignal::Space(role)).expect("told").threshold;
    assert_eq!(threshold(FilesystemRole::Containerfs), threshold(FilesystemRole::Imagefs), "both are the runtime's");
}
