//! The kernel's own reports: joined to mounts and pods, counted once, cleared.

use super::*;
use crate::{
    findings::{EvidenceSource, FindingState},
    signal::{BlockDevice, ContainerMounts, DeviceNumber, Mount, MountTable, PidsUse},
};

const IO_ERROR: &str = "I/O error, dev sdb, sector 4096 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2";

fn mount(number: (u32, u32), point: &str) -> Mount {
    Mount {
        device: DeviceNumber(number.0, number.1),
        source: "/dev/x".into(),
        root: "/".into(),
        point: point.into(),
        filesystem: "ext4".into(),
        read_only: false,
        filesystem_read_only: false,
    }
}

fn device(name: &str, number: (u32, u32)) -> BlockDevice {
    BlockDevice {
        name: name.into(),
        number: DeviceNumber(number.0, number.1),
        part_of: None,
        start: None,
        sectors: None,
        mapper_name: None,
        slaves: vec![],
        backing_file: None,
    }
}

/// The system on sda, a volume of the pod on sdb.
pub(super) fn table() -> MountTable {
    let volume = format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/pvc-1/mount");
    MountTable { devices: vec![device("sda", (8, 0)), device("sdb", (8, 16))], mounts: vec![mount((8, 0), "/"), mount((8, 16), &volume)] }
}

impl Bench {
    fn finding(&self, cause: Cause) -> Finding {
        let findings = self.core.snapshot().findings;
        findings.into_iter().find(|finding| finding.cause == cause).unwrap_or_else(|| panic!("no {cause}: {:#?}", self.told))
    }

    fn problems(&self, class: &str) -> u64 {
        self.core.snapshot().counters.kernel_problems.iter().find(|(known, _)| known.as_str() == class).map_or(0, |(_, count)| *count)
    }

    fn running(&mut self, second: f64) {
        self.pod(second, pod(0, ContainerState::Running { started: Some(moment(1.0).wall) }, None));
    }
}

#[test]
fn errors_of_a_disk_name_the_pod_whose_volume_it_holds() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.say(2.0, Body::Mounts(table()));
    bench.record(10.0, 3, IO_ERROR);
    assert!(bench.told.is_empty(), "one failure is told on several levels");
    bench.record(10.1, 3, "Buffer I/O error on dev sdb, logical block 512, async page read");
    bench.say(11.1, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.count, finding.blame, finding.scope), (Cause::StorageError, 2, Blame::Node, Scope::Node));
    assert_eq!(finding.subjects[0].pod.as_deref(), Some("web-1"));
    assert!(finding.summary.contains("holds volume pvc-1"), "{}", finding.summary);
    assert_eq!((finding.evidence.len(), bench.problems("io_error")), (2, 2));
    assert_eq!(bench.core.snapshot().counters.storage_errors["sdb"], 2);
}

#[test]
fn a_disk_that_fails_makes_containers_tell_what_they_have_mounted() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.say(2.0, Body::Mounts(MountTable { mounts: vec![mount((8, 0), "/")], ..table() }));
    bench.sample(3.0, &path("a"), 1, None, 0);
    bench.looks.clear();
    bench.record(10.0, 3, "Buffer I/O error on dev sdb, logical block 512, async page read");
    bench.say(11.1, Body::Tick);
    assert_eq!((&bench.looks, bench.only().subjects.len()), (&vec![path("a")], 0));
    bench.say(11.5, Body::ContainerMounts(ContainerMounts { cgroup: path("a"), mounts: vec![mount((8, 16), "/data")] }));
    bench.say(13.0, Body::Tick);
    assert_eq!(bench.only().subjects[0].pod.as_deref(), Some("web-1"));
    bench.record(30.0, 3, "Buffer I/O error on dev sdb, logical block 513, async page read");
    bench.say(45.0, Body::Tick);
    assert_eq!(bench.looks.len(), 1, "what is known is not asked for");
}

