//! What each part of a snapshot says in metrics.
//!
//! Flows in: a [`Snapshot`]. Flows out: values on a [`Sheet`].

use super::{
    sheet::Sheet,
    table::{self as is},
};
use crate::{
    core::{ContainerFigures, ContainerKey, Counters, Fill, RoomFigures, SignalFigures, Snapshot, SourceHealth, WorkloadFigures},
    exporters::agent_figures::{AgentFigures, number},
    findings::{Finding, FindingState},
    model::{Bytes, Cause, EvictionSignal, Limit, Resource, Scope},
    signal::{CgroupVersion, MemorySplit, NodeFacts, Pressure, SourceState},
};
use jiff::Timestamp;

/// Every value of one scrape.
pub(super) fn collect<'a>(snapshot: &'a Snapshot, own: &AgentFigures) -> Sheet<'a> {
    let mut sheet = Sheet::default();
    sheet.set(&is::BUILD_INFO, [env!("CARGO_PKG_VERSION")], 1.0);
    if let Some(facts) = &snapshot.facts {
        node(&mut sheet, facts);
    }
    if let Some(at) = snapshot.at {
        sheet.set(&is::LAST_SIGNAL, [], seconds(at.wall));
    }
    snapshot.pressure.iter().for_each(|(resource, pressure)| node_pressure(&mut sheet, *resource, *pressure));
    snapshot.sources.iter().for_each(|health| source(&mut sheet, health));
    oom_kills(&mut sheet, &snapshot.counters);
    records(&mut sheet, &snapshot.counters);
    kernel_problems(&mut sheet, &snapshot.counters);
    if let Some(unexplained) = snapshot.unexplained_oom_kills {
        sheet.set(&is::VMSTAT_UNEXPLAINED, [], number(unexplained));
    }
    findings(&mut sheet, &snapshot.findings, &snapshot.counters);
    workload_containers(&mut sheet, &snapshot.counters);
    snapshot.workloads.iter().for_each(|figures| workload(&mut sheet, figures));
    evictions(&mut sheet, &snapshot.counters);
    room(&mut sheet, &snapshot.room);
    kubelet(&mut sheet, snapshot);
    snapshot.fill.iter().for_each(|fill| store(&mut sheet, fill));
    agent(&mut sheet, own);
    for kill in &snapshot.recent_kills {
        sheet.set(&is::CONTAINER_LAST_OOM_KILL, [&kill.namespace, &kill.pod, &kill.container], seconds(kill.at));
    }
    snapshot.containers.iter().for_each(|figures| container(&mut sheet, figures));
    sheet
}

fn node<'a>(sheet: &mut Sheet<'a>, facts: &'a NodeFacts) {
    let cgroups = match facts.cgroups {
        CgroupVersion::V1 => "v1",
        CgroupVersion::V2 => "v2",
        CgroupVersion::Absent => "absent",
    };
    sheet.set(&is::NODE_INFO, [&facts.kernel, cgroups], 1.0);
}

fn kubelet<'a>(sheet: &mut Sheet<'a>, snapshot: &'a Snapshot) {
    sheet.set(&is::KUBELET_RESTARTS, [], number(snapshot.counters.kubelet_restarts));
    if let Some(version) = &snapshot.kubelet_version {
        sheet.set(&is::KUBELET_INFO, [version], 1.0);
    }
    if let Some(level) = snapshot.kubelet_verbosity {
        sheet.set(&is::KUBELET_VERBOSITY, [], f64::from(level));
    }
}

fn node_pressure(sheet: &mut Sheet<'_>, resource: Resource, pressure: Pressure) {
    sheet.set(&is::NODE_PRESSURE, [resource.as_str(), "some"], micros(pressure.some_total_us));
    if let Some(full) = pressure.full_total_us {
        sheet.set(&is::NODE_PRESSURE, [resource.as_str(), "full"], micros(full));
    }
}

fn source(sheet: &mut Sheet<'_>, health: &SourceHealth) {
    const STATES: [SourceState; 5] =
        [SourceState::Up, SourceState::Absent, SourceState::Unreadable, SourceState::Stale, SourceState::Failing];
    let name = health.source.as_str();
    let holds = |state| if health.state == state { 1.0 } else { 0.0 };
    sheet.set(&is::SOURCE_UP, [name], holds(SourceState::Up));
    for state in STATES {
        sheet.set(&is::SOURCE_STATE, [name, state.as_str()], holds(state));
    }
    sheet.set(&is::SOURCE_RECORDS, [name], number(health.records));
    sheet.set(&is::SOURCE_LOST, [name], number(health.lost));
    if let Some(last) = health.last_record {
        sheet.set(&is::SOURCE_LAST, [name], seconds(last));
    }
}

