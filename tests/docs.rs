//! The pages that people read, held against the program.

#![allow(clippy::expect_used, reason = "a page that cannot be read fails the test")]

use clap::CommandFactory;
use nodewhy::{
    args::Cli,
    model::{Attribution, Blame, Cause, Confidence, Scope},
};
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The reference of all causes and of the other closed words of a finding.
fn causes() -> String {
    let mut page = "# Causes and the other words of a finding\n\n\
         Generated from the program's own catalogue; do not edit. `UPDATE_DOCS=1 cargo test --test docs` writes it; \
         `nodewhy causes` prints it.\n\n\
         Each word is spelled alike in JSON, in metric labels and here. The sets are closed: a program that reads findings \
         can list them all.\n"
        .to_owned();
    let mut table = |title: &str, rows: Vec<(&str, &str)>| {
        // Writing to a string does not fail.
        let _ = writeln!(page, "\n## {title}\n\n| Word | Meaning |\n| --- | --- |");
        rows.iter().for_each(|(word, meaning)| {
            let _ = writeln!(page, "| `{word}` | {meaning} |");
        });
    };
    table("`cause`: why", Cause::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect());
    table("`scope`: where it gave way", Scope::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect());
    table("`blame`: whose fault it is", Blame::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect());
    table("`confidence`: how sure the cause is", Confidence::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect());
    table(
        "`attribution`: how it was joined to its container",
        Attribution::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect(),
    );
    page
}

#[test]
fn the_printed_causes_are_the_programs_own() {
    let path = Path::new(ROOT).join("docs/causes.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, causes()).expect("docs/causes.md is writable");
    }
    let printed = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(printed, causes(), "run UPDATE_DOCS=1 cargo test --test docs");
}

/// The hand-written pages.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).expect("docs").flatten().map(|entry| entry.path());
    let paths = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).chain([Path::new(ROOT).join("README.md")]);
    paths.map(|path| (path.clone(), fs::read_to_string(path).expect("a readable page"))).collect()
}

/// What stands between back-ticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

#[test]
fn files_that_pages_name_exist() {
    const FOLDERS: [&str; 9] = ["src/", "tests/", "benches/", "fuzz/", "tools/", "docs/", "deploy/", "dashboards/", ".ci/"];
    let mut seen = 0;
    for (path, page) in pages() {
        let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.contains("://") && !link.starts_with('#')).map(|link| path.with_file_name(link));
        let named = quoted(&page).filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '*', '{']));
        for file in links.chain(named.map(|name| Path::new(ROOT).join(name))) {
            assert!(file.exists(), "{} names {}", path.display(), file.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "the pages name files");
}

/// All of the program's source.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { source(&path) } else { fs::read_to_string(path).unwrap_or_default() }).collect()
}

#[test]
fn constants_that_pages_name_exist() {
    let source = source(&Path::new(ROOT).join("src"));
    let is_constant = |word: &&str| word.contains('_') && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let page = fs::read_to_string(Path::new(ROOT).join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let named: Vec<_> = quoted(&page).filter(is_constant).filter(|word| !word.starts_with("CONSTRAINT_")).collect();
    assert!(named.len() > 10, "the page names constants");
    for name in named {
        assert!(source.contains(&format!("const {name}: ")), "no constant {name}");
    }
}

#[test]
fn the_readme_names_every_command_and_no_other() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("README.md");
    let command = |word: &str| word.strip_prefix("nodewhy ").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    let named: BTreeSet<_> = quoted(&readme).filter_map(command).collect();
    let commands = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    assert_eq!(named, commands);
}
