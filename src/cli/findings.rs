//! `nodewhy findings`: what the agent of this node knows, asked over loopback.
//!
//! Made for `kubectl exec`: whoever may run a command in the agent's pod may read its findings, and
//! no token has to be handed around.

use super::NO;
use crate::{
    agent::{finding_log, say},
    args::FindingsArgs,
    config::Output,
    findings::{Change, Finding},
};
use anyhow::{Context, bail};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::ExitCode,
    time::Duration,
};

/// The agent answers from memory; a longer silence means that it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than the largest possible answer: every finding that is kept, with all its evidence.
const MOST_BYTES: u64 = 64 << 20;

/// The answer of `/api/v1/findings`.
#[derive(serde::Deserialize)]
struct Answer {
    findings: Vec<Finding>,
}

pub fn run(args: &FindingsArgs) -> anyhow::Result<ExitCode> {
    let body =
        get(args).with_context(|| format!("http://{}: the agent does not answer; is it running, and at this --address?", args.address))?;
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

fn get(args: &FindingsArgs) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&args.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let state = if args.all { "" } else { "?state=open" };
    write!(stream, "GET /api/v1/findings{state} HTTP/1.0\r\nHost: {}\r\n\r\n", args.address)?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("the answer is not text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
        bail!("{}: {}", head.lines().next().unwrap_or_default(), body.trim());
    }
    Ok(body.to_owned())
}