/// The scopes in which a kill of this cause can happen; none for what is no OOM kill.
const fn scopes_of_kills(cause: Cause) -> &'static [Scope] {
    match cause {
        Cause::OomContainerLimit => &[Scope::Container],
        Cause::OomPodLimit => &[Scope::Pod],
        Cause::OomNodeAllocatable => &[Scope::QosClass, Scope::NodeAllocatable],
        Cause::OomNode | Cause::OomManual | Cause::OomUnattributed => &[Scope::Node],
        Cause::OomHostService => &[Scope::HostService],
        Cause::OomChildProcess => &[Scope::Container, Scope::Pod, Scope::QosClass, Scope::NodeAllocatable, Scope::Node],
        Cause::OomUserspace => &[Scope::Container, Scope::Pod, Scope::QosClass, Scope::NodeAllocatable, Scope::HostService],
        _ => &[],
    }
}

fn oom_kills<'a>(sheet: &mut Sheet<'a>, counters: &'a Counters) {
    for cause in Cause::ALL {
        for scope in scopes_of_kills(*cause) {
            sheet.add(&is::OOM_KILLS, [scope.as_str(), cause.as_str()], 0.0);
        }
    }
    for (cause, scope, kills) in &counters.oom_kills {
        sheet.add(&is::OOM_KILLS, [scope.as_str(), cause.as_str()], number(*kills));
    }
    for (unit, kills) in &counters.host_oom_kills {
        sheet.set(&is::HOST_OOM_KILLS, [unit], number(*kills));
    }
    for (reason, kills) in &counters.unattributed {
        sheet.set(&is::OOM_UNATTRIBUTED, [reason], number(*kills));
    }
    sheet.set(&is::OOM_FOREIGN, [], number(counters.foreign_oom_kills));
    sheet.set(&is::OOM_WITNESSED, ["both"], number(counters.kills_both_saw));
    sheet.set(&is::OOM_WITNESSED, ["kernel_log"], number(counters.kills_only_log));
    sheet.set(&is::OOM_WITNESSED, ["counter"], number(counters.kills_only_counter));
}

fn records(sheet: &mut Sheet<'_>, counters: &Counters) {
    sheet.set(&is::OOM_DUMPS_SUPPRESSED, [], number(counters.dumps_suppressed));
    sheet.set(&is::OOM_WITHOUT_KILL, [], number(counters.oom_without_kill));
    sheet.set(&is::SPOOFED_RECORDS, [], number(counters.spoofed_records));
    sheet.set(&is::MALFORMED_RECORDS, [], number(counters.malformed_records));
    sheet.set(&is::TERMINATIONS_UNOBSERVED, [], number(counters.terminations_unobserved));
    for (correlation, crashes) in &counters.correlations {
        sheet.set(&is::CORRELATIONS, [correlation.as_str()], number(*crashes));
    }
    sheet.set(&is::RESTART_COUNTER_RESETS, [], number(counters.restart_counter_resets));
    sheet.set(&is::WORKLOAD_OVERFLOW, [], number(counters.series_overflow));
}

fn kernel_problems<'a>(sheet: &mut Sheet<'a>, counters: &'a Counters) {
    for (class, problems) in &counters.kernel_problems {
        sheet.set(&is::KERNEL_PROBLEMS, [class.as_str()], number(*problems));
    }
    for (device, errors) in &counters.storage_errors {
        sheet.set(&is::STORAGE_ERRORS, [device], number(*errors));
    }
}

fn findings(sheet: &mut Sheet<'_>, findings: &[Finding], counters: &Counters) {
    for cause in Cause::ALL {
        sheet.add(&is::FINDINGS, [cause.as_str(), state_word(FindingState::Open)], 0.0);
        sheet.set(&is::FINDINGS_OPENED, [cause.as_str()], number(counters.findings_opened.get(cause).copied().unwrap_or_default()));
    }
    for finding in findings {
        sheet.add(&is::FINDINGS, [finding.cause.as_str(), state_word(finding.state)], 1.0);
    }
}

const fn state_word(state: FindingState) -> &'static str {
    match state {
        FindingState::Open => "open",
        FindingState::Resolved => "resolved",
    }
}

