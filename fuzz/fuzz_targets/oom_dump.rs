//! Any text as a kernel log. A line may start with `~`: records were lost before it; with `!`: eleven
//! seconds have passed.
//!
//! Checked: no panic; no more kills than kill lines; an event is told once and amended only
//! afterwards; what is kept of it is bounded; its report is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodewhy::model::BootTime;
use nodewhy::parse::oom::{OomAssembler, OomEvent, OomId, OomNews, OomOutcome, Position, TaskTable};
use std::collections::BTreeMap;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut assembler = OomAssembler::default();
    let mut told = BTreeMap::new();
    let mut boot = BootTime(0);
    for (record, line) in (0..).zip(text.split('\n')) {
        if line.starts_with('~') {
            assembler.note_gap();
        }
        boot = if line.starts_with('!') { boot.plus_seconds(11) } else { BootTime(boot.0 + 10) };
        take(&mut told, assembler.expire(boot));
        let news = assembler.push(Position { record, boot: Some(boot) }, line.trim_start_matches(['~', '!']));
        take(&mut told, news);
    }
    take(&mut told, assembler.flush());
    let kills = told.values().filter(|event| event.outcome == OomOutcome::Killed).count();
    // A wrapped kill line is read once more with its rest, never counted once more.
    assert!(kills <= text.matches("illed process ").count(), "{kills} kills");
});

fn take(told: &mut BTreeMap<OomId, OomEvent>, news: Vec<OomNews>) {
    for news in news {
        match news {
            OomNews::Event(event) => {
                check(&event);
                assert!(told.insert(event.id, *event).is_none(), "told twice");
            }
            OomNews::Amended(event) => {
                check(&event);
                assert!(told.insert(event.id, *event).is_some(), "amended before it was told");
            }
            OomNews::NothingKilled(event) => check(&event),
            OomNews::DumpsSuppressed { .. } => {}
        }
    }
}

fn check(event: &OomEvent) {
    assert!(event.first <= event.last);
    assert!(event.tasks.largest.len() <= TaskTable::LARGEST);
    assert!(event.evidence.len() <= 8 && event.evidence.iter().all(|line| line.len() <= 1024));
    assert!(event.cgroups.len() <= 8);
    assert!(event.outcome != OomOutcome::Killed || event.victim.pid.is_some());
    assert!(event.group.as_ref().is_none_or(|group| group.members.len() <= 256));
    serde_json::to_string(&event.to_report()).expect("a report is JSON");
}
