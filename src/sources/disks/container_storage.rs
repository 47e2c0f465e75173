//! Where CRI-O keeps images and layers, from the configuration of containers/storage.
//!
//! Flows in: the files that it may be in. Flows out: a [`ContainerStorage`]. Source: containers-storage.conf(5); a file
//! takes nothing over from those that come after it.

use serde::Deserialize;
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// The largest file that is read; the one that is shipped has 10 KiB, nearly all of it comments.
const LARGEST: u64 = 1 << 20;

/// What `graphroot` is where the file does not say.
const GRAPHROOT: &str = "/var/lib/containers/storage";

/// Where layers and images are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerStorage {
    /// `graphroot`: containers' writable layers, and images unless they are apart.
    pub graphroot: PathBuf,
    /// `imagestore`: images alone.
    pub imagestore: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    storage: Storage,
}

/// The part of the file that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    graphroot: Option<PathBuf>,
    imagestore: Option<PathBuf>,
}

impl ContainerStorage {
    /// What the first of the files that exists says; `None` where none exists.
    ///
    /// # Errors
    /// It exists and cannot be read: why.
    pub fn configured(files: &[PathBuf]) -> Result<Option<Self>, String> {
        let Some(path) = files.iter().find(|path| path.symlink_metadata().is_ok()) else { return Ok(None) };
        read(path).map(Some).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Whether nothing but this can have made a directory: containers' layers are there, and no images, which are made
    /// beside them unless they are apart.
    pub fn is_without_images(graphroot: &Path) -> bool {
        let holds = |kind: &str| fs::symlink_metadata(graphroot.join(kind)).is_ok_and(|entry| entry.is_dir());
        holds("overlay-containers") && !holds("overlay-images")
    }
}

fn read(path: &Path) -> Result<ContainerStorage, String> {
    let mut text = String::new();
    File::open(path).map_err(|error| error.to_string())?.take(LARGEST).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let Configuration { storage } = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    let named = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
    let graphroot = named(storage.graphroot).unwrap_or_else(|| GRAPHROOT.into());
    let imagestore = named(storage.imagestore).filter(|images| *images != graphroot);
    Ok(ContainerStorage { graphroot, imagestore })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_exists_says_all() {
        let dir = tempfile::tempdir().expect("dir");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("file");
            path
        };
        let admin = write(
            "admin.conf",
            "# ours\n[storage]\ndriver = \"overlay\"\nimagestore = \"/images\" # apart\n[storage.options]\nsize = \"\"\n",
        );
        let shipped = write("shipped.conf", "[storage]\ngraphroot = \"/data/containers\"\nimagestore = \"\"\n");
        let of = |files: &[&PathBuf]| ContainerStorage::configured(&files.iter().map(|file| (*file).clone()).collect::<Vec<_>>());
        let missing = PathBuf::from("/nowhere/storage.conf");
        let apart = ContainerStorage { graphroot: GRAPHROOT.into(), imagestore: Some("/images".into()) };
        assert_eq!(of(&[&missing, &admin, &shipped]), Ok(Some(apart)));
        let together = ContainerStorage { graphroot: "/data/containers".into(), imagestore: None };
        assert_eq!(of(&[&shipped, &admin]), Ok(Some(together)));
        assert_eq!(of(&[&missing]), Ok(None));
        let same = write("same.conf", "storage = { graphroot = \"/a\", imagestore = \"/a\" }\n");
        assert_eq!(of(&[&same]).expect("read").expect("there").imagestore, None);
        let broken = write("broken.conf", "[storage\n");
        let why = of(&[&broken]).expect_err("no TOML");
        assert!(why.starts_with(&format!("{}: ", broken.display())), "{why}");
    }

    #[test]
    fn layers_without_images_beside_them_are_apart() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(!ContainerStorage::is_without_images(dir.path()), "nothing is there");
        fs::create_dir(dir.path().join("overlay-containers")).expect("dir");
        assert!(ContainerStorage::is_without_images(dir.path()));
        fs::create_dir(dir.path().join("overlay-images")).expect("dir");
        assert!(!ContainerStorage::is_without_images(dir.path()));
    }
}
