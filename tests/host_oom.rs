//! Real kills by this machine's kernel in real cgroups, explained by the sources and the core
//! together.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]

mod live;

use live::{Agent, LIMIT, MIB, alone, container, containers, killed, one_container, pod, protect, start, start_filling};
use nodewhy::{
    config::KernelLogChoice,
    demonstration::{HogEnd, HogPlan, PodPlan},
    findings::{Change, Finding},
    model::{Attribution, Blame, Bytes, Cause, Confidence, Scope},
};

fn one_child() -> HogPlan {
    HogPlan::Children { count: 1, each: Box::new(HogPlan::grow_beyond(LIMIT)) }
}

#[test]
fn a_container_at_its_limit_is_explained_with_figures_and_growth() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let hog = start(&pod, 0, &HogPlan::grow_beyond(LIMIT));
    let pid = hog.pid();
    agent.knows(container(&pod, 0));
    // The agent works in this thread: the kill happens and is explained meanwhile.
    let finding = agent.finds(pod.uid(), |finding| finding.memory.as_ref().is_some_and(|memory| memory.growth.is_some()));
    killed(hog);
    assert_eq!((finding.cause, finding.scope, finding.blame), (Cause::OomContainerLimit, Scope::Container, Blame::Workload));
    assert_eq!((finding.confidence, finding.attribution, finding.count), (Confidence::Proven, Attribution::Kernel, 1));
    assert_eq!(containers(&finding), [&container(&pod, 0).id]);
    let memory = finding.memory.clone().expect("memory");
    assert_eq!(memory.limit_bytes, Some(LIMIT));
    assert!(memory.usage_bytes >= Some(Bytes(LIMIT.0 - MIB)) && memory.anon_bytes >= Some(Bytes(LIMIT.0 / 2)), "{memory:?}");
    assert!(memory.victim_rss_bytes >= Some(Bytes(LIMIT.0 / 2)), "{memory:?}");
    assert_eq!(memory.restart_helps, Some(true));
    assert!(finding.summary.contains(&format!("nodewhy-hog (pid {pid})")), "{}", finding.summary);
    assert!(finding.summary.contains("limit of 32 MiB") && finding.summary.contains("; it "), "{}", finding.summary);
    agent.completes();
    assert_eq!(agent.findings(pod.uid()).iter().map(|finding| finding.count).collect::<Vec<_>>(), [1], "told once by both detectors");
}

#[test]
fn a_child_is_killed_and_nothing_restarts() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let mut hog = start(&pod, 0, &one_child());
    agent.knows(container(&pod, 0));
    let finding = agent.finds(pod.uid(), |_| true);
    assert_eq!((finding.cause, finding.scope), (Cause::OomChildProcess, Scope::Container));
    assert_eq!((finding.attribution, finding.count), (Attribution::Kernel, 1));
    assert!(finding.summary.contains("lives on") && !finding.summary.contains(&format!("(pid {})", hog.pid())), "{}", finding.summary);
    hog.wait_until_it_stays().expect("the first process lives");
    assert!(matches!(hog.wait(), Ok(HogEnd::Ended(status)) if status.success()));
    agent.completes();
    let told: Vec<_> = agent.told(pod.uid()).iter().map(|told| told.finding.cause).collect();
    assert!(told.iter().all(|cause| *cause == Cause::OomChildProcess), "never told as a death of the container: {told:?}");
}

#[test]
fn kills_of_one_moment_are_told_of_their_own_containers() {
    let _alone = alone();
    let pods: Vec<_> = (0..4).map_while(|_| pod(&one_container())).collect();
    if pods.len() < 4 {
        return;
    }
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let hogs: Vec<_> = pods.iter().map(|pod| start(pod, 0, &HogPlan::grow_beyond(LIMIT))).collect();
    let pids: Vec<_> = hogs.iter().map(nodewhy::demonstration::Hog::pid).collect();
    for (pod, pid) in pods.iter().zip(&pids) {
        let finding = agent.finds(pod.uid(), |_| true);
        assert_eq!((finding.cause, finding.attribution), (Cause::OomContainerLimit, Attribution::Kernel));
        assert_eq!(containers(&finding), [&container(pod, 0).id]);
        assert!(finding.summary.contains(&format!("(pid {pid})")), "{}", finding.summary);
    }
    hogs.into_iter().for_each(killed);
    agent.completes();
    for pod in &pods {
        let counts: Vec<_> = agent.findings(pod.uid()).iter().map(|finding| finding.count).collect();
        assert_eq!(counts, [1]);
    }
}

