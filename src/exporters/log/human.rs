//! A finding in words: the sentence, why we think so, what we could not see, what to do.
//!
//! Flows in: a finding. Flows out: lines of text, every text of the node made visible first.

use super::{
    paint::Paint,
    wrap::{WIDTH, wrap},
};
use crate::{
    exporters::{visible::visible, wording},
    findings::{CrashLoop, Evidence, Finding, Memory},
    model::Bytes,
};
use jiff::Timestamp;

/// Where the body of a finding begins.
const INDENT: &str = "  ";

/// Where the items of a section begin.
const ITEM_INDENT: &str = "    ";

/// Where evidence begins, behind its time and source: `09:41:27.318  pod status  `.
const EVIDENCE_COLUMN: usize = 26;

/// The whole finding.
pub(super) fn in_full(finding: &Finding, paint: Paint) -> String {
    let mut lines = vec![paint.trouble(&format!("● {}", heading(finding)))];
    let (headline, rest) = wording::headline(&finding.summary);
    lines.extend(paragraph(headline, INDENT).map(|line| paint.strong(&line)));
    lines.extend(Some(rest).filter(|rest| !rest.is_empty()).into_iter().flat_map(|rest| paragraph(rest, INDENT)));
    lines.push(format!("{INDENT}{}", paint.faint(&verdict(finding))));
    lines.extend(finding.memory.iter().flat_map(|memory| section("memory", memory_facts(memory), paint)));
    lines.extend(finding.crash_loop.iter().flat_map(|crash_loop| section("crash loop", story(crash_loop), paint)));
    lines.extend(why(&finding.evidence, paint));
    lines.extend(section("its last words", finding.log_excerpt.clone(), paint));
    lines.extend(section("looked for and not found", finding.not_found.clone(), paint));
    lines.extend(section("could not be read", finding.blind.clone(), paint));
    lines.extend(title("what to do", finding.actions.is_empty(), paint));
    lines.extend(finding.actions.iter().flat_map(|action| step(action)));
    lines.push(String::new());
    joined(&lines)
}

/// The same condition once more.
pub(super) fn again(finding: &Finding, paint: Paint) -> String {
    let times = format!("{} since {}", wording::count(finding.count, "time"), clock(finding.first_seen));
    let line = format!("● {}  again, {times}", heading(finding));
    joined(&[paint.trouble(&line)])
}

/// A conclusion that has changed.
pub(super) fn amended(finding: &Finding, paint: Paint) -> String {
    let mut lines = vec![paint.doubt(&format!("◐ {}  now better known", heading(finding)))];
    lines.extend(paragraph(&finding.summary, INDENT));
    lines.push(format!("{INDENT}{}", paint.faint(&verdict(finding))));
    lines.push(String::new());
    joined(&lines)
}

/// A condition that has stopped.
pub(super) fn resolved(finding: &Finding, paint: Paint) -> String {
    let line = format!("○ {}  has passed, {} in all", heading(finding), wording::count(finding.count, "time"));
    joined(&[paint.relief(&line)])
}

/// When, what, who: `09:41:27  oom_container_limit  shop/cart-6c8f7b9d5-x2x7p · container api`.
fn heading(finding: &Finding) -> String {
    let subjects: Vec<_> = finding.subjects.iter().filter_map(wording::subject).collect();
    let who = match subjects.as_slice() {
        [] => wording::scope(finding.scope).into(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} and {} more", others.len()),
    };
    visible(&format!("{}  {}  {who}", clock(finding.last_seen), finding.cause)).into_owned()
}

/// `proven, in one container, the workload’s own doing`
fn verdict(finding: &Finding) -> String {
    format!("{}, {}, {}", finding.confidence, wording::scope(finding.scope), wording::blame(finding.blame))
}

