//! `/dev/kmsg`: the kernel's ring of records, event-driven and with sequence numbers.
//!
//! Flows in: the device, from its oldest record on. Flows out: every record as it stands. What the
//! ring overwrote before it was read shows as a jump of the sequence numbers, which the core counts.
//! Format and behaviour: Documentation/ABI/testing/dev-kmsg, kernel/printk/printk.c (5.10 to 6.18).

use super::{
    Ended, Failure, Feed, Follow,
    flood::{Flood, GATHER},
    rights::Rights,
};
use crate::{
    signal::{Body, KernelLine, SourceState},
    sources::Wake,
};
use nix::sys::stat::{major, minor};
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Instant,
};

/// The kernel prints a record with its header into at most 8 KiB (`PRINTK_MESSAGE_MAX`,
/// `CONSOLE_EXT_LOG_MAX` before) and refuses a smaller buffer with EINVAL.
const BUFFER: usize = 16 << 10;
/// How far the buffer grows for a kernel with larger records.
const BUFFER_LIMIT: usize = 64 << 10;
/// The device's number: character device `mem`, `kmsg` (drivers/char/mem.c).
const DEVICE: (u64, u64) = (1, 11);

/// The open device, or a file or FIFO in its place.
#[derive(Debug)]
pub(super) struct Kmsg {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    /// Read and not yet sent. A device gives one whole record a read, a file any piece of several.
    pending: Vec<u8>,
    flood: Flood,
}

/// What one attempt to read came to.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// Something was read; on a file, its last record may go on in the next piece.
    Data,
    /// Nothing is there for now.
    Idle,
    /// The file is at its end.
    End,
}

/// Opens the kernel's log at its oldest record.
pub(super) fn open(path: &Path, rights: Rights) -> Result<Kmsg, Failure> {
    let failed = |error: &io::Error| failure(path, error, rights);
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    wrong_device(path, &metadata).map_or(Ok(()), Err)?;
    let file = OpenOptions::new()
        .read(true)
        // A FIFO with a writer, if only ourselves, waits for the next record as the device does, and does not end.
        .write(metadata.file_type().is_fifo())
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| failed(&error))?;
    Ok(Kmsg { path: path.into(), file, buffer: vec![0; BUFFER], pending: Vec::new(), flood: Flood::new(Instant::now()) })
}

/// Some containers have another device, `/dev/null` or a terminal, under the log's name.
fn wrong_device(path: &Path, metadata: &Metadata) -> Option<Failure> {
    let found = (major(metadata.rdev()), minor(metadata.rdev()));
    (metadata.file_type().is_char_device() && found != DEVICE).then(|| Failure {
        state: SourceState::Absent,
        why: format!("{} is the device {}:{}, not the kernel's log 1:11", path.display(), found.0, found.1),
        remedy: "mount the host's /dev/kmsg, or choose another transport".into(),
    })
}

/// Why the device cannot be read, and what grants it.
fn failure(path: &Path, error: &io::Error, rights: Rights) -> Failure {
    let (state, remedy) = match error.kind() {
        ErrorKind::NotFound => {
            (SourceState::Absent, "mount the host's /dev/kmsg and run privileged (a mount alone does not open the device)")
        }
        _ if error.raw_os_error() == Some(nix::libc::EPERM) => (SourceState::Unreadable, remedy_of_eperm(rights)),
        ErrorKind::PermissionDenied => (SourceState::Unreadable, "run as uid 0; with SELinux or AppArmor, allow reading the device"),
        _ => (SourceState::Failing, "choose another transport of the kernel's log"),
    };
    Failure { state, why: format!("{}: {error}{}", path.display(), why_of_eperm(error, rights)), remedy: remedy.into() }
}

/// EPERM has two reasons: the restriction of the log, and the container's list of devices
/// (cgroup devices controller), which a mount of the device does not extend.
fn remedy_of_eperm(rights: Rights) -> &'static str {
    match (rights.restricted, rights.syslog) {
        (Some(true), Some(false)) => "run privileged, which grants CAP_SYSLOG and the device 1:11",
        _ => "run privileged, or inject the device 1:11; its list of devices keeps the container from it",
    }
}

fn why_of_eperm(error: &io::Error, rights: Rights) -> &'static str {
    match (error.raw_os_error(), rights.restricted, rights.syslog) {
        (Some(nix::libc::EPERM), Some(true), Some(false)) => " (kernel.dmesg_restrict is 1 and CAP_SYSLOG is missing)",
        (Some(nix::libc::EPERM), ..) => " (the container's device rules do not allow it)",
        _ => "",
    }
}

