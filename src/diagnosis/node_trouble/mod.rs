//! Troubles of the node itself, out of the kubelet's log, of what PID 1 says about its services, and of
//! what etcd says about its disk.
//!
//! Flows in: observations about the node. Flows out: [`News`]: a trouble is to be told, holds on, or
//! is over. A cascade is one story: while a cause holds, what follows from it (no runtime, so no
//! PLEG, so a node that is not ready) is said there and is no trouble of its own.
//!
//! ```text
//! Observation ─▶ sign ─┐
//! unit events ─▶ service ─▶ episode ─▶ News
//! ```

mod api_failure;
mod control_plane;
mod episode;
mod service;
mod sign;
mod words;

pub use control_plane::starved;
pub use episode::{Episode, Start, Witness};
pub use sign::Sign;
pub use words::{action, are_chained, blame, consequence, meaning, scope, starts, starved_of};

use crate::{
    findings::EvidenceSource,
    model::{BootTime, Cause, Moment, UnitRole},
    parse::kubelet::{Observation, Situation, UnitEvent},
};
use serde::{Deserialize, Serialize};
use service::{Service, down};
use sign::sign_of;
use std::collections::BTreeMap;
use words::roots;

/// In the first seconds of a kubelet nothing has been looked at yet: it complains of everything.
const STARTING_SECONDS: u64 = 30;

/// The sign that the kubelet's process is gone.
const PROCESS_GONE: &str = "process_gone";

/// What became of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is to be told, or told again because more is known.
    Tell(Cause),
    /// It goes on.
    Holds(Cause),
    /// It is over.
    Over(Cause),
}

/// Which logs can be read now.
#[derive(Debug, Clone, Copy)]
pub struct Readable {
    /// The kubelet's.
    pub kubelet_log: bool,
    /// etcd's, or there is none any more.
    pub etcd_log: bool,
}

/// The troubles of this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeTroubles {
    kubelet: Service,
    runtime: Service,
    /// At most one a cause, and the causes are a closed set.
    episodes: BTreeMap<Cause, Episode>,
}

impl NodeTroubles {
    /// Takes what was said at `at` and read at `read`: silence is measured by reading, because the log
    /// of the last minutes is read at once.
    pub fn take(&mut self, observation: &Observation, at: Moment, read: BootTime) -> Vec<News> {
        match &observation.situation {
            Situation::Unit { role, event, .. } => self.unit(*role, event, observation, at, read),
            Situation::KubeletVersion { .. } => {
                self.kubelet.starts(at);
                vec![]
            }
            Situation::KubeletStarted => {
                self.kubelet.works();
                self.started(UnitRole::Kubelet)
            }
            Situation::NodeEvent { event } if event == "NodeReady" => {
                let ready = [Cause::NodeNotReady, Cause::NetworkNotReady, Cause::PlegUnhealthy, Cause::RuntimeDown];
                ready.into_iter().flat_map(|cause| self.end(cause)).collect()
            }
            Situation::FatalStart => {
                self.kubelet.ends_with_words();
                self.sign(observation, at, read)
            }
            _ => self.sign(observation, at, read),
        }
    }

    fn sign(&mut self, observation: &Observation, at: Moment, read: BootTime) -> Vec<News> {
        match sign_of(observation).filter(|sign| !self.is_noise_of_start(sign, at)) {
            Some(sign) => self.note(sign, observation.said.as_str(), at, read),
            None => vec![],
        }
    }

    /// Takes that the kubelet's process is gone and no other has come. Where PID 1 or the kubelet itself has told that it
    /// is down, it is no news.
    pub fn kubelet_gone(&mut self, at: Moment, read: BootTime) -> Vec<News> {
        if self.episodes.contains_key(&Cause::KubeletDown) {
            return vec![];
        }
        self.kubelet.vanishes();
        let sign = Sign::down(Cause::KubeletDown, PROCESS_GONE, "the kubelet's process is gone, and no other has come");
        let said = "/proc: a kubelet ran, and since then no process is one".to_owned();
        self.witnessed(sign, Witness { at, kind: String::new(), said, source: EvidenceSource::Node }, read)
    }

