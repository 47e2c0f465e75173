//! `nodewhy agent`: watch, explain, serve, until stopped.

use super::{demo, runtime, shutdown};
use crate::{
    agent::{self, Agent},
    args::AgentArgs,
    config::Output,
    telemetry,
};
use std::process::ExitCode;

pub fn run(args: &AgentArgs) -> anyhow::Result<ExitCode> {
    let config = args.resolve()?;
    telemetry::start(config.output == Output::Json);
    runtime()?.block_on(async {
        let agent = Agent::start(&config)?;
        let server = tokio::spawn({
            let (config, reader) = (config.clone(), agent.reader());
            async move { agent::serve(&config, reader, shutdown::asked()).await }
        });
        if args.demonstrate() {
            demo::begin(&config);
        }
        let ended = async {
            tokio::select! {
                () = shutdown::asked() => Ok(()),
                served = server => served.map_err(anyhow::Error::from).flatten(),
            }
        };
        let (sender, stopped) = tokio::sync::oneshot::channel::<()>();
        let watch = tokio::spawn(agent.run(async { drop(stopped.await) }, |_| {}));
        let result = ended.await;
        drop(sender);
        watch.await??;
        result.map(|()| ExitCode::SUCCESS)
    })
}
