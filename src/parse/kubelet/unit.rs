//! What PID 1 says about the unit that the kubelet or the runtime runs in.
//!
//! Source: systemd `src/core/job.c`, `service.c`, `unit.c` (219 to 257). The text of one line in, an
//! event out. Whether PID 1 really wrote it, the caller must know.

use super::excerpt::Excerpt;
use super::situation::{Observation, Situation};
use super::subject::Subject;
use crate::model::{ServiceName, UnitRole};

/// What happened to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// Its main process ended.
    MainProcessExited {
        /// `exited`, `killed` or `dumped`.
        code: String,
        /// Such as `1/FAILURE` or `9/KILL`.
        status: String,
    },
    /// It counts as failed.
    Failed {
        /// Such as `exit-code`, `signal`, `oom-kill`, `watchdog`; not said by systemd before 235.
        result: Option<String>,
    },
    /// It will be started again.
    RestartScheduled {
        /// How many times so far, since someone last started it by hand.
        counter: Option<u64>,
    },
    /// The OOM killer took one of its processes, not necessarily the main one.
    OomKilledProcess,
    /// It failed too often; systemd gives up.
    StartLimitHit,
    /// It started; for a unit of `Type=notify`, it says that it is ready.
    Started,
    /// Someone asked for its end: an operator, an upgrade, the shutdown of the machine.
    Stopping,
    /// It has ended, by such an order or before a restart.
    Stopped,
}

/// Reads one line of PID 1 that names its unit; `None` when it is about another unit than those that distributions have,
/// or says nothing of note.
pub fn observe(text: &str) -> Option<Observation> {
    let text = text.trim();
    let (unit, said) = unit_and_sentence(text)?;
    observation(unit, UnitRole::of(unit)?, said, text)
}

/// Reads one line of PID 1 about this unit, as journald vouches for: systemd before 249 calls a unit by its description
/// when it tells of a start or a stop.
pub fn observe_of(unit: &str, role: UnitRole, text: &str) -> Option<Observation> {
    let text = text.trim();
    let said = match text.split_once(' ')? {
        ("Unit", rest) => rest.split_once(' ')?.1,
        (first @ ("Started" | "Stopping" | "Stopped"), _) => first,
        (_, rest) => rest,
    };
    observation(unit, role, said, text)
}

fn observation(unit: &str, role: UnitRole, said: &str, text: &str) -> Option<Observation> {
    let situation = Situation::Unit { unit: ServiceName(unit.into()), role, event: event(said)? };
    Some(Observation { situation, subject: Subject::default(), said: Excerpt::of(text), stamp: None })
}

fn unit_and_sentence(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once(' ')?;
    match first {
        // systemd 219: `Unit kubelet.service entered failed state.`
        "Unit" => rest.split_once(' '),
        // `Started kubelet.service - …`; older: `Started kubelet: The Kubernetes Node Agent.`
        "Started" | "Stopping" | "Stopped" => {
            let word = rest.split([' ', '.', ':']).next()?;
            let unit = rest.split(' ').next().map(|word| word.trim_end_matches('.')).filter(|word| word.ends_with(".service"));
            unit.or(Some(word).filter(|word| *word == "kubelet").map(|_| "kubelet.service")).map(|unit| (unit, first))
        }
        // systemd 219 leaves the colon out in some sentences.
        _ => Some((first.strip_suffix(':').unwrap_or(first), rest)),
    }
}

fn event(said: &str) -> Option<UnitEvent> {
    let lower = said.to_ascii_lowercase();
    let begins = |words: &str| lower.starts_with(words);
    if begins("main process exited") {
        let value = |key| said.split_once(key).map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or("").to_owned());
        return Some(UnitEvent::MainProcessExited { code: value("code=")?, status: value("status=").unwrap_or_default() });
    }
    if begins("failed with result") || begins("unit entered failed state") || begins("entered failed state") || lower == "failed." {
        return Some(UnitEvent::Failed { result: said.split('\'').nth(1).map(str::to_owned) });
    }
    if begins("scheduled restart job") || lower.contains("scheduling restart") {
        let counter = lower.split_once("counter is at ").and_then(|(_, rest)| rest.trim_end_matches('.').parse().ok());
        return Some(UnitEvent::RestartScheduled { counter });
    }
    if begins("a process of this unit has been killed by the oom killer") {
        return Some(UnitEvent::OomKilledProcess);
    }
    if begins("start request repeated too quickly") {
        return Some(UnitEvent::StartLimitHit);
    }
    match lower.split(' ').next()? {
        "started" => Some(UnitEvent::Started),
        "stopping" => Some(UnitEvent::Stopping),
        "stopped" => Some(UnitEvent::Stopped),
        _ => None,
    }
}