#[test]
fn a_pod_limit_names_the_container_that_holds_the_memory() {
    let _alone = alone();
    let Some(pod) = pod(&PodPlan { containers: 2, container_limit: None, pod_limit: Some(LIMIT) }) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let mut holder = start(&pod, 0, &HogPlan::Hold { amount: Bytes(22 * MIB) });
    protect(&holder);
    holder.wait_until_it_stays().expect("it holds");
    agent.knows(container(&pod, 0));
    let victim = start(&pod, 1, &HogPlan::grow_beyond(LIMIT));
    let finding = agent.finds(pod.uid(), |_| true);
    killed(victim);
    assert_eq!((finding.cause, finding.scope, finding.attribution), (Cause::OomPodLimit, Scope::Pod, Attribution::Kernel));
    assert_eq!(containers(&finding), [&container(&pod, 1).id], "the victim");
    let holds = format!("held by container {}", container(&pod, 0).id.short());
    assert!(finding.summary.contains(&holds), "{}", finding.summary);
    assert_eq!(finding.memory.and_then(|memory| memory.limit_bytes), Some(LIMIT));
}

#[test]
fn a_filled_tmpfs_is_not_freed_by_a_restart() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    let Some(hog) = start_filling(&pod) else { return };
    killed(hog);
    let finding = agent.finds(pod.uid(), |_| true);
    let memory = finding.memory.expect("memory");
    assert_eq!(memory.restart_helps, Some(false), "{memory:?}");
    assert!(memory.shmem_bytes >= Some(Bytes(LIMIT.0 / 2)), "{memory:?}");
    assert!(finding.summary.contains("tmpfs"), "{}", finding.summary);
}

#[test]
fn a_restart_of_the_agent_loses_nothing_and_repeats_nothing() {
    let _alone = alone();
    let (Some(before), Some(during)) = (pod(&one_container()), pod(&one_container())) else { return };
    let mut agent = Agent::start(KernelLogChoice::Kmsg);
    killed(start(&before, 0, &HogPlan::burst_beyond(LIMIT)));
    let told = agent.finds(before.uid(), |_| true);
    let stored = agent.stop();
    killed(start(&during, 0, &HogPlan::burst_beyond(LIMIT)));
    let missed = during.uid().clone();
    drop(during); // nothing but the kernel's log remembers it
    let mut agent = Agent::resume(KernelLogChoice::Kmsg, &stored);
    let finding = agent.finds(&missed, |_| true);
    assert_eq!((finding.cause, finding.attribution, finding.count), (Cause::OomContainerLimit, Attribution::Kernel, 1));
    agent.completes();
    let counts = |findings: Vec<Finding>| findings.iter().map(|finding| (finding.id.clone(), finding.count)).collect::<Vec<_>>();
    assert_eq!(counts(agent.findings(before.uid())), [(told.id, 1)]);
    assert_eq!(counts(agent.findings(&missed)), [(finding.id, 1)]);
    let again: Vec<_> = agent.told(before.uid()).iter().map(|told| told.change).filter(|change| *change != Change::Amended).collect();
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn without_a_log_the_counter_alone_tells() {
    let _alone = alone();
    let Some(pod) = pod(&one_container()) else { return };
    let mut agent = Agent::start(KernelLogChoice::None);
    let mut hog = start(&pod, 0, &one_child());
    agent.knows(container(&pod, 0));
    let finding = agent.finds(pod.uid(), |_| true);
    hog.wait_until_it_stays().expect("the first process lives");
    assert_eq!((finding.attribution, finding.confidence, finding.count), (Attribution::Counter, Confidence::Likely, 1));
    assert!(finding.summary.contains("Only the cgroup's counter tells"), "{}", finding.summary);
    agent.completes();
    assert_eq!(agent.findings(pod.uid()).len(), 1);
}
