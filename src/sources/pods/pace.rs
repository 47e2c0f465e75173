//! How soon the API server is asked again after it has failed.

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use kube::runtime::{
    utils::Backoff,
    watcher::{DefaultBackoff, Error},
};
use std::time::Duration;
use tokio::time::sleep;

/// HTTP 410: the server answers, and what this client knows is too old to go on from.
const GONE: u16 = 410;

/// Waits after each failure: 0.8 to 30 s and as much again by chance, so that after an outage the agents of a cluster
/// come back spread over a minute.
///
/// Who comes back to an API server that was started anew is told that its version is too old, once. That is no second
/// outage: it lists a second later. An answer like that again and again is waited for longer and longer, too.
pub fn paced<T: Send + 'static>(events: impl Stream<Item = Result<T, Error>> + Send + 'static) -> BoxStream<'static, Result<T, Error>> {
    let state = (events.boxed(), Waits::default(), None::<Duration>);
    let paced = stream::unfold(state, |(mut events, mut waits, wait)| async move {
        if let Some(wait) = wait {
            sleep(wait).await;
        }
        let event = events.next().await?;
        let wait = waits.after(&event);
        Some((event, (events, waits, wait)))
    });
    paced.boxed()
}

#[derive(Default)]
struct Waits {
    unreachable: DefaultBackoff,
    /// Not reset by a list that succeeds: that may be followed by the same answer. It resets itself after two minutes.
    outdated: DefaultBackoff,
}

impl Waits {
    fn after<T>(&mut self, event: &Result<T, Error>) -> Option<Duration> {
        match event {
            Ok(_) => {
                self.unreachable.reset();
                None
            }
            Err(error) if is_outdated(error) => self.outdated.next(),
            Err(_) => self.unreachable.next(),
        }
    }
}

fn is_outdated(error: &Error) -> bool {
    super::api_watch::refusal(error) == Some(GONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use tokio::time::Instant;

    fn unreachable() -> Error {
        Error::WatchStartFailed(kube::Error::LinesCodecMaxLineLengthExceeded)
    }

    fn outdated() -> Error {
        Error::WatchError(Box::new(Status { code: GONE, ..Status::failure("too old resource version", "Expired") }))
    }

    /// The waits before each event but the first.
    async fn waits(events: Vec<Result<(), Error>>) -> Vec<Duration> {
        let mut paced = paced(stream::iter(events));
        let (mut waits, mut before) = (Vec::new(), Instant::now());
        while paced.next().await.is_some() {
            waits.push(before.elapsed());
            before = Instant::now();
        }
        waits.split_off(1)
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_with_an_old_version_lists_soon() {
        let mut events: Vec<_> = (0..8).map(|_| Err(unreachable())).collect();
        events.extend([Err(outdated()), Ok(())]);
        let waits = waits(events).await;
        assert!(waits[7] >= Duration::from_secs(30), "an outage is waited for: {waits:?}");
        assert!(waits[8] < Duration::from_secs(2), "an answer is not: {waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_always_finds_it_too_old_is_asked_ever_more_seldom() {
        let events = (0..16).map(|n| if n % 2 == 0 { Err(outdated()) } else { Ok(()) }).collect();
        let waits = waits(events).await;
        assert!(waits[14] >= Duration::from_secs(30), "{waits:?}");
    }
}
