//! When to stop: Ctrl-C, or the signal that Kubernetes and systemd send.

use tokio::signal::unix::{SignalKind, signal};

/// Is done when the process is asked to stop.
pub async fn asked() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Without handlers the signals end the process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