/// Reads one record and drops it: every open has its own position, so nothing is taken from anybody.
pub(super) fn probe(path: &Path, rights: Rights) -> Result<String, Failure> {
    let mut kmsg = open(path, rights)?;
    kmsg.read().map_err(|error| failure(path, &error, rights))?;
    Ok(kmsg.describe())
}

impl Follow for Kmsg {
    fn describe(&self) -> String {
        format!("{}, with sequence numbers", self.path.display())
    }

    fn follow(&mut self, feed: &mut Feed) -> Ended {
        loop {
            let step = match self.read() {
                Ok(Piece::Data) => self.send(feed, self.file_is_record()),
                Ok(Piece::Idle) => self.send(feed, true).and_then(|()| self.wait(feed)),
                Ok(Piece::End) => self.send(feed, true).and(Err(Ended::End(format!("{} is at its end", self.path.display())))),
                Err(error) => Err(self.failing(&error)),
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }
}

impl Kmsg {
    fn read(&mut self) -> io::Result<Piece> {
        read_piece(&mut self.file, &mut self.buffer, &mut self.pending)
    }

    /// Whether what was read ends with its record. It does on the device, and on a FIFO as far as
    /// anybody can tell; a regular file is read in pieces that end anywhere.
    fn file_is_record(&self) -> bool {
        self.pending.len() < self.buffer.len() && self.pending.ends_with(b"\n")
    }

    /// Sends every pending record that is whole; with `ended`, the last one too.
    fn send(&mut self, feed: &mut Feed, ended: bool) -> Result<(), Ended> {
        let mut rest = self.pending.as_slice();
        while let Some((record, after)) = split_record(rest, ended) {
            rest = after;
            self.flood.record();
            feed_record(feed, record)?;
        }
        let sent = self.pending.len().saturating_sub(rest.len());
        self.pending.drain(..sent);
        Ok(())
    }

    fn wait(&mut self, feed: &Feed) -> Result<(), Ended> {
        if self.flood.is_on(Instant::now()) && feed.stop.wait(GATHER) {
            return Err(Ended::Stopped);
        }
        match feed.stop.wait_readable(self.file.as_fd(), None) {
            Ok(Wake::Stopped) => Err(Ended::Stopped),
            Ok(Wake::Ready | Wake::TimedOut) => Ok(()),
            Err(error) => Err(self.failing(&error)),
        }
    }

    fn failing(&self, error: &io::Error) -> Ended {
        Ended::Failed(Failure {
            state: SourceState::Failing,
            why: format!("{}: {error}", self.path.display()),
            remedy: "choose another transport of the kernel's log if this stays".into(),
        })
    }
}

/// Reads the next piece. EPIPE says that the ring overwrote what came next; the position is then on
/// its oldest record, and reading goes on from there.
fn read_piece(file: &mut impl Read, buffer: &mut Vec<u8>, pending: &mut Vec<u8>) -> io::Result<Piece> {
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(Piece::End),
            Ok(length) => {
                pending.extend(buffer.iter().take(length));
                return Ok(Piece::Data);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Piece::Idle),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            // A record larger than the buffer. The kernel has passed over it: the core sees the jump.
            Err(error) if error.kind() == ErrorKind::InvalidInput && buffer.len() < BUFFER_LIMIT => {
                buffer.resize(buffer.len().saturating_mul(2), 0);
            }
            Err(error) => return Err(error),
        }
    }
}

fn feed_record(feed: &mut Feed, record: &[u8]) -> Result<(), Ended> {
    let record = String::from_utf8_lossy(record);
    if record.is_empty() || feed.position.covers_kmsg(&record) {
        return Ok(());
    }
    feed.position.pass_kmsg(&record);
    feed.send(Body::Kernel(KernelLine::Kmsg(record.into_owned())))
}

