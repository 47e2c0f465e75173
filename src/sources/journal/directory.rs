//! The files of a journal directory, looked at from outside: why the library reads nothing from them.
//!
//! libsystemd opens a directory without error when it can read none of its files, be it for a
//! missing right, damage, or a format newer than the library, and then shows an empty journal. Here
//! the reason is found. Format: systemd, docs/JOURNAL_FILE_FORMAT.md and journal-def.h (252).

use super::Failure;
use crate::signal::SourceState;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A node keeps some tens of files; more than this are not needed to find a reason.
const LIMIT: usize = 1024;
/// The first bytes of every journal file.
const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
/// Incompatible flags that libsystemd 252 knows: XZ, LZ4, keyed hash, ZSTD, compact.
const KNOWN_FLAGS: u32 = 0b1_1111;

/// Whether the directory has journal files that may be opened at all.
pub(super) fn check(directory: &Path) -> Result<(), Failure> {
    let files = list(directory).map_err(|error| inaccessible(directory, &error))?;
    if files.is_empty() {
        return Err(Failure {
            state: SourceState::Absent,
            why: format!("{} holds no journal files", directory.display()),
            remedy: "mount the host's /var/log/journal and /run/log/journal (and not Storage=none in journald.conf)".into(),
        });
    }
    let denied = files.iter().filter(|file| File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)).count();
    if denied == files.len() {
        return Err(Failure {
            state: SourceState::Unreadable,
            why: format!("none of the {denied} journal files in {} may be read", directory.display()),
            remedy: "run as uid 0, or add the node's group systemd-journal to supplementalGroups".into(),
        });
    }
    Ok(())
}

/// The files of a directory that may be read, and their sizes on disk.
#[derive(Debug)]
pub(super) struct Files(BTreeMap<FileId, u64>);

/// A file, whatever it is called: a rotation renames the one that was written to.
type FileId = (u64, u64);

impl Files {
    /// As they are now.
    pub(super) fn of(directory: &Path) -> Self {
        const BLOCK: u64 = 512; // stat(2)
        let readable = list(directory).unwrap_or_default().into_iter().filter_map(|file| File::open(file).ok());
        let metadata = readable.filter_map(|file| file.metadata().ok());
        Self(metadata.map(|of| ((of.dev(), of.ino()), of.blocks().saturating_mul(BLOCK))).collect())
    }

    /// What the library counts when it can use them all, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.0.values().sum()
    }

    /// The size now of those that are still there: journald removes files, and shortens one that it archives.
    pub(super) fn size_of_remaining(&self, directory: &Path) -> u64 {
        Self::of(directory).0.iter().filter(|(file, _)| self.0.contains_key(file)).map(|(_, size)| size).sum()
    }
}

/// Why nothing was found in the directory: some of its files cannot be used.
pub(super) fn unusable(directory: &Path) -> Failure {
    let files = list(directory).unwrap_or_default();
    let problem = files.iter().find_map(|file| header_problem(file));
    Failure {
        state: SourceState::Unreadable,
        why: format!(
            "of the {} journal files in {} none holds an entry of this boot that is wanted and can be read: {}",
            files.len(),
            directory.display(),
            problem.as_deref().unwrap_or("files are damaged")
        ),
        remedy: "check them with `journalctl --verify` on the node; if they are newer than nodewhy's libsystemd, update its image".into(),
    }
}

fn inaccessible(directory: &Path, error: &io::Error) -> Failure {
    let (state, remedy) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            (SourceState::Absent, "mount the host's directory, or name it with --journal-dir")
        }
        ErrorKind::PermissionDenied => (SourceState::Unreadable, "run as uid 0, or add the node's group systemd-journal"),
        _ => (SourceState::Failing, "check the mount"),
    };
    Failure { state, why: format!("{}: {error}", directory.display()), remedy: remedy.into() }
}

/// The `*.journal` files in the directory and in its machines' directories, where the library looks too.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)?.flatten().take(LIMIT) {
        let path = entry.path();
        if is_machine(&path) {
            let below = fs::read_dir(&path).into_iter().flatten().flatten().take(LIMIT);
            files.extend(below.map(|entry| entry.path()).filter(|path| is_journal(path)));
        } else if is_journal(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// A directory named by a machine's id. Others hold other machines' journals (`remote`) or namespaces.
fn is_machine(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit) && path.is_dir()
}

fn is_journal(path: &Path) -> bool {
    // With `~`: set aside by journald because it was not closed properly; the library reads those too.
    path.extension().is_some_and(|extension| extension == "journal" || extension == "journal~")
}

/// What is wrong with a file's header: `signature[8]`, then 32 bits of compatible and 32 of
/// incompatible flags, little-endian.
fn header_problem(file: &Path) -> Option<String> {
    let mut header = [0; 16];
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if let Err(error) = File::open(file).and_then(|mut file| file.read_exact(&mut header)) {
        return Some(format!("{name}: {error}"));
    }
    let (signature, flags) = header.split_at_checked(12)?;
    if !signature.starts_with(SIGNATURE) {
        return Some(format!("{name} does not begin like a journal file"));
    }
    let unknown = u32::from_le_bytes(flags.try_into().ok()?) & !KNOWN_FLAGS;
    (unknown != 0).then(|| format!("{name} is of a newer format (incompatible flags {unknown:#x})"))
}
