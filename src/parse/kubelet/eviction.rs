//! The eviction manager. Source: `pkg/kubelet/eviction/eviction_manager.go`; until 1.20 the same
//! sentences begin with a small letter and carry their values inside.

use super::said::{Said, after, between};
use super::situation::{EvictionStep, Observation, Situation};
use super::subject::Subject;

/// A ranking names every pod of the node; the first ones are the candidates.
const MOST_PODS: usize = 16;

/// Reads a line of the eviction manager.
pub fn observe(said: &Said<'_, '_>) -> Option<Observation> {
    if let Some(text) = evicting(said) {
        return Some(text);
    }
    let rest = said.after("eviction manager: ")?;
    let step = step(rest)?;
    let resource = said.record().text_of("resourceName").map(|name| name.into_owned()).or_else(|| resource(rest).map(str::to_owned));
    let pods = pods(said, rest);
    let subject = match step {
        EvictionStep::Evicted | EvictionStep::Critical | EvictionStep::Failed => {
            said.subject().or(Subject::find_old(rest).unwrap_or_default())
        }
        _ => Subject::default(),
    };
    Some(said.about(subject, Situation::Eviction { step, resource, pods }))
}

/// The victim's own sentence (printed from -v=3).
fn evicting(said: &Said<'_, '_>) -> Option<Observation> {
    let text = said.after("Evicting pod").filter(|rest| rest.is_empty()).and_then(|_| said.record().text_of("message"))?;
    let resource = between(&text, "low on resource: ", ".").map(str::to_owned);
    Some(said.observation(Situation::Eviction { step: EvictionStep::Evicted, resource, pods: Vec::new() }))
}

fn step(rest: &str) -> Option<EvictionStep> {
    let begins = |words| after(rest, words).is_some();
    if begins("attempting to reclaim") {
        Some(EvictionStep::Attempt)
    } else if begins("able to reduce") {
        Some(EvictionStep::Relieved)
    } else if begins("must evict pod(s) to reclaim") {
        Some(EvictionStep::MustEvict)
    } else if begins("pods ranked for eviction") {
        Some(EvictionStep::Ranked)
    } else if begins("pod ") && rest.contains("evicted successfully") {
        Some(EvictionStep::Evicted)
    } else if begins("cannot evict a critical") {
        Some(EvictionStep::Critical)
    } else if begins("pod failed to evict")
        || begins("unable to evict any pods")
        || rest.contains("no pods are active to evict")
        || rest.contains(" failed to evict")
    {
        Some(EvictionStep::Failed)
    } else {
        None
    }
}

/// `attempting to reclaim memory`, `must evict pod(s) to reclaim memory`, `able to reduce memory pressure …`.
fn resource(rest: &str) -> Option<&str> {
    let (_, behind) = rest.split_once("reclaim ").or_else(|| rest.split_once("reduce "))?;
    behind.split([' ', '.']).next().filter(|word| !word.is_empty() && *word != "resource")
}

/// `pods=["a/b","c/d"]`, `pods="[a/b c/d]"`, or `pods ranked for eviction: a_b(uid), c_d(uid)`.
fn pods(said: &Said<'_, '_>, rest: &str) -> Vec<Subject> {
    let list =
        said.record().text_of("pods").or_else(|| rest.split_once("ranked for eviction: ").map(|(_, list)| list.into())).unwrap_or_default();
    let names = list.split([',', ' ', '[', ']', '"']).filter(|name| !name.is_empty());
    names.filter_map(|name| Subject::of_path(name).or_else(|| Subject::of_old(name))).take(MOST_PODS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::klog::KlogRecord;

    fn observed(text: &str) -> Option<Observation> {
        let line = format!("I0307 04:05:06.1 1 a.go:1] {text}");
        observe(&Said::of(&KlogRecord::parse(&line)).expect("klog"))
    }

    fn parts(text: &str) -> (EvictionStep, Option<String>, Vec<Option<String>>, Option<String>) {
        let found = observed(text).expect(text);
        let Situation::Eviction { step, resource, pods } = found.situation else { panic!("{text}") };
        (step, resource, pods.iter().map(Subject::path).collect(), found.subject.path())
    }

    #[test]
    fn steps_in_both_generations() {
        let memory = Some("memory".to_owned());
        assert_eq!(
            parts("\"Eviction manager: attempting to reclaim\" resourceName=\"memory\""),
            (EvictionStep::Attempt, memory.clone(), vec![], None)
        );
        assert_eq!(parts("eviction manager: attempting to reclaim memory"), (EvictionStep::Attempt, memory.clone(), vec![], None));
        assert_eq!(parts("eviction manager: must evict pod(s) to reclaim memory"), (EvictionStep::MustEvict, memory.clone(), vec![], None));
        assert_eq!(parts("eviction manager: able to reduce memory pressure without evicting pods.").0, EvictionStep::Relieved);
        assert_eq!(parts("\"Eviction manager: unable to evict any pods from the node\"").0, EvictionStep::Failed);
        let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. ";
        assert_eq!(
            parts(&format!("\"Evicting pod\" pod=\"ns/a\" podUID=\"x\" message={message:?}")),
            (EvictionStep::Evicted, memory, vec![], Some("ns/a".into()))
        );
    }

    #[test]
    fn rankings_and_victims() {
        let both = vec![Some("ns/a".to_owned()), Some("ns/b".to_owned())];
        for list in [
            "\"Eviction manager: pods ranked for eviction\" pods=[\"ns/a\",\"ns/b\"]",
            "\"Eviction manager: pods ranked for eviction\" pods=\"[ns/a ns/b]\"",
            "eviction manager: pods ranked for eviction: a_ns(1), b_ns(2)",
        ] {
            assert_eq!(parts(list), (EvictionStep::Ranked, None, both.clone(), None), "{list}");
        }
        assert_eq!(parts("\"Eviction manager: pod is evicted successfully\" pod=\"ns/a\"").3.as_deref(), Some("ns/a"));
        assert_eq!(
            parts("eviction manager: pod a_ns(0a1b2c3d-0000-1111-2222-333344445555) is evicted successfully").3.as_deref(),
            Some("ns/a")
        );
    }

    #[test]
    fn other_lines_of_the_manager_are_nothing() {
        for text in [
            "eviction manager: unexpected err: failed to get node info",
            "\"Eviction manager: failed to get summary stats\" err=\"x\"",
            "eviction manager: no observation found for eviction signal x",
            "attempting to delete unused containers",
            "\"Evicting pod in the background\" pod=\"ns/a\"",
        ] {
            assert_eq!(observed(text), None, "{text}");
        }
    }
}