#[test]
fn a_flood_is_told_now_and_then_and_counted_to_the_line() {
    let mut bench = Bench::watching(1.0);
    bench.say(2.0, Body::Mounts(table()));
    for n in 0..2000_u32 {
        bench.record(
            10.0 + f64::from(n) / 100.0,
            3,
            &format!("I/O error, dev sdb, sector {} op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", n * 8),
        );
    }
    bench.say(60.0, Body::Tick);
    assert_eq!((bench.only().count, bench.problems("io_error")), (2000, 2000));
    assert!(bench.told.len() <= 5, "{}", bench.told.len());
}

#[test]
fn mounts_that_are_read_later_complete_the_finding() {
    let mut bench = Bench::watching(1.0);
    bench.record(10.0, 3, IO_ERROR);
    bench.say(11.5, Body::Tick);
    assert!(bench.only().not_found[0].contains("the table of mounts has not been read"), "{:?}", bench.only().not_found);
    bench.say(12.0, Body::Mounts(table()));
    bench.running(12.5);
    bench.say(14.0, Body::Tick);
    assert_eq!((bench.only().count, bench.only().subjects[0].pod.as_deref()), (1, Some("web-1")));
    assert_eq!(bench.told.last().map(|(change, _)| *change), Some(Change::Amended));
}

#[test]
fn a_containers_own_mounts_name_it_where_the_hosts_do_not() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.sample(2.0, &path("a"), 1, None, 0);
    bench.say(2.0, Body::Mounts(MountTable { mounts: vec![mount((8, 0), "/")], ..table() }));
    let mounts = vec![mount((8, 0), "/etc/hosts"), mount((8, 16), "/data")];
    bench.say(3.0, Body::ContainerMounts(ContainerMounts { cgroup: path("a"), mounts }));
    bench.record(10.0, 3, IO_ERROR);
    bench.record(10.0, 3, "I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2");
    bench.say(11.5, Body::Tick);
    let findings = bench.core.snapshot().findings;
    let of = |disk: &str| findings.iter().find(|finding| finding.summary.contains(disk)).expect("told");
    assert_eq!(of("Disk sdb").subjects[0].pod.as_deref(), Some("web-1"));
    assert!(of("Disk sdb").summary.contains("has it mounted at /data"), "{}", of("Disk sdb").summary);
    assert!(of("Disk sda").subjects.is_empty());
    assert!(of("Disk sda").summary.contains("every pod of this node depends on it"), "{}", of("Disk sda").summary);
}

#[test]
fn a_filesystem_that_turned_read_only_stays_told_until_it_can_be_written() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.say(2.0, Body::Mounts(table()));
    bench.record(10.0, 2, "EXT4-fs error (device sdb): ext4_find_entry:1436: inode #2: comm app: reading directory lblock 0");
    bench.record(10.0, 2, "EXT4-fs (sdb): Remounting filesystem read-only");
    bench.say(11.5, Body::Tick);
    let (disk, read_only) = (bench.finding(Cause::StorageError), bench.finding(Cause::ReadOnlyFilesystem));
    assert_eq!((read_only.confidence, read_only.subjects[0].pod.as_deref()), (Confidence::Proven, Some("web-1")));
    assert_eq!(read_only.related, [disk.id], "one chain");
    let mut forced = table();
    forced.mounts[1].filesystem_read_only = true;
    bench.say(30.0, Body::Mounts(forced));
    for hour in 1..4 {
        bench.say(f64::from(hour) * 3100.0, Body::Tick);
    }
    assert_eq!(bench.finding(Cause::StorageError).state, FindingState::Resolved, "it is silent");
    assert_eq!((bench.finding(Cause::ReadOnlyFilesystem).state, bench.finding(Cause::ReadOnlyFilesystem).count), (FindingState::Open, 1));
    bench.say(9400.0, Body::Mounts(table()));
    assert_eq!(bench.finding(Cause::ReadOnlyFilesystem).state, FindingState::Resolved);
}

