//! `nodewhy demo`: a real kill by this machine's kernel, explained; where a right is missing, a
//! recorded one through the same engine.

use super::{NO, runtime, shutdown};
use crate::{
    agent::{Agent, finding_log, say},
    args::DemoArgs,
    config::{AgentConfig, Output},
    core::{Core, Effect},
    demonstration::{self, DemoError, DemoKill, HogProgram},
    model::PodUid,
    record::Recording,
    telemetry,
};
use std::{cell::RefCell, collections::HashSet, io::Write, process::ExitCode, thread, time::Duration};
use tokio::sync::oneshot;

/// A kill that this program recorded on a real kernel: what a machine without the rights shows.
const SHIPPED: &[u8] = include_bytes!("../../tests/streams/container-limit.jsonl.zst");

/// The kernel kills within a second, the explanation follows within another.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to look whether the explanation has come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// After the explanation the dump's last lines and the container's last figures still complete it.
const COMPLETE_AFTER: Duration = Duration::from_millis(300);

pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let config = args.resolve();
    telemetry::start(config.output == Output::Json);
    let explained = RefCell::new(HashSet::new());
    let mut exit = ExitCode::from(NO);
    runtime()?.block_on(async {
        let agent = Agent::start(&config)?;
        let demonstration = kill_in_background(&config);
        let enough = async {
            tokio::select! {
                () = shutdown::asked() => {}
                told = explanation(demonstration, &explained) => match told {
                    Ok(true) => exit = ExitCode::SUCCESS,
                    Ok(false) => eprintln!("nodewhy: the kernel killed, but no explanation came; `nodewhy doctor` says what cannot be read"),
                    Err(missing) => {
                        replay_shipped(&config, &missing);
                        exit = ExitCode::SUCCESS;
                    }
                }
            }
        };
        agent.run(enough, |effect| note(effect, &explained)).await
    })?;
    Ok(exit)
}

/// Begins a demonstration beside a running agent, which explains it like any other kill.
pub fn begin(config: &AgentConfig) {
    let demonstration = kill_in_background(config);
    let config = config.clone();
    tokio::spawn(async move {
        if let Ok(Err(missing)) = demonstration.await {
            replay_shipped(&config, &missing);
        }
    });
}

type Demonstration = oneshot::Receiver<Result<DemoKill, DemoError>>;

fn kill_in_background(config: &AgentConfig) -> Demonstration {
    let root = config.roots.cgroup.clone();
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(HogProgram::this().and_then(|program| demonstration::kill_once(&root, &program))));
    receiver
}

/// Waits until the kill that was made has been explained; whether that happened in time.
async fn explanation(demonstration: Demonstration, explained: &RefCell<HashSet<PodUid>>) -> Result<bool, DemoError> {
    let Ok(kill) = demonstration.await else { return Ok(false) };
    let pod = kill?.pod;
    let told = async {
        while !explained.borrow().contains(&pod) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::time::sleep(COMPLETE_AFTER).await;
    };
    Ok(tokio::time::timeout(PATIENCE, told).await.is_ok())
}

fn note(effect: &Effect, explained: &RefCell<HashSet<PodUid>>) {
    if let Effect::Finding { finding, .. } = effect {
        explained.borrow_mut().extend(finding.subjects.iter().filter_map(|subject| subject.pod_uid.clone()));
    }
}

fn replay_shipped(config: &AgentConfig, missing: &DemoError) {
    eprintln!("nodewhy: no kill can be made here: {missing}");
    eprintln!("nodewhy: replaying one that was recorded on a real kernel instead");
    let mut log = finding_log(config.output);
    let mut core = Core::new();
    let signals = Recording::shipped("the shipped recording", SHIPPED);
    let effects = signals.into_iter().flatten().flatten().flat_map(|signal| core.apply(signal)).collect::<Vec<_>>();
    for effect in effects.into_iter().chain(core.finish()) {
        if let Effect::Finding { change, finding } = effect {
            say(&mut log, change, &finding);
        }
    }
    let _ = std::io::stdout().flush();
}