/// The size against the limit, what it consisted of, how it came about: a line each.
fn memory_facts(memory: &Memory) -> Vec<String> {
    let sizes = [("limit", memory.limit_bytes), ("charged", memory.usage_bytes), ("killed process", memory.victim_rss_bytes)];
    let cache = memory.file_bytes.map(|file| file.saturating_sub(memory.shmem_bytes.unwrap_or_default()));
    let parts =
        [("programs", memory.anon_bytes), ("page cache", cache), ("tmpfs and shared", memory.shmem_bytes), ("kernel", memory.kernel_bytes)];
    let growth = memory.growth.as_ref().map(|growth| format!("it {growth}"));
    let helps = memory.restart_helps.map(|helps| if helps { "a restart frees it" } else { "a restart does not free it" });
    let story: Vec<_> = growth.into_iter().chain(helps.map(String::from)).collect();
    [amounts(sizes), amounts(parts), story.join("; ")].into_iter().filter(|line| !line.is_empty()).collect()
}

/// Its pace in a sentence, then its latest lives, a line each.
fn story(crash_loop: &CrashLoop) -> Vec<String> {
    std::iter::once(wording::crash_loop(crash_loop)).chain(crash_loop.lives.iter().map(wording::life)).collect()
}

/// `limit 256 MiB, charged 255 MiB`: those that are known.
fn amounts<const N: usize>(amounts: [(&str, Option<Bytes>); N]) -> String {
    let known: Vec<_> = amounts.into_iter().filter_map(|(name, bytes)| Some(format!("{name} {}", bytes?))).collect();
    known.join(", ")
}

fn why(evidence: &[Evidence], paint: Paint) -> Vec<String> {
    let mut lines = title("why we think so", evidence.is_empty(), paint);
    lines.extend(evidence.iter().flat_map(|seen| witness(seen, paint)));
    lines
}

/// One piece of evidence: when, which source, what it said, and how it was joined to the subject.
fn witness(seen: &Evidence, paint: Paint) -> Vec<String> {
    let what = if seen.supports { seen.what.clone() } else { format!("speaks against it: {}", seen.what) };
    let said = wrap(&visible(&what), WIDTH - ITEM_INDENT.len() - EVIDENCE_COLUMN);
    let joined = wrap(&visible(&seen.how_matched), WIDTH - ITEM_INDENT.len() - EVIDENCE_COLUMN);
    let prefix = format!("{}  {:<12}", seen.time.strftime("%T.%3f"), wording::source(seen.source));
    let margin = " ".repeat(EVIDENCE_COLUMN);
    let prefixes = std::iter::once(paint.faint(&prefix)).chain(std::iter::repeat(margin.clone()));
    let said = said.iter().zip(prefixes).map(|(line, prefix)| {
        let line = if seen.supports { line.clone() } else { paint.doubt(line) };
        format!("{ITEM_INDENT}{prefix}{line}")
    });
    let joined = joined.iter().filter(|line| !line.is_empty()).map(|line| format!("{ITEM_INDENT}{margin}{}", paint.faint(line)));
    said.chain(joined).collect()
}

/// One thing to do. A command stays on one line, to be copied.
fn step(action: &str) -> Vec<String> {
    let action = visible(action);
    let lines = if action.starts_with("kubectl ") { vec![action.into_owned()] } else { wrap(&action, WIDTH - ITEM_INDENT.len() - 2) };
    let marks = std::iter::once("→").chain(std::iter::repeat(" "));
    lines.iter().zip(marks).map(|(line, mark)| format!("{ITEM_INDENT}{mark} {line}")).collect()
}

/// A titled list; nothing when there is nothing to list.
fn section(name: &str, items: Vec<String>, paint: Paint) -> Vec<String> {
    let mut lines = title(name, items.is_empty(), paint);
    lines.extend(items.iter().flat_map(|item| paragraph(item, ITEM_INDENT)));
    lines
}

fn title(name: &str, is_empty: bool, paint: Paint) -> Vec<String> {
    if is_empty { Vec::new() } else { vec![String::new(), format!("{INDENT}{}", paint.faint(name))] }
}

fn paragraph(text: &str, indent: &'static str) -> impl Iterator<Item = String> {
    wrap(&visible(text), WIDTH - indent.len()).into_iter().map(move |line| format!("{indent}{line}"))
}

/// `09:41:27`, UTC.
fn clock(time: Timestamp) -> String {
    time.strftime("%T").to_string()
}

fn joined(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}