#[test]
fn a_filesystem_that_is_unmounted_or_mended_before_the_table_shows_it_is_read_only_no_more() {
    let unmounted = MountTable { mounts: vec![mount((8, 0), "/")], ..table() };
    for (second, next) in [(20.0, Some(unmounted)), (75.0, None)] {
        let mut bench = Bench::watching(1.0);
        bench.running(2.0);
        bench.say(2.0, Body::Mounts(table()));
        bench.record(10.0, 2, "EXT4-fs (sdb): Remounting filesystem read-only");
        bench.say(11.5, Body::Tick);
        assert_eq!(bench.finding(Cause::ReadOnlyFilesystem).state, FindingState::Open);
        let next = next.map_or(Body::Tick, Body::Mounts);
        bench.say(second, next);
        assert_eq!(bench.finding(Cause::ReadOnlyFilesystem).state, FindingState::Resolved);
    }
}

#[test]
fn a_read_only_filesystem_is_found_without_the_kernels_word() {
    let mut bench = Bench::watching(1.0);
    let mut forced = table();
    forced.mounts[1].filesystem_read_only = true;
    bench.say(2.0, Body::Mounts(forced));
    bench.say(4.0, Body::Tick);
    let finding = bench.only();
    assert_eq!((finding.cause, finding.confidence, finding.count), (Cause::ReadOnlyFilesystem, Confidence::Likely, 1));
    assert!(finding.evidence[0].what.contains("mountinfo"));
}

#[test]
fn a_crash_beside_errors_of_its_own_volume_is_the_nodes() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.say(2.0, Body::Mounts(table()));
    bench.record(58.0, 3, IO_ERROR);
    bench.pod(60.5, pod(0, ContainerState::Terminated(ended(1, "Error", 60.0)), None));
    bench.say(70.0, Body::Tick);
    let (death, disk) = (bench.finding(Cause::AppError), bench.finding(Cause::StorageError));
    assert_eq!((death.blame, death.confidence), (Blame::Node, Confidence::Likely));
    assert_eq!(death.related, [disk.id]);
    assert!(death.summary.contains("disk sdb under a volume of its pod reported errors"), "{}", death.summary);
    bench.pod(300.5, pod(0, ContainerState::Terminated(ended(1, "Error", 60.0)), None));
    bench.pod(301.0, pod(1, ContainerState::Terminated(ended(1, "Error", 300.0)), None));
    bench.say(310.0, Body::Tick);
    let later = bench.told.iter().rev().find(|(_, finding)| finding.cause == Cause::AppError).expect("told");
    assert_eq!(later.1.blame, Blame::Workload, "long after the last error");
}

#[test]
fn a_crash_beside_a_volume_that_only_the_table_shows_read_only_is_the_nodes() {
    for (ended_at, blame) in [(60.0, Blame::Node), (10.0, Blame::Workload)] {
        let mut bench = Bench::watching(1.0);
        bench.running(2.0);
        bench.say(2.0, Body::Mounts(table()));
        if blame == Blame::Workload {
            bench.pod(ended_at + 0.5, pod(0, ContainerState::Terminated(ended(1, "Error", ended_at)), None));
            bench.ticks(12, 29);
        }
        let mut forced = table();
        forced.mounts[1].filesystem_read_only = true;
        bench.say(30.0, Body::Mounts(forced));
        bench.say(34.0, Body::Tick);
        if blame == Blame::Node {
            bench.pod(ended_at + 0.5, pod(0, ContainerState::Terminated(ended(1, "Error", ended_at)), None));
            bench.say(70.0, Body::Tick);
        }
        let (death, read_only) = (bench.finding(Cause::AppError), bench.finding(Cause::ReadOnlyFilesystem));
        assert_eq!(death.blame, blame, "{}", death.summary);
        if blame == Blame::Node {
            assert_eq!(death.related, [read_only.id]);
            let told = death.evidence.iter().find(|evidence| evidence.what.contains("was read-only")).expect("evidence");
            assert_eq!(told.source, EvidenceSource::Node);
        }
    }
}

