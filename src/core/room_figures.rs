//! What is left on the node, as exporters read it.

use super::{Core, FilesystemFigures, PodStorageFigures, RoomFigures, SignalFigures};
use crate::model::BootTime;

/// Pods whose storage is told: who fills a disk is among the first.
const LARGEST: usize = 10;

impl Core {
    pub(super) fn room_figures(&self) -> RoomFigures {
        let now = self.now.map_or(BootTime(0), |now| now.boot);
        let signals = self.room.margins(now).into_iter().map(|margin| SignalFigures {
            signal: margin.signal,
            available: margin.available,
            threshold: margin.threshold.map(|(threshold, _)| threshold),
            reached_in_seconds: margin.reached_in_seconds,
        });
        RoomFigures { filesystems: self.filesystem_figures(now), signals: signals.collect(), pods: self.largest_pods() }
    }

    fn filesystem_figures(&self, now: BootTime) -> Vec<FilesystemFigures> {
        let filesystems = self.room.sample(now).into_iter().flat_map(|sample| &sample.filesystems);
        let in_each_role = filesystems.flat_map(|filesystem| filesystem.roles.iter().map(move |role| (*role, filesystem)));
        in_each_role
            .map(|(role, filesystem)| FilesystemFigures {
                role,
                size: filesystem.size,
                available: filesystem.available,
                inodes: filesystem.inodes,
                inodes_free: filesystem.inodes_free,
            })
            .collect()
    }

    fn largest_pods(&self) -> Vec<PodStorageFigures> {
        let mut pods: Vec<_> = self.room.storage.latest().map(|(uid, storage)| (storage.total().bytes, uid)).collect();
        pods.sort_by_key(|(bytes, uid)| (std::cmp::Reverse(*bytes), *uid));
        let largest = pods.into_iter().take(LARGEST);
        largest
            .map(|(bytes, uid)| {
                let subject = self.inventory.subject(Some(uid), None);
                PodStorageFigures {
                    namespace: subject.namespace.unwrap_or_default(),
                    pod: subject.pod.unwrap_or_else(|| uid.to_string()),
                    bytes,
                }
            })
            .collect()
    }
}
