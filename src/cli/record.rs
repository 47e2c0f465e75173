//! `nodewhy record`: what the sources say, kept for a replay elsewhere.

use super::{runtime, shutdown};
use crate::{agent::Agent, args::RecordArgs, telemetry};
use std::{process::ExitCode, time::Duration};

pub fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    telemetry::start(false);
    let config = args.resolve()?;
    let enough = args.seconds.map(Duration::from_secs);
    runtime()?.block_on(async {
        let agent = Agent::start(&config)?;
        let until = async {
            tokio::select! {
                () = shutdown::asked() => {}
                () = tokio::time::sleep(enough.unwrap_or_default()), if enough.is_some() => {}
            }
        };
        agent.run(until, |_| {}).await
    })?;
    eprintln!("nodewhy: recorded to {}; `nodewhy replay {0}` explains it", args.out.display());
    Ok(ExitCode::SUCCESS)
}
