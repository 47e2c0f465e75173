//! That the kernel's log has news, without taking them: for the transport that would have to ask again and again.
//!
//! Flows in: `/proc/kmsg`, which is polled and never read. Flows out: one descriptor that can be read after each new line.
//!
//! Reading `/proc/kmsg` takes the lines away from the node's own daemon. Polling it takes nothing, but where nobody reads
//! it there is always something unread, and a plain poll(2) would return at once for ever. An epoll instance that tells
//! edges only is told of each wake-up of the readers' queue (`log_wait` in kernel/printk/printk.c) once. Where a daemon
//! does read there, it may be quicker, and a wake-up that finds nothing unread is not told: so this makes the reader
//! quick, never complete.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

/// What is told when the log has news.
#[derive(Debug)]
pub(super) struct Alarm {
    epoll: Epoll,
    /// Watched as long as it is open.
    _log: File,
}

impl Alarm {
    /// Watches `kmsg` of a `/proc`. Takes the right to read the log.
    ///
    /// # Errors
    /// The file is missing, or may not be opened; or it is none that can be polled.
    pub(super) fn open(proc: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(proc.join("kmsg"))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&log, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        Ok(Self { epoll, _log: log })
    }

    /// Can be read when there are news since the last [`Self::clear`].
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Forgets the news so far: who reads the log afterwards has them.
    pub(super) fn clear(&self) {
        // Interrupted or not: what is left makes the next wait short, no more.
        let _ = self.epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{self, Wake};
    use std::{io::Write, time::Duration};

    /// Whether this process may read the log. With `CI=true` it must.
    fn open() -> Option<Alarm> {
        let alarm = Alarm::open(Path::new("/proc"));
        assert!(alarm.is_ok() || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{alarm:?}");
        alarm.inspect_err(|error| eprintln!("not run: /proc/kmsg: {error}; run as root")).ok()
    }

    #[test]
    fn each_line_is_told_although_nobody_takes_the_lines() {
        let Some(alarm) = open() else { return };
        let (_stopper, stop) = sources::stop().expect("pipe");
        alarm.clear();
        for line in 0..3 {
            let mut log = OpenOptions::new().write(true).open("/dev/kmsg").expect("root can write to the log");
            log.write_all(format!("<6>nodewhy test alarm {line}\n").as_bytes()).expect("write");
            assert_eq!(stop.wait_readable(alarm.fd(), Some(Duration::from_secs(60))).expect("poll"), Wake::Ready);
            alarm.clear();
        }
    }

    #[test]
    fn what_is_no_kernel_log_is_refused() {
        let proc = tempfile::tempdir().expect("temp dir");
        assert!(Alarm::open(proc.path()).is_err(), "not there");
        std::fs::write(proc.path().join("kmsg"), "a file cannot be waited for").expect("write");
        assert!(Alarm::open(proc.path()).is_err());
    }
}