#[test]
fn an_xfs_that_shut_itself_down_stays_told_until_it_is_unmounted_and_is_a_witness() {
    const GAVE_UP: &str =
        "XFS (sdb): Log I/O Error (0x2) detected at xlog_ioend_work+0x6e/0x70 [xfs] (fs/xfs/xfs_log.c:1378).  Shutting down filesystem.";
    let xfs = || {
        let mut table = table();
        table.mounts[1].filesystem = "xfs".into();
        table
    };
    for by_table in [true, false] {
        let mut bench = Bench::watching(1.0);
        bench.running(2.0);
        bench.say(2.0, Body::Mounts(xfs()));
        bench.record(10.0, 1, GAVE_UP);
        bench.say(11.5, Body::Tick);
        let finding = bench.finding(Cause::ReadOnlyFilesystem);
        assert!(finding.summary.starts_with("The filesystem on sdb shut itself down"), "{}", finding.summary);
        assert!(finding.actions[0].contains("xfs_repair"), "{:?}", finding.actions);
        for second in (100..9_000).step_by(100) {
            bench.say(f64::from(second), Body::Tick);
        }
        assert_eq!(bench.finding(Cause::ReadOnlyFilesystem).state, FindingState::Open, "silence mends nothing");
        bench.pod(9_000.5, pod(0, ContainerState::Terminated(ended(1, "Error", 9_000.0)), None));
        bench.say(9_010.0, Body::Tick);
        let death = bench.finding(Cause::AppError);
        assert_eq!((death.blame, &death.related), (Blame::Node, &vec![finding.id]), "{}", death.summary);
        if by_table {
            bench.say(9_100.0, Body::Mounts(MountTable { mounts: vec![mount((8, 0), "/")], ..table() }));
        } else {
            bench.record(9_100.0, 5, "XFS (sdb): Unmounting Filesystem 0a1b2c3d-0000-1111-2222-333344445555");
        }
        assert_eq!(bench.finding(Cause::ReadOnlyFilesystem).state, FindingState::Resolved);
    }
}

#[test]
fn errors_of_the_disk_that_all_share_accuse_nobody_but_a_bus_error_s_page() {
    for (code, blame) in [(1, Blame::Workload), (135, Blame::Node)] {
        let mut bench = Bench::watching(1.0);
        bench.running(2.0);
        bench.say(2.0, Body::Mounts(table()));
        bench.record(59.0, 3, "I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2");
        bench.pod(60.5, pod(0, ContainerState::Terminated(ended(code, "Error", 60.0)), None));
        bench.say(70.0, Body::Tick);
        let findings = bench.core.snapshot().findings;
        let death = findings.iter().find(|finding| finding.cause != Cause::StorageError).expect("told");
        assert_eq!((death.blame, death.related.len()), (blame, 1), "{}", death.summary);
    }
}

#[test]
fn a_hung_task_names_its_container_and_accuses_nobody() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.processes(115.0, &path("a"), &[(17, 1, "app")]);
    bench.record(120.0, 3, "INFO: task app:17 blocked for more than 120 seconds.");
    let finding = bench.only();
    assert_eq!((finding.cause, finding.blame), (Cause::KernelFault, Blame::Insufficient));
    assert_eq!((finding.subjects[0].container.as_deref(), finding.attribution), (Some("app"), Attribution::PidCache));
}

#[test]
fn the_machines_faults_are_the_nodes() {
    let mut bench = Bench::watching(1.0);
    bench.record(10.0, 0, "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [migration/1:14]");
    bench.record(20.0, 1, "BUG: kernel NULL pointer dereference, address: 0000000000000008");
    bench.say(25.0, Body::Tick);
    bench.record(30.0, 4, "nf_conntrack: nf_conntrack: table full, dropping packet");
    let findings = bench.core.snapshot().findings;
    let told: Vec<_> = findings.iter().map(|finding| (finding.cause, finding.blame)).collect();
    assert_eq!(told, [(Cause::NetworkFault, Blame::Node), (Cause::KernelFault, Blame::Node), (Cause::KernelFault, Blame::Node)]);
    bench.say(700.0, Body::Tick);
    assert_eq!(bench.finding(Cause::NetworkFault).state, FindingState::Resolved, "a full table is reported while it lasts");
}

