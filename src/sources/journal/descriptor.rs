//! The descriptor with which libsystemd tells of changes, lent out. The crate gives only its number.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

/// Readable when [`process`](systemd::journal::JournalRef::process) has something to find.
///
/// # Errors
/// The files cannot be watched.
pub(super) fn of(journal: &systemd::Journal) -> Result<BorrowedFd<'_>, systemd::Error> {
    let fd = journal.fd()?;
    // SAFETY: the library made the descriptor and closes it with the journal, which the result borrows.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