/// Whether the container's first process was killed, or another one while the container lived on.
const fn victim(cause: Cause) -> &'static str {
    match cause {
        Cause::OomChildProcess => "child",
        _ => "init",
    }
}

fn workload_containers<'a>(sheet: &mut Sheet<'a>, counters: &'a Counters) {
    for key in counters.workload_oom_kills.keys().chain(counters.terminations.keys()) {
        workload_kills(sheet, key, Cause::OomContainerLimit, 0);
        workload_kills(sheet, key, Cause::OomChildProcess, 0);
    }
    for (key, by_cause) in &counters.workload_oom_kills {
        by_cause.iter().for_each(|(cause, kills)| workload_kills(sheet, key, *cause, *kills));
    }
    for (key, by_cause) in &counters.terminations {
        let ContainerKey { namespace, workload_kind, workload, container } = key;
        for (cause, ends) in by_cause {
            sheet.set(&is::TERMINATIONS, [namespace, workload_kind, workload, container, cause.as_str()], number(*ends));
        }
    }
}

fn workload_kills<'a>(sheet: &mut Sheet<'a>, key: &'a ContainerKey, cause: Cause, kills: u64) {
    let ContainerKey { namespace, workload_kind, workload, container } = key;
    let labels = [namespace, workload_kind, workload, container, victim(cause), cause.as_str()];
    sheet.add(&is::WORKLOAD_OOM_KILLS, labels, number(kills));
}

fn workload<'a>(sheet: &mut Sheet<'a>, figures: &'a WorkloadFigures) {
    let labels = [figures.namespace.as_str(), &figures.kind, &figures.name];
    sheet.set(&is::WORKLOAD_PODS, labels, number(figures.pods));
    if figures.crashed_pods > 0 {
        sheet.set(&is::WORKLOAD_CRASHED_PODS, labels, number(figures.crashed_pods));
    }
    if figures.crash_looping > 0 {
        sheet.set(&is::WORKLOAD_CRASH_LOOPING, labels, number(figures.crash_looping));
    }
}

/// Why pods are evicted, and the word of the `signal` label.
const EVICTIONS: [(Cause, &str); 5] = [
    (Cause::EvictedMemory, "memory"),
    (Cause::EvictedDisk, "disk"),
    (Cause::EvictedInodes, "inodes"),
    (Cause::EvictedPids, "pids"),
    (Cause::EvictedEphemeralStorage, "ephemeral_storage"),
];

fn evictions(sheet: &mut Sheet<'_>, counters: &Counters) {
    for (cause, signal) in EVICTIONS {
        sheet.set(&is::POD_EVICTIONS, [signal], number(counters.evictions.get(&cause).copied().unwrap_or_default()));
    }
}

fn room<'a>(sheet: &mut Sheet<'a>, room: &'a RoomFigures) {
    for filesystem in &room.filesystems {
        let name = filesystem.role.as_str();
        sheet.set(&is::FILESYSTEM_SIZE, [name], number(filesystem.size.0));
        sheet.set(&is::FILESYSTEM_AVAILABLE, [name], number(filesystem.available.0));
        if let (Some(inodes), Some(free)) = (filesystem.inodes, filesystem.inodes_free) {
            sheet.set(&is::FILESYSTEM_INODES, [name], number(inodes));
            sheet.set(&is::FILESYSTEM_INODES_FREE, [name], number(free));
        }
    }
    room.signals.iter().for_each(|figures| signal(sheet, figures));
    for pod in &room.pods {
        sheet.set(&is::POD_EPHEMERAL_STORAGE, [&pod.namespace, &pod.pod], number(pod.bytes.0));
    }
}

fn signal(sheet: &mut Sheet<'_>, figures: &SignalFigures) {
    let name = figures.signal.as_str();
    let (available, threshold) = (number(figures.available), figures.threshold.map(number));
    match figures.signal {
        EvictionSignal::Memory | EvictionSignal::Space(_) => {
            sheet.set(&is::EVICTION_AVAILABLE_BYTES, [name], available);
            threshold.into_iter().for_each(|threshold| sheet.set(&is::EVICTION_THRESHOLD_BYTES, [name], threshold));
        }
        EvictionSignal::Inodes(_) => {
            sheet.set(&is::EVICTION_AVAILABLE_INODES, [name], available);
            threshold.into_iter().for_each(|threshold| sheet.set(&is::EVICTION_THRESHOLD_INODES, [name], threshold));
        }
        EvictionSignal::Pids => {
            sheet.set(&is::EVICTION_AVAILABLE_PIDS, [], available);
            threshold.into_iter().for_each(|threshold| sheet.set(&is::EVICTION_THRESHOLD_PIDS, [], threshold));
        }
    }
    if let Some(seconds) = figures.reached_in_seconds {
        sheet.set(&is::EVICTION_REACHED_IN, [name], number(seconds));
    }
}

