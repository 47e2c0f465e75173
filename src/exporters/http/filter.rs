//! Which findings a request asks for.
//!
//! Flows in: query parameters. Flows out: a filter, or the parameter that is wrong and what it may be.

use super::answer::Problem;
use crate::{
    findings::{Finding, FindingState, Subject},
    model::Cause,
};

const PARAMETERS: [&str; 6] = ["state", "cause", "namespace", "pod", "container", "limit"];

/// What a finding must be. A parameter that is given more than once allows any of its values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    states: Vec<FindingState>,
    causes: Vec<Cause>,
    namespaces: Vec<String>,
    pods: Vec<String>,
    containers: Vec<String>,
    limit: Option<usize>,
}

impl Filter {
    /// Reads decoded query parameters.
    pub(super) fn read(parameters: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut filter = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "state" => filter.states.push(state(value)?),
                "cause" => filter.causes.push(cause(value)?),
                "namespace" => filter.namespaces.push(value),
                "pod" => filter.pods.push(value),
                "container" => filter.containers.push(value),
                "limit" => filter.limit = Some(limit(value)?),
                _ => return Err(Problem::NoSuchParameter { parameter: name, allowed: PARAMETERS.to_vec() }),
            }
        }
        Ok(filter)
    }

    /// Those of the findings that are asked for, in their order.
    pub(super) fn apply<'a>(&self, findings: &'a [Finding]) -> Vec<&'a Finding> {
        findings.iter().filter(|finding| self.matches(finding)).take(self.limit.unwrap_or(usize::MAX)).collect()
    }

    fn matches(&self, finding: &Finding) -> bool {
        is_any_of(&self.states, &finding.state) && is_any_of(&self.causes, &finding.cause) && self.matches_subject(finding)
    }

    /// One and the same subject must have the namespace, the pod and the container.
    fn matches_subject(&self, finding: &Finding) -> bool {
        let asks_for_subject = !(self.namespaces.is_empty() && self.pods.is_empty() && self.containers.is_empty());
        let is_asked_for = |subject: &Subject| {
            is_known_as(&self.namespaces, subject.namespace.as_ref())
                && is_known_as(&self.pods, subject.pod.as_ref())
                && is_known_as(&self.containers, subject.container.as_ref())
        };
        !asks_for_subject || finding.subjects.iter().any(is_asked_for)
    }
}

fn is_any_of<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn is_known_as(wanted: &[String], name: Option<&String>) -> bool {
    wanted.is_empty() || name.is_some_and(|name| wanted.contains(name))
}

fn state(value: String) -> Result<FindingState, Problem> {
    match value.as_str() {
        "open" => Ok(FindingState::Open),
        "resolved" => Ok(FindingState::Resolved),
        _ => Err(Problem::WrongValue { parameter: "state", value, allowed: vec!["open", "resolved"] }),
    }
}

fn cause(value: String) -> Result<Cause, Problem> {
    let known = Cause::ALL.iter().copied().find(|cause| cause.as_str() == value);
    known.ok_or_else(|| Problem::WrongValue { parameter: "cause", value, allowed: Cause::ALL.iter().map(|cause| cause.as_str()).collect() })
}

fn limit(value: String) -> Result<usize, Problem> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or(Problem::WrongValue { parameter: "limit", value, allowed: vec!["a whole number from 1"] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::examples;

    fn ids(query: &[(&str, &str)]) -> Result<Vec<String>, Problem> {
        let parameters = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let findings = examples::snapshot().findings;
        Ok(Filter::read(parameters)?.apply(&findings).iter().map(|finding| finding.id.0.clone()).collect())
    }

    #[test]
    fn each_parameter_narrows_and_a_repeated_one_widens() {
        let found = |query: &[(&str, &str)]| ids(query).expect("a right query").len();
        assert_eq!(found(&[]), 3);
        assert_eq!(found(&[("state", "open")]), 2);
        assert_eq!(found(&[("state", "open"), ("state", "resolved")]), 3);
        assert_eq!(found(&[("cause", "oom_node"), ("cause", "app_error")]), 2);
        assert_eq!(found(&[("namespace", "shop")]), 2, "the finding about the node is about no namespace");
        assert_eq!(found(&[("namespace", "shop"), ("container", "worker")]), 1);
        assert_eq!(found(&[("pod", "mail-0"), ("container", "api")]), 0);
        assert_eq!(found(&[("limit", "1")]), 1);
    }

    #[test]
    fn a_wrong_parameter_or_value_is_told_with_what_is_right() {
        assert!(matches!(ids(&[("state", "closed")]), Err(Problem::WrongValue { parameter: "state", .. })));
        for wrong in ["0", "-1", "many", "99999999999999999999999", ""] {
            assert!(matches!(ids(&[("limit", wrong)]), Err(Problem::WrongValue { parameter: "limit", .. })), "{wrong}");
        }
        let Err(Problem::WrongValue { allowed, .. }) = ids(&[("cause", "oom")]) else { panic!("`oom` is no cause") };
        assert_eq!(allowed.len(), Cause::ALL.len());
        assert!(matches!(ids(&[("causes", "oom_node")]), Err(Problem::NoSuchParameter { .. })));
    }
}
