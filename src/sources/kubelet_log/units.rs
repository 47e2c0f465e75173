//! The systemd units that matter: in which a kubelet runs, and about which PID 1's word counts.
//!
//! Flows in: what somebody named. Flows out: names. Sources of those that nobody has to name: the unit files of each
//! distribution.

use crate::{
    config::{self, UnitChoice},
    model::UnitRole,
};

/// Units whose lines are a kubelet's, be it alone or inside of a distribution's one process.
const KUBELETS: [&str; 8] = [
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
    "k0sworker.service",
    "k0scontroller.service",
    "microshift.service",
    "snap.microk8s.daemon-kubelite.service",
    "snap.microk8s.daemon-kubelet.service",
];

/// Units that run a kubelet which logs to a file of its own.
const SUPERVISORS: [&str; 2] = ["rke2-server.service", "rke2-agent.service"];

/// Container runtimes: only what PID 1 says of them is read.
const RUNTIMES: [&str; 5] =
    ["containerd.service", "crio.service", "docker.service", "cri-docker.service", "snap.microk8s.daemon-containerd.service"];

/// The killers in user space, whose words name their victims.
#[cfg(feature = "journal")]
const OOM_KILLERS: [&str; 2] = ["systemd-oomd.service", "earlyoom.service"];

/// The units of this node.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "journal"), allow(dead_code, reason = "only the journal tells of a runtime's unit"))]
pub(super) struct Units {
    /// Whose lines are a kubelet's.
    pub kubelets: Vec<String>,
    /// That run a kubelet which logs to a file of its own.
    pub supervisors: Vec<String>,
    runtimes: Vec<String>,
    /// What somebody said that units are; of the others the name tells.
    named: Vec<(String, UnitRole)>,
}

impl Units {
    pub(super) fn of(choice: &config::Units) -> Self {
        let (kubelets, runtimes) = (names(&choice.kubelet), names(&choice.runtime));
        let role = |names: &Option<Vec<String>>, role| names.clone().into_iter().flatten().map(move |name| (name, role));
        let named = role(&kubelets, UnitRole::Kubelet).chain(role(&runtimes, UnitRole::Runtime)).collect();
        let kubelets = kubelets.unwrap_or_else(|| KUBELETS.iter().chain(&SUPERVISORS).map(ToString::to_string).collect());
        let (supervisors, kubelets) = kubelets.into_iter().partition(|name| SUPERVISORS.contains(&name.as_str()));
        Self { kubelets, supervisors, runtimes: runtimes.unwrap_or_else(|| RUNTIMES.map(Into::into).into()), named }
    }
}

fn names(choice: &UnitChoice) -> Option<Vec<String>> {
    match choice {
        UnitChoice::Known => None,
        UnitChoice::Named(names) => Some(names.iter().map(|name| name.as_str().to_owned()).collect()),
    }
}

#[cfg(feature = "journal")]
impl Units {
    /// Whether somebody named the kubelet's.
    pub(super) fn kubelet_is_named(&self) -> bool {
        self.named.iter().any(|(_, role)| *role == UnitRole::Kubelet)
    }

    /// Those whose own lines are read.
    pub(super) fn speaking(&self) -> impl Iterator<Item = &str> {
        self.kubelets.iter().chain(&self.supervisors).map(String::as_str).chain(OOM_KILLERS)
    }

    /// Those about which PID 1's lines are read.
    pub(super) fn spoken_of(&self) -> impl Iterator<Item = &str> {
        self.kubelets.iter().chain(&self.supervisors).chain(&self.runtimes).map(String::as_str)
    }

    /// What somebody said that a unit is.
    pub(super) fn named_role(&self, unit: &str) -> Option<UnitRole> {
        self.named.iter().find(|(name, _)| name == unit).map(|(_, role)| *role)
    }
}

#[cfg(all(test, feature = "journal"))]
mod tests {
    use super::*;

    #[test]
    fn every_known_unit_has_a_name_that_tells_its_role() {
        let units = Units::of(&config::Units::default());
        let role = |names: &[String], role| names.iter().all(|name| UnitRole::of(name) == Some(role));
        assert!(role(&units.kubelets, UnitRole::Kubelet) && role(&units.supervisors, UnitRole::Kubelet));
        assert!(role(&units.runtimes, UnitRole::Runtime));
        assert_eq!((units.kubelets.len(), units.supervisors.len(), units.kubelet_is_named()), (8, 2, false));
    }

    #[test]
    fn named_units_take_the_place_of_the_known_ones() {
        let name = |text: &str| text.parse().expect("name");
        let kubelet = UnitChoice::of(vec![name("node-agent"), name("rke2-agent")]);
        let units = Units::of(&config::Units { kubelet, ..config::Units::default() });
        assert_eq!(
            (units.kubelets.as_slice(), units.supervisors.as_slice()),
            (&["node-agent.service".to_owned()][..], &["rke2-agent.service".to_owned()][..])
        );
        assert!(units.kubelet_is_named() && units.runtimes.len() == RUNTIMES.len());
        let runtime = UnitChoice::of(vec![name("our-containerd")]);
        let units = Units::of(&config::Units { runtime, ..config::Units::default() });
        assert_eq!((units.runtimes.as_slice(), units.kubelets.len()), (&["our-containerd.service".to_owned()][..], KUBELETS.len()));
        assert!(!units.kubelet_is_named());
    }
}
