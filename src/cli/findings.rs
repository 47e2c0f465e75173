//! `nodewhy findings`: what the agent of this node knows, asked over loopback.
//!
//! Made for `kubectl exec`: whoever may run a command in the agent's pod may read its findings, and
//! no token has to be handed around.

use super::{NO, ask};
use crate::{
    agent::{finding_log, say},
    args::FindingsArgs,
    config::Output,
    findings::{Change, Finding},
};
use anyhow::{Context, bail};
use std::{io::Write, process::ExitCode};

/// The answer of `/api/v1/findings`.
#[derive(serde::Deserialize)]
struct Answer {
    findings: Vec<Finding>,
}

pub fn run(args: &FindingsArgs) -> anyhow::Result<ExitCode> {
    let state = if args.all { "" } else { "?state=open" };
    let answer = ask::get(&args.address, &format!("/api/v1/findings{state}"))?;
    if !answer.is_ok() {
        bail!("http://{}: {}: {}", args.address, answer.status, answer.body.trim());
    }
    let body = answer.body;
    if args.output.output == Output::Json {
        std::io::stdout().write_all(body.as_bytes())?;
        println!();
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Answer = serde_json::from_str(&body).context("the answer is not understood: the agent may be of another version")?;
    let findings = answer.findings;
    let mut log = finding_log(Output::Human);
    findings.iter().for_each(|finding| say(&mut log, Change::Opened, finding));
    if findings.is_empty() {
        println!("no findings");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}
