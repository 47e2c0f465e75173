//! The kubelet's process: where neither PID 1 nor the kubelet says that it ended (Talos, k3s under OpenRC, a log in a
//! file), its absence is all there is.

use super::{Core, node_trouble::trouble_topic};
use crate::{
    model::{BootTime, Cause, Moment},
    signal::RoomSample,
};

/// It is gone when none was seen for so long: a restart by hand takes less, systemd's own waits 10 s, and a new
/// process is looked for every 30 s.
const GONE_SECONDS: u64 = 90;

/// It is back when it has run in so many samples in a row: one that cannot start runs for seconds.
const BACK: u32 = 3;

/// What the samples have shown.
#[derive(Debug, Default)]
pub(super) struct KubeletProcess {
    gone_since: Option<Moment>,
    told: bool,
    back: u32,
}

impl KubeletProcess {
    fn is_gone(&mut self, at: Moment) -> Option<Moment> {
        self.back = 0;
        let since = *self.gone_since.get_or_insert(at);
        let new = !self.told && at.boot.seconds_since(since.boot) >= GONE_SECONDS;
        self.told |= new;
        new.then_some(since)
    }

    fn is_back(&mut self) -> bool {
        (self.gone_since, self.told) = (None, false);
        self.back = self.back.saturating_add(1);
        self.back == BACK
    }
}

impl Core {
    /// Takes in whether a kubelet runs.
    pub(super) fn kubelet_process(&mut self, sample: &RoomSample, at: Moment) {
        let read = self.now.map_or(at.boot, |now: Moment| now.boot);
        match sample.kubelet_runs {
            Some(false) => self.kubelet_is_gone(at, read),
            Some(true) if self.kubelet_process.is_back() => {
                let news = self.kubelet_log.durable.troubles.kubelet_back();
                self.node_news(news, at);
            }
            _ => {}
        }
    }

    fn kubelet_is_gone(&mut self, at: Moment, read: BootTime) {
        if let Some(since) = self.kubelet_process.is_gone(at) {
            let news = self.kubelet_log.durable.troubles.kubelet_gone(since, read);
            self.node_news(news, at);
        } else if self.kubelet_process.told {
            self.findings.still_holds(&trouble_topic(Cause::KubeletDown), at);
        }
    }
}
