//! The thresholds that hold, from the layers of the kubelet's configuration.
//!
//! Flows in: [`EvictionSettings`]. Flows out: [`Threshold`]s, or why they are not known. Nothing is
//! assumed: the kubelet's documented defaults hold only where its whole configuration was read and
//! sets no `evictionHard`.

use crate::{
    model::{EvictionSignal, FilesystemRole},
    parse::{eviction::Amount, kubelet::go_duration},
    signal::{EvictionLayer, EvictionSettings, LayerKind, RoomSample},
};
use std::collections::BTreeMap;

/// pkg/kubelet/eviction/defaults_linux.go of 1.30 and later; before it `imagefs.inodesFree` had none.
const DEFAULTS: [(&str, &str); 5] = [
    ("memory.available", "100Mi"),
    ("nodefs.available", "10%"),
    ("nodefs.inodesFree", "5%"),
    ("imagefs.available", "15%"),
    ("imagefs.inodesFree", "5%"),
];

/// One threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What it is about.
    pub signal: EvictionSignal,
    /// How much has to be left.
    pub amount: Amount,
    /// For a soft one: for how many seconds it may be crossed.
    pub grace_seconds: Option<u64>,
}

type Written = BTreeMap<String, String>;

/// The thresholds that hold.
///
/// # Errors
/// A part of the configuration that decides could not be read, or an amount in it is none: why.
pub fn effective(settings: &EvictionSettings) -> Result<Vec<Threshold>, String> {
    let by_flag = settings.layers.iter().any(|layer| layer.kind == LayerKind::Flags && layer.hard.is_some());
    if let Some(why) = settings.unread.as_ref().filter(|_| !by_flag) {
        return Err(why.clone());
    }
    let (mut hard, mut soft, mut grace): (Written, Written, Written) = <(Written, Written, Written)>::default();
    let mut merge_defaults = false;
    for layer in &settings.layers {
        lay_hard(&mut hard, layer);
        lay(&mut soft, layer.soft.as_ref(), layer.kind);
        lay(&mut grace, layer.soft_grace.as_ref(), layer.kind);
        merge_defaults = layer.merge_defaults.unwrap_or(merge_defaults);
    }
    if merge_defaults {
        for (signal, amount) in defaults() {
            hard.entry(signal).or_insert(amount);
        }
    }
    let seconds = |signal: &str| grace.get(signal).and_then(|text| go_duration(text)).map_or(0, |grace| grace.as_secs());
    let hard = hard.iter().filter_map(|(signal, amount)| threshold(signal, amount, None));
    let soft = soft.iter().filter_map(|(signal, amount)| threshold(signal, amount, Some(seconds(signal))));
    let known: Result<Vec<_>, _> = hard.chain(soft).collect();
    known.map_err(|why| format!("{why} in {}", sources(settings)))
}

/// A file without `evictionHard` is given the defaults when it is read, so that what a drop-in file
/// sets is laid over them (cmd/kubelet/app/server.go, `mergeKubeletConfigurations`).
fn lay_hard(hard: &mut Written, layer: &EvictionLayer) {
    match (&layer.hard, layer.kind) {
        (None, LayerKind::File) => *hard = defaults().collect(),
        (written, kind) => lay(hard, written.as_ref(), kind),
    }
}

fn lay(map: &mut Written, written: Option<&Written>, kind: LayerKind) {
    let Some(written) = written else { return };
    if kind != LayerKind::DropIn {
        map.clear();
    }
    map.extend(written.clone());
}

fn defaults() -> impl Iterator<Item = (String, String)> {
    DEFAULTS.iter().map(|(signal, amount)| ((*signal).to_owned(), (*amount).to_owned()))
}

/// `None` for one that is switched off, and for a signal of a kubelet newer than this program. An amount that cannot be read is no threshold of
/// zero: a kubelet would not start with it.
fn threshold(signal: &str, amount: &str, grace_seconds: Option<u64>) -> Option<Result<Threshold, String>> {
    let known = EvictionSignal::parse(signal).filter(|_| !Amount::is_off(amount))?;
    let unreadable = || format!("`{signal}` is set to `{amount}`, which is neither an amount nor a share");
    Some(Amount::parse(amount).ok_or_else(unreadable).map(|amount| Threshold { signal: known, amount, grace_seconds }))
}

