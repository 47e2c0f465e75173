//! What kept a container from getting on before its end: its own CPU limit, or a node short of something.
//!
//! Flows in: how long it was held back, how long tasks of the node and of its pod waited. Flows out:
//! a clause, evidence and blame for an end that slowness explains, such as a probe that timed out.

use crate::{
    findings::{Evidence, EvidenceSource},
    inventory::{Inventory, PressureHistory, Stalled, Throttled},
    model::{Blame, BootTime, ContainerId, PodUid, Resource},
};
use jiff::Timestamp;

/// How far it looks back. A liveness probe with its defaults fails after 30 s, and the grace period
/// takes up to 30 s more; a startup probe's failures begin earlier, but the latest decide.
pub const WINDOW_SECONDS: u64 = 120;

/// A CPU limit explains slowness if it held the container back in this share of the periods in which
/// it wanted to run, in per cent, ...
const HELD_PERIODS_PERCENT: u64 = 25;
/// ... and for this share of the time: a container that runs for a moment and is held back in it waits for little.
const HELD_TIME_PERCENT: u64 = 10;

/// The node is short of CPU or disk I/O if some task waited for this share of the time, in per cent:
/// one waiter among a node's thousands of tasks is ordinary, in most of the time it is not, ...
const SOME_PERCENT: u64 = 50;
/// ... and of memory for this share: nothing waits for memory where there is enough.
const SOME_MEMORY_PERCENT: u64 = 20;
/// All tasks waiting at once is work lost by the whole node.
const FULL_PERCENT: u64 = 10;

/// A pod that waited for less than this share of the time did not suffer from what the node was short of.
const OWN_PERCENT: u64 = 10;

/// What slowed a container down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Starvation {
    throttled: Option<Throttled>,
    short_of: Vec<Shortage>,
}

/// A resource that the node was short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shortage {
    node: Stalled,
    /// How long the container's own pod waited for it; `None` where the kernel does not account that.
    pod: Option<Stalled>,
}

impl Starvation {
    /// What was seen of a container before `until`; `None` if nothing slowed it down, as far as is known.
    pub fn of(inventory: &Inventory, pod: &PodUid, container: Option<&ContainerId>, until: BootTime) -> Option<Self> {
        let instance = container.and_then(|id| inventory.container(id));
        let throttled = instance.and_then(|instance| instance.throttled(until, WINDOW_SECONDS)).filter(|throttled| matters(*throttled));
        let short_of: Vec<_> = Resource::ALL.into_iter().filter_map(|resource| Shortage::of(inventory, pod, resource, until)).collect();
        (throttled.is_some() || !short_of.is_empty()).then_some(Self { throttled, short_of })
    }

    /// Whether its own CPU limit held it back.
    pub fn is_throttled(&self) -> bool {
        self.throttled.is_some()
    }

    /// Whose fault the slowness is. That a node is short of something does not tell who uses it up.
    pub fn blame(&self) -> Blame {
        match (self.throttled, self.short_of.is_empty()) {
            (Some(_), true) => Blame::Workload,
            (Some(_), false) => Blame::Both,
            (None, _) => Blame::Insufficient,
        }
    }

    /// What slowed it down, as a clause.
    pub fn clause(&self) -> String {
        let limit = self.throttled.map(|throttled| format!("its CPU limit {}", held_back(throttled)));
        let node = (!self.short_of.is_empty()).then(|| {
            let of: Vec<_> = self.short_of.iter().map(|shortage| shortage.node.resource.to_string()).collect();
            format!("the node was short of {}", of.join(" and of "))
        });
        limit.into_iter().chain(node).collect::<Vec<_>>().join(", and ")
    }

    /// The figures.
    pub fn evidence(&self, time: Timestamp) -> Vec<Evidence> {
        let evidence = |source, what, how_matched: &str| Evidence { source, time, what, supports: true, how_matched: how_matched.into() };
        let limit = self.throttled.map(|throttled| {
            let Throttled { held_periods, periods, .. } = throttled;
            let what = format!("its CPU limit {}, in {held_periods} of {periods} periods", held_back(throttled));
            evidence(EvidenceSource::Cgroup, what, "container id")
        });
        let node = self
            .short_of
            .iter()
            .map(|shortage| evidence(EvidenceSource::Node, format!("on the node, {}{}", waited(shortage.node), shortage.of_pod()), "time"));
        limit.into_iter().chain(node).collect()
    }

    /// What to do about it.
    pub fn actions(&self) -> Vec<String> {
        let limit = self.throttled.map(|_| "Raise the container's CPU limit, or remove it and keep the request.".to_owned());
        let node = self.short_of.first().map(|_| {
            "Look at what uses up the node (`kubectl top pods -A`, `iostat`, `/proc/pressure`); its pods may ask for less than they use.".to_owned()
        });
        limit.into_iter().chain(node).collect()
    }
}

impl Shortage {
    fn of(inventory: &Inventory, pod: &PodUid, resource: Resource, until: BootTime) -> Option<Self> {
        let stalled = |history: &PressureHistory| history.stalled(resource, until, WINDOW_SECONDS);
        let node = stalled(inventory.node_pressure()).filter(|node| is_shortage(*node))?;
        let pod = inventory.pod_pressure(pod).and_then(stalled);
        let suffered = pod.is_none_or(|pod| pod.some_percent() >= OWN_PERCENT);
        suffered.then_some(Self { node, pod })
    }