/// Cuts the first record off: a line, and the dictionary lines after it, which begin with a space.
/// The returned record has no newline at its end. A record without an end is cut at [`BUFFER_LIMIT`].
fn split_record(bytes: &[u8], ended: bool) -> Option<(&[u8], &[u8])> {
    let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut ends = newlines.filter(|at| bytes.get(at.saturating_add(1)).is_some_and(|next| *next != b' '));
    let length = match ends.next() {
        Some(end) => end.saturating_add(1),
        None if (ended && !bytes.is_empty()) || bytes.len() >= BUFFER_LIMIT => bytes.len(),
        None => return None,
    };
    let (record, rest) = bytes.split_at_checked(length)?;
    Some((record.strip_suffix(b"\n").unwrap_or(record), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(bytes: &[u8], ended: bool) -> (Vec<&[u8]>, &[u8]) {
        let (mut found, mut rest) = (Vec::new(), bytes);
        while let Some((record, after)) = split_record(rest, ended) {
            (found, rest) = ([found, vec![record]].concat(), after);
        }
        (found, rest)
    }

    #[test]
    fn dictionary_lines_stay_with_their_record() {
        let text = b"6,1,10,-;usb 1-1: new device\n SUBSYSTEM=usb\n DEVICE=c189:1\n4,2,20,-; <TASK>\n";
        let (found, rest) = records(text, true);
        assert_eq!(found, [&b"6,1,10,-;usb 1-1: new device\n SUBSYSTEM=usb\n DEVICE=c189:1"[..], b"4,2,20,-; <TASK>"]);
        assert_eq!(rest, b"");
        let (found, rest) = records(text, false);
        assert_eq!((found.len(), rest), (1, &b"4,2,20,-; <TASK>\n"[..]), "the last record may have dictionary lines yet");
    }

    #[test]
    fn a_record_without_end_is_bounded() {
        let endless = vec![b'x'; BUFFER_LIMIT + 1];
        let (found, rest) = records(&endless, false);
        assert_eq!((found.len(), rest.len()), (1, 0));
    }

    /// A device that answers as told, then with EIO.
    struct Scripted(Vec<Result<&'static [u8], i32>>);

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let answer = if self.0.is_empty() { Err(nix::libc::EIO) } else { self.0.remove(0) };
            let bytes = answer.map_err(io::Error::from_raw_os_error)?;
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn an_overrun_is_passed_over_and_a_large_record_gets_a_larger_buffer() {
        use nix::libc::{EAGAIN, EINTR, EINVAL, EPIPE};
        let mut device = Scripted(vec![Err(EPIPE), Ok(b"a\n"), Err(EINTR), Err(EINVAL), Ok(b"b\n"), Err(EAGAIN), Ok(b"")]);
        let (mut buffer, mut pending) = (vec![0; BUFFER], Vec::new());
        let mut next = || read_piece(&mut device, &mut buffer, &mut pending).map_err(|error| error.raw_os_error());
        assert_eq!([next(), next(), next(), next()], [Ok(Piece::Data), Ok(Piece::Data), Ok(Piece::Idle), Ok(Piece::End)]);
        assert_eq!(next(), Err(Some(nix::libc::EIO)));
        assert_eq!((pending.as_slice(), buffer.len()), (&b"a\nb\n"[..], 2 * BUFFER));
    }

    #[test]
    fn a_buffer_that_never_suffices_is_an_error() {
        let mut device = Scripted(vec![Err(nix::libc::EINVAL); 8]);
        let mut buffer = vec![0; BUFFER];
        let error = read_piece(&mut device, &mut buffer, &mut Vec::new()).expect_err("bounded");
        assert_eq!((error.raw_os_error(), buffer.len()), (Some(nix::libc::EINVAL), BUFFER_LIMIT));
    }

    #[test]
    fn each_reason_names_its_remedy() {
        let error = |code| io::Error::from_raw_os_error(code);
        let told = |code, rights| failure(Path::new("/dev/kmsg"), &error(code), rights);
        let restricted = Rights { syslog: Some(false), restricted: Some(true), user_namespace: None };
        let missing = told(nix::libc::EPERM, restricted);
        assert_eq!(missing.state, SourceState::Unreadable);
        assert!(missing.why.contains("CAP_SYSLOG is missing"), "{missing:?}");
        let device = told(nix::libc::EPERM, Rights { syslog: Some(true), ..restricted });
        assert!(device.why.contains("device rules") && device.remedy.contains("1:11"), "{device:?}");
        assert_eq!(told(nix::libc::ENOENT, restricted).state, SourceState::Absent);
        assert!(told(nix::libc::EACCES, restricted).remedy.contains("uid 0"));
        assert_eq!(told(nix::libc::EIO, restricted).state, SourceState::Failing);
    }

    #[test]
    fn another_device_under_the_name_is_told() {
        let failure = open(Path::new("/dev/null"), Rights::default()).expect_err("not the log");
        assert_eq!(failure.state, SourceState::Absent);
        assert!(failure.why.contains("1:3"), "{failure:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_invented(lines in proptest::collection::vec("[ a-c]?[a-c;]{0,8}", 0..12)) {
            let text = lines.join("\n");
            let (found, rest) = records(text.as_bytes(), true);
            prop_assert!(rest.is_empty());
            prop_assert_eq!(found.join(&b'\n'), text.strip_suffix('\n').unwrap_or(&text).as_bytes());
            prop_assert!(found.iter().skip(1).all(|record| !record.starts_with(b" ")));
        }
    }
}
