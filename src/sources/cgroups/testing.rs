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