#[test]
fn a_full_table_of_one_network_namespace_is_not_every_pods() {
    let mut bench = Bench::watching(1.0);
    bench.record(10.0, 4, "nf_conntrack: nf_conntrack: table full in netns 4026532009, dropping packet");
    bench.record(11.0, 4, "nf_conntrack: nf_conntrack: table full in netns 4026532009, dropping packet");
    let finding = bench.only();
    assert_eq!((finding.scope, finding.blame), (Scope::Pod, Blame::Insufficient));
    assert!(finding.summary.contains("network namespace 4026532009 is full"), "{}", finding.summary);
    assert!(!finding.summary.contains("any pod") && finding.not_found[0].contains("whose namespace"), "{finding:?}");
    bench.record(12.0, 4, "nf_conntrack: nf_conntrack: table full, dropping packet");
    assert_eq!(bench.core.snapshot().findings.len(), 2, "the host's own is another table");
}

#[test]
fn what_healthy_nodes_say_is_counted_and_not_told() {
    let mut bench = Bench::watching(1.0);
    bench.record(
        10.0,
        4,
        "kworker/u33:5: page allocation failure: order:7, mode:0xc04(GFP_NOIO|GFP_DMA32), nodemask=(null),cpuset=/,mems_allowed=0",
    );
    bench.record(11.0, 6, "host[99]: segfault at 0 ip 000055e5c59d2139 sp 00007fffbc740640 error 4 in host[1139,55e5c59d2000+1000]");
    bench.record(12.0, 14, IO_ERROR);
    bench.say(20.0, Body::Tick);
    assert!(bench.told.is_empty());
    assert_eq!((bench.problems("page_allocation"), bench.problems("segfault")), (1, 1));
    assert_eq!(bench.problems("io_error"), 0, "written by a program");
}

#[test]
fn a_pids_limit_is_the_level_that_is_full() {
    let line = format!("cgroup: fork rejected by pids controller in {}", path("a"));
    let full = |max| Some(PidsUse { current: 100, max, refused: None });
    for (container, own_pod, all, scope, blame) in [
        (full(Some(100)), full(None), None, Scope::Container, Blame::Workload),
        (full(None), full(Some(100)), None, Scope::Pod, Blame::Workload),
        (full(None), full(None), Some(500), Scope::NodeAllocatable, Blame::Neighbour),
        (full(None), full(None), Some(110), Scope::NodeAllocatable, Blame::Workload),
        (None, None, None, Scope::Container, Blame::Insufficient),
    ] {
        let mut bench = Bench::watching(1.0);
        bench.running(2.0);
        bench.record(10.0, 6, &line);
        assert_eq!(bench.looks, [path("a")], "fresh figures are asked for");
        let all = all.map(|most| PidsUse { current: most, max: Some(most), refused: None });
        for (path, pids) in [(path("a"), container), (POD.to_owned(), own_pod), ("/kubepods".to_owned(), all)] {
            bench.say(10.5, Body::Cgroup(Box::new(CgroupSample { path, pids, ..CgroupSample::default() })));
        }
        bench.say(12.5, Body::Tick);
        let finding = bench.only();
        assert_eq!((finding.cause, finding.scope, finding.blame), (Cause::PidsLimit, scope, blame), "{}", finding.summary);
        assert_eq!(finding.subjects[0].pod.as_deref(), Some("web-1"));
    }
}

