//! The lives of the kubelet and of the container runtime as services, as PID 1 tells them.
//!
//! Flows in: events of a unit. Flows out: signs that it crashed and came back, cannot start, or is
//! gone. What someone asked for, a restart by hand or an upgrade, is no trouble if it comes back.

use super::sign::Sign;
use crate::{
    model::{BootTime, Cause, Moment, UnitRole},
    parse::kubelet::UnitEvent,
};
use serde::{Deserialize, Serialize};

/// A life of this length was a successful start, whatever else is known: a process that cannot start
/// ends within seconds.
const LIVES_SECONDS: u64 = 60;
/// So many ends in a row without a start in between that worked are a service that cannot start.
const FAILED_STARTS: u32 = 2;
/// What systemd says about one end lies closer together than this.
const SAME_END_MICROS: u64 = 5_000_000;
/// kubeadm's unit waits 10 s before it starts the kubelet again; some distributions wait 30 s.
const CRASHED_AWAY_SECONDS: u64 = 60;
/// An upgrade of a package or a restart by hand takes less.
const STOPPED_AWAY_SECONDS: u64 = 30;
/// Without its runtime a node can start nothing; a restart takes a second or two.
const RUNTIME_AWAY_SECONDS: u64 = 20;

/// How far a service's newest life has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// The agent has not seen it start.
    #[default]
    Unknown,
    /// It was started and has not said that it works.
    Starting,
    /// It works.
    Ready,
}

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct End {
    at: Moment,
    /// When the agent read of it.
    read: BootTime,
    /// How, as a clause that follows the service's name.
    how: String,
    /// Someone asked for it.
    asked: bool,
    /// It had worked before.
    worked: bool,
    /// That it stays away has been told.
    told: bool,
}

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    phase: Phase,
    started: Option<Moment>,
    asked: bool,
    ended: Option<End>,
    failed_starts: u32,
    counter: Option<u64>,
    oom_kill: Option<BootTime>,
    fatal: bool,
}

impl Service {
    /// When its newest life began.
    pub fn started(&self) -> Option<Moment> {
        self.started
    }

    /// Its own log says that it starts: the only word where PID 1 says nothing.
    pub fn starts(&mut self, at: Moment) {
        self.started = Some(at);
    }

    /// Its process is gone, and nobody said how it ended.
    pub fn vanishes(&mut self) {
        (self.phase, self.started) = (Phase::Unknown, None);
    }

    /// It says why it cannot start, and ends.
    pub fn ends_with_words(&mut self) {
        self.fatal = true;
    }

    /// Whether it has said why its present life fails.
    pub fn said_fatal(&self) -> bool {
        self.fatal
    }

    /// It says itself that it works.
    pub fn works(&mut self) {
        (self.phase, self.failed_starts, self.ended) = (Phase::Ready, 0, None);
    }

    /// Whether it is known to have worked for a while since its last start.
    pub fn has_settled(&self, now: BootTime) -> bool {
        self.ended.is_none() && self.started.is_some_and(|at| now.seconds_since(at.boot) >= LIVES_SECONDS)
    }

    /// Takes what PID 1 says.
    pub fn take(&mut self, role: UnitRole, event: &UnitEvent, at: Moment, read: BootTime) -> Option<Sign> {
        match event {
            UnitEvent::Stopping => self.asked = true,
            UnitEvent::Stopped if self.ended.is_none() => self.end(true, "was stopped".into(), at, read),
            UnitEvent::Stopped => {}
            UnitEvent::OomKilledProcess => self.oom_kill = Some(at.boot),
            UnitEvent::MainProcessExited { code, status } => {
                let asked = self.asked || !event.is_problem();
                self.end(asked, self.way_of_ending(code, status, at.boot), at, read);
                return self.failed_start(role);
            }
            UnitEvent::Failed { result } => return self.failed(role, result.as_deref(), at, read),
            UnitEvent::RestartScheduled { counter } => self.counter = counter.or(self.counter),
            UnitEvent::StartLimitHit => {
                let what = format!("systemd has given up starting {}: it failed too often", name(role));
                return Some(Sign { rank: 4, ..Sign::down(down(role), "start_limit", what) });
            }
            UnitEvent::Started => return self.start(role, at),
        }
        None
    }

