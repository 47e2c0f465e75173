//! Holds `src/` to the layers: who may use whom, and where a foreign crate may be named.
//!
//! What only tests use is not looked at.

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

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Top-level modules and what of this crate each may use; a module that is not listed may use
/// anything, because it wires the others.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &[]),
    ("signal", &["model"]),
    ("parse", &["model"]),
    ("findings", &["model"]),
    ("inventory", &["model", "signal", "findings::Subject"]),
    ("diagnosis", &["model", "signal", "parse", "inventory", "findings"]),
    ("core", &["model", "signal", "parse", "inventory", "diagnosis", "findings"]),
    ("sources", &["model", "signal", "config"]),
    ("record", &["model", "signal", "parse::kubelet::Redactor"]),
    ("checkpoint_file", &["model", "core::Checkpoint"]),
    ("demonstration", &["model", "sources::cgroups"]),
    ("exporters", &["model", "signal", "findings", "config::Output", "core"]),
];

/// Modules that wire the others.
const WIRING: &[&str] = &["agent", "args", "cli", "lib", "main", "telemetry"];

/// Paths of this crate that a layer must not use although their module is allowed.
const EXCEPT: &[(&str, &str)] = &[("exporters", "core::Core")];

/// Layers without I/O, clock and runtime.
const PURE: &[&str] = &["model", "signal", "parse", "findings", "inventory", "diagnosis", "core"];

/// What a pure layer must not name.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "futures",
    "nix",
    "kube",
    "k8s_openapi",
    "systemd",
    "procfs",
    "prometheus",
    "axum",
    "zstd",
    "tracing",
    "anyhow",
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "std::env",
    "std::os",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Foreign crates and the only places where each is named.
const FOREIGN: &[(&str, &[&str])] = &[
    ("kube", &["sources/pods", "sources/kubelet_api"]),
    ("k8s_openapi", &["sources/pods"]),
    ("systemd", &["sources/journal", "sources/kernel_log/journal", "sources/kubelet_log/journal"]),
    ("procfs", &["sources", "exporters/agent_figures"]),
    ("prometheus", &["exporters"]),
    ("axum", &["exporters/http"]),
    ("http_body_util", &["sources/kubelet_api"]),
    ("zstd", &["record"]),
];

/// A path named in a file.
#[derive(Debug, PartialEq)]
struct Named {
    line: usize,
    path: String,
}

#[test]
fn every_module_uses_only_what_its_layer_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut violations = String::new();
    let files = files(&root);
    assert!(files.len() > 100, "the walk found {} files", files.len());
    for file in files {
        let below = file.strip_prefix(&root).expect("below").with_extension("");
        let module = below.to_str().expect("text").trim_end_matches("/mod").to_owned();
        let text = fs::read_to_string(&file).expect("source");
        for (named, why) in violations_in(&module, &text) {
            writeln!(violations, "src/{}:{}: {} ({why})", below.with_extension("rs").display(), named.line, named.path).expect("text");
        }
    }
    assert!(violations.is_empty(), "\n{violations}");
}

/// Every source file, without those that only tests use.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("name").to_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_for_tests(folder, &name) {
            found.push(path);
        }
    }
    found
}

/// Whether the folder's module declares this one for tests only.
fn is_for_tests(folder: &Path, name: &str) -> bool {
    let parents = [folder.join("mod.rs"), folder.with_extension("rs"), folder.join("lib.rs")];
    let declarations = parents.iter().filter_map(|parent| fs::read_to_string(parent).ok());
    declarations
        .into_iter()
        .any(|text| text.contains(&format!("#[cfg(test)]\nmod {name};")) || text.contains(&format!("#[cfg(test)]\npub(crate) mod {name};")))
}

fn violations_in(module: &str, text: &str) -> Vec<(Named, String)> {
    let layer = module.split('/').next().expect("a name");
    let code = code_of(text);
    let depth = module.split('/').count();
    let mut violations = Vec::new();
    match LAYERS.iter().find(|(name, _)| *name == layer) {
        Some((_, allowed)) => {
            for named in own_paths(&code, depth) {
                let own = starts_with(&named.path, layer);
                let barred = EXCEPT.iter().any(|(name, path)| *name == layer && starts_with(&named.path, path));
                if !own && (barred || !allowed.iter().any(|allowed| starts_with(&named.path, allowed))) {
                    violations.push((named, format!("{layer} may use {}", allowed.join(", "))));
                }
            }
        }
        None if WIRING.contains(&layer) => {}
        None => violations.push((Named { line: 1, path: layer.into() }, "a module without a layer".into())),
    }
    for (name, places) in FOREIGN {
        if !places.iter().any(|place| module == *place || module.starts_with(&format!("{place}/"))) {
            violations.extend(paths_from(&code, name).into_iter().map(|named| (named, format!("only in {}", places.join(", ")))));
        }
    }
    if PURE.contains(&layer) {
        for name in IMPURE {
            let (first, _) = name.split_once("::").unwrap_or((name, ""));
            let named = paths_from(&code, first).into_iter().filter(|named| starts_with(&named.path, name));
            violations.extend(named.map(|named| (named, format!("{layer} is pure"))));
        }
    }
    violations
}

