//! An OOM kill in words.

use super::{GaveWay, Holder, MemoryPicture, Role, Victim, Whose, memory::Sticky};
use crate::{
    findings::Subject,
    inventory::{Growth, Inventory},
    model::{Attribution, Bytes, Confidence, QosClass},
    parse::oom::OomEvent,
};

/// The explanation: who was killed, whose limit, how much memory of which kind, how it grew, whether
/// a restart helps.
pub fn summary(
    event: &OomEvent,
    victim: &Victim,
    gave_way: &GaveWay,
    memory: &MemoryPicture,
    subject: &Subject,
    inventory: &Inventory,
) -> String {
    let mut sentences = vec![format!("{}.", headline(event, victim, gave_way, memory, subject))];
    sentences.extend(holder(gave_way, memory, subject, inventory).map(|text| format!("{text}.")));
    sentences.extend(composition(memory).map(|text| format!("{text}.")));
    sentences.extend(consequence(victim, event).map(String::from));
    sentences.extend(memory.sticky().map(restart));
    sentences.join(" ")
}

/// What to do next.
pub fn actions(gave_way: &GaveWay, memory: &MemoryPicture, subject: &Subject) -> Vec<String> {
    let who = place_name(subject);
    match (&gave_way.whose, memory.sticky()) {
        (Whose::ByHand, _) => vec!["Find out who wrote `f` to /proc/sysrq-trigger or pressed SysRq-f.".into()],
        (_, Some(Sticky::Tmpfs(_))) => vec![
            format!("Delete the pod rather than restart {who}: its memory-backed volumes stay charged to the pod."),
            "Set a sizeLimit on the emptyDir with medium Memory, or write to disk instead.".into(),
        ],
        (_, Some(Sticky::Kernel(_))) => {
            vec!["Look for what makes the kernel hold memory for this cgroup: very many files, sockets or mounts.".into()]
        }
        (Whose::Container | Whose::ContainerAtPod | Whose::Unnamed, _) => {
            vec![format!("Raise the memory limit of {who}, or find out why it needs more than it may have.")]
        }
        (Whose::Pod, _) => vec!["Raise the pod's memory limit, or limit the container that holds most of it.".into()],
        (Whose::Class(_), _) => {
            vec!["Give the pods of this class requests that match their use, so that the scheduler places fewer here.".into()]
        }
        (Whose::AllPods, _) => {
            vec!["Give pods requests that match their use, so that the scheduler places fewer here, or enlarge the node.".into()]
        }
        (Whose::Node | Whose::NodeContainer, _) => {
            vec!["Look at what holds the node's memory, pods over their requests first; reserve more for the system (kubeReserved, systemReserved).".into()]
        }
        (Whose::Service(service), _) => vec![format!("Raise MemoryMax of {service}, or find out why it needs more.")],
        (Whose::Unknown, _) => vec!["Look at the kernel log around this time: the lines that name the cgroup are missing.".into()],
    }
}

/// `container app of pod shop/web-1`, as far as it is known.
pub fn place_name(subject: &Subject) -> String {
    let pod = match (&subject.namespace, &subject.pod, &subject.pod_uid) {
        (Some(namespace), Some(pod), _) => Some(format!("pod {namespace}/{pod}")),
        (_, _, Some(uid)) => Some(format!("pod {uid}")),
        _ => None,
    };
    let container = match (&subject.container, &subject.container_id) {
        (Some(name), _) => Some(format!("container {name}")),
        (None, Some(id)) => Some(format!("container {}", id.short())),
        (None, None) => None,
    };
    match (container, pod) {
        (Some(container), Some(pod)) => format!("{container} of {pod}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "a process outside of pods".into(),
    }
}

fn headline(event: &OomEvent, victim: &Victim, gave_way: &GaveWay, memory: &MemoryPicture, subject: &Subject) -> String {
    let killed = match (victim.role, &event.group) {
        (_, Some(group)) if group.members.len() > 1 => {
            format!("all {} processes, {} first", group.members.len() + usize::try_from(group.unlisted).unwrap_or(0), process(event))
        }
        (Role::Starting, _) => format!("{} before it could start the container's program", process(event)),
        _ => process(event),
    };
    let whom = match (&victim.service, victim.attribution) {
        (Some(service), _) => format!("In {service}, the kernel killed {killed}"),
        (None, Attribution::None) => format!("The kernel killed {killed}, and nothing says where it ran"),
        (None, _) if victim.pod.is_none() && victim.container.is_none() => format!("Outside of pods, the kernel killed {killed}"),
        _ => format!("In {}, the kernel killed {killed}", place_name(subject)),
    };
    let hedge = match gave_way.confidence {
        Confidence::Proven => "",
        Confidence::Likely => "most likely ",
        Confidence::Possible => "perhaps ",
    };
    format!("{whom}, {hedge}because {}{}", whose_limit(gave_way, memory), growth(gave_way, memory))
}

fn process(event: &OomEvent) -> String {
    match (&event.victim.comm, event.victim.pid) {
        (Some(comm), Some(pid)) => format!("{comm} (pid {pid})"),
        (Some(comm), None) => comm.to_string(),
        (None, Some(pid)) => format!("the process with pid {pid}"),
        (None, None) => "a process that the log does not name".into(),
    }
}

fn whose_limit(gave_way: &GaveWay, memory: &MemoryPicture) -> String {
    let limit = memory.figures.limit_bytes.map(|limit| format!(" of {limit}")).unwrap_or_default();
    match &gave_way.whose {
        Whose::Container => format!("the container reached its own memory limit{limit}"),
        Whose::ContainerAtPod => format!("the container reached its own memory limit{limit} (the kernel noticed at the pod's cgroup)"),
        Whose::Pod => format!("the pod's containers together reached the pod's memory limit{limit}"),
        Whose::AllPods => format!("all pods of the node together reached what the node allows pods{limit}"),
        Whose::Class(class) => format!("the {} pods of the node together reached their limit{limit}", class_name(*class)),
        Whose::Node => "the whole node ran out of memory".into(),
        Whose::NodeContainer => format!("the container in which this node runs reached its memory limit{limit}"),
        Whose::Service(service) => format!("{service} reached its own memory limit{limit}"),
        Whose::ByHand => "someone asked for it by hand (SysRq-f)".into(),
        Whose::Unnamed => "a memory limit was reached that the log does not name".into(),
        Whose::Unknown => "memory ran out; whose, the log does not say".into(),
    }
}

fn class_name(class: QosClass) -> &'static str {
    match class {
        QosClass::All => "",
        QosClass::Burstable => "Burstable",
        QosClass::BestEffort => "BestEffort",
    }
}

