//! Any text as a cgroup path.
//!
//! Checked: no panic; what is read stands in the path; a conmon is never a container; the innermost
//! of all pairs is the path's own place; cutting a path never changes whose it is into someone else's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodewhy::model::CgroupPlace;

fuzz_target!(|text: &str| {
    let place = CgroupPlace::of(text);
    if let Some(container) = place.container() {
        assert!(text.contains(container.as_str()));
        assert!(!text.ends_with(&format!("conmon-{container}")));
    }
    if let Some(pod) = place.pod() {
        assert!(text.replace('_', "-").contains(pod.as_str()));
        assert!(CgroupPlace::reaches_container(text) || !matches!(place, CgroupPlace::Container { .. }));
    }
    let innermost = CgroupPlace::pairs(text).pop();
    assert_eq!(innermost.as_ref().map(|(pod, _)| pod), place.pod());
    let half = text.get(..text.floor_char_boundary(text.len() / 2)).unwrap_or_default();
    if let Some(pod) = CgroupPlace::of(half).pod() {
        assert!(text.replace('_', "-").contains(pod.as_str()));
    }
    CgroupPlace::is_on_nested_node(text);
});
