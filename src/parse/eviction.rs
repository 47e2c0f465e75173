//! The texts of evictions: amounts of thresholds, and the message of an evicted pod.
//!
//! Flows in: strings of the kubelet's configuration and of `status.message`. Flows out: [`Amount`],
//! [`EvictedMessage`]. Source: pkg/kubelet/eviction/helpers.go, 1.13 to 1.36.

use crate::model::{Bytes, quantity};

/// A threshold as it is configured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// A share of the capacity, 0 to 100.
    Percent(f64),
    /// Bytes, inodes or process ids.
    Quantity(u64),
}

impl Amount {
    /// Reads `10%`, `100Mi`, `1000`; `None` for what the kubelet takes as "no threshold" (`0%`,
    /// `100%`) and for what it refuses.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(number) = text.strip_suffix('%') {
            let percent: f64 = number.trim().parse().ok()?;
            return (percent > 0.0 && percent < 100.0).then_some(Self::Percent(percent));
        }
        let Bytes(amount) = quantity::bytes(text)?;
        (amount > 0).then_some(Self::Quantity(amount))
    }

    /// Whether the kubelet takes it as "no threshold".
    pub fn is_off(text: &str) -> bool {
        match text.trim().strip_suffix('%') {
            Some(number) => matches!(number.trim().parse(), Ok(0.0 | 100.0)),
            None => quantity::bytes(text.trim()) == Some(Bytes(0)),
        }
    }

    /// What it is of a capacity, rounded down as the kubelet does.
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            // Whole hundredths of a per cent: nobody configures finer, and no rounding is left.
            Self::Percent(percent) => {
                let hundredths = format!("{:.0}", percent * 100.0).parse::<u128>().unwrap_or(0);
                u64::try_from(u128::from(capacity) * hundredths / 10_000).unwrap_or(u64::MAX)
            }
            Self::Quantity(amount) => amount,
        }
    }
}

/// Why a pod was evicted, as its status says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvictedMessage {
    /// What the kubelet says was the matter.
    pub reason: EvictedFor,
    /// `Threshold quantity`, in the resource's own unit.
    pub threshold: Option<u64>,
    /// `available`.
    pub available: Option<u64>,
    /// What its containers were using, as far as they are named.
    pub containers: Vec<ContainerUse>,
}

/// What was the matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EvictedFor {
    /// The node ran short of memory.
    Memory,
    /// The node ran short of disk space (`ephemeral-storage`).
    Disk,
    /// The node ran short of inodes.
    Inodes,
    /// The node ran short of process ids.
    Pids,
    /// A container wrote more than its own limit.
    ContainerLimit,
    /// The pod wrote more than its containers' limits together.
    PodLimit,
    /// An `emptyDir` outgrew its `sizeLimit`.
    EmptyDirLimit,
    /// It was not evicted but never admitted: the node already had a condition.
    Condition,
    /// The message does not say.
    #[default]
    Unknown,
}

impl EvictedFor {
    /// Of the kubelet's word for what the node is short of.
    pub fn of_resource(resource: &str) -> Self {
        match resource {
            "memory" => Self::Memory,
            "inodes" => Self::Inodes,
            "pids" => Self::Pids,
            _ => Self::Disk,
        }
    }
}

/// `Container app was using 45Ki, request is 0, has larger consumption of ephemeral-storage. `
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// The container.
    pub name: String,
    /// What it used.
    pub used: u64,
    /// What it had asked for.
    pub request: Option<u64>,
}

impl EvictedMessage {
    /// Reads `status.message` of a pod whose reason is `Evicted`.
    pub fn parse(message: &str) -> Self {
        let reason = if let Some(resource) = between(message, "low on resource: ", ".") {
            EvictedFor::of_resource(resource)
        } else if message.contains("Usage of EmptyDir volume") {
            EvictedFor::EmptyDirLimit
        } else if message.contains("ephemeral local storage usage exceeds") {
            EvictedFor::PodLimit
        } else if message.contains("exceeded its local ephemeral storage limit") {
            EvictedFor::ContainerLimit
        } else if message.contains("The node had condition") {
            EvictedFor::Condition
        } else {
            EvictedFor::Unknown
        };
        let amount = |before| between(message, before, ". ").or_else(|| after(message, before)).and_then(amount);
        Self {
            reason,
            threshold: between(message, "Threshold quantity: ", ",").and_then(self::amount),
            available: amount(", available: "),
            containers: message.split("Container ").skip(1).filter_map(container).collect(),
        }
    }
}