/// The growth is that of the killed process's container, whoever's limit was hit. That it stood still
/// is telling only of a limit of its own.
fn growth(gave_way: &GaveWay, memory: &MemoryPicture) -> String {
    let grower = match (&gave_way.whose, memory.growth) {
        (Whose::Container | Whose::ContainerAtPod, _) => "it",
        (_, Some(Growth::Steady { .. })) => return String::new(),
        _ => "the killed process's container",
    };
    memory.growth.map(|growth| format!("; {grower} {growth}")).unwrap_or_default()
}

fn holder(gave_way: &GaveWay, memory: &MemoryPicture, subject: &Subject, inventory: &Inventory) -> Option<String> {
    let Holder { pod, container, comm, held, request } = gave_way.holder.as_ref()?;
    let holder = inventory.subject(pod.as_ref(), container.as_ref());
    let name = match (comm, pod) {
        (Some(comm), None) => format!("process {comm}, outside of pods"),
        _ if holder.pod_uid == subject.pod_uid && container.is_some() => match &holder.container {
            Some(name) => format!("container {name}"),
            // Its pod has just been named.
            None => place_name(&Subject { pod: None, pod_uid: None, ..holder.clone() }),
        },
        _ => place_name(&holder),
    };
    let over = match request {
        Some(Bytes(0)) => " without having requested any".into(),
        Some(request) if held > request => format!(" of which it had requested {request}"),
        _ => String::new(),
    };
    let of_victim = memory.figures.victim_rss_bytes.map(|rss| format!("; the killed process had {rss} resident")).unwrap_or_default();
    Some(format!("Most of the memory was held by {name}: {held}{over}{of_victim}"))
}

fn composition(memory: &MemoryPicture) -> Option<String> {
    let figures = &memory.figures;
    let usage = figures.usage_bytes?;
    let page_cache = figures.file_bytes.map(|file| file.saturating_sub(figures.shmem_bytes.unwrap_or_default()));
    let kinds = [
        (figures.anon_bytes, "anonymous"),
        (figures.shmem_bytes, "tmpfs and shared memory"),
        (page_cache, "page cache"),
        (figures.kernel_bytes, "kernel memory"),
    ];
    let worth_telling = |amount: &Bytes| amount.percent_of(usage).is_some_and(|share| share >= 2);
    let told: Vec<_> =
        kinds.into_iter().filter_map(|(amount, kind)| amount.filter(worth_telling).map(|amount| format!("{amount} {kind}"))).collect();
    let kinds = told.join(", ");
    let text =
        if memory.is_dumped { format!("Of {usage} charged, {kinds}") } else { format!("When last sampled, {usage} were charged: {kinds}") };
    (!told.is_empty()).then_some(text)
}

fn consequence(victim: &Victim, event: &OomEvent) -> Option<&'static str> {
    match (victim.role, event.group.is_some()) {
        (Role::Child, _) => Some("The container's first process lives on, so nothing restarts and Kubernetes shows nothing."),
        _ => None,
    }
}

fn restart(sticky: Sticky) -> String {
    match sticky {
        Sticky::Tmpfs(amount) => {
            format!("A restart of the container does not help: {amount} of tmpfs stay charged to the pod; only a new pod is free of them.")
        }
        Sticky::Kernel(amount) => {
            format!("A restart of the container may not help: {amount} are kernel memory, which the kernel frees when it likes.")
        }
    }
}
