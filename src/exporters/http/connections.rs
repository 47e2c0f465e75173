//! Connections that cannot be used to wear the agent down.
//!
//! Flows in: a listening socket. Flows out: connections, a bounded number of them, each with a
//! deadline and a bounded number of bytes to read. A connection serves one request (the answer says
//! `Connection: close`), so that one deadline and one size hold for everything on it.

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

/// From the first byte to the last. The largest answer, 512 findings of 4 kB, takes a second at 20 Mbit/s.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// The most connections at once: some Prometheus servers, probes and people. At 16 KiB of request
/// each they hold 1 MiB.
const MAX_CONNECTIONS: usize = 64;

/// The most connections of one address, so that one stranger cannot shut out the kubelet's probes.
const MAX_CONNECTIONS_OF_ONE_PEER: usize = 32;

/// The most bytes of one request. No request has a body; a token and a long query fit many times.
const MAX_REQUEST_BYTES: usize = 16 << 10;

/// The address at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        // A socket for both families shows IPv4 peers as IPv6.
        Self(stream.remote_addr().ip().to_canonical())
    }
}

/// A listener that hands out bounded connections.
#[derive(Debug)]
pub(super) struct Connections {
    listener: TcpListener,
    deadline: Duration,
    slots: Arc<Semaphore>,
    of_peers: BTreeMap<IpAddr, Arc<Semaphore>>,
}

impl Connections {
    pub(super) fn new(listener: TcpListener, deadline: Duration) -> Self {
        Self { listener, deadline, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)), of_peers: BTreeMap::new() }
    }

    /// A slot for one more connection of this peer; `None` if it has too many.
    fn peer_slot(&mut self, peer: IpAddr) -> Option<OwnedSemaphorePermit> {
        self.of_peers.retain(|_, slots| slots.available_permits() < MAX_CONNECTIONS_OF_ONE_PEER);
        let slots = self.of_peers.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(MAX_CONNECTIONS_OF_ONE_PEER)));
        Arc::clone(slots).try_acquire_owned().ok()
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Nobody closes the semaphore; without a slot the connection would only lack the bound.
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            if let Some(peer_slot) = self.peer_slot(peer.ip()) {
                // A body that follows its head in a second packet must not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let deadline = Box::pin(sleep_until(Instant::now() + self.deadline));
                return (Connection { stream, deadline, may_read: MAX_REQUEST_BYTES, _slots: (slot, peer_slot) }, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    may_read: usize,
    _slots: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
}

impl Connection {
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        if self.may_read == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.may_read = self.may_read.saturating_sub(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