#[test]
fn how_often_a_pids_limit_refused_is_told_beside_the_kernels_one_line() {
    for (container, own_pod, said) in
        [(Some(7), Some(9), Some("container counts 7")), (Some(0), Some(9), Some("pod counts 9")), (None, None, None)]
    {
        let mut bench = Bench::watching(1.0);
        bench.running(2.0);
        bench.record(10.0, 6, &format!("cgroup: fork rejected by pids controller in {}", path("a")));
        for (path, refused) in [(path("a"), container), (POD.to_owned(), own_pod)] {
            let pids = Some(PidsUse { current: 100, max: Some(100), refused });
            bench.say(10.5, Body::Cgroup(Box::new(CgroupSample { path, pids, ..CgroupSample::default() })));
        }
        bench.say(12.5, Body::Tick);
        let counts = bench.only().evidence.into_iter().find(|evidence| evidence.what.contains("refused processes"));
        assert_eq!(counts.is_some(), said.is_some());
        assert!(counts.zip(said).is_none_or(|(counts, said)| counts.what.contains(said)));
    }
}

#[test]
fn another_kubelets_pod_at_its_pids_limit_is_none_of_ours() {
    let line = format!("cgroup: fork rejected by pids controller in {}", path("a"));
    let mut bench = Bench::watching(1.0);
    let own = crate::model::PodUid::parse("99999999-2222-3333-4444-555555555555").expect("uid");
    let named = PodUpdate::Directory { namespace: "shop".into(), name: "other".into(), uid: own, containers: vec![], followed: false };
    bench.say(1.0, Body::Pods(named));
    bench.record(10.0, 6, &line);
    for second in [13.0, 19.0, 21.0, 40.0] {
        bench.say(second, Body::Tick);
    }
    assert_eq!((bench.told.len(), bench.problems("pids_limit")), (0, 1));
    bench.seq += 1;
    bench.record(50.0, 6, &line);
    bench.say(53.0, Body::Tick);
    bench.running(54.0);
    bench.say(61.0, Body::Tick);
    assert_eq!(bench.only().cause, Cause::PidsLimit, "a pod that is named late");
}

#[test]
fn a_finding_about_a_disk_outlives_the_pod_that_it_names() {
    let mut bench = Bench::watching(1.0);
    bench.running(2.0);
    bench.say(2.0, Body::Mounts(table()));
    bench.record(10.0, 3, IO_ERROR);
    bench.record(10.0, 6, &format!("cgroup: fork rejected by pids controller in {}", path("a")));
    bench.say(13.0, Body::Tick);
    bench.say(14.0, Body::Pods(PodUpdate::Listed(crate::signal::PodSnapshot::default())));
    bench.say(15.0, Body::Mounts(MountTable { mounts: vec![mount((8, 0), "/")], ..table() }));
    bench.say(20.0, Body::Tick);
    let storage = bench.finding(Cause::StorageError);
    assert_eq!((storage.state, storage.subjects[0].pod.as_deref()), (FindingState::Open, Some("web-1")), "it had the volume then");
    assert!(storage.summary.contains("holds volume pvc-1"), "{}", storage.summary);
    assert_eq!(bench.finding(Cause::PidsLimit).state, FindingState::Resolved);
}

#[test]
fn a_restart_neither_repeats_nor_forgets_a_problem() {
    let say = |bench: &mut Bench, from: u32, to: u32| {
        for n in from..to {
            bench.seq = 100 + u64::from(n);
            bench.record(10.0 + f64::from(n), 3, IO_ERROR);
        }
    };
    let mut bench = Bench::watching(1.0);
    say(&mut bench, 0, 5);
    let stored = serde_json::to_string(&bench.core.checkpoint().expect("a boot")).expect("json");
    let mut again = Bench { core: Core::restore(serde_json::from_str(&stored).expect("json")), ..Bench::new() };
    again.start(20.0);
    say(&mut again, 0, 8);
    again.say(60.0, Body::Tick);
    assert_eq!((again.only().count, again.problems("io_error")), (8, 8));
    assert_eq!(again.only().id, bench.only().id);
}
