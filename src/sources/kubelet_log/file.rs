//! A log file that grows and is rotated: by a new file under its name, or by being emptied.
//!
//! Flows in: the file's bytes. Flows out: its lines with where they end. Parts that a rotation set
//! aside (`.1`, `.gz`) are not looked for: the file is read to its end before its successor.

use super::{
    Ended, Failure, Feed,
    lines::{LIMIT, Line, Lines},
    watch::Watch,
};
use crate::{
    signal::{Body, FilePosition, KubeletLine, KubeletOrigin, SourceState},
    sources::Wake,
};
use std::{
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// How much of the file's end is read when no position is known.
const HISTORY: u64 = 256 << 10;
/// Read at once, the anchor included.
const PIECE: usize = 64 << 10;
/// So many of the last bytes that were read tell whether the file is still what it was: lines begin
/// with their time.
const ANCHOR: usize = 128;

/// The open file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    name: Arc<str>,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    lines: Lines,
    /// The bytes before the place that reading has reached, at most [`ANCHOR`].
    anchor: Vec<u8>,
    piece: Vec<u8>,
}

/// What has become of the file, seen from its name.
#[derive(Debug)]
enum Fate {
    /// It is still the same.
    Same,
    /// It was emptied, and perhaps filled again.
    Emptied,
    /// Another file has its name and is being written to.
    Replaced(LogFile),
    /// Nothing has its name. The directory may be gone too.
    Missing { directory: bool },
}

