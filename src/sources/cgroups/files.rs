//! Reading the kernel's small text files: bounded, with one buffer for all of them.
//!
//! Flows in: a folder, a path below it, a file name. Flows out: bytes, or `None` where the kernel
//! has no such file or its object just went away. What the bytes mean is `figures`' business.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The most that is read of one file. `cgroup.procs` of 8,000 processes fits; nothing else comes near.
const LONGEST: u64 = 64 << 10;

/// A file that exists and could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl ReadError {
    /// Whether a right is missing, which no retry will cure.
    pub fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// The reader. One for each thread: it lends out its buffer.
#[derive(Debug, Default)]
pub struct KernelFiles {
    content: Vec<u8>,
    path: OsString,
}

impl KernelFiles {
    /// Reads `<root><below>/<file>`; `below` begins with a slash or is empty.
    ///
    /// # Errors
    /// [`ReadError`] for anything but absence.
    pub fn read(&mut self, root: &Path, below: &str, file: &str) -> Result<Option<&[u8]>, ReadError> {
        self.path.clear();
        self.path.push(root);
        self.path.push(below);
        self.path.push("/");
        self.path.push(file);
        self.content.clear();
        // A read that returns less than the buffer holds is not the end: the kernel stops at line
        // or page borders as it likes. Only a read of zero bytes is, and `read_to_end` waits for it.
        let read = File::open(&self.path).and_then(|file| file.take(LONGEST).read_to_end(&mut self.content));
        match read {
            Ok(_) => Ok(Some(&self.content)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(ReadError { path: PathBuf::from(&self.path), source }),
        }
    }
}

/// Not there, or not there any more.
///
/// `ENODEV` is what the files of a cgroup give between its removal and their own (kernfs), `ESRCH`
/// the same for a process; `EOPNOTSUPP` is a pressure file with accounting switched off.
fn is_absence(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let absent = [Errno::ENOENT, Errno::ENOTDIR, Errno::ENODEV, Errno::ESRCH, Errno::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| absent.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cgroups::testing::Tree;

    #[test]
    fn a_missing_file_is_no_error_and_not_empty() {
        let tree = Tree::new();
        tree.write("a/memory.current", "");
        let mut files = KernelFiles::default();
        assert_eq!(files.read(tree.root(), "/a", "memory.current").expect("read"), Some(&b""[..]));
        assert_eq!(files.read(tree.root(), "/a", "memory.peak").expect("read"), None);
        assert_eq!(files.read(tree.root(), "/a/memory.current", "x").expect("read"), None);
        assert!(files.read(tree.root(), "", "a").is_err(), "a folder is not a file");
    }

    #[test]
    fn reading_is_bounded_and_leaves_nothing_behind() {
        let tree = Tree::new();
        tree.write("long", &"1\n".repeat(100_000));
        tree.write("short", "7\n");
        let mut files = KernelFiles::default();
        assert_eq!(files.read(tree.root(), "", "long").expect("read").map(<[u8]>::len), Some(64 << 10));
        assert_eq!(files.read(tree.root(), "", "short").expect("read"), Some(&b"7\n"[..]));
    }
}
