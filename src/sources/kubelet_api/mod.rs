//! The kubelet's HTTPS API, asked seldom: how it is configured, and how often probes have failed.
//!
//! Flows in: `/configz` and `/metrics/probes`. Flows out: a [`KubeletConfiguration`] at the start, when
//! the core knows of another kubelet, and once an hour; [`ProbeCounts`] when a container with a
//! probe has ended, and every few minutes, so that there is a reading from before. Nothing is said to a
//! server whose certificate does not hold, and the API server's proxy is never used: the right to it
//! (`nodes/proxy`) is one to run commands in every container.
//!
//! Each question makes the kubelet ask the API server twice who asks and what that may (it remembers
//! the answers for two and five minutes), which is what bounds how often a cluster's agents may ask.

mod client;
mod configz;
mod probes;

use super::{Outlet, Stopped, feed::Failure};
use crate::{
    config::KubeletApi,
    signal::{Body, SourceName, SourceReport, SourceState},
};
use client::KubeletClient;
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};

#[cfg(doc)]
use crate::signal::{KubeletConfiguration, ProbeCounts};

/// Between two readings of the configuration that nobody asked for.
const CONFIGURATION_EVERY: Duration = Duration::from_secs(3600);

/// Between two readings of the counts that nobody asked for: 5,000 agents ask 17 times a second in all.
const COUNTS_EVERY: Duration = Duration::from_secs(300);

/// The least time between two readings of one kind, however many containers end.
const APART: Duration = Duration::from_secs(2);

/// Waits after a failure: a kubelet that restarts is back within seconds.
const AFTER_FAILURE: [Duration; 4] = [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

/// Questions that may wait. Further ones of a kind ask for what is about to be read anyway.
const WAITING: usize = 8;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `/configz`.
    Configuration,
    /// `/metrics/probes`.
    ProbeCounts,
}

/// Asks for an answer out of turn.
#[derive(Debug, Clone)]
pub struct KubeletApiHandle {
    ask: mpsc::Sender<Question>,
}

impl KubeletApiHandle {
    /// Asks soon.
    pub fn ask(&self, question: Question) {
        // A full channel holds the same question already.
        let _ = self.ask.try_send(question);
    }
}

/// Starts the task.
pub fn spawn(api: KubeletApi, outlet: Outlet) -> (KubeletApiHandle, tokio::task::JoinHandle<()>) {
    let (ask, asked) = mpsc::channel(WAITING);
    let task = tokio::spawn(async move {
        // The only error is that nobody listens any more.
        let _ = Asking::new(api, outlet).run(asked).await;
    });
    (KubeletApiHandle { ask }, task)
}

/// Asks once, for the doctor: whether the kubelet answers, and what is missing.
///
/// # Errors
/// The process can start no runtime.
pub fn probe(api: &KubeletApi) -> std::io::Result<(SourceState, String, Option<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let mut client = KubeletClient::new(api.clone());
        for question in [Question::Configuration, Question::ProbeCounts] {
            if let Err(Failure { state, why, remedy }) = answer(&mut client, question).await {
                return (state, why, Some(remedy));
            }
        }
        (SourceState::Up, works(api), None)
    }))
}

async fn answer(client: &mut KubeletClient, question: Question) -> Result<Body, Failure> {
    match question {
        Question::Configuration => {
            let text = client.get(configz::PATH).await?;
            configz::read(&text, client.address()).map(Body::KubeletConfiguration)
        }
        Question::ProbeCounts => client.get(probes::PATH).await.map(|text| Body::ProbeCounts(probes::read(&text))),
    }
}

fn works(api: &KubeletApi) -> String {
    format!("{}: thresholds and counts of failed probes", api.address)
}

/// One kind of question and what became of it.
struct Turn {
    question: Question,
    every: Duration,
    due: Instant,
    not_before: Instant,
    failures: usize,
    failure: Option<Failure>,
}

impl Turn {
    fn new(question: Question, every: Duration, now: Instant) -> Self {
        Self { question, every, due: now, not_before: now, failures: 0, failure: None }
    }

    fn at(&self) -> Instant {
        self.due.max(self.not_before)
    }

    fn answered(&mut self, now: Instant) {
        (self.failures, self.failure) = (0, None);
        (self.due, self.not_before) = (now + self.every, now + APART);
    }

    fn failed(&mut self, failure: Failure, now: Instant) {
        // A right that is missing is not granted within a minute, and each try asks the API server.
        let wait = match failure.state {
            SourceState::Unreadable => self.every,
            _ => AFTER_FAILURE.get(self.failures).or(AFTER_FAILURE.last()).copied().unwrap_or(self.every),
        };
        self.failures = self.failures.saturating_add(1);
        self.failure = Some(failure);
        (self.due, self.not_before) = (now + wait, now + wait.min(COUNTS_EVERY));
    }
}

struct Asking {
    api: KubeletApi,
    client: KubeletClient,
    outlet: Outlet,
    turns: [Turn; 2],
    told: Option<(SourceState, String)>,
}

impl Asking {
    fn new(api: KubeletApi, outlet: Outlet) -> Self {
        let now = Instant::now();
        let turns = [Turn::new(Question::Configuration, CONFIGURATION_EVERY, now), Turn::new(Question::ProbeCounts, COUNTS_EVERY, now)];
        Self { client: KubeletClient::new(api.clone()), api, outlet, turns, told: None }
    }

    async fn run(mut self, mut asked: mpsc::Receiver<Question>) -> Result<(), Stopped> {
        loop {
            let next = self.turns.iter().map(Turn::at).min().unwrap_or_else(Instant::now);
            tokio::select! {
                question = asked.recv() => match question {
                    Some(question) => self.advance(question),
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(next) => self.take_turns().await?,
            }
        }
    }

    fn advance(&mut self, question: Question) {
        let now = Instant::now();
        self.turns.iter_mut().filter(|turn| turn.question == question).for_each(|turn| turn.due = now);
    }

    async fn take_turns(&mut self) -> Result<(), Stopped> {
        for turn in &mut self.turns {
            if turn.at() > Instant::now() {
                continue;
            }
            match answer(&mut self.client, turn.question).await {
                Ok(body) => {
                    turn.answered(Instant::now());
                    self.outlet.send_async(body).await?;
                }
                Err(failure) => turn.failed(failure, Instant::now()),
            }
        }
        self.report().await
    }

    async fn report(&mut self) -> Result<(), Stopped> {
        let failures: Vec<Failure> = self.turns.iter().filter_map(|turn| turn.failure.clone()).collect();
        // Each right that is missing is another one; all else is wrong with both alike.
        let of_each: Vec<_> = failures.iter().map(|failure| format!("{}; {}", failure.why, failure.remedy)).collect();
        let alike = failures.iter().all(|failure| failures.first().is_some_and(|first| first.remedy == failure.remedy));
        let (state, detail) = match Failure::of_all(failures) {
            None => (SourceState::Up, works(&self.api)),
            Some(Failure { state, .. }) if !alike => (state, of_each.join("; ")),
            Some(Failure { state, why, remedy }) => (state, format!("{why}; {remedy}")),
        };
        if self.told.as_ref() == Some(&(state, detail.clone())) {
            return Ok(());
        }
        self.told = Some((state, detail.clone()));
        self.outlet.send_async(Body::Source(SourceReport { source: SourceName::KubeletApi, state, detail })).await
    }
}
