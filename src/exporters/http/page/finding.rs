//! One finding on the page: the sentence first, then why we think so, then what to do.

use super::{clock, date_and_time, html::Markup, memory};
use crate::{
    exporters::wording,
    findings::{CrashLoop, Evidence, Finding, Life},
    model::{Confidence, in_words},
};

/// A finding in full.
pub(super) fn article(page: &mut Markup, finding: &Finding) {
    page.raw("<article id=\"").text(&finding.id.0).raw("\">\n");
    let (headline, rest) = wording::headline(&finding.summary);
    page.raw("<h2>").text(headline).raw("</h2>\n");
    if !rest.is_empty() {
        page.raw("<p class=\"rest\">").text(rest).raw("</p>\n");
    }
    labels(page, finding);
    subjects(page, finding);
    if let Some(memory) = &finding.memory {
        memory::figure(page, memory);
    }
    list(page, "What to do", "actions", &finding.actions);
    evidence(page, &finding.evidence);
    if let Some(crash_loop) = &finding.crash_loop {
        lives(page, crash_loop);
    }
    list(page, "Looked for and not found", "aside", &finding.not_found);
    list(page, "Could not be read at that time", "aside", &finding.blind);
    page.raw("<p class=\"links\"><a href=\"/api/v1/findings/").text(&finding.id.0).raw("\">As JSON</a>");
    for related in &finding.related {
        page.raw(" · <a href=\"#").text(&related.0).raw("\">related finding ").text(&related.0).raw("</a>");
    }
    page.raw("</p>\n</article>\n");
}

fn labels(page: &mut Markup, finding: &Finding) {
    page.raw("<ul class=\"labels\">");
    page.raw("<li class=\"cause\" title=\"").text(finding.cause.meaning()).raw("\">").text(finding.cause.as_str()).raw("</li>");
    let confidence = match finding.confidence {
        Confidence::Proven => "<li class=\"proven\" title=\"",
        Confidence::Likely | Confidence::Possible => "<li title=\"",
    };
    page.raw(confidence).text(finding.confidence.meaning()).raw("\">").text(finding.confidence.as_str()).raw("</li>");
    page.raw("<li title=\"").text(finding.scope.meaning()).raw("\">").text(wording::scope(finding.scope)).raw("</li>");
    page.raw("<li title=\"").text(finding.blame.meaning()).raw("\">").text(wording::blame(finding.blame)).raw("</li></ul>\n");
}

fn subjects(page: &mut Markup, finding: &Finding) {
    let span = match finding.count {
        0 | 1 => format!("once, at {}", date_and_time(finding.last_seen)),
        times => format!("{times} times, from {} to {}", date_and_time(finding.first_seen), date_and_time(finding.last_seen)),
    };
    page.raw("<p class=\"subject\">");
    for subject in finding.subjects.iter().filter_map(wording::subject) {
        page.raw("<span>").text(&subject).raw("</span> ");
    }
    page.raw("<span class=\"when\">").text(&span).raw("</span></p>\n");
}

fn evidence(page: &mut Markup, evidence: &[Evidence]) {
    if evidence.is_empty() {
        return;
    }
    page.raw("<h3>Why we think so</h3>\n<ol class=\"evidence\">\n");
    for seen in evidence {
        page.raw(if seen.supports { "<li>" } else { "<li class=\"against\">" });
        page.raw("<span class=\"when\" title=\"").text(&seen.time.to_string()).raw("\">").text(&clock(seen.time)).raw("</span> ");
        page.raw("<span class=\"source\">").text(wording::source(seen.source)).raw("</span> <div>");
        page.raw(if seen.supports { "" } else { "<strong>speaks against it:</strong> " });
        page.raw("<code>").text(&seen.what).raw("</code><br><small>").text(&seen.how_matched).raw("</small></div></li>\n");
    }
    page.raw("</ol>\n");
}

fn lives(page: &mut Markup, crash_loop: &CrashLoop) {
    page.raw("<h3>Crash loop</h3>\n<p class=\"aside\">").text(&wording::crash_loop(crash_loop)).raw("</p>\n");
    if crash_loop.lives.is_empty() {
        return;
    }
    page.raw("<div class=\"wide\"><table class=\"lives\"><thead><tr><th class=\"number\">Attempt</th><th class=\"number\">Exit code</th>");
    page.raw("<th class=\"number\">Lived</th><th class=\"number\">Memory at its end</th></tr></thead><tbody>\n");
    crash_loop.lives.iter().for_each(|life| row(page, life));
    page.raw("</tbody></table></div>\n");
}

fn row(page: &mut Markup, life: &Life) {
    let cells = [
        life.attempt.map(|attempt| attempt.to_string()),
        life.exit_code.map(|code| code.to_string()),
        life.uptime_seconds.map(in_words),
        life.memory_at_death_bytes.map(|bytes| bytes.to_string()),
    ];
    page.raw("<tr>");
    for cell in cells {
        page.raw("<td class=\"number\">").text(cell.as_deref().unwrap_or("not known")).raw("</td>");
    }
    page.raw("</tr>\n");
}

fn list(page: &mut Markup, title: &'static str, class: &'static str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    page.raw("<h3>").raw(title).raw("</h3>\n<ul class=\"").raw(class).raw("\">\n");
    for item in items {
        let is_command = item.starts_with("kubectl ");
        page.raw(if is_command { "<li><code>" } else { "<li>" }).text(item).raw(if is_command { "</code></li>\n" } else { "</li>\n" });
    }
    page.raw("</ul>\n");
}
