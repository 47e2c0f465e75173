//! The filesystems that the kubelet watches.
//!
//! Flows in: where the kubelet and the runtime have their files. Flows out: [`FilesystemSample`]s, one
//! for each filesystem, whatever number of roles it plays.

use super::kubelet::Kubelet;
use crate::{
    model::{Bytes, FilesystemRole},
    signal::FilesystemSample,
};
use nix::sys::statvfs::statvfs;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a runtime's directory has in it, and which of it lies where images and layers do. An empty
/// directory, as a container runtime makes it for a hostPath, is nobody's.
const RUNTIME_MARKS: [&str; 5] =
    ["io.containerd.snapshotter.v1.overlayfs", "io.containerd.metadata.v1.bolt", "overlay-images", "overlay", "overlay2"];

/// Which directory stands for which role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filesystems {
    /// The kubelet's directory.
    pub kubelet: Option<PathBuf>,
    /// The runtime's directory.
    pub runtime: Option<PathBuf>,
}

impl Filesystems {
    /// One place is somebody's decision; several are guesses, before which comes the kubelet's own word.
    pub fn find(kubelet: Option<&Kubelet>, kubelet_roots: &[PathBuf], runtime_roots: &[PathBuf]) -> Self {
        let said = kubelet.and_then(Kubelet::root_dir).filter(|path| kubelet_roots.len() != 1 && path.is_dir());
        let runtime = match runtime_roots {
            [given] => Some(images_below(given).unwrap_or_else(|| given.clone())).filter(|path| path.is_dir()),
            guesses => guesses.iter().find_map(|root| images_below(root)),
        };
        Self { kubelet: said.or_else(|| kubelet_roots.iter().find(|path| path.is_dir()).cloned()), runtime }
    }

    /// Asks each filesystem what is left on it.
    pub fn sample(&self) -> (Vec<FilesystemSample>, Vec<String>) {
        let places = [
            (FilesystemRole::Nodefs, &self.kubelet),
            (FilesystemRole::Imagefs, &self.runtime),
            // containerd has images and layers on one filesystem; only CRI-O can divide them.
            (FilesystemRole::Containerfs, &self.runtime),
        ];
        let (mut samples, mut failures): (Vec<(u64, FilesystemSample)>, Vec<String>) = (Vec::new(), Vec::new());
        for (role, path) in places {
            let Some(path) = path else { continue };
            match ask(path) {
                Ok((device, sample)) => match samples.iter_mut().find(|(known, _)| *known == device) {
                    Some((_, known)) => known.roles.push(role),
                    None => samples.push((device, FilesystemSample { roles: vec![role], ..sample })),
                },
                Err(error) => failures.push(format!("{}: {error}", path.display())),
            }
        }
        failures.dedup();
        (samples.into_iter().map(|(_, sample)| sample).collect(), failures)
    }
}

/// The part of a runtime's directory that holds images and layers: it may be a mount of its own.
fn images_below(root: &Path) -> Option<PathBuf> {
    let mark = RUNTIME_MARKS.iter().map(|mark| root.join(mark)).find(|path| path.is_dir())?;
    let holds_layers = !mark.ends_with("io.containerd.metadata.v1.bolt");
    Some(if holds_layers { mark } else { root.to_owned() })
}

fn ask(path: &Path) -> io::Result<(u64, FilesystemSample)> {
    let device = fs::metadata(path)?.dev();
    let said = statvfs(path)?;
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(said.fragment_size()));
    let inodes = (said.files() > 0).then(|| said.files());
    let sample = FilesystemSample {
        roles: Vec::new(),
        path: path.display().to_string(),
        size: bytes(said.blocks()),
        available: bytes(said.blocks_available()),
        inodes,
        inodes_free: inodes.map(|_| said.files_free()),
    };
    Ok((device, sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_filesystem_is_told_once_with_all_its_roles() {
        let dir = tempfile::tempdir().expect("dir");
        let (kubelet, runtime) = (dir.path().join("kubelet"), dir.path().join("containerd"));
        fs::create_dir_all(&kubelet).expect("dir");
        fs::create_dir_all(runtime.join("io.containerd.snapshotter.v1.overlayfs")).expect("dir");
        let found = Filesystems::find(None, &["/nowhere".into(), kubelet.clone()], &[runtime]);
        assert_eq!(found.kubelet, Some(kubelet));
        let (samples, failures) = found.sample();
        assert!(failures.is_empty());
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].roles, FilesystemRole::ALL);
        assert!(samples[0].size > samples[0].available && samples[0].available > Bytes(0));
    }

    #[test]
    fn the_kubelets_own_word_comes_first_and_an_empty_runtime_is_none() {
        let dir = tempfile::tempdir().expect("dir");
        let said = Kubelet::with_flags(&[&format!("--root-dir={}", dir.path().display())]);
        let guesses = ["/nowhere".into(), "/tmp".into()];
        let found = Filesystems::find(Some(&said), &guesses, &[dir.path().into(), "/nowhere".into()]);
        assert_eq!((found.kubelet.as_deref(), found.runtime), (Some(dir.path()), None));
        let gone = Kubelet::with_flags(&["--root-dir=/nowhere/at/all"]);
        assert_eq!(Filesystems::find(Some(&gone), &guesses, &[]).kubelet, Some("/tmp".into()), "not mounted here");
        let given = Filesystems::find(Some(&said), &["/tmp".into()], &["/tmp".into()]);
        assert_eq!(given, Filesystems { kubelet: Some("/tmp".into()), runtime: Some("/tmp".into()) }, "somebody decided");
    }

    #[test]
    fn a_directory_that_vanished_is_said() {
        let found = Filesystems { kubelet: Some("/nowhere".into()), runtime: None };
        let (samples, failures) = found.sample();
        assert!(samples.is_empty());
        assert!(failures[0].starts_with("/nowhere: "), "{failures:?}");
    }
}