fn sources(settings: &EvictionSettings) -> String {
    settings.layers.iter().map(|layer| layer.from.as_str()).collect::<Vec<_>>().join(", ")
}

/// The signal whose configured thresholds the kubelet holds a signal to, on a node with these filesystems; `None` where
/// they do not tell.
///
/// Those of containerfs cannot be chosen: the kubelet overwrites them with nodefs's or imagefs's, by where images and
/// layers lie (pkg/kubelet/eviction/helpers.go, `UpdateContainerFsThresholds`, 1.29 and later). Only where images are
/// apart and on the kubelet's own device, which it does not support, what is written stays.
pub fn written_as(signal: EvictionSignal, sample: &RoomSample) -> Option<EvictionSignal> {
    if signal.of_filesystem(FilesystemRole::Containerfs) != Some(signal) {
        return Some(signal);
    }
    let filesystem = |role| sample.filesystems.iter().position(|filesystem| filesystem.roles.contains(&role));
    let dedicated = filesystem(FilesystemRole::Nodefs)? != filesystem(FilesystemRole::Imagefs)?;
    let role = match (dedicated, sample.images_apart) {
        (true, true) | (false, false) => FilesystemRole::Nodefs,
        (true, false) => FilesystemRole::Imagefs,
        (false, true) => FilesystemRole::Containerfs,
    };
    signal.of_filesystem(role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::FilesystemSample;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> Option<Written> {
        Some(pairs.iter().map(|(signal, amount)| ((*signal).to_owned(), (*amount).to_owned())).collect())
    }

    fn layer(kind: LayerKind, hard: Option<Written>) -> EvictionLayer {
        EvictionLayer { kind, hard, ..EvictionLayer::default() }
    }

    fn told(layers: Vec<EvictionLayer>) -> Vec<(&'static str, Amount)> {
        let thresholds = effective(&EvictionSettings { layers, unread: None }).expect("known");
        thresholds.iter().map(|threshold| (threshold.signal.as_str(), threshold.amount)).collect()
    }

    #[test]
    fn a_configuration_without_thresholds_has_the_kubelets_defaults() {
        let known = told(vec![layer(LayerKind::File, None)]);
        assert_eq!(known.len(), 5);
        assert!(known.contains(&("nodefs.available", Amount::Percent(10.0))));
    }

    #[test]
    fn any_threshold_replaces_them_all() {
        // As EKS and kind configure it: no threshold for images, or thresholds that are none.
        let eks = map(&[("memory.available", "100Mi"), ("nodefs.available", "10%"), ("nodefs.inodesFree", "5%")]);
        assert_eq!(told(vec![layer(LayerKind::File, eks)]).len(), 3);
        let kind = map(&[("nodefs.available", "0%"), ("imagefs.available", "0%")]);
        assert_eq!(told(vec![layer(LayerKind::File, kind.clone())]), []);
        let merged = EvictionLayer { merge_defaults: Some(true), ..layer(LayerKind::File, kind) };
        assert_eq!(told(vec![merged]).len(), 3, "the two that are off stay off");
    }

    #[test]
    fn drop_ins_are_laid_over_and_flags_replace() {
        let drop_in = layer(LayerKind::DropIn, map(&[("nodefs.available", "5%")]));
        let known = told(vec![layer(LayerKind::File, None), drop_in.clone()]);
        assert!(known.contains(&("nodefs.available", Amount::Percent(5.0))) && known.len() == 5, "{known:?}");
        let flags = layer(LayerKind::Flags, map(&[("memory.available", "1Gi")]));
        assert_eq!(told(vec![layer(LayerKind::File, None), drop_in, flags]), [("memory.available", Amount::Quantity(1 << 30))]);
    }

    #[test]
    fn what_could_not_be_read_is_not_assumed() {
        let unread = |layers| effective(&EvictionSettings { layers, unread: Some("/etc/x: permission denied".into()) });
        assert_eq!(unread(vec![]), Err("/etc/x: permission denied".into()));
        let flags = layer(LayerKind::Flags, map(&[("memory.available", "1Gi")]));
        assert_eq!(unread(vec![flags]).expect("flags decide").len(), 1);
    }

    #[test]
    fn soft_thresholds_have_their_grace() {
        let soft = EvictionLayer {
            hard: map(&[]),
            soft: map(&[("nodefs.available", "20%")]),
            soft_grace: map(&[("nodefs.available", "1m30s")]),
            ..EvictionLayer::default()
        };
        let known = effective(&EvictionSettings { layers: vec![soft], unread: None }).expect("known");
        assert_eq!(known[0].grace_seconds, Some(90));
    }

    #[test]
    fn containerfs_takes_the_thresholds_of_the_filesystem_that_it_is_taken_for() {
        use EvictionSignal::{Inodes, Memory, Space};
        use FilesystemRole::{Containerfs, Imagefs, Nodefs};
        let sample = |filesystems: &[&[FilesystemRole]], images_apart| RoomSample {
            filesystems: filesystems
                .iter()
                .map(|roles| FilesystemSample { roles: roles.to_vec(), ..FilesystemSample::default() })
                .collect(),
            images_apart,
            ..RoomSample::default()
        };
        let as_of = |filesystems: &[&[FilesystemRole]], images_apart| written_as(Space(Containerfs), &sample(filesystems, images_apart));
        assert_eq!(as_of(&[&[Nodefs, Imagefs, Containerfs]], false), Some(Space(Nodefs)), "one filesystem");
        assert_eq!(as_of(&[&[Nodefs], &[Imagefs, Containerfs]], false), Some(Space(Imagefs)), "the runtime's own");
        assert_eq!(as_of(&[&[Nodefs, Containerfs], &[Imagefs]], true), Some(Space(Nodefs)), "images alone on theirs");
        assert_eq!(as_of(&[&[Nodefs], &[Imagefs], &[Containerfs]], true), Some(Space(Nodefs)), "three");
        assert_eq!(as_of(&[&[Nodefs], &[Imagefs, Containerfs]], true), Some(Space(Nodefs)), "apart, on one filesystem");
        assert_eq!(as_of(&[&[Nodefs, Imagefs], &[Containerfs]], true), Some(Space(Containerfs)), "nobody overwrites what is written");
        assert_eq!(as_of(&[&[Nodefs, Containerfs]], true), None, "where images are is not known");
        assert_eq!(as_of(&[&[Imagefs, Containerfs]], false), None, "where the kubelet is is not known");
        let split = sample(&[&[Nodefs, Containerfs], &[Imagefs]], true);
        assert_eq!(written_as(Inodes(Containerfs), &split), Some(Inodes(Nodefs)));
        assert_eq!([Memory, Space(Imagefs)].map(|signal| written_as(signal, &split)), [Some(Memory), Some(Space(Imagefs))]);
    }

    #[test]
    fn an_amount_that_is_none_is_said_and_not_assumed() {
        for amount in ["", "a lot", "10Qi%", "-", "1..5Gi"] {
            let layer = EvictionLayer { from: "/etc/kubelet.yaml".into(), ..layer(LayerKind::File, map(&[("memory.available", amount)])) };
            let why = effective(&EvictionSettings { layers: vec![layer], unread: None }).expect_err(amount);
            assert_eq!(
                why,
                format!("`memory.available` is set to `{amount}`, which is neither an amount nor a share in /etc/kubelet.yaml")
            );
        }
        assert_eq!(told(vec![layer(LayerKind::File, map(&[("swap.available", "a lot")]))]), [], "a signal of a later kubelet");
    }

    proptest! {
        #[test]
        fn any_settings_are_survived(signal in "[a-z.F]{0,12}", amount in "\\PC{0,6}", kind in 0..4) {
            let kind = [LayerKind::File, LayerKind::DropIn, LayerKind::Flags, LayerKind::Effective][kind as usize];
            let written = map(&[(signal.as_str(), amount.as_str())]);
            let known = effective(&EvictionSettings { layers: vec![layer(kind, written)], unread: None });
            prop_assert!(known.is_ok_and(|known| known.len() <= 1) || Amount::parse(&amount).is_none());
        }
    }
}
