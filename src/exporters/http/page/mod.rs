//! The page: what is wrong on this node, why, and what to do, for a person with any browser.
//!
//! Flows in: a [`Snapshot`]. Flows out: one HTML file without scripts and without anything to load.

mod finding;
mod html;
mod memory;

use crate::{
    core::{Snapshot, SourceHealth},
    exporters::wording,
    findings::{Finding, FindingState},
    signal::{CgroupVersion, NodeFacts, SourceState},
};
use html::Markup;
use jiff::Timestamp;

/// The most open findings that are shown in full; the rest is a line and a link.
const SHOWN_IN_FULL: usize = 50;

/// The page of a node.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let (open, resolved): (Vec<_>, Vec<_>) = snapshot.findings.iter().partition(|finding| finding.state == FindingState::Open);
    let mut page = Markup::default();
    let node = snapshot.facts.as_ref().map_or("this node", |facts| &facts.node);
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>").text(&title(node, open.len())).raw("</title>\n");
    page.raw("<style>\n").raw(include_str!("page.css")).raw("</style>\n</head>\n<body>\n");
    header(&mut page, node, snapshot, open.len());
    page.raw("<main>\n");
    open_findings(&mut page, &open);
    resolved_findings(&mut page, &resolved);
    sources(&mut page, &snapshot.sources);
    page.raw("</main>\n");
    footer(&mut page);
    page.raw("</body>\n</html>\n");
    page.finish()
}

fn title(node: &str, open: usize) -> String {
    match open {
        0 => format!("{node}: nothing found · nodewhy"),
        _ => format!("{node}: {} · nodewhy", wording::count(count(open), "open finding")),
    }
}

fn header(page: &mut Markup, node: &str, snapshot: &Snapshot, open: usize) {
    page.raw("<header>\n<p class=\"brand\">nodewhy</p>\n<h1>").text(node).raw("</h1>\n<p class=\"facts\">");
    let mut facts = vec![wording::count(count(open), "open finding")];
    facts.extend(snapshot.facts.iter().flat_map(node_facts));
    facts.extend(snapshot.at.map(|at| format!("as of {} UTC", date_and_time(at.wall))));
    for (number, fact) in facts.iter().enumerate() {
        page.raw(if number == 0 { "<span>" } else { " <span>" }).text(fact).raw("</span>");
    }
    page.raw("</p>\n");
    let blind: Vec<_> = snapshot.sources.iter().filter(|health| is_blind(health)).map(|health| health.source.as_str()).collect();
    if !blind.is_empty() {
        page.raw("<p class=\"blind\">Not everything can be seen here: ").text(&blind.join(", "));
        page.raw(". <a href=\"#sources\">Why</a></p>\n");
    }
    page.raw("</header>\n");
}

fn node_facts(facts: &NodeFacts) -> Vec<String> {
    let cgroups = match facts.cgroups {
        CgroupVersion::V1 => "cgroup v1",
        CgroupVersion::V2 => "cgroup v2",
        CgroupVersion::Absent => "no memory cgroups",
    };
    let memory = facts.memory_total.map(|total| format!("{total} of memory"));
    [Some(format!("kernel {}", facts.kernel)), Some(cgroups.into()), memory].into_iter().flatten().collect()
}

fn open_findings(page: &mut Markup, open: &[&Finding]) {
    page.raw("<section aria-label=\"Open findings\">\n");
    if open.is_empty() {
        page.raw("<p class=\"quiet\">Nothing is wrong that could be seen. When a container dies, the reason appears here.</p>\n");
    }
    open.iter().take(SHOWN_IN_FULL).for_each(|finding| finding::article(page, finding));
    let more = open.len().saturating_sub(SHOWN_IN_FULL);
    if more > 0 {
        page.raw("<p class=\"quiet\">").text(&wording::count(count(more), "more open finding"));
        page.raw(": <a href=\"/api/v1/findings?state=open\">all as JSON</a></p>\n");
    }
    page.raw("</section>\n");
}