impl UnitEvent {
    /// Whether it tells of trouble by itself. An end with status 0 or by SIGTERM is a stop.
    pub fn is_problem(&self) -> bool {
        match self {
            Self::MainProcessExited { status, .. } => !status.starts_with("0/") && !status.ends_with("/TERM") && status != "143/n/a",
            Self::Failed { .. } | Self::RestartScheduled { .. } | Self::StartLimitHit => true,
            Self::OomKilledProcess | Self::Started | Self::Stopping | Self::Stopped => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event_of(text: &str) -> Option<UnitEvent> {
        match observe(text)?.situation {
            Situation::Unit { event, .. } => Some(event),
            _ => None,
        }
    }

    #[test]
    fn sentences_of_old_and_new_systemd() {
        let exited = |code: &str, status: &str| Some(UnitEvent::MainProcessExited { code: code.into(), status: status.into() });
        assert_eq!(event_of("kubelet.service: Main process exited, code=exited, status=1/FAILURE"), exited("exited", "1/FAILURE"));
        assert_eq!(event_of("kubelet.service: main process exited, code=killed, status=9/KILL"), exited("killed", "9/KILL"));
        assert_eq!(event_of("k3s.service: Failed with result 'oom-kill'."), Some(UnitEvent::Failed { result: Some("oom-kill".into()) }));
        assert_eq!(event_of("Unit kubelet.service entered failed state."), Some(UnitEvent::Failed { result: None }));
        assert_eq!(event_of("kubelet.service failed."), Some(UnitEvent::Failed { result: None }));
        assert_eq!(
            event_of("kubelet.service: Scheduled restart job, restart counter is at 41."),
            Some(UnitEvent::RestartScheduled { counter: Some(41) })
        );
        assert_eq!(event_of("kubelet.service holdoff time over, scheduling restart."), Some(UnitEvent::RestartScheduled { counter: None }));
        assert_eq!(
            event_of("kubelet.service: Service hold-off time over, scheduling restart."),
            Some(UnitEvent::RestartScheduled { counter: None })
        );
        assert_eq!(
            event_of("containerd.service: A process of this unit has been killed by the OOM killer."),
            Some(UnitEvent::OomKilledProcess)
        );
        assert_eq!(event_of("Started kubelet.service - kubelet: The Kubernetes Node Agent."), Some(UnitEvent::Started));
        assert_eq!(event_of("Started kubelet: The Kubernetes Node Agent."), Some(UnitEvent::Started));
        assert_eq!(event_of("Stopping kubelet.service - kubelet: The Kubernetes Node Agent..."), Some(UnitEvent::Stopping));
        assert_eq!(event_of("Stopped containerd.service - containerd container runtime."), Some(UnitEvent::Stopped));
        assert_eq!(event_of("Stopped kubelet.service."), Some(UnitEvent::Stopped));
    }

    #[test]
    fn other_units_and_other_sentences_are_nothing() {
        for text in [
            "",
            "kubelet.service",
            "cron.service: Failed with result 'exit-code'.",
            "kubelet.service: Consumed 3s CPU time.",
            "kubelet.service: Deactivated successfully.",
            "mykubelet.service: Failed with result 'x'.",
            "Started Session 5 of user root.",
        ] {
            assert_eq!(observe(text), None, "{text}");
        }
    }

    #[test]
    fn a_unit_of_any_name_is_read_where_somebody_else_names_it() {
        let event_of = |text: &str| match observe_of("node-agent.service", UnitRole::Kubelet, text)?.situation {
            Situation::Unit { unit, role: UnitRole::Kubelet, event } if &*unit.0 == "node-agent.service" => Some(event),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            event_of("node-agent.service: Scheduled restart job, restart counter is at 3."),
            Some(UnitEvent::RestartScheduled { counter: Some(3) })
        );
        assert_eq!(event_of("Unit node-agent.service entered failed state."), Some(UnitEvent::Failed { result: None }));
        assert_eq!(event_of("Started node-agent.service - Our Node Agent."), Some(UnitEvent::Started));
        assert_eq!(event_of("Stopping Our Node Agent..."), Some(UnitEvent::Stopping));
        assert_eq!(event_of("Stopped Our Node Agent."), Some(UnitEvent::Stopped));
        assert_eq!(event_of("node-agent.service: Consumed 3s CPU time."), None);
        assert_eq!(event_of("Starting Our Node Agent..."), None);
        assert_eq!(observe("node-agent.service: Failed with result 'exit-code'."), None, "nobody says what it is");
    }

    #[test]
    fn a_stop_is_no_problem() {
        let problem = |text| event_of(text).expect("event").is_problem();
        assert!(problem("kubelet.service: Main process exited, code=exited, status=255/EXCEPTION"));
        assert!(!problem("kubelet.service: Main process exited, code=exited, status=0/SUCCESS"));
        assert!(!problem("kubelet.service: Main process exited, code=killed, status=15/TERM"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(kubelet.service: |Started |Unit )?.{0,80}") {
            let _ = (observe(&text), observe_of("x.service", UnitRole::Runtime, &text));
        }
    }
}
