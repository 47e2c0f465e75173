//! Who is who: pods, containers, processes and services, as the kernel and the kubelet name them.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// A pod's uid in the form that its cgroup and its log directory use.
///
/// An ordinary pod has the API server's uid, five groups of hexadecimal digits joined by `-`. A
/// static pod has the kubelet's hash of its manifest, 32 hexadecimal digits without dashes; the API
/// server shows its mirror pod under another uid (annotation `kubernetes.io/config.hash` joins them).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// Reads either form; underscores, as systemd slices write them, become dashes.
    pub fn parse(text: &str) -> Option<Self> {
        const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
        if text.len() == 32 && is_hex(text) {
            return Some(Self(text.into()));
        }
        let dashed = text.replace('_', "-");
        let mut groups = dashed.split('-');
        let whole = GROUPS.iter().all(|length| groups.next().is_some_and(|group| group.len() == *length && is_hex(group)));
        (whole && groups.next().is_none()).then(|| Self(dashed.as_str().into()))
    }

    /// The uid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of a static pod's manifest.
    pub fn is_static(&self) -> bool {
        self.0.len() == 32
    }
}

/// A container's id as the runtime gave it: 64 hexadecimal digits, without the runtime's prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Reads a bare id.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 64 && is_hex(text)).then(|| Self(text.into()))
    }

    /// Reads the `containerd://<id>` form of a pod's status.
    pub fn parse_status(text: &str) -> Option<Self> {
        Self::parse(text.rsplit_once("://").map_or(text, |(_, id)| id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as people's tools show them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

macro_rules! text_identity {
    ($name:ident, $what:literal) => {
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text).ok_or_else(|| format!(concat!("`{}` is not ", $what), text))
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_identity!(PodUid, "a pod uid");
text_identity!(ContainerId, "a container id");

/// A process id in the host's pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pid(pub u32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Its pid in the host's namespace.
    pub pid: Pid,
    /// Its start in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

/// The unit or slice that a process outside of pods belongs to, such as `kubelet.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceName(pub Arc<str>);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_pod_uid() {
        let api = PodUid::parse("7145627f_44a7_433c_a896_a8c81a4df533").expect("systemd form");
        assert_eq!(api.as_str(), "7145627f-44a7-433c-a896-a8c81a4df533");
        assert!(!api.is_static());
        assert!(PodUid::parse("3e61c214bc3ed9ff81e21474dd6cba17").expect("static form").is_static());
        for wrong in [
            "",
            "7145627f",
            "7145627f-44a7-433c-a896-a8c81a4df53",
            "7145627f-44a7-433c-a896-a8c81a4df53g",
            "7145627f-44a7-433c-a896-a8c81a4df533-1",
        ] {
            assert_eq!(PodUid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_container_id_is_64_hexadecimal_digits() {
        let id = "ab".repeat(32);
        assert_eq!(ContainerId::parse_status(&format!("containerd://{id}")).map(String::from), Some(id.clone()));
        assert_eq!(ContainerId::parse(&id[1..]), None);
        assert_eq!(ContainerId::parse(&"zz".repeat(32)), None);
        assert!(serde_json::from_str::<ContainerId>("\"d\"").is_err());
    }
}
