//! The commands. Each is a thin use of the library: what is said to the user, and the exit status.
//!
//! Exit status everywhere: 0 done, 1 the answer is "problems found" or "no", 2 wrong use or
//! unreadable input.

mod agent;
mod ask;
mod causes;
mod demo;
mod doctor;
mod findings;
pub mod parse;
mod ready;
mod record;
mod replay;
mod shutdown;

use crate::args::{Cli, Command};
use std::process::ExitCode;

/// The answer is "problems found" or "no".
pub const NO: u8 = 1;

/// Wrong use, or input that cannot be read.
pub const UNUSABLE: u8 = 2;

/// Runs a command and says what went wrong, with the place and the remedy.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Agent(args) => agent::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Parse(args) => parsed(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Findings(args) => findings::run(&args),
        Command::Ready(args) => ready::run(&args),
        Command::Causes(args) => causes::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("nodewhy: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}

fn parsed(args: &parse::Args) -> anyhow::Result<ExitCode> {
    let summary = parse::main(args)?;
    if summary.is_odd() {
        eprintln!("nodewhy: {summary}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The runtime that agent-like commands share. One thread is enough: the sources have their own.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
