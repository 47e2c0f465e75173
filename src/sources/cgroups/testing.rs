//! Small cgroup and proc trees in a temporary folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A folder that lives as long as the test.
pub struct Tree(tempfile::TempDir);

impl Tree {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Writes a file, making the folders above it.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, content).expect("file");
    }

    /// Makes a folder and those above it.
    pub fn make(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("folders");
    }

    /// Removes a folder with all that is in it.
    pub fn remove(&self, path: &str) {
        fs::remove_dir_all(self.at(path)).expect("remove");
    }
}

/// The files of one process below `tree`, as a proc root: 2 MiB of anonymous memory, 100 KiB of files.
pub fn process(tree: &Tree, pid: u32, comm: &str, start_ticks: u64, ns_pids: &str) {
    let zeros = "0 ".repeat(18);
    tree.write(&format!("{pid}/stat"), &format!("{pid} ({comm}) S {zeros}{start_ticks} 0 0\n"));
    let status = format!(
        "Name:\t{comm}\nNSpid:\t{ns_pids}\nRssAnon:\t    2048 kB\nRssFile:\t     100 kB\nRssShmem:\t       0 kB\nVmSwap:\t       0 kB\n"
    );
    tree.write(&format!("{pid}/status"), &status);
    tree.write(&format!("{pid}/oom_score_adj"), "985\n");
}
