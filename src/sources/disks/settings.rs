//! The kubelet's eviction settings, from its configuration file, drop-in files and flags.
//!
//! Flows in: the kubelet's process. Flows out: [`EvictionSettings`], each part as it is written; how
//! they combine and what an amount means is the core's to know. What cannot be read is said, never
//! assumed.

use super::kubelet::Kubelet;
use crate::signal::{EvictionLayer, EvictionSettings, LayerKind};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// The largest configuration file that is read; one with every field set has some 10 KiB.
const LARGEST: u64 = 1 << 20;

/// The most drop-in files.
const MOST_DROP_INS: usize = 64;

/// The part of a KubeletConfiguration that matters here (staging/src/k8s.io/kubelet/config/v1beta1/types.go).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct KubeletConfiguration {
    eviction_hard: Option<BTreeMap<String, String>>,
    eviction_soft: Option<BTreeMap<String, String>>,
    eviction_soft_grace_period: Option<BTreeMap<String, String>>,
    merge_default_eviction_settings: Option<bool>,
}

/// Reads what the kubelet read when it started.
pub(super) fn read(kubelet: &Kubelet) -> EvictionSettings {
    let mut settings = EvictionSettings::default();
    match kubelet.flag("config") {
        None => settings.layers.push(EvictionLayer { from: "no --config".into(), ..EvictionLayer::default() }),
        Some(path) => add(&mut settings, Path::new(path), LayerKind::File),
    }
    if let Some(dir) = kubelet.flag("config-dir") {
        match drop_ins(Path::new(dir)) {
            Ok(files) => files.iter().for_each(|path| add(&mut settings, path, LayerKind::DropIn)),
            Err(why) => missing(&mut settings, why),
        }
    }
    settings.layers.extend(of_flags(kubelet));
    settings
}

fn add(settings: &mut EvictionSettings, path: &Path, kind: LayerKind) {
    match read_file(path) {
        Ok(read) => settings.layers.push(layer(read, kind, path.display().to_string())),
        Err(why) => missing(settings, why),
    }
}

fn missing(settings: &mut EvictionSettings, why: String) {
    settings.unread.get_or_insert(why);
}

fn layer(read: KubeletConfiguration, kind: LayerKind, from: String) -> EvictionLayer {
    EvictionLayer {
        kind,
        from,
        hard: read.eviction_hard,
        soft: read.eviction_soft,
        soft_grace: read.eviction_soft_grace_period,
        merge_defaults: read.merge_default_eviction_settings,
    }
}

fn read_file(path: &Path) -> Result<KubeletConfiguration, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("{}: {error}; mount it at the same path, read-only", path.display()))?;
    file.take(LARGEST).read_to_string(&mut text).map_err(|error| format!("{}: {error}", path.display()))?;
    // JSON is YAML, too.
    serde_saphyr::from_str(&text).map_err(|error| format!("{}: {}", path.display(), first_line(&error.to_string())))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The files of a drop-in folder in the order in which the kubelet lays them over each other.
fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}; mount it at the same path, read-only", dir.display()))?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    files.sort();
    files.truncate(MOST_DROP_INS);
    Ok(files)
}

/// `--eviction-hard=memory.available<100Mi,nodefs.available<10%`, `--eviction-soft-grace-period=memory.available=1m30s`.
fn of_flags(kubelet: &Kubelet) -> Option<EvictionLayer> {
    let map = |flag, between| {
        let text = kubelet.flag(flag)?;
        let pairs = text.split(',').filter_map(|pair| pair.split_once(between));
        Some(pairs.map(|(signal, amount): (&str, &str)| (signal.trim().to_owned(), amount.trim().to_owned())).collect())
    };
    let layer = EvictionLayer {
        kind: LayerKind::Flags,
        from: "flags".into(),
        hard: map("eviction-hard", '<'),
        soft: map("eviction-soft", '<'),
        soft_grace: map("eviction-soft-grace-period", '='),
        merge_defaults: None,
    };
    (layer.hard.is_some() || layer.soft.is_some()).then_some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
        Some(pairs.iter().map(|(signal, amount)| ((*signal).to_owned(), (*amount).to_owned())).collect())
    }

    #[test]
    fn yaml_json_drop_ins_and_flags_are_layers() {
        let dir = tempfile::tempdir().expect("dir");
        let write = |name: &str, text: &str| {
            fs::create_dir_all(dir.path().join("d")).expect("dir");
            fs::write(dir.path().join(name), text).expect("file");
            format!("{}/{name}", dir.path().display())
        };
        let config = write(
            "config.yaml",
            "kind: KubeletConfiguration\nstaticPodPath: /x\nauthentication: {anonymous: {enabled: true}}\nevictionHard: {memory.available: 50Mi, nodefs.inodesFree: \"0%\"}\nmergeDefaultEvictionSettings: true\n",
        );
        write(
            "d/20.conf",
            "{\"evictionSoft\": {\"nodefs.available\": \"20%\"}, \"evictionSoftGracePeriod\": {\"nodefs.available\": \"1m\"}}",
        );
        write("d/10.conf", "kind: KubeletConfiguration\n");
        write("d/readme.txt", "not: read\n");
        let drop_ins = format!("--config-dir={}/d", dir.path().display());
        let settings = read(&Kubelet::with_flags(&[
            &format!("--config={config}"),
            &drop_ins,
            "--eviction-hard=memory.available<100Mi, imagefs.available<5%",
        ]));
        assert_eq!(settings.unread, None);
        let kinds: Vec<_> = settings.layers.iter().map(|layer| layer.kind).collect();
        assert_eq!(kinds, [LayerKind::File, LayerKind::DropIn, LayerKind::DropIn, LayerKind::Flags]);
        assert_eq!(settings.layers[0].hard, map(&[("memory.available", "50Mi"), ("nodefs.inodesFree", "0%")]));
        assert_eq!(settings.layers[0].merge_defaults, Some(true));
        assert!(settings.layers[1].from.ends_with("10.conf") && settings.layers[1].hard.is_none());
        assert_eq!(settings.layers[2].soft, map(&[("nodefs.available", "20%")]));
        assert_eq!(settings.layers[3].hard, map(&[("memory.available", "100Mi"), ("imagefs.available", "5%")]));
    }

    #[test]
    fn a_file_that_is_not_there_is_said() {
        let settings = read(&Kubelet::with_flags(&["--config=/nowhere/config.yaml"]));
        let why = settings.unread.expect("said");
        assert!(why.contains("/nowhere/config.yaml") && why.contains("mount"), "{why}");
        assert!(settings.layers.is_empty());
        let none = read(&Kubelet::with_flags(&[]));
        assert_eq!((none.unread, none.layers.len()), (None, 1), "a kubelet without a file has its defaults");
    }

    proptest! {
        #[test]
        fn any_file_is_survived(text in "\\PC{0,80}(\n\\PC{0,20}){0,4}") {
            let _ = serde_saphyr::from_str::<KubeletConfiguration>(&text);
            let _ = of_flags(&Kubelet::with_flags(&[&format!("--eviction-hard={text}")]));
        }
    }
}
