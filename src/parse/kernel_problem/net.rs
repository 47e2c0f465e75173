//! The network: full tables, links and queues that stop.

use super::fields::{Said, after, fill_in, said, small_number, word};
use serde::Serialize;
use std::fmt;

/// A problem of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetProblem {
    /// What happened.
    pub kind: NetKind,
    /// The interface.
    pub device: Option<String>,
    /// The transmit queue.
    pub queue: Option<u32>,
    /// The table that is full.
    pub table: Option<String>,
    /// The inode of the network namespace: it leads to a pod.
    pub netns: Option<u32>,
}

/// What happened to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetKind {
    /// The connection tracking table is full; packets of new connections are dropped.
    ConntrackFull,
    /// The neighbour (ARP, NDISC) table is full.
    NeighborOverflow,
    /// An interface lost its link.
    LinkDown,
    /// An interface did not send in time.
    TxTimeout,
}

impl NetProblem {
    fn of(kind: NetKind, device: Option<&str>) -> Self {
        Self { kind, device: device.and_then(said), queue: None, table: None, netns: None }
    }

    pub(super) fn read(prefix: &str, statement: &str) -> Option<Self> {
        Self::read_full_table(prefix, statement)
            .or_else(|| Self::read_watchdog(prefix, statement))
            .or_else(|| Self::read_link(prefix, statement))
    }

    /// net/netfilter/nf_conntrack_core.c (`ip_conntrack` in 2.6; the namespace since 6.11) and
    /// net/core/neighbour.c (`Neighbour table overflow.` before 3.x).
    fn read_full_table(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(rest) = statement.strip_prefix("table full").filter(|_| prefix.ends_with("_conntrack")) {
            let netns = after(rest, " in netns ").and_then(small_number);
            return Some(Self { netns, ..Self::of(NetKind::ConntrackFull, None) });
        }
        let is_overflow = |text: &str| statement.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text));
        if is_overflow("neighbor table overflow") || is_overflow("neighbour table overflow") {
            let table = prefix.rsplit(": ").next().filter(|table| table.ends_with("_cache")).and_then(said);
            return Some(Self { table, ..Self::of(NetKind::NeighborOverflow, None) });
        }
        None
    }

    /// net/sched/sch_generic.c: `NETDEV WATCHDOG: eth0 (igb): transmit queue 4 timed out`, since 6.9
    /// `igb 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 2: transmit queue 4 timed out 5172 ms`; and drivers
    /// that watch themselves.
    fn read_watchdog(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(rest) = statement.strip_prefix("NETDEV WATCHDOG: ") {
            let queue = after(rest, "transmit queue").and_then(small_number);
            let device = if rest.starts_with("CPU: ") { interface(prefix) } else { word(rest) };
            return (rest.contains("timed out") || queue.is_some()).then(|| Self { queue, ..Self::of(NetKind::TxTimeout, device) });
        }
        let by_driver = ["Detected Hardware Unit Hang", "TX timeout detected", "transmit timed out", "Tx timeout", "TX Timeout"];
        if !by_driver.iter().any(|start| statement.starts_with(start)) {
            return None;
        }
        Some(Self::of(NetKind::TxTimeout, Some(interface(prefix)?)))
    }

    /// `NIC Link is Down`, `Link is Down`, `Link down` behind driver, bus address and interface, in every
    /// driver's own order; and bonding's verdict on a slave.
    fn read_link(prefix: &str, statement: &str) -> Option<Self> {
        if let Some(rest) = statement.strip_prefix("link status definitely down") {
            let slave =
                after(rest, "for interface ").or_else(|| prefix.rsplit_once("(slave ").map(|(_, slave)| slave.trim_end_matches(')')));
            return Some(Self::of(NetKind::LinkDown, slave.and_then(word)));
        }
        let body = statement.trim_end_matches(['.', ' ']);
        // Cheap rejection: drivers write `Down` or `down`.
        if !body.ends_with("own") || !(ends_with(body, "link is down") || ends_with(body, "link down")) {
            return None;
        }
        let words: Vec<&str> = body.split_whitespace().collect();
        let device = match words.as_slice() {
            // `e1000e: eth0 NIC Link is Down`
            [device, "NIC" | "Link" | "link", ..] if !matches!(*device, "NIC" | "Link" | "link") && !device.ends_with(':') => word(device),
            ["NIC" | "Link" | "link", ..] => interface(prefix),
            _ => None,
        }?;
        // SATA, PCI slots and InfiniBand ports have links too.
        let is_interface = !device.contains(['(', ')']) && !matches!(device, "SATA" | "pciehp" | "port");
        is_interface.then(|| Self::of(NetKind::LinkDown, Some(device)))
    }

    pub(super) fn is_same_event(&self, later: &Self) -> bool {
        self.kind == later.kind && self.device == later.device && self.netns == later.netns
    }

    pub(super) fn absorb(&mut self, later: Self) {
        fill_in!(self, later, queue, table);
    }
}

