//! `nodewhy causes`: the closed catalogue.

use crate::{args::OutputArgs, config::Output, model::Cause};
use std::{io::Write, process::ExitCode};

pub fn run(args: &OutputArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let width = Cause::ALL.iter().map(|cause| cause.as_str().len()).max().unwrap_or_default();
    for cause in Cause::ALL {
        let written = match args.output {
            Output::Human => writeln!(out, "{cause:width$}  {}", cause.meaning()),
            Output::Json => writeln!(out, "{}", serde_json::json!({"cause": cause, "meaning": cause.meaning()})),
        };
        if written.is_err() {
            break; // whoever read it has seen enough
        }
    }
    Ok(ExitCode::SUCCESS)
}
