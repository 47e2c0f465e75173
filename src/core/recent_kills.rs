//! In which containers the kernel killed in the last hour, and when last.

use crate::{
    findings::Subject,
    model::{BootTime, Moment},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long a kill counts as recent.
const RECENT_SECONDS: u64 = 3600;

/// The most containers told: nearly all of a full node's 250.
const MOST: usize = 200;

/// The latest kill in one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentKill {
    /// Namespace, empty where not known.
    pub namespace: String,
    /// Pod, its uid where the name is not known.
    pub pod: String,
    /// Container, its id's first digits where the name is not known; empty where only the pod is.
    pub container: String,
    /// When.
    pub at: Timestamp,
}

/// The latest kill in each container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecentKills {
    kills: Vec<Latest>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Latest {
    container: [String; 3],
    at: Moment,
}

impl RecentKills {
    /// Adds a kill; returns how many containers were given up for it.
    pub fn add(&mut self, subject: &Subject, at: Moment) -> u64 {
        let Some(pod) = subject.pod.clone().or_else(|| subject.pod_uid.as_ref().map(ToString::to_string)) else { return 0 };
        let container = subject.container.clone().or_else(|| Some(subject.container_id.as_ref()?.short().to_owned()));
        let container = [subject.namespace.clone().unwrap_or_default(), pod, container.unwrap_or_default()];
        let known = self.kills.extract_if(.., |known| known.container == container).map(|known| known.at).max();
        let too_many = self.kills.len() >= MOST;
        if too_many {
            let oldest = self.kills.iter().enumerate().min_by_key(|(_, kill)| kill.at).map(|(index, _)| index);
            oldest.map(|index| self.kills.swap_remove(index));
        }
        self.kills.push(Latest { container, at: known.map_or(at, |known| known.max(at)) });
        u64::from(too_many)
    }

    /// Forgets what is not recent any more.
    pub fn advance(&mut self, now: BootTime) {
        self.kills.retain(|kill| now.seconds_since(kill.at.boot) < RECENT_SECONDS);
    }

    /// The latest kill in each container.
    pub fn list(&self) -> Vec<RecentKill> {
        let latest: BTreeMap<_, _> = self.kills.iter().map(|kill| (&kill.container, kill.at.wall)).collect();
        let told = latest.into_iter().map(|([namespace, pod, container], at)| RecentKill {
            namespace: namespace.clone(),
            pod: pod.clone(),
            container: container.clone(),
            at,
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(pod: &str) -> Subject {
        Subject { namespace: Some("shop".into()), pod: Some(pod.into()), container: Some("app".into()), ..Subject::default() }
    }

    fn at(second: u64) -> Moment {
        let start = Moment { boot: BootTime(0), wall: Timestamp::UNIX_EPOCH };
        start.at_boot_time(BootTime(second * 1_000_000))
    }

    #[test]
    fn the_latest_kill_of_each_container_is_told_for_an_hour() {
        let mut kills = RecentKills::default();
        for (pod, second) in [("a", 10), ("b", 20), ("a", 30), ("a", 25)] {
            assert_eq!(kills.add(&subject(pod), at(second)), 0);
        }
        let told: Vec<_> = kills.list().into_iter().map(|kill| (kill.pod, kill.at.as_second())).collect();
        assert_eq!(told, [("a".to_owned(), 30), ("b".to_owned(), 20)]);
        kills.advance(BootTime(3620 * 1_000_000));
        assert_eq!(kills.list().len(), 1);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_and_that_is_counted() {
        let mut kills = RecentKills::default();
        let given_up: u64 = (0..210).map(|pod| kills.add(&subject(&format!("p{pod}")), at(pod))).sum();
        assert_eq!((kills.list().len(), given_up), (MOST, 10));
        assert!(!kills.list().iter().any(|kill| kill.pod == "p9"), "the oldest");
        assert_eq!(kills.add(&Subject::default(), at(300)), 0, "a host's process is no container");
    }
}
