//! Whom a line of the kubelet is about, as far as the line says.

use crate::model::{ContainerId, PodUid};
use crate::parse::klog::{KlogRecord, Value, json_field};

/// A uid between its brackets is no longer than this.
const LONGEST_UID: usize = 64;

/// The pod and the container that a line names. Each part is `None` where the line is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's uid.
    pub uid: Option<PodUid>,
    /// The container's name.
    pub container: Option<String>,
    /// The container's id.
    pub container_id: Option<ContainerId>,
}

impl Subject {
    /// What the keys of a structured record name.
    pub fn of(record: &KlogRecord<'_>) -> Self {
        let mut subject = record.get("pod").map(Self::of_value).unwrap_or_default();
        let uid = record.text_of("podUID").or_else(|| record.text_of("podID")).and_then(|uid| PodUid::parse(&uid));
        subject.uid = uid.or(subject.uid);
        subject.container = whole_text(record, "containerName").or_else(|| whole_text(record, "container"));
        subject.container_id = record.text_of("containerID").and_then(|id| container_id(&id));
        subject
    }

    /// `"ns/name"` in text, `{"name":…,"namespace":…}` in JSON. A name that was cut is no name.
    fn of_value(value: Value<'_>) -> Self {
        let text = value.text();
        if value.is_cut() {
            return Self::default();
        }
        if !text.starts_with('{') {
            return Self::of_path(&text).or_else(|| Self::of_old(&text)).unwrap_or_default();
        }
        let part = |key| json_field(&text, key).filter(|value| !value.is_cut()).map(|value| value.text().into_owned());
        Self { namespace: part("namespace"), pod: part("name"), ..Self::default() }
    }

    /// `ns/name`.
    pub fn of_path(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (is_name(namespace) && is_name(name)).then(|| Self { namespace: Some(namespace.into()), pod: Some(name.into()), ..Self::default() })
    }

    /// `name_ns(uid)`, the form of `format.Pod` before 1.21 and inside of error texts until today
    /// (`pkg/kubelet/util/format/pod.go`). The uid may be cut.
    pub fn of_old(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('_')?;
        let (namespace, uid) = rest.split_once('(').unwrap_or((rest, ""));
        let uid = uid.split_once(')').and_then(|(uid, _)| PodUid::parse(uid));
        let sound = is_name(name) && is_name(namespace);
        sound.then(|| Self { namespace: Some(namespace.into()), pod: Some(name.into()), uid, ..Self::default() })
    }

    /// The first whole `name_ns(uid)` anywhere in a text.
    pub fn find_old(text: &str) -> Option<Self> {
        text.match_indices('(').find_map(|(at, _)| {
            let (head, tail) = text.split_at_checked(at)?;
            let begin =
                head.rfind(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_'))).map_or(0, |blank| blank + 1);
            let end = tail.bytes().take(LONGEST_UID).position(|byte| byte == b')')?;
            Self::of_old(text.get(begin..at + end + 1)?).filter(|subject| subject.uid.is_some())
        })
    }

    /// This subject, completed by another one about the same pod.
    pub fn or(self, other: Self) -> Self {
        Self {
            namespace: self.namespace.or(other.namespace),
            pod: self.pod.or(other.pod),
            uid: self.uid.or(other.uid),
            container: self.container.or(other.container),
            container_id: self.container_id.or(other.container_id),
        }
    }

    /// This subject with a container's name, where it has none.
    pub fn with_container(mut self, name: &str) -> Self {
        self.container = self.container.or_else(|| is_name(name).then(|| name.to_owned()));
        self
    }

    /// Whether the line names a pod at all.
    pub fn has_pod(&self) -> bool {
        self.pod.is_some() || self.uid.is_some()
    }

    /// `ns/name`, or the name alone.
    pub fn path(&self) -> Option<String> {
        let name = self.pod.as_deref()?;
        Some(self.namespace.as_deref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}")))
    }

    /// Whether both may be about the same thing: nothing that both name differs.
    pub fn agrees(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.has_pod() == other.has_pod()
            && same(&self.uid, &other.uid)
            && same(&self.pod, &other.pod)
            && same(&self.namespace, &other.namespace)
            && same(&self.container, &other.container)
            && (self.pod.is_some() && other.pod.is_some() || self.uid == other.uid)
    }
}

/// A Kubernetes object name: letters, digits, `-` and `.`.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// `containerd://<id>`, a bare id, or `{"Type":…,"ID":…}`.
pub fn container_id(text: &str) -> Option<ContainerId> {
    if let Some(id) = ContainerId::parse_status(text.trim_matches('"')) {
        return Some(id);
    }
    text.split(|char: char| !char.is_ascii_hexdigit()).find_map(ContainerId::parse)
}

fn whole_text(record: &KlogRecord<'_>, key: &str) -> Option<String> {
    let value = record.get(key).filter(|value| !value.is_cut())?;
    Some(value.text().into_owned()).filter(|name| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";

    fn of(pairs: &str) -> Subject {
        Subject::of(&KlogRecord::parse(&format!("I0307 04:05:06.070809 1 a.go:9] \"x\" {pairs}")))
    }

    #[test]
    fn keys_of_every_generation() {
        let whole = of(&format!("pod=\"ns/web-0\" podUID={UID} containerName=\"app\" containerID=\"containerd://{}\"", "ab".repeat(32)));
        assert_eq!(whole.path().as_deref(), Some("ns/web-0"));
        assert_eq!(whole.uid.as_ref().map(PodUid::as_str), Some(UID));
        assert!(whole.container_id.is_some() && whole.container.as_deref() == Some("app"));
        let json = format!(r#"{{"ts":1,"msg":"x","pod":{{"name":"web-0","namespace":"ns"}},"podUID":"{UID}"}}"#);
        let json = Subject::of(&KlogRecord::parse(&json));
        assert_eq!((json.path(), json.uid), (whole.path(), whole.uid));
    }

    #[test]
    fn a_name_that_was_cut_is_no_name() {
        assert_eq!(of("pod=\"ns/web-"), Subject::default());
        assert_eq!(of("pod=\"ns/web-0\" containerName=\"ap").container, None);
    }

    #[test]
    fn the_old_form_is_found_in_a_sentence() {
        let text = format!("restarting failed (x) container=app pod=web-0_ns({UID})\"");
        let found = Subject::find_old(&text).expect("pod");
        assert_eq!((found.path().as_deref(), found.uid.as_ref().map(PodUid::as_str)), (Some("ns/web-0"), Some(UID)));
        assert_eq!(Subject::find_old("one_two three (four)"), None);
    }

    #[test]
    fn subjects_agree_when_nothing_differs() {
        let pod = Subject::of_path("ns/a").expect("path");
        assert!(pod.agrees(&Subject { uid: PodUid::parse(UID), ..pod.clone() }));
        assert!(!pod.agrees(&Subject::of_path("ns/b").expect("path")));
        assert!(!pod.agrees(&Subject::default()));
        assert!(pod.agrees(&pod.clone().with_container("x")));
        assert!(!pod.agrees(&Subject { uid: PodUid::parse(UID), ..Subject::default() }), "nothing in common");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z_()/0-9é-]{0,80}") {
            let _ = (Subject::find_old(&text), Subject::of_old(&text), Subject::of_path(&text), container_id(&text));
        }
    }
}