fn resolved_findings(page: &mut Markup, resolved: &[&Finding]) {
    if resolved.is_empty() {
        return;
    }
    page.raw("<section>\n<h2>Passed</h2>\n<ul class=\"passed\">\n");
    for finding in resolved.iter().take(SHOWN_IN_FULL) {
        page.raw("<li><span class=\"when\">").text(&date_and_time(finding.last_seen)).raw("</span> ");
        page.text(&finding.summary).raw(" <a href=\"/api/v1/findings/").text(&finding.id.0).raw("\">JSON</a></li>\n");
    }
    page.raw("</ul>\n</section>\n");
}

fn sources(page: &mut Markup, sources: &[SourceHealth]) {
    page.raw("<section id=\"sources\">\n<h2>What the agent can see</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>Source</th><th>State</th><th>Detail</th>");
    page.raw("<th class=\"number\">Records</th><th class=\"number\">Lost</th><th>Latest</th></tr></thead>\n<tbody>\n");
    for health in sources {
        page.raw(if is_blind(health) { "<tr class=\"down\"><td>" } else { "<tr><td>" });
        page.text(health.source.as_str()).raw("</td><td>").text(health.state.as_str()).raw("</td><td>").text(&health.detail);
        if let Some(loss) = &health.last_loss {
            page.raw("<br>").text(&format!("lost at {}: {}", date_and_time(loss.at), loss.why));
        }
        page.raw("</td><td class=\"number\">").text(&health.records.to_string());
        page.raw("</td><td class=\"number\">").text(&health.lost.to_string());
        page.raw("</td><td class=\"when\">").text(&health.last_record.map_or_else(|| "never".into(), clock)).raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table></div>\n</section>\n");
}

fn footer(page: &mut Markup) {
    page.raw("<footer><p>nodewhy ").text(env!("CARGO_PKG_VERSION")).raw(" · all times are UTC · ");
    page.raw("<a href=\"/\">Reload</a> · <a href=\"/api/v1/findings\">Findings as JSON</a> · ");
    page.raw("<a href=\"/api/v1/causes\">Causes</a> · <a href=\"/metrics\">Metrics</a></p></footer>\n");
}

fn is_blind(health: &SourceHealth) -> bool {
    health.state != SourceState::Up || health.lost > 0
}

/// `2026-03-14 09:41:27`
fn date_and_time(time: Timestamp) -> String {
    time.strftime("%F %T").to_string()
}

/// `09:41:27`
fn clock(time: Timestamp) -> String {
    time.strftime("%T").to_string()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::examples;

    #[test]
    fn a_node_with_troubles() {
        let page = render(&examples::snapshot());
        let (_, body) = page.split_once("</style>").expect("a style");
        insta::assert_snapshot!(body);
    }

    #[test]
    fn a_node_without_troubles() {
        let page = render(&Snapshot::default());
        assert!(page.contains("<title>this node: nothing found · nodewhy</title>"));
        assert!(page.contains("Nothing is wrong that could be seen."));
    }

    #[test]
    fn what_the_node_says_stays_text() {
        let page = render(&examples::snapshot());
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{1b}[31m&quot;&#39;&amp;\\u{202e}"));
        assert!(!page.contains("<script") && !page.contains('\u{1b}'));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = render(&examples::snapshot());
        for loading in ["src=", "url(", "@import", "http://", "https://", "<link", "style="] {
            assert!(!page.contains(loading), "{loading}");
        }
    }

    #[test]
    fn a_flood_of_findings_makes_a_bounded_page() {
        let snapshot = Snapshot { findings: vec![examples::oom_kill(); 512], ..Snapshot::default() };
        let page = render(&snapshot);
        assert_eq!(page.matches("<article").count(), SHOWN_IN_FULL);
        assert!(page.contains("462 more open findings"));
    }
}
