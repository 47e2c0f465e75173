//! The journal in a build without libsystemd (cargo feature `journal` off): it says so.

use super::{Ended, Failure, Feed, Follow};
use crate::model::BootId;
use std::{convert::Infallible, path::PathBuf};

/// A journal that cannot be.
#[derive(Debug)]
pub(super) struct Journal(Infallible);

/// Tells that this build reads no journal.
pub(super) fn open(_directories: &[PathBuf], _boot_id: &BootId) -> Result<Journal, Failure> {
    Err(Failure::without_journal())
}

impl Follow for Journal {
    fn describe(&self) -> String {
        match self.0 {}
    }

    fn follow(&mut self, _feed: &mut Feed) -> Ended {
        match self.0 {}
    }
}