fn container(text: &str) -> Option<ContainerUse> {
    let (name, rest) = text.split_once(" was using ")?;
    let (used, rest) = rest.split_once(',')?;
    // Until 1.26: `which exceeds its request of 0.`
    let request = after(rest, "request is ").or_else(|| after(rest, "its request of "));
    let request = request.map(|text| text.split([',', ' ']).next().unwrap_or_default().trim_end_matches('.')).and_then(amount);
    Some(ContainerUse { name: name.to_owned(), used: amount(used)?, request })
}

fn amount(text: &str) -> Option<u64> {
    quantity::bytes(text.trim().trim_end_matches('.')).map(|Bytes(amount)| amount)
}

fn after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before).map(|(_, rest)| rest)
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    after(text, before)?.split_once(behind).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_as_people_configure_them() {
        assert_eq!(Amount::parse("10%"), Some(Amount::Percent(10.0)));
        assert_eq!(Amount::parse("100Mi"), Some(Amount::Quantity(100 << 20)));
        assert_eq!(Amount::parse("1000"), Some(Amount::Quantity(1000)));
        for none in ["0%", "100%", "0", "", "%", "-5%", "many", "NaN%"] {
            assert_eq!(Amount::parse(none), None, "{none}");
        }
        assert_eq!(Amount::Percent(15.0).of(1_000_000_001), 150_000_000);
        assert_eq!(Amount::Percent(0.25).of(u64::MAX), 46_116_860_184_273_879);
        assert_eq!(Amount::Quantity(7).of(5), 7);
    }

    #[test]
    fn a_node_short_of_something() {
        let told = EvictedMessage::parse(
            "The node was low on resource: ephemeral-storage. Threshold quantity: 53687091, available: 49624Ki. Container app was using 45Ki, request is 0, has larger consumption of ephemeral-storage. Container b was using 1Gi, request is 2Gi, has larger consumption of ephemeral-storage. ",
        );
        assert_eq!(told.reason, EvictedFor::Disk);
        assert_eq!((told.threshold, told.available), (Some(53_687_091), Some(49_624 << 10)));
        let uses: Vec<_> = told.containers.iter().map(|container| (container.name.as_str(), container.used, container.request)).collect();
        assert_eq!(uses, [("app", 45 << 10, Some(0)), ("b", 1 << 30, Some(2 << 30))]);
        let old =
            EvictedMessage::parse("The node was low on resource: memory. Container c was using 1Gi, which exceeds its request of 500Mi. ");
        assert_eq!((old.reason, old.threshold, old.containers[0].request), (EvictedFor::Memory, None, Some(500 << 20)));
        let inodes = EvictedMessage::parse("The node was low on resource: inodes. Threshold quantity: 1000, available: 12.");
        assert_eq!((inodes.reason, inodes.threshold, inodes.available), (EvictedFor::Inodes, Some(1000), Some(12)));
    }

    #[test]
    fn a_pods_own_limits_and_a_refusal() {
        let reason = |message| EvictedMessage::parse(message).reason;
        assert_eq!(reason("Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "), EvictedFor::PodLimit);
        assert_eq!(reason("Container c exceeded its local ephemeral storage limit \"10Mi\". "), EvictedFor::ContainerLimit);
        assert_eq!(reason("Usage of EmptyDir volume \"v\" exceeds the limit \"8Mi\". "), EvictedFor::EmptyDirLimit);
        assert_eq!(reason("Pod was rejected: The node had condition: [DiskPressure]. "), EvictedFor::Condition);
        assert_eq!(reason(""), EvictedFor::Unknown);
    }

    proptest! {
        #[test]
        fn any_message_is_survived(text in "(The node was low on resource: )?[a-z. ]{0,9}(Threshold quantity: )?\\PC{0,20}(Container )?\\PC{0,20}( was using )?\\PC{0,20}") {
            let _ = EvictedMessage::parse(&text);
            let _ = Amount::parse(&text);
        }

        #[test]
        fn a_share_is_never_more_than_the_whole(percent in 0.01..99.99_f64, capacity: u64) {
            prop_assert!(Amount::Percent(percent).of(capacity) <= capacity);
        }
    }
}
