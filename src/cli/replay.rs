//! `nodewhy replay`: explain a recording, as the agent would have.

use crate::{
    agent::{finding_log, say},
    args::{ReplayArgs, SpeedArg},
    core::{Core, Effect},
    record::Recording,
    sources::replay::{Replay, Speed},
};
use std::{io::Write, process::ExitCode};

pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let recording = Recording::open(&args.recording)?;
    let speed = match args.speed {
        SpeedArg::Max => Speed::Max,
        SpeedArg::Real => Speed::Real,
    };
    let pause = |pause| {
        std::thread::sleep(pause);
        false
    };
    let mut log = finding_log(args.output.output);
    let mut tell = |effects: Vec<Effect>| {
        for effect in effects {
            if let (Effect::Finding { change, finding }, false) = (effect, args.summary) {
                say(&mut log, change, &finding);
            }
        }
    };
    let mut core = Core::new();
    let mut damaged = None;
    for signal in Replay::new(recording, speed, pause) {
        match signal {
            Ok(signal) => tell(core.apply(signal)),
            Err(error) => {
                eprintln!("nodewhy: {error}");
                damaged = Some(error);
            }
        }
    }
    tell(core.finish());
    if args.summary {
        print_summary(&core)?;
    }
    Ok(if damaged.is_some() { ExitCode::from(super::UNUSABLE) } else { ExitCode::SUCCESS })
}

fn print_summary(core: &Core) -> anyhow::Result<()> {
    let snapshot = core.snapshot();
    let node = snapshot.facts.map(|facts| facts.node).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &serde_json::json!({"node": node, "findings": snapshot.findings}))?;
    Ok(writeln!(out)?)
}