    /// Takes that a kubelet's process runs: it is the end of that there was none.
    pub fn kubelet_back(&mut self) -> Vec<News> {
        let gone = |episode: &Episode| episode.witnesses().iter().any(|witness| witness.kind == PROCESS_GONE);
        if self.episodes.get(&Cause::KubeletDown).is_some_and(gone) { self.started(UnitRole::Kubelet) } else { vec![] }
    }

    /// Takes that the runtime lost containers: something restarted under them.
    pub fn lost_containers(&mut self, at: Moment, read: BootTime) -> Vec<News> {
        let sign =
            Sign::lasting(Cause::RuntimeRestarted, "lost", 0, "the container runtime lost containers and knows no exit code of them");
        let news = self.note(sign, "Kubernetes says Unknown, exit code 255, of containers that had started in this boot", at, read);
        // The names of more containers are news, too.
        news.into_iter().map(|news| if let News::Holds(cause) = news { News::Tell(cause) } else { news }).collect()
    }

    /// Takes a sign that the control plane of this node is starved.
    pub fn control_plane(&mut self, sign: Sign, said: String, at: Moment, read: BootTime) -> Vec<News> {
        // Slow answers tell nothing new by themselves.
        if sign.rank == 0 && !self.episodes.contains_key(&Cause::ControlPlaneStarved) {
            return vec![];
        }
        self.witnessed(sign, Witness { at, kind: String::new(), said, source: EvidenceSource::EtcdLog }, read)
    }

    /// Adds for what the control plane waited.
    pub fn control_plane_waited(&mut self, witness: Witness) {
        if let Some(episode) = self.episodes.get_mut(&Cause::ControlPlaneStarved) {
            episode.witness(witness);
        }
    }

    /// Lets time pass. Silence means nothing where nobody could have spoken.
    pub fn advance(&mut self, now: BootTime, readable: Readable) -> Vec<News> {
        let mut news = Vec::new();
        if readable.kubelet_log {
            news.extend(self.advance_services(now));
        }
        for cause in self.episodes.keys().copied().collect::<Vec<_>>() {
            let heard = if cause == Cause::ControlPlaneStarved { readable.etcd_log } else { readable.kubelet_log };
            if heard {
                news.extend(self.look_after(cause, now));
            }
        }
        news
    }

    fn advance_services(&mut self, now: BootTime) -> Vec<News> {
        let mut news = Vec::new();
        let missed = [self.kubelet.missed(UnitRole::Kubelet, now), self.runtime.missed(UnitRole::Runtime, now)];
        for (sign, at) in missed.into_iter().flatten() {
            let said = format!("systemd: {}", sign.what);
            news.extend(self.note(sign, &said, at, now));
        }
        if self.kubelet.has_settled(now) {
            news.extend(self.started(UnitRole::Kubelet));
        }
        news
    }

    /// The trouble that a cause names, while it holds.
    pub fn episode(&self, cause: Cause) -> Option<&Episode> {
        self.episodes.get(&cause)
    }

    /// Notes with what a trouble probably began.
    pub fn begins_with(&mut self, cause: Cause, start: Start) {
        if let Some(episode) = self.episodes.get_mut(&cause) {
            episode.begins_with(start);
        }
    }

    /// The causes of troubles that have been told and hold.
    pub fn told(&self) -> impl Iterator<Item = Cause> {
        self.episodes.iter().filter(|(_, episode)| episode.is_told()).map(|(cause, _)| *cause)
    }

    fn unit(&mut self, role: UnitRole, event: &UnitEvent, observation: &Observation, at: Moment, read: BootTime) -> Vec<News> {
        let said_fatal = role == UnitRole::Kubelet && self.kubelet.said_fatal();
        let sign = self.service(role).take(role, event, at, read);
        // The kubelet's own last words have counted this end already.
        let sign = sign.map(|sign| Sign { counts: sign.counts && !(said_fatal && sign.kind == "loop"), ..sign });
        // That it has come back is the end of that it was away, and no story of its own.
        let was_away = self.episodes.get(&down(role)).is_some_and(Episode::is_told);
        let mut news = match sign.filter(|sign| !(was_away && sign.kind == "restarted")) {
            Some(sign) => self.note(sign, observation.said.as_str(), at, read),
            None => vec![],
        };
        if *event == UnitEvent::Started && role == UnitRole::Runtime {
            news.extend(self.started(role));
        }
        news
    }

    fn service(&mut self, role: UnitRole) -> &mut Service {
        match role {
            UnitRole::Kubelet => &mut self.kubelet,
            UnitRole::Runtime => &mut self.runtime,
        }
    }

