//! The program: reads what was typed and runs the command.

use clap::Parser;
use nodewhy::{args::Cli, cli, demonstration};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The demonstration starts this program again as the process to be killed.
    if let Some(ended) = demonstration::run_if_asked() {
        return ended;
    }
    match Cli::try_parse() {
        Ok(cli) => cli::run(cli),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { cli::UNUSABLE } else { 0 })
        }
    }
}