    fn of_pod(&self) -> String {
        self.pod.map(|pod| format!("; in its pod, {}", waited(pod))).unwrap_or_default()
    }
}

fn matters(throttled: Throttled) -> bool {
    throttled.periods_percent() >= HELD_PERIODS_PERCENT && throttled.time_percent() >= HELD_TIME_PERCENT
}

/// Whether the node is short of what tasks waited for.
pub fn is_shortage(node: Stalled) -> bool {
    let some = if node.resource == Resource::Memory { SOME_MEMORY_PERCENT } else { SOME_PERCENT };
    node.some_percent() >= some || node.full_percent() >= FULL_PERCENT
}

fn held_back(throttled: Throttled) -> String {
    let (held, of) = (seconds(throttled.held_us), seconds(throttled.of_us));
    if throttled.held_us <= throttled.of_us {
        format!("held it back for {held} s of the last {of} s")
    } else {
        format!("held its threads back for {held} s in sum in the last {of} s")
    }
}

/// How long tasks waited, as a clause.
pub fn waited(stalled: Stalled) -> String {
    let Stalled { resource, some_us, of_us, .. } = stalled;
    let full = stalled.full_us.filter(|full| *full > 0).map(|full| format!(", all at once for {} s", seconds(full)));
    format!("some task waited for {resource} for {} s of {} s{}", seconds(some_us), seconds(of_us), full.unwrap_or_default())
}

/// Rounded: `0.4`, `12`.
fn seconds(micros: u64) -> String {
    if micros < 9_950_000 {
        let tenths = micros.saturating_add(50_000) / 100_000;
        format!("{}.{}", tenths / 10, tenths % 10)
    } else {
        (micros.saturating_add(500_000) / 1_000_000).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::CgroupPlace,
        signal::{CgroupSample, CpuThrottling, NodeSample, Pressure},
    };

    const POD: &str = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555";

    fn at(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000)
    }

    /// A container and its node, read each 15 s for two minutes, with these shares of the time in per cent.
    fn seen(throttled: u64, node_io: u64, pod_io: Option<u64>) -> Option<Starvation> {
        let mut inventory = Inventory::default();
        let container = format!("{POD}/{}", "c".repeat(64));
        let waited = |percent: u64, second: u64| Some(Pressure { some_total_us: second * 10_000 * percent, ..Pressure::default() });
        for second in (0..=120).step_by(15) {
            let cpu = CpuThrottling {
                periods: second * 10,
                throttled_periods: second * throttled / 10,
                throttled_us: second * throttled * 10_000,
            };
            let sample = CgroupSample { path: container.clone(), cpu: Some(cpu), ..CgroupSample::default() };
            inventory.sampled(at(second), &CgroupPlace::of(&container), &sample);
            let pod =
                CgroupSample { path: POD.into(), io_pressure: pod_io.and_then(|share| waited(share, second)), ..CgroupSample::default() };
            inventory.sampled(at(second), &CgroupPlace::of(POD), &pod);
            inventory.node_sampled(at(second), &NodeSample { io_pressure: waited(node_io, second), ..NodeSample::default() });
        }
        let place = CgroupPlace::of(&container);
        Starvation::of(&inventory, place.pod().expect("pod"), place.container(), at(121))
    }

    #[test]
    fn a_cpu_limit_that_holds_back_is_the_workloads_own() {
        let starved = seen(80, 0, None).expect("starved");
        assert_eq!(
            (starved.clause().as_str(), starved.blame()),
            ("its CPU limit held it back for 96 s of the last 120 s", Blame::Workload)
        );
        assert_eq!(starved.evidence(Timestamp::UNIX_EPOCH).len(), 1);
        assert_eq!(seen(5, 0, None), None, "a little throttling is ordinary");
    }

    #[test]
    fn threads_together_wait_longer_than_has_passed() {
        let throttled = Throttled { held_us: 240_000_000, of_us: 60_400_000, held_periods: 590, periods: 600 };
        assert_eq!(held_back(throttled), "held its threads back for 240 s in sum in the last 60 s");
    }

    #[test]
    fn a_node_that_is_short_of_something_does_not_tell_whose_fault_it_is() {
        let starved = seen(0, 70, Some(60)).expect("starved");
        assert_eq!((starved.clause().as_str(), starved.blame()), ("the node was short of disk I/O", Blame::Insufficient));
        let what = &starved.evidence(Timestamp::UNIX_EPOCH)[0].what;
        assert_eq!(
            what,
            "on the node, some task waited for disk I/O for 84 s of 120 s; in its pod, some task waited for disk I/O for 72 s of 120 s"
        );
        assert!(seen(0, 70, None).is_some(), "not known of the pod");
        assert_eq!(seen(0, 70, Some(2)), None, "the pod waited for nothing");
        assert_eq!(seen(0, 30, Some(30)), None);
        assert_eq!(seen(80, 70, Some(60)).map(|starved| starved.blame()), Some(Blame::Both));
    }

    #[test]
    fn seconds_are_rounded() {
        assert_eq!([40_000, 50_000, 9_940_000, 9_960_000, 59_600_000].map(seconds), ["0.0", "0.1", "9.9", "10", "60"]);
    }
}