    /// The sign that it stays away, once.
    pub fn missed(&mut self, role: UnitRole, now: BootTime) -> Option<(Sign, Moment)> {
        let end = self.ended.as_mut().filter(|end| !end.told)?;
        let patience = match (role, end.asked) {
            (UnitRole::Runtime, _) => RUNTIME_AWAY_SECONDS,
            (UnitRole::Kubelet, true) => STOPPED_AWAY_SECONDS,
            (UnitRole::Kubelet, false) => CRASHED_AWAY_SECONDS,
        };
        if now.seconds_since(end.read) < patience {
            return None;
        }
        end.told = true;
        let how = if end.asked { "was stopped, as someone had asked systemd," } else { end.how.as_str() };
        let what = format!("{} {how} and has not come back", name(role));
        Some((Sign { rank: 2, ..Sign::down(down(role), "away", what) }, end.at))
    }

    fn start(&mut self, role: UnitRole, at: Moment) -> Option<Sign> {
        let crash = self.ended.take().filter(|end| !end.asked && end.worked);
        self.started = Some(at);
        (self.asked, self.fatal) = (false, false);
        // A runtime's unit is of Type=notify: it is started when it answers. The kubelet's is not.
        self.phase = if role == UnitRole::Runtime { Phase::Ready } else { Phase::Starting };
        if role == UnitRole::Runtime {
            self.failed_starts = 0;
        }
        let crash = crash?;
        let counter = self.counter.map_or(String::new(), |counter| format!(" (systemd's restart counter is at {counter})"));
        let what = format!("{} {} and was started again{counter}", name(role), crash.how);
        Some(Sign::event(restarted(role), "restarted", what))
    }

    fn end(&mut self, asked: bool, how: String, at: Moment, read: BootTime) {
        let old_enough = self.started.is_some_and(|started| at.boot.seconds_since(started.boot) >= LIVES_SECONDS);
        let worked = self.phase != Phase::Starting || old_enough;
        let told = self.ended.as_ref().is_some_and(|end| end.told);
        self.ended = Some(End { at, read, how, asked, worked, told });
        self.phase = Phase::Starting;
    }

    fn failed_start(&mut self, role: UnitRole) -> Option<Sign> {
        let end = self.ended.as_ref().filter(|end| !end.worked && !end.asked)?;
        self.failed_starts = self.failed_starts.saturating_add(1);
        if self.failed_starts < FAILED_STARTS {
            return None;
        }
        let what = format!("{} cannot start: it {}, for the {} time in a row", name(role), end.how, ordinal(self.failed_starts));
        Some(Sign { rank: 2, ..Sign::down(down(role), "loop", what) })
    }

    /// `Failed with result`, which follows the end of the main process and may know better.
    fn failed(&mut self, role: UnitRole, result: Option<&str>, at: Moment, read: BootTime) -> Option<Sign> {
        let better = match result {
            Some("oom-kill") => Some(OOM_KILLED.to_owned()),
            Some("watchdog") => Some("was killed by systemd because its watchdog got no sign of life".to_owned()),
            _ => None,
        };
        let told = self.ended.as_mut().filter(|end| at.boot.micros_since(end.at.boot) <= SAME_END_MICROS);
        if let Some(end) = told {
            end.how = better.unwrap_or_else(|| std::mem::take(&mut end.how));
            return None;
        }
        let how = better.unwrap_or_else(|| format!("failed ({})", result.unwrap_or("no reason given")));
        self.end(false, how, at, read);
        self.failed_start(role)
    }

    fn way_of_ending(&self, code: &str, status: &str, at: BootTime) -> String {
        let by_oom = self.oom_kill.is_some_and(|kill| at.micros_since(kill) <= SAME_END_MICROS);
        match code {
            _ if by_oom && status.starts_with("9/") => OOM_KILLED.into(),
            "exited" => format!("ended itself with status {status}"),
            "dumped" => format!("crashed ({status})"),
            _ => format!("was killed ({status})"),
        }
    }
}

const OOM_KILLED: &str = "was killed by the kernel's OOM killer";

const fn name(role: UnitRole) -> &'static str {
    match role {
        UnitRole::Kubelet => "the kubelet",
        UnitRole::Runtime => "the container runtime",
    }
}

/// That it is away.
pub const fn down(role: UnitRole) -> Cause {
    match role {
        UnitRole::Kubelet => Cause::KubeletDown,
        UnitRole::Runtime => Cause::RuntimeDown,
    }
}

const fn restarted(role: UnitRole) -> Cause {
    match role {
        UnitRole::Kubelet => Cause::KubeletRestarted,
        UnitRole::Runtime => Cause::RuntimeRestarted,
    }
}

fn ordinal(count: u32) -> String {
    let ending = match (count % 10, count % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{count}{ending}")
}