impl LogFile {
    /// Opens a regular file. Reading from anything else would take lines away from somebody, or wait for ever.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| failure(path, &error);
        let refuse = |metadata: Metadata| refusal(path, metadata.file_type()).map_or(Ok(metadata), Err);
        fs::metadata(path).map_err(failed).and_then(refuse)?;
        // What took the name since then does not keep us waiting either.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed).and_then(refuse)?;
        Ok(Self {
            path: path.into(),
            name: path.to_string_lossy().into(),
            file,
            identity: identity(&metadata),
            lines: Lines::from(0),
            anchor: Vec::new(),
            piece: vec![0; PIECE],
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is read, in a clause.
    pub(super) fn describe(&self) -> String {
        format!("the file {}", self.path.display())
    }

    /// Sends every line after the position, and then every new one. `is_successor`: the file before
    /// it was read to its end, so that all of this one is new. Also says whether this one was.
    pub(super) fn follow(mut self, feed: &mut Feed, is_successor: bool) -> (Ended, bool) {
        let begun = if is_successor { Ok(()) } else { self.seek(feed) };
        match begun.and_then(|()| self.follow_name(feed)) {
            Ok(gone) => (Ended::Failed(gone), true),
            Err(ended) => (ended, false),
        }
    }

    /// Goes to the position, or to the file's last lines.
    fn seek(&mut self, feed: &mut Feed) -> Result<(), Ended> {
        let kept = feed.position.file.clone().filter(|kept| kept.path == self.name);
        let length = self.file.metadata().map_err(|error| self.failed(&error))?.len();
        let lines = match &kept {
            Some(kept) if self.is_at_line(kept, length) => Lines::from(kept.offset),
            // One byte earlier: if a line begins exactly here, its predecessor's newline is what is passed over.
            _ if length > HISTORY => Lines::inside(length.saturating_sub(HISTORY).saturating_sub(1)),
            _ => Lines::from(0),
        };
        if kept.is_some_and(|kept| !self.is_at_line(&kept, length)) {
            feed.lost(None, format!("{}: the file was rotated since it was last read; what the old one still had is lost", self.name))?;
        }
        self.go_to(lines).map_err(|error| self.failed(&error))
    }

    /// Whether a position is one of this file: file systems give the inode of a deleted file to the next.
    fn is_at_line(&self, kept: &FilePosition, length: u64) -> bool {
        let mut before = [0];
        let ended = |at: u64| self.file.read_exact_at(&mut before, at).is_ok() && before == *b"\n";
        kept.inode == self.identity.1 && kept.offset <= length && kept.offset.checked_sub(1).is_none_or(ended)
    }

    fn go_to(&mut self, lines: Lines) -> io::Result<()> {
        let anchored = lines.at().min(ANCHOR as u64);
        self.anchor = vec![0; usize::try_from(anchored).unwrap_or(ANCHOR)];
        self.file.read_exact_at(&mut self.anchor, lines.at().saturating_sub(anchored))?;
        self.lines = lines;
        Ok(())
    }

    /// Reads under the name until no file has it any more, and says that.
    fn follow_name(&mut self, feed: &mut Feed) -> Result<Failure, Ended> {
        let mut watch = Watch::new(&self.path);
        let mut last_wake = Wake::Ready;
        loop {
            watch.renew(&self.path);
            self.read_on(feed)?;
            match self.fate() {
                Fate::Same => {}
                Fate::Emptied => {
                    self.go_to(Lines::from(0)).map_err(|error| self.failed(&error))?;
                    continue;
                }
                Fate::Replaced(successor) => {
                    self.read_to_end(feed)?;
                    *self = successor;
                    watch = Watch::new(&self.path);
                    continue;
                }
                // Between a rotation's two steps the name is free for a moment.
                Fate::Missing { directory } if directory || last_wake == Wake::TimedOut => {
                    self.read_to_end(feed)?;
                    return Ok(failure(&self.path, &io::Error::from_raw_os_error(nix::libc::ENOENT)));
                }
                Fate::Missing { .. } => {}
            }
            last_wake = watch.wait(&feed.stop);
            if last_wake == Wake::Stopped {
                return Err(Ended::Stopped);
            }
        }
    }

    /// Sends the lines that are there.
    fn read_on(&mut self, feed: &mut Feed) -> Result<(), Ended> {
        loop {
            let length = match self.read_piece() {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(&error)),
            };
            let read = self.piece.get(..length).unwrap_or_default();
            // Read again together with what follows, so that no other text can slip in between.
            let Some(new) = read.strip_prefix(self.anchor.as_slice()).filter(|new| !new.is_empty()) else { return Ok(()) };
            let lines = self.lines.take(new);
            self.anchor = read.get(read.len().saturating_sub(ANCHOR)..).unwrap_or_default().to_vec();
            for line in lines {
                self.send(line, feed)?;
            }
        }
    }

    /// Reads the anchor and what follows it.
    fn read_piece(&mut self) -> io::Result<usize> {
        let at = self.lines.at().saturating_sub(self.anchor.len() as u64);
        self.file.read_at(&mut self.piece, at)
    }

    /// Sends what is left of a file that nobody writes to any more.
    fn read_to_end(&mut self, feed: &mut Feed) -> Result<(), Ended> {
        self.read_on(feed)?;
        self.lines.rest().map_or(Ok(()), |line| self.send(line, feed))
    }

    fn send(&self, line: Line, feed: &mut Feed) -> Result<(), Ended> {
        if line.is_cut() {
            feed.lost(None, format!("{}: a line of {} bytes is cut to {} KiB", self.name, line.length, LIMIT >> 10))?;
        }
        let origin = KubeletOrigin::File { path: self.name.clone(), inode: self.identity.1, offset: line.end };
        let line = KubeletLine { origin, text: line.text };
        feed.position.pass(&line);
        feed.send(Body::Kubelet(line))
    }

    fn fate(&self) -> Fate {
        let missing = || Fate::Missing { directory: self.path.parent().is_some_and(|directory| !directory.is_dir()) };
        let Ok(named) = fs::metadata(&self.path) else { return missing() };
        if identity(&named) == self.identity {
            return if self.is_unchanged() { Fate::Same } else { Fate::Emptied };
        }
        // Until the successor is written to, the writer may still have the old file open.
        if named.is_file() && named.len() == 0 {
            return Fate::Same;
        }
        Self::open(&self.path).map_or_else(|_| missing(), Fate::Replaced)
    }

    /// Whether the bytes before the place that was reached are still those that were read.
    fn is_unchanged(&self) -> bool {
        let mut now = vec![0; self.anchor.len()];
        let at = self.lines.at().checked_sub(self.anchor.len() as u64);
        at.is_some_and(|at| self.file.read_exact_at(&mut now, at).is_ok()) && now == self.anchor
    }

    fn failed(&self, error: &io::Error) -> Ended {
        Ended::Failed(failure(&self.path, error))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Why something that is no regular file is not read.
fn refusal(path: &Path, kind: FileType) -> Option<Failure> {
    let what = match kind {
        _ if kind.is_file() => return None,
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Some(Failure {
        state: SourceState::Absent,
        why: format!("{} is {what}, not a regular file", path.display()),
        remedy: "name the file that the kubelet writes with --kubelet-log".into(),
    })
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    let (state, remedy) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            (SourceState::Absent, "mount the host's directory, or name the file that the kubelet writes with --kubelet-log")
        }
        ErrorKind::PermissionDenied => (SourceState::Unreadable, "run as uid 0; with SELinux or AppArmor, allow reading the file"),
        _ => (SourceState::Failing, "check the mount"),
    };
    Failure { state, why: format!("{}: {error}", path.display()), remedy: remedy.into() }
}
