//! From a klog record to what it tells: asks each family of situations in turn.

use super::said::Said;
use super::situation::{Observation, Situation};
use super::{certificate, event, eviction, image, node, probe, runtime, start, volume};
use crate::parse::klog::KlogRecord;

/// What a record tells; usually nothing, and several things when a pod's containers fail together.
/// Neither the severity nor the place in the source decides: both change between releases.
pub fn observe(record: &KlogRecord<'_>) -> Vec<Observation> {
    let Some(said) = Said::of(record) else { return Vec::new() };
    let found = start::sync_error(&said).unwrap_or_else(|| single(&said).into_iter().collect());
    found.into_iter().chain(probe::not_sent(&said)).collect()
}

fn single(said: &Said<'_, '_>) -> Option<Observation> {
    const FAMILIES: [fn(&Said<'_, '_>) -> Option<Observation>; 14] = [
        start::start_failed,
        start::back_off,
        event::observe,
        certificate::observe,
        probe::observe,
        volume::observe,
        eviction::observe,
        image::observe,
        runtime::observe,
        node::observe,
        certificate::not_accepted,
        no_space,
        out_of_descriptors,
        runtime::unreachable,
    ];
    FAMILIES.iter().find_map(|family| family(said))
}

/// Any other line with this error.
fn no_space(said: &Said<'_, '_>) -> Option<Observation> {
    tells_no_space(&said.whole()).then(|| said.observation(Situation::NoSpace))
}

/// Whether words of the kubelet tell of a full filesystem. Two namesakes are no full disk: the watches of inotify and
/// the groups of a cgroup hierarchy can run out as well.
pub fn tells_no_space(words: &str) -> bool {
    words.contains("no space left on device") && !words.contains("inotify") && !words.contains("/sys/fs/cgroup")
}

/// Any other line with EMFILE: the limit on descriptors, or with inotify the one on its instances.
fn out_of_descriptors(said: &Said<'_, '_>) -> Option<Observation> {
    let inotify = said.tells("inotify") || said.tells("fsnotify") || said.tells("watcher");
    said.tells("too many open files").then(|| said.observation(Situation::OutOfDescriptors { inotify }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::kubelet::Probe;
    use proptest::prelude::*;

    fn situations(text: &str) -> Vec<Situation> {
        let line = format!("E0307 04:05:06.1 1 a.go:1] {text}");
        observe(&KlogRecord::parse(&line)).into_iter().map(|found| found.situation).collect()
    }

    #[test]
    fn a_full_disk_and_its_namesakes() {
        assert_eq!(situations("\"Failed to write status\" err=\"open /var/lib/x: no space left on device\""), [Situation::NoSpace]);
        assert_eq!(situations("failed to watch: inotify_add_watch /x: no space left on device"), []);
        assert_eq!(situations("mkdir /sys/fs/cgroup/memory/x: no space left on device"), []);
    }

    #[test]
    fn no_descriptor_and_no_watch_left() {
        let told = |inotify| [Situation::OutOfDescriptors { inotify }];
        assert_eq!(situations("\"http: Accept error\" err=\"accept tcp [::]:10250: accept4: too many open files\""), told(false));
        assert_eq!(situations("Failed to start cAdvisor inotify_init: too many open files"), told(true));
    }

    #[test]
    fn a_probe_that_the_kubelet_cannot_send_is_about_the_kubelet_too() {
        let failed =
            |output: &str| format!("\"Probe failed\" probeType=\"Readiness\" pod=\"ns/a\" containerName=\"app\" output=\"{output}\"");
        let probe = Situation::ProbeFailed { probe: Probe::Readiness, errored: false };
        let unsent = r#"Get \"http://10.88.3.4:80/ready\": dial tcp 10.88.3.4:80: socket: too many open files"#;
        assert_eq!(situations(&failed(unsent)), [probe.clone(), Situation::OutOfDescriptors { inotify: false }]);
        assert_eq!(situations(&failed("dial tcp 10.88.3.4:80: socket: too many open files")).len(), 2);
        // What the workload says of itself is no trouble of the kubelet.
        assert_eq!(situations(&failed("HTTP probe failed with statuscode: 500, too many open files")), std::slice::from_ref(&probe));
        assert_eq!(situations(&failed("check: dial tcp 10.0.0.1:5432: socket: too many open files")), [probe]);
    }

    #[test]
    fn text_without_a_header_tells_nothing() {
        assert_eq!(observe(&KlogRecord::parse("no space left on device")), []);
    }

    proptest! {
        #[test]
        fn any_record_is_survived(text in "(\"Error syncing pod, skipping\" err=\"|\"Probe failed\" |eviction manager: |Event\\(|Recording |Got sys oom event |event=&\\{|ProcessName:|[ -~é])[ -~é\"{}:=]{0,120}") {
            for found in observe(&KlogRecord::parse(&format!("E0307 04:05:06.1 1 a.go:1] {text}"))) {
                prop_assert!(found.said.as_str().len() <= super::super::excerpt::LONGEST);
            }
        }
    }
}
