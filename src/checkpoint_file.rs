//! The checkpoint on disk: one small file, replaced at once, in a directory that a reboot empties.

use crate::{core::Checkpoint, model::BootId};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Larger than any checkpoint of full stores; a file beyond it is not ours.
const MOST_BYTES: u64 = 16 << 20;

/// Where the checkpoint is kept.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    told: AtomicBool,
}

impl CheckpointFile {
    /// The checkpoint in a state directory, which is made when the first one is written.
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join("checkpoint.json"), told: AtomicBool::new(false) }
    }

    /// Reads the checkpoint of this boot. A missing one is normal; an unreadable one, or one of
    /// another version, is told and ignored: the kernel's ring is read from its beginning instead.
    pub fn load(&self, boot: &BootId) -> Option<Checkpoint> {
        let read = fs::metadata(&self.path).and_then(|file| {
            if file.len() > MOST_BYTES { Err(io::Error::other("larger than a checkpoint can be")) } else { fs::read(&self.path) }
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the checkpoint cannot be read; starting without it");
                return None;
            }
        };
        match serde_json::from_slice::<Checkpoint>(&bytes) {
            Ok(checkpoint) => Some(checkpoint).filter(|checkpoint| checkpoint.fits(boot)),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the checkpoint is damaged or of another version; starting without it");
                None
            }
        }
    }

    /// Writes the checkpoint beside the old one and puts it in its place. A failure is told once:
    /// the agent works without, and a restart then reads the ring from its beginning.
    pub fn save(&self, checkpoint: &Checkpoint) {
        if let Err(error) = self.write(checkpoint)
            && !self.told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %self.path.display(), %error,
                "the checkpoint cannot be written; counters start anew after a restart. Give a writable --state-dir"
            );
        }
    }

    fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let new = self.path.with_extension("new");
        // Written as it is made: the text of full stores is megabytes.
        let mut file = BufWriter::new(File::create(&new)?);
        serde_json::to_writer(&mut file, checkpoint)?;
        file.flush()?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Core;
    use crate::signal::{Body, CgroupVersion, NodeFacts, Signal};

    fn checkpoint() -> Checkpoint {
        let facts = NodeFacts {
            node: "n1".into(),
            boot_id: BootId("this".into()),
            kernel: "6.18".into(),
            cgroups: CgroupVersion::V1,
            page_size: 4096,
            ticks_per_second: 100,
            memory_total: None,
            agent: "test".into(),
        };
        let mut core = Core::new();
        core.apply(Signal { at: crate::sources::now(), body: Body::Node(facts) });
        core.checkpoint().expect("the boot is known")
    }

    #[test]
    fn a_checkpoint_is_read_back_on_the_same_boot_only() {
        let dir = tempfile::tempdir().expect("dir");
        let file = CheckpointFile::new(&dir.path().join("state"));
        assert_eq!(file.load(&BootId("this".into())), None, "none yet");
        file.save(&checkpoint());
        assert_eq!(file.load(&BootId("this".into())), Some(checkpoint()));
        assert_eq!(file.load(&BootId("another".into())), None);
    }

    #[test]
    fn a_damaged_checkpoint_is_ignored() {
        let dir = tempfile::tempdir().expect("dir");
        let file = CheckpointFile::new(dir.path());
        for rubbish in ["", "{", "{\"version\":99}", "\u{0}\u{1}"] {
            fs::write(dir.path().join("checkpoint.json"), rubbish).expect("write");
            assert_eq!(file.load(&BootId("this".into())), None, "{rubbish:?}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_no_failure() {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("file"), "").expect("write");
        let file = CheckpointFile::new(&dir.path().join("file"));
        file.save(&checkpoint());
        assert_eq!(file.load(&BootId("this".into())), None);
    }
}