fn store(sheet: &mut Sheet<'_>, fill: &Fill) {
    let entries = |count: usize| number(u64::try_from(count).unwrap_or(u64::MAX));
    sheet.set(&is::STORE_ENTRIES, [fill.store], entries(fill.used));
    sheet.set(&is::STORE_CAPACITY, [fill.store], entries(fill.capacity));
}

fn agent(sheet: &mut Sheet<'_>, own: &AgentFigures) {
    sheet.set(&is::SAMPLES_DROPPED, [], number(own.samples_dropped));
    let Some(process) = own.process else { return };
    sheet.set(&is::PROCESS_RESIDENT, [], number(process.resident.0));
    sheet.set(&is::PROCESS_VIRTUAL, [], number(process.virtual_size.0));
    sheet.set(&is::PROCESS_CPU, [], process.cpu_seconds);
    sheet.set(&is::PROCESS_STARTED, [], process.started_seconds);
    sheet.set(&is::PROCESS_FDS, [], number(process.open_fds));
    sheet.set(&is::PROCESS_THREADS, [], number(process.threads));
    if let Some(most) = process.max_fds {
        sheet.set(&is::PROCESS_MAX_FDS, [], number(most));
    }
}

fn container<'a>(sheet: &mut Sheet<'a>, figures: &'a ContainerFigures) {
    let labels = [figures.namespace.as_str(), &figures.pod, &figures.container];
    let amounts = [
        (&is::CONTAINER_LIMIT, figures.limit.and_then(Limit::bytes)),
        (&is::CONTAINER_USAGE, figures.usage),
        (&is::CONTAINER_PEAK, figures.peak),
        (&is::CONTAINER_SWAP, figures.swap.filter(|swap| swap.0 > 0)),
        (&is::CONTAINER_RSS, figures.rss),
    ];
    for (metric, bytes) in amounts.into_iter().filter_map(|(metric, bytes)| Some((metric, bytes?))) {
        sheet.set(metric, labels, number(bytes.0));
    }
    for (kind, bytes) in figures.split.iter().flat_map(kinds_of_memory) {
        let [namespace, pod, container] = labels;
        sheet.set(&is::CONTAINER_MEMORY, [namespace, pod, container, kind], number(bytes.0));
    }
    if let Some(pressure) = figures.memory_pressure {
        sheet.set(&is::CONTAINER_PRESSURE, labels, micros(pressure.some_total_us));
    }
    if let Some(cpu) = figures.cpu {
        sheet.set(&is::CONTAINER_THROTTLED, labels, micros(cpu.throttled_us));
    }
    if let Some(pids) = figures.pids {
        sheet.set(&is::CONTAINER_PIDS, labels, number(pids.current));
    }
}

/// The parts of a charge. The kernel counts shared memory as part of the page cache; here each byte
/// is in one part only, so that the sum is the charge.
fn kinds_of_memory(split: &MemorySplit) -> impl Iterator<Item = (&'static str, Bytes)> {
    let cache = split.file.map(|file| file.saturating_sub(split.shmem.unwrap_or_default()));
    let kinds = [("anon", split.anon), ("file", cache), ("shmem", split.shmem), ("kernel", split.kernel)];
    kinds.into_iter().filter_map(|(kind, bytes)| Some((kind, bytes?)))
}

fn micros(count: u64) -> f64 {
    number(count) / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "microseconds since 1970 are exact in a float until the year 2255")]
fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_oom_cause_and_no_other_has_scopes() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().starts_with("oom_"), !scopes_of_kills(*cause).is_empty(), "{cause}");
        }
    }

    #[test]
    fn the_parts_of_a_charge_do_not_overlap() {
        let split = MemorySplit { file: Some(Bytes(100)), shmem: Some(Bytes(40)), anon: Some(Bytes(7)), ..MemorySplit::default() };
        let kinds: Vec<_> = kinds_of_memory(&split).collect();
        assert_eq!(kinds, [("anon", Bytes(7)), ("file", Bytes(60)), ("shmem", Bytes(40))]);
    }
}
