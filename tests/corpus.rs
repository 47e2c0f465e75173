//! `nodewhy parse` on a corpus of labelled excerpts of real logs, which lives outside of this
//! repository: beside it as `../shared/corpus`, or where `NODEWHY_CORPUS` says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test ends where it is surprised"
)]

use std::{path::PathBuf, process::Command};

fn corpus() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    std::env::var_os("NODEWHY_CORPUS").map_or_else(beside, PathBuf::from)
}

#[test]
fn every_event_of_the_corpus_is_found_and_nothing_else() {
    let corpus = corpus();
    let (score, cases) = (corpus.join("score.py"), corpus.join("dev"));
    if !score.is_file() || !cases.is_dir() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI has the corpus; none at {}", corpus.display());
        eprintln!("left out: no corpus at {}; NODEWHY_CORPUS says where one is", corpus.display());
        return;
    }
    let output =
        Command::new("python3").args([score, "--bin".into(), env!("CARGO_BIN_EXE_nodewhy").into(), cases]).output().expect("python3 runs");
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
