//! The filesystems that the kubelet watches.
//!
//! Flows in: where the kubelet and the runtime have their files. Flows out: [`FilesystemSample`]s, one
//! for each filesystem, whatever number of roles it plays.

use super::{container_storage::ContainerStorage, kubelet::Kubelet};
use crate::{
    config::Roots,
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
    /// The runtime's directory: containers' writable layers.
    pub runtime: Option<PathBuf>,
    /// Where its images are.
    pub images: Images,
    /// Why the runtime's own word for it could not be had.
    pub unread: Option<String>,
}

/// Where a runtime's images are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Images {
    /// Beside the layers: always so with containerd.
    #[default]
    WithLayers,
    /// In a directory for images alone.
    Apart(PathBuf),
    /// Not beside the layers, and nobody says where.
    Elsewhere,
}

impl Filesystems {
    /// One place is somebody's decision; several are guesses, before which comes the kubelet's own word.
    pub fn find(kubelet: Option<&Kubelet>, roots: &Roots) -> Self {
        let said = kubelet.and_then(Kubelet::root_dir).filter(|path| roots.kubelet.len() != 1 && path.is_dir());
        let kubelet = said.or_else(|| roots.kubelet.iter().find(|path| path.is_dir()).cloned());
        let (storage, unread) = match ContainerStorage::configured(&roots.container_storage) {
            Ok(storage) => (storage, None),
            Err(why) => (None, Some(why)),
        };
        let Some(root) = runtime_root(&roots.runtime, storage.as_ref()) else {
            let images = roots.images.clone().map_or(Images::WithLayers, Images::Apart);
            return Self { kubelet, runtime: None, images, unread };
        };
        let images = images_of(&root, roots.images.as_deref(), storage.as_ref());
        let runtime = match images {
            Images::WithLayers => images_below(&root).unwrap_or(root),
            Images::Apart(_) | Images::Elsewhere => layers_below(&root),
        };
        Self { kubelet, runtime: Some(runtime), images, unread }
    }

    /// Where images are, as far as that is known.
    pub fn images(&self) -> Option<&Path> {
        match &self.images {
            Images::WithLayers => self.runtime.as_deref(),
            Images::Apart(path) => Some(path),
            Images::Elsewhere => None,
        }
    }

