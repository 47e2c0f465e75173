//! Real journal files, made by systemd-journal-remote from text. With `CI=true` a missing
//! systemd-journal-remote fails the test; elsewhere it says so and passes.

use nodewhy::config::Roots;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const JOURNAL_REMOTE: &str = "/lib/systemd/systemd-journal-remote";
pub const THIS_BOOT: &str = "0a1b2c3d-4e5f-4a6b-8c7d-0123456789ab";
pub const OTHER_BOOT: &str = "ffffffff-4e5f-4a6b-8c7d-0123456789ab";
/// A directory of journal files.
pub struct Node {
    directory: TempDir,
}

impl Node {
    /// None when this machine cannot make journal files.
    pub fn new() -> Option<Self> {
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

    /// Its journal, and nothing else.
    pub fn roots(&self) -> Roots {
        let root = self.directory.path();
        Roots {
            proc: root.join("proc"),
            kmsg: root.join("kmsg"),
            journal: vec![root.join("journal")],
            kubelet_logs: Vec::new(),
            ..Roots::default()
        }
    }

    /// A file of the journal.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("journal").join(name)
    }

    /// Adds entries to a file, new or not.
    pub fn write(&self, name: &str, entries: &[Entry]) {
        append(&self.file(name), entries);
    }

    /// A new file that appears whole, as the one that journald begins after a rotation.
    pub fn rotate_to(&self, name: &str, entries: &[Entry]) {
        let aside = self.directory.path().join(name);
        append(&aside, entries);
        fs::rename(aside, self.file(name)).expect("rename");
    }

    /// How many deleted files of this node the process still has open.
    pub fn deleted_and_open(&self) -> usize {
        let fds = fs::read_dir("/proc/self/fd").expect("fds").flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        fds.filter(|path| path.starts_with(self.root()) && path.to_string_lossy().ends_with("(deleted)")).count()
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }
}

/// One entry, as journald would have written it.
#[derive(Clone)]
pub struct Entry {
    pub boot: &'static str,
    /// The writer's own time, and journald's a little later, in microseconds since boot.
    pub time: u64,
    pub fields: Vec<(&'static str, String)>,
}

/// An entry of this boot.
pub fn entry(time: u64, fields: &[(&'static str, &str)]) -> Entry {
    Entry { boot: THIS_BOOT, time, fields: fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect() }
}

/// Adds entries to a file, new or not.
pub fn append(file: &Path, entries: &[Entry]) {
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
