//! The memory at a kill, as a bar against the limit.

use super::html::Markup;
use crate::{findings::Memory, model::Bytes};

/// Width of the bar in its own units: thousandths of the limit.
const WIDTH: u64 = 1000;

/// One part of the charge: its class in the style, its name, its size.
type Part = (&'static str, &'static str, Bytes);

/// The bar with its figures in words; nothing where no size is known.
pub(super) fn figure(page: &mut Markup, memory: &Memory) {
    let parts = parts(memory);
    let sum = parts.iter().fold(Bytes(0), |sum, (.., bytes)| sum.saturating_add(*bytes));
    let whole = memory.limit_bytes.or(memory.usage_bytes).unwrap_or(sum).max(sum);
    page.raw("<figure>\n");
    if whole > Bytes(0) && !parts.is_empty() {
        bar(page, &parts, whole);
    }
    page.raw("<figcaption>");
    for (class, name, bytes) in &parts {
        page.raw("<span class=\"key ").raw(class).raw("\">").text(name).raw(" ").text(&bytes.to_string()).raw("</span> ");
    }
    for fact in facts(memory) {
        page.raw("<span>").text(&fact).raw("</span> ");
    }
    page.raw("</figcaption>\n</figure>\n");
}

/// The parts of the charge. The page cache includes shared memory, which is shown by itself.
fn parts(memory: &Memory) -> Vec<Part> {
    let cache = memory.file_bytes.map(|file| file.saturating_sub(memory.shmem_bytes.unwrap_or_default()));
    let parts = [
        ("anon", "programs", memory.anon_bytes),
        ("shmem", "tmpfs and shared", memory.shmem_bytes),
        ("kernel", "kernel", memory.kernel_bytes),
        ("file", "page cache", cache),
    ];
    parts.into_iter().filter_map(|(class, name, bytes)| Some((class, name, bytes?))).collect()
}

fn facts(memory: &Memory) -> Vec<String> {
    let share = memory.usage_bytes.zip(memory.limit_bytes).and_then(|(usage, limit)| usage.percent_of(limit));
    let helps = memory.restart_helps.map(|helps| if helps { "a restart frees it" } else { "a restart does not free it" });
    let facts = [
        memory.limit_bytes.map(|limit| format!("limit {limit}")),
        memory.usage_bytes.map(|usage| format!("charged {usage}{}", share.map(|share| format!(" ({share} %)")).unwrap_or_default())),
        memory.victim_rss_bytes.map(|rss| format!("killed process {rss}")),
        memory.growth.clone(),
        helps.map(String::from),
    ];
    facts.into_iter().flatten().collect()
}

fn bar(page: &mut Markup, parts: &[Part], whole: Bytes) {
    page.raw("<svg class=\"bar\" viewBox=\"0 0 1000 12\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"memory at the kill\">");
    page.raw("<rect class=\"free\" width=\"1000\" height=\"12\"/>");
    let mut start = 0;
    for (class, _, bytes) in parts {
        let width = thousandths(*bytes, whole);
        page.raw("<rect class=\"").raw(class).raw("\" x=\"").text(&start.to_string()).raw("\" width=\"").text(&width.to_string());
        page.raw("\" height=\"12\"/>");
        start += width;
    }
    page.raw("</svg>\n");
}

/// This amount of the whole, rounded down, so that the parts never outgrow the bar.
fn thousandths(bytes: Bytes, whole: Bytes) -> u64 {
    let share = u128::from(bytes.0) * u128::from(WIDTH) / u128::from(whole.0.max(1));
    u64::try_from(share).unwrap_or(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::examples;
    use proptest::prelude::*;

    #[test]
    fn shared_memory_is_shown_once() {
        let memory = examples::oom_kill().memory.expect("an OOM kill has memory");
        let shown: Vec<_> = parts(&memory).into_iter().map(|(class, _, bytes)| (class, bytes.0 >> 20)).collect();
        assert_eq!(shown, [("anon", 238), ("shmem", 1), ("kernel", 8), ("file", 8)]);
    }

    #[test]
    fn what_is_not_known_is_not_drawn() {
        let mut page = Markup::default();
        figure(&mut page, &Memory { limit_bytes: Some(Bytes(1 << 20)), ..Memory::default() });
        let page = page.finish();
        assert!(page.contains("limit 1 MiB") && !page.contains("<svg") && !page.contains("class=\"key"), "{page}");
    }

    proptest! {
        #[test]
        fn the_parts_never_outgrow_the_bar(anon in 0..1u64 << 60, file in 0..1u64 << 60, kernel in 0..1u64 << 60, limit in any::<u64>()) {
            let memory = Memory {
                limit_bytes: Some(Bytes(limit)), anon_bytes: Some(Bytes(anon)), file_bytes: Some(Bytes(file)),
                kernel_bytes: Some(Bytes(kernel)), ..Memory::default()
            };
            let mut page = Markup::default();
            figure(&mut page, &memory);
            let parts = parts(&memory);
            let sum = parts.iter().fold(Bytes(0), |sum, (.., bytes)| sum.saturating_add(*bytes));
            let whole = Bytes(limit).max(sum);
            prop_assert!(parts.iter().map(|(.., bytes)| thousandths(*bytes, whole)).sum::<u64>() <= WIDTH);
        }
    }
}