/// Whether a path is `prefix` or below it.
fn starts_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The code without comments, literals and the tests at its end; lines keep their numbers.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let lines: Vec<_> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
    for line in &lines[..tests.unwrap_or(lines.len())] {
        let mut in_text = false;
        let mut before = ' ';
        let mut letters = line.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if in_text => drop(letters.next()),
                // A quote mark as a character.
                '"' if !(before == '\'' && letters.peek() == Some(&'\'')) => in_text = !in_text,
                '/' if !in_text && letters.peek() == Some(&'/') => break,
                letter if !in_text => code.push(letter),
                _ => {}
            }
            before = letter;
        }
        code.push('\n');
    }
    code
}

/// Paths into this crate, from its root: `crate::..`, and `super::..` that reaches the root.
fn own_paths(code: &str, depth: usize) -> Vec<Named> {
    let above = "super::".repeat(depth);
    let supers = paths_from(code, "super").into_iter().filter_map(|named| {
        let path = format!("{}::", named.path).strip_prefix(&above)?.trim_end_matches("::").to_owned();
        Some(Named { path, ..named }).filter(|named| !named.path.starts_with("super"))
    });
    let from_root =
        paths_from(code, "crate").into_iter().map(|named| Named { path: named.path.trim_start_matches("crate::").into(), ..named });
    from_root.chain(supers).collect()
}

/// Every path that begins with this name, groups in braces taken apart.
fn paths_from(code: &str, first: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let start = format!("{first}::");
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || matches!(before, '_' | ':' | '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        expand(first, &code[at + start.len()..], line, &mut found);
    }
    found
}

/// Reads a path, or a group of them, behind `prefix::`; returns what follows.
fn expand<'a>(prefix: &str, rest: &'a str, line: usize, found: &mut Vec<Named>) -> &'a str {
    let rest = rest.trim_start();
    if let Some(mut group) = rest.strip_prefix('{') {
        loop {
            group = expand(prefix, group, line, found).trim_start();
            match group.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => group = more,
                Some(end) => return end.trim_start().strip_prefix('}').unwrap_or_default(),
                None => return group.strip_prefix('}').unwrap_or_default(),
            }
        }
    }
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '*').unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let path = format!("{prefix}::{name}");
    if let Some(below) = rest.strip_prefix("::").filter(|below| below.starts_with(|letter: char| letter == '{' || letter.is_alphabetic())) {
        return expand(&path, below, line, found);
    }
    found.push(Named { line, path });
    // `as name`
    let rest = rest.trim_start();
    match rest.strip_prefix("as ") {
        Some(alias) => alias.trim_start().trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_'),
        None => rest,
    }
}

#[test]
fn a_violation_is_found_however_it_is_written() {
    let found =
        |module: &str, text: &str| violations_in(module, text).into_iter().map(|(named, _)| (named.line, named.path)).collect::<Vec<_>>();
    assert_eq!(
        found("parse/oom", "use crate::{\n    model::Bytes,\n    sources::{now, Stop},\n};"),
        [(1, "sources::now".into()), (1, "sources::Stop".into())]
    );
    assert_eq!(found("parse/oom", "\nfn f() { crate::core::Core::new(); }"), [(2, "core::Core::new".into())]);
    assert_eq!(found("parse/oom", "use super::super::core::Core;"), [(1, "core::Core".into())]);
    assert_eq!(found("parse/oom", "use super::kmsg; // crate::core\nconst A: &str = \"crate::core::Core\";"), []);
    assert_eq!(found("inventory", "use crate::findings::{Subject, Finding};"), [(1, "findings::Finding".into())]);
    assert_eq!(found("exporters/log", "use crate::core::{Snapshot, Core};"), [(1, "core::Core".into())]);
    assert_eq!(found("core", "use std::{fmt, time::Instant};"), [(1, "std::time::Instant".into())]);
    assert_eq!(found("sources/cgroups", "use kube::Client;"), [(1, "kube::Client".into())]);
    assert_eq!(found("model", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::core::Core;\n}"), []);
    assert_eq!(found("novelty", ""), [(1, "novelty".into())]);
}
