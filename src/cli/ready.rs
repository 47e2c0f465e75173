//! `nodewhy ready`: whether an agent can do its work, and which sources it can read.
//!
//! Made for `helm test` and for people in an image that has no other program to ask with.

use super::{NO, ask};
use crate::{args::ReadyArgs, config::Output};
use anyhow::Context;
use std::process::ExitCode;

/// The answer of `/readyz`.
#[derive(serde::Deserialize)]
struct Readiness {
    ready: bool,
    #[serde(default)]
    why_not: Vec<String>,
    sources: Vec<Source>,
}

#[derive(serde::Deserialize)]
struct Source {
    source: String,
    state: String,
    why: String,
}

pub fn run(args: &ReadyArgs) -> anyhow::Result<ExitCode> {
    let answer = ask::get(&args.address, "/readyz")?;
    let readiness: Readiness =
        serde_json::from_str(&answer.body).with_context(|| format!("{}: the answer is not an agent's", answer.status))?;
    match args.output.output {
        Output::Json => println!("{}", answer.body.trim_end()),
        Output::Human => say(&readiness),
    }
    Ok(if readiness.ready { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn say(readiness: &Readiness) {
    for source in &readiness.sources {
        println!("{:<20} {:<12} {}", source.source, source.state, source.why);
    }
    let verdict = if readiness.ready { "ready".to_owned() } else { format!("not ready: {}", readiness.why_not.join("; ")) };
    println!("\n{verdict}");
}