    /// Asks each filesystem what is left on it.
    pub fn sample(&self) -> (Vec<FilesystemSample>, Vec<String>) {
        let places = [
            (FilesystemRole::Nodefs, self.kubelet.as_deref()),
            (FilesystemRole::Imagefs, self.images()),
            (FilesystemRole::Containerfs, self.runtime.as_deref()),
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
        failures.extend(self.unread.clone());
        (samples.into_iter().map(|(_, sample)| sample).collect(), failures)
    }
}

/// The directory that was given, the first of several that holds what runtimes make, or the one that CRI-O is configured with.
fn runtime_root(roots: &[PathBuf], storage: Option<&ContainerStorage>) -> Option<PathBuf> {
    if let [given] = roots {
        return Some(given.clone()).filter(|path| path.is_dir());
    }
    let configured = storage.map(|storage| &storage.graphroot);
    roots.iter().chain(configured).find(|root| images_below(root).is_some()).cloned()
}

/// Somebody's word, then CRI-O's configuration if this directory is the one that it names, then what is in the directory.
fn images_of(root: &Path, given: Option<&Path>, storage: Option<&ContainerStorage>) -> Images {
    if let Some(given) = given {
        return if given == root { Images::WithLayers } else { Images::Apart(given.to_owned()) };
    }
    let its_own = storage.filter(|storage| storage.graphroot == root).and_then(|storage| storage.imagestore.as_deref());
    match its_own {
        Some(imagestore) if imagestore.is_dir() => Images::Apart(imagestore.to_owned()),
        Some(_) => Images::Elsewhere,
        None if ContainerStorage::is_without_images(root) => Images::Elsewhere,
        None => Images::WithLayers,
    }
}

/// The part of a runtime's directory that holds images and layers: it may be a mount of its own.
fn images_below(root: &Path) -> Option<PathBuf> {
    let mark = RUNTIME_MARKS.iter().map(|mark| root.join(mark)).find(|path| path.is_dir())?;
    let holds_layers = !mark.ends_with("io.containerd.metadata.v1.bolt");
    Some(if holds_layers { mark } else { root.to_owned() })
}

/// The part of CRI-O's directory that holds layers.
fn layers_below(root: &Path) -> PathBuf {
    Some(root.join("overlay")).filter(|path| path.is_dir()).unwrap_or_else(|| root.to_owned())
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

    fn roots(kubelet: &[&Path], runtime: &[&Path]) -> Roots {
        let paths = |paths: &[&Path]| paths.iter().map(|path| path.to_path_buf()).collect();
        Roots { kubelet: paths(kubelet), runtime: paths(runtime), container_storage: vec![], ..Roots::default() }
    }

    /// CRI-O's directories and its configuration, which names the images' directory.
    fn crio(dir: &Path, imagestore: &Path) -> Roots {
        let graphroot = dir.join("graphroot");
        ["overlay", "overlay-containers"].iter().for_each(|part| fs::create_dir_all(graphroot.join(part)).expect("dir"));
        let conf = dir.join("storage.conf");
        let text = format!("[storage]\ngraphroot = \"{}\"\nimagestore = \"{}\"\n", graphroot.display(), imagestore.display());
        fs::write(&conf, text).expect("file");
        Roots { container_storage: vec![conf], ..roots(&[dir], &[Path::new("/nowhere"), &graphroot]) }
    }

    #[test]
    fn images_of_their_own_are_where_crio_is_told_to_have_them() {
        let dir = tempfile::tempdir().expect("dir");
        let (graphroot, imagestore) = (dir.path().join("graphroot"), dir.path().join("images"));
        let configured = crio(dir.path(), &imagestore);
        let found = Filesystems::find(None, &configured);
        assert_eq!((&found.images, found.images()), (&Images::Elsewhere, None), "it cannot be seen");
        fs::create_dir(&imagestore).expect("dir");
        let found = Filesystems::find(None, &configured);
        assert_eq!((found.runtime.as_deref(), found.images()), (Some(&*graphroot.join("overlay")), Some(&*imagestore)));
        let silent = Roots { container_storage: vec![], ..configured.clone() };
        assert_eq!(Filesystems::find(None, &silent).images, Images::Elsewhere, "the directory itself tells that they are not there");
        let given = Roots { images: Some(imagestore.clone()), ..silent.clone() };
        assert_eq!(Filesystems::find(None, &given).images, Images::Apart(imagestore.clone()));
        // What remains from before images were moved is where no images are.
        fs::create_dir(graphroot.join("overlay-images")).expect("dir");
        assert_eq!(Filesystems::find(None, &configured).images, Images::Apart(imagestore));
        assert_eq!(Filesystems::find(None, &silent).images, Images::WithLayers);
        let only_configured = Roots { runtime: vec![], ..configured.clone() };
        assert_eq!(Filesystems::find(None, &only_configured).runtime, Some(graphroot.join("overlay")));
        // Podman's, on a node that runs containerd.
        let containerd = dir.path().join("containerd");
        fs::create_dir_all(containerd.join("io.containerd.metadata.v1.bolt")).expect("dir");
        let of_podman = Roots { runtime: vec![containerd.clone(), graphroot], ..configured };
        let found = Filesystems::find(None, &of_podman);
        assert_eq!((found.runtime, found.images), (Some(containerd), Images::WithLayers));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_said() {
        let dir = tempfile::tempdir().expect("dir");
        let roots = crio(dir.path(), Path::new("/images"));
        fs::write(&roots.container_storage[0], "[storage\n").expect("file");
        let (_, failures) = Filesystems::find(None, &roots).sample();
        assert!(failures.len() == 1 && failures[0].contains("storage.conf: "), "{failures:?}");
    }

    #[test]
    fn one_filesystem_is_told_once_with_all_its_roles() {
        let dir = tempfile::tempdir().expect("dir");
        let (kubelet, runtime) = (dir.path().join("kubelet"), dir.path().join("containerd"));
        fs::create_dir_all(&kubelet).expect("dir");
        fs::create_dir_all(runtime.join("io.containerd.snapshotter.v1.overlayfs")).expect("dir");
        let found = Filesystems::find(None, &roots(&[Path::new("/nowhere"), &kubelet], &[&runtime]));
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
        let (nowhere, tmp) = (Path::new("/nowhere"), Path::new("/tmp"));
        let guesses = [nowhere, tmp];
        let found = Filesystems::find(Some(&said), &roots(&guesses, &[dir.path(), nowhere]));
        assert_eq!((found.kubelet.as_deref(), found.runtime), (Some(dir.path()), None));
        let gone = Kubelet::with_flags(&["--root-dir=/nowhere/at/all"]);
        assert_eq!(Filesystems::find(Some(&gone), &roots(&guesses, &[])).kubelet, Some("/tmp".into()), "not mounted here");
        let given = Filesystems::find(Some(&said), &roots(&[tmp], &[tmp]));
        let expected = Filesystems { kubelet: Some(tmp.into()), runtime: Some(tmp.into()), ..Filesystems::default() };
        assert_eq!(given, expected, "somebody decided");
    }

    #[test]
    fn a_directory_that_vanished_is_said() {
        let found = Filesystems { kubelet: Some("/nowhere".into()), ..Filesystems::default() };
        let (samples, failures) = found.sample();
        assert!(samples.is_empty());
        assert!(failures[0].starts_with("/nowhere: "), "{failures:?}");
    }
}