fn ends_with(text: &str, end: &str) -> bool {
    let tail = text.len().checked_sub(end.len()).and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// The interface in what stands before a driver's statement: `igb 0000:01:00.0 eth0`, `e1000: eth0`,
/// `r8169 0000:02:00.0: eth0`, `e1000: eth0: e1000_watchdog`.
fn interface(prefix: &str) -> Option<&str> {
    let words = prefix.split_whitespace().map(|word| word.trim_end_matches(':'));
    let is_name = |word: &&str| !word.is_empty() && !word.contains("watchdog") && !word.contains(['[', ']']);
    words.rev().find(is_name)
}

impl fmt::Display for NetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.as_deref().unwrap_or("a network interface");
        match self.kind {
            NetKind::ConntrackFull => {
                write!(f, "the connection tracking table is full and drops packets{}", Said(" (network namespace ", &self.netns, ")"))
            }
            NetKind::NeighborOverflow => write!(f, "the neighbour table{} is full", Said(" ", &self.table, "")),
            NetKind::LinkDown => write!(f, "{device} lost its link"),
            NetKind::TxTimeout => write!(f, "{device} did not send in time{}", Said(" (queue ", &self.queue, ")")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::kernel_problem::{recognise, testing::report};

    #[test]
    fn full_tables() {
        for line in [
            "nf_conntrack: table full, dropping packet.",
            "nf_conntrack: nf_conntrack: table full, dropping packet",
            "ip_conntrack: table full, dropping packet.",
        ] {
            assert_eq!(report(line)["kind"], "conntrack_full", "{line}");
        }
        assert_eq!(report("nf_conntrack: nf_conntrack: table full in netns 4026532777, dropping packet")["netns"], 4_026_532_777_u64);
        assert_eq!(report("neighbour: arp_cache: neighbor table overflow!")["table"], "arp_cache");
        assert_eq!(report("ipv4: Neighbour table overflow.")["kind"], "neighbor_overflow");
    }

    #[test]
    fn every_drivers_link() {
        for line in [
            "igc 0000:06:00.0 eth9: NIC Link is Down",
            "e1000e: eth9 NIC Link is Down",
            "e1000: eth9: e1000_watchdog_task: NIC Link is Down",
            "tg3 0000:01:00.0: eth9: Link is down",
            "r8169 0000:02:00.0 eth9: Link is Down",
            "mlx5_core 0000:03:00.0 eth9: Link down",
            "r8169 0000:02:00.0: eth9: link down",
            "bond0: link status definitely down for interface eth9, disabling it",
            "bond0: (slave eth9): link status definitely down, disabling slave",
        ] {
            let found = report(line);
            assert_eq!((found["kind"].as_str(), found["device"].as_str()), (Some("link_down"), Some("eth9")), "{line}");
        }
    }

    #[test]
    fn queues_that_stop() {
        for line in [
            "NETDEV WATCHDOG: eth9 (igb): transmit queue 4 timed out",
            "NETDEV WATCHDOG: eth9 (igb): transmit queue 4 timed out 5172 ms",
            "virtio_net virtio1 eth9: NETDEV WATCHDOG: CPU: 2: transmit queue 4 timed out 5172 ms",
        ] {
            let found = report(line);
            assert_eq!((found["device"].as_str(), found["queue"].as_u64()), (Some("eth9"), Some(4)), "{line}");
        }
        assert_eq!(report("e1000e 0000:00:1f.6 eth9: Detected Hardware Unit Hang:")["device"], "eth9");
    }

    #[test]
    fn other_links_and_starting_ones() {
        for line in [
            "ata3: SATA link down (SStatus 0 SControl 300)",
            "ata3: SATA link down",
            "pcieport 0000:00:1c.0: pciehp: Slot(3): Link Down",
            "IPv6: ADDRCONF(NETDEV_UP): eth9: link is not ready",
            "igc 0000:06:00.0 eth9: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: RX",
            "br0: port 1(eth9) entered disabled state",
            "cni0: port 1(veth1) entered disabled state",
        ] {
            assert_eq!(recognise(line), None, "{line}");
        }
    }
}
