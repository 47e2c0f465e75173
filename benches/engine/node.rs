//! A made-up node of 110 pods with 250 containers, and what its kernel and cgroups say.

use nodewhy::{
    core::Core,
    model::{BootId, BootTime, Bytes, Limit, Moment, Pid, ProcessKey},
    signal::{
        Body, CgroupCounters, CgroupSample, CgroupVersion, ContainerRecord, CpuThrottling, KernelLine, MemoryEvents, MemorySplit,
        NodeFacts, Owner, PidsUse, PodRecord, PodSnapshot, PodUpdate, ProcessSample, ProcessesSample, Signal,
    },
};

/// Pods of the node.
pub const PODS: u32 = 110;
/// Containers of the node; the pods have two or three each.
pub const CONTAINERS: u32 = 250;

/// A container by its number.
#[derive(Debug, Clone, Copy)]
pub struct Container(pub u32);

impl Container {
    pub fn uid(self) -> String {
        format!("{:08x}-1f2e-4d3c-8b5a-69788796a5b4", self.0 % PODS)
    }

    pub fn id(self) -> String {
        format!("{:064x}", u128::from(self.0) + (1 << 100))
    }

    pub fn pod_path(self) -> String {
        format!("/kubepods/burstable/pod{}", self.uid())
    }

    pub fn path(self) -> String {
        format!("{}/{}", self.pod_path(), self.id())
    }
}

/// A moment so many microseconds after the boot.
pub fn at(micros: u64) -> Moment {
    let start = Moment { boot: BootTime(0), wall: "2026-03-01T08:00:00Z".parse().expect("a time") };
    start.at_boot_time(BootTime(micros))
}

/// A core that knows the whole node.
pub fn core() -> Core {
    let mut core = Core::new();
    let facts = NodeFacts {
        node: "bench".into(),
        boot_id: BootId("7d1c1f60-2f5e-4f0b-9a55-0d8b1f3a6c21".into()),
        kernel: "6.12.0".into(),
        cgroups: CgroupVersion::V2,
        page_size: 4096,
        ticks_per_second: 100,
        memory_total: Some(Bytes(64 << 30)),
        agent: "bench".into(),
    };
    core.apply(Signal { at: at(0), body: Body::Node(facts) });
    let pods = PodSnapshot { pods: (0..PODS).map(pod).collect() };
    core.apply(Signal { at: at(1000), body: Body::Pods(PodUpdate::Listed(pods)) });
    for container in (0..CONTAINERS).map(Container) {
        core.apply(Signal { at: at(1000), body: Body::Cgroup(Box::new(sample(container, 1))) });
        let processes = ProcessesSample { cgroup: container.path(), processes: vec![process(container)] };
        core.apply(Signal { at: at(1000), body: Body::Processes(processes) });
    }
    core
}

fn pod(number: u32) -> PodRecord {
    let containers = (0..CONTAINERS).map(Container).filter(|container| container.0 % PODS == number);
    let containers = containers.map(|container| ContainerRecord {
        name: format!("c{}", container.0 / PODS),
        container_id: Some(format!("containerd://{}", container.id())),
        memory_limit: Some(Bytes(256 << 20)),
        ..ContainerRecord::default()
    });
    PodRecord {
        uid: Container(number).uid(),
        namespace: format!("team-{}", number % 12),
        name: format!("service-{}-7c9d8f6b5-{number:05x}", number % 60),
        owner: Some(Owner { kind: "ReplicaSet".into(), name: format!("service-{}-7c9d8f6b5", number % 60) }),
        template_hash: Some("7c9d8f6b5".into()),
        containers: containers.collect(),
        ..PodRecord::default()
    }
}

