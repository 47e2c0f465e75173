//! Temporary: only `parse`.
use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
enum Command {
    Parse(nodewhy::cli::parse::Args),
}

fn main() -> ExitCode {
    let Command::Parse(args) = Command::parse();
    match nodewhy::cli::parse::main(&args) {
        Ok(summary) => {
            if summary.is_odd() {
                eprintln!("nodewhy: {summary}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nodewhy: {error}");
            ExitCode::from(2)
        }
    }
}