    /// What lasted until a service started is over.
    fn started(&mut self, role: UnitRole) -> Vec<News> {
        let cause = down(role);
        match self.episodes.get(&cause).is_some_and(Episode::waits_for_start) {
            true => self.end(cause),
            false => vec![],
        }
    }

    fn is_noise_of_start(&self, sign: &Sign, at: Moment) -> bool {
        let of_its_look = matches!(sign.cause, Cause::NetworkNotReady | Cause::PlegUnhealthy | Cause::NodeNotReady)
            || sign.cause == Cause::RuntimeDown && !sign.brings.contains(&Cause::KubeletDown);
        let young = |started: Moment| at.boot.seconds_since(started.boot) < STARTING_SECONDS;
        of_its_look && self.kubelet.started().is_some_and(young)
    }

    fn note(&mut self, sign: Sign, said: &str, at: Moment, read: BootTime) -> Vec<News> {
        let witness = Witness { at, kind: String::new(), said: said.to_owned(), source: EvidenceSource::KubeletLog };
        self.witnessed(sign, witness, read)
    }

    fn witnessed(&mut self, sign: Sign, witness: Witness, read: BootTime) -> Vec<News> {
        let witness = Witness { kind: sign.kind.to_owned(), ..witness };
        if let Some(root) = self.root_of(sign.cause) {
            return self.bring(root, sign.cause, witness, read);
        }
        let (cause, at) = (sign.cause, witness.at);
        let absorbed = self.absorb(cause);
        let episode = self.episodes.entry(cause).or_insert_with(|| Episode::new(&sign, at, read));
        let mut more = episode.take(sign, witness, read);
        for (follows, earlier) in absorbed {
            more |= episode.brings(follows);
            earlier.into_witnesses().for_each(|witness| episode.witness(witness));
        }
        match (episode.is_told(), episode.is_due(at)) {
            (true, _) if more => vec![News::Tell(cause)],
            (true, _) => vec![News::Holds(cause)],
            (false, true) => {
                episode.tell();
                vec![News::Tell(cause)]
            }
            (false, false) => vec![],
        }
    }

    /// Adds what follows from a trouble to its story.
    fn bring(&mut self, root: Cause, follows: Cause, witness: Witness, read: BootTime) -> Vec<News> {
        let Some(episode) = self.episodes.get_mut(&root) else { return vec![] };
        let more = episode.brings(follows);
        episode.goes_on(witness.at, read);
        episode.witness(witness);
        match (episode.is_told(), more) {
            (true, true) => vec![News::Tell(root)],
            (true, false) => vec![News::Holds(root)],
            (false, _) => vec![],
        }
    }

    /// The trouble from which this one follows.
    fn root_of(&self, cause: Cause) -> Option<Cause> {
        // That the kubelet is gone is more than that a certificate for logs is missing.
        let needs_proof = matches!(cause, Cause::KubeletDown | Cause::KubeletRestarted | Cause::ApiServerUnreachable);
        let holds = |root: &&Cause| self.episodes.get(root).is_some_and(|episode| !needs_proof || episode.is_explicit());
        roots(cause).iter().find(holds).copied()
    }

    /// Takes over the troubles that follow from this one and were not told yet.
    fn absorb(&mut self, root: Cause) -> Vec<(Cause, Episode)> {
        let follows = |cause: &Cause, episode: &mut Episode| !episode.is_told() && roots(*cause).contains(&root);
        self.episodes.extract_if(.., follows).collect()
    }

    fn look_after(&mut self, cause: Cause, now: BootTime) -> Vec<News> {
        let Some(episode) = self.episodes.get_mut(&cause) else { return vec![] };
        if episode.waits_for_start() && episode.is_told() {
            return vec![News::Holds(cause)];
        }
        if episode.is_overdue(now) {
            episode.tell();
            return vec![News::Tell(cause)];
        }
        if episode.is_quiet(now, words::quiet_seconds(cause)) { self.end(cause) } else { vec![] }
    }

    fn end(&mut self, cause: Cause) -> Vec<News> {
        match self.episodes.remove(&cause) {
            Some(episode) if episode.is_told() => vec![News::Over(cause)],
            _ => vec![],
        }
    }
}

#[cfg(test)]
mod tests;