/// Figures of a container's cgroup; `step` makes them move.
pub fn sample(container: Container, step: u64) -> CgroupSample {
    let used = (64 << 20) + (step % 1000) * 4096;
    let events = MemoryEvents { max: Some(0), oom: Some(0), oom_kill: Some(0), oom_group_kill: Some(0) };
    CgroupSample {
        path: container.path(),
        usage: Some(Bytes(used)),
        limit: Some(Limit::Bytes(Bytes(256 << 20))),
        peak: Some(Bytes(used)),
        swap: Some(Bytes(0)),
        split: Some(MemorySplit {
            anon: Some(Bytes(used / 2)),
            file: Some(Bytes(used / 4)),
            shmem: Some(Bytes(0)),
            kernel: Some(Bytes(used / 8)),
            slab: Some(Bytes(used / 16)),
            inactive_file: Some(Bytes(used / 8)),
        }),
        counters: CgroupCounters { events: Some(events), local: Some(events), failcnt: None },
        group_kill: Some(false),
        cpu: Some(CpuThrottling { periods: step, throttled_periods: step / 10, throttled_us: step * 100 }),
        pids: Some(PidsUse { current: 12, max: Some(4096), refused: Some(0) }),
        ..CgroupSample::default()
    }
}

fn process(container: Container) -> ProcessSample {
    ProcessSample {
        key: ProcessKey { pid: Pid(10_000 + container.0), start_ticks: 500 },
        inner_pid: Some(1),
        comm: "server".into(),
        rss_anon: Some(Bytes(40 << 20)),
        rss_file: Some(Bytes(10 << 20)),
        rss_shmem: Some(Bytes(0)),
        swap: Some(Bytes(0)),
        oom_score_adj: Some(900),
    }
}

/// Lines that a busy node prints and that mean nothing here.
pub const QUIET: [&str; 8] = [
    "veth4c2f19ab: renamed from eth0",
    "cni0: port 17(vethb81d33ce) entered blocking state",
    "device vethb81d33ce entered promiscuous mode",
    "audit: type=1400 audit(1772352000.113:842): apparmor=\"STATUS\" operation=\"profile_replace\" name=\"cri-containerd.apparmor.d\" pid=4242",
    "IPv6: ADDRCONF(NETDEV_CHANGE): vethb81d33ce: link becomes ready",
    "TCP: request_sock_TCP: Possible SYN flooding on port 8443. Sending cookies.",
    "overlayfs: idmapped layers are currently not supported",
    "systemd[1]: Started run-containerd-runc-k8s.io.scope - libcontainer container.",
];

/// A record of `/dev/kmsg`.
pub fn record(seq: u64, micros: u64, text: &str) -> String {
    format!("6,{seq},{micros},-;{text}")
}

/// The dump of one kill, line by line, as kernels since 5.0 print it.
pub fn dump(container: Container, pid: u32) -> Vec<String> {
    let (path, id) = (container.path(), container.id());
    let mut lines = vec![
        "server invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=900".to_owned(),
        format!("CPU: 1 UID: 0 PID: {pid} Comm: server Not tainted 6.12.0 #1"),
        "Call Trace:".to_owned(),
    ];
    lines.extend((0..20).map(|frame| format!(" mem_cgroup_out_of_memory+0x{frame:x}/0x160")));
    lines.extend([
        "memory: usage 262144kB, limit 262144kB, failcnt 311".to_owned(),
        "swap: usage 0kB, limit 0kB, failcnt 0".to_owned(),
        format!("Memory cgroup stats for {path}:"),
        "anon 266338304".to_owned(),
        "file 1048576".to_owned(),
        "kernel 1015808".to_owned(),
        "Tasks state (memory values in pages):".to_owned(),
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name".to_owned(),
        format!("[{pid:7}]     0 {pid:5}   180224    65280    64000     1280         0   569344        0           900 server"),
        format!(
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={id},mems_allowed=0,oom_memcg={path},task_memcg={path},task=server,pid={pid},uid=0"
        ),
        format!(
            "Memory cgroup out of memory: Killed process {pid} (server) total-vm:720896kB, anon-rss:256000kB, file-rss:5120kB, shmem-rss:0kB, UID:0 pgtables:556kB oom_score_adj:900"
        ),
    ]);
    lines
}

/// A record as a signal.
pub fn kernel(seq: u64, micros: u64, text: &str) -> Signal {
    Signal { at: at(micros), body: Body::Kernel(KernelLine::Kmsg(record(seq, micros, text))) }
}
