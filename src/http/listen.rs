//! Connections, bounded: how many, and how long one may take without taking anything of what it asked for.
//!
//! A connection counts for nothing until a token was granted something on it. Until then its time is not prolonged by anything, and it is
//! the first to go where all places are taken; so who has no token keeps nobody out. Those with a token cannot take every place either,
//! and one token not even half of them.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep};

/// Connections at once; a further one takes the place of the oldest on which nothing was granted.
const AT_ONCE: usize = 64;
/// Of them those on which a token was granted something; the rest stays for those that ask for it, and for health.
const GRANTED: usize = 56;
/// Of those, what one token may have.
const ONE_TOKEN: usize = 24;
/// A connection that asks for nothing whole, or takes nothing of its answer, for so long is closed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who asks.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    grant: Arc<OnceLock<Place>>,
    places: Arc<Places>,
}

impl Peer {
    /// The token of this name was granted something on this connection; false where there are too many such connections, or too many of its.
    pub fn granted(&self, token: &str) -> bool {
        if self.grant.get().is_none() {
            let Some(place) = self.places.take(token) else { return false };
            // Two requests at once on one connection are not possible; were they, one place would do.
            let _ = self.grant.set(place);
        }
        true
    }
}

/// A place among those on which something was granted; free again when dropped.
#[derive(Debug)]
struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_token: OwnedSemaphorePermit,
}

/// The places on which something may be granted.
#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    of: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Places {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(GRANTED)), of: Mutex::default() }
    }

    fn take(&self, token: &str) -> Option<Place> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        // Tokens without a place are forgotten.
        of.retain(|name, s| name == token || s.available_permits() < ONE_TOKEN);
        let its = of.entry(token.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(ONE_TOKEN))).clone();
        drop(of);
        let of_token = its.try_acquire_owned().ok()?;
        Some(Place { _of_all: self.all.clone().try_acquire_owned().ok()?, _of_token: of_token })
    }
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        let grant = stream.io().grant.clone();
        Self { address: *stream.remote_addr(), grant, places: stream.io().places.clone() }
    }
}

/// A listener with both bounds.
pub struct Bounded {
    listener: TcpListener,
    places: Arc<Places>,
    /// The connections that are open, the oldest first; dropping the sender ends one.
    open: VecDeque<(Weak<OnceLock<Place>>, oneshot::Sender<()>)>,
}

impl Bounded {
    /// Around a bound socket.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Places::new()), open: VecDeque::new() }
    }

    fn admit(&mut self, stream: TcpStream) -> Watched {
        self.open.retain(|(_, end)| !end.is_closed());
        if self.open.len() >= AT_ONCE {
            let nothing = |grant: &Weak<OnceLock<_>>| grant.upgrade().is_none_or(|g| g.get().is_none());
            let oldest = self.open.iter().position(|(grant, _)| nothing(grant));
            drop(oldest.and_then(|i| self.open.remove(i)));
        }
        let (end, ended) = oneshot::channel();
        let grant = Arc::default();
        self.open.push_back((Arc::downgrade(&grant), end));
        let deadline = Box::pin(tokio::time::sleep(PATIENCE));
        Watched { stream, deadline, ended, grant, gone: false, prolonged: false, places: self.places.clone() }
    }
}

impl Listener for Bounded {
    type Io = Watched;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Watched, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (self.admit(stream), peer),
                Err(e) => {
                    // Out of file handles, mostly: a moment later there may be one.
                    tracing::debug!(error = %e, "a connection was not taken");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with a deadline that only what it takes of granted answers moves on: bytes that trickle in do not.
pub struct Watched {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    ended: oneshot::Receiver<()>,
    grant: Arc<OnceLock<Place>>,
    gone: bool,
    prolonged: bool,
    places: Arc<Places>,
}

impl Watched {
    fn over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.prolonged && self.grant.get().is_some() {
            // The time to ask is over; the time to take begins.
            self.prolonged = true;
            self.moved();
        }
        if self.gone || Pin::new(&mut self.ended).poll(cx).is_ready() {
            // It must not be asked again after that.
            self.gone = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn moved(&mut self) {
        if self.grant.get().is_some() {
            self.deadline.as_mut().reset(Instant::now() + PATIENCE);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(over) = self.over(cx) {
            return Poll::Ready(over);
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            Poll::Ready(done) => {
                self.moved();
                Poll::Ready(done)
            }
            Poll::Pending => self.over(cx).map(|over| over.map(|()| 0)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_takes_the_places_of_the_others_and_all_of_them_not_all() {
        let places = Places::new();
        let mut held: Vec<Place> = std::iter::from_fn(|| places.take("a")).collect();
        assert_eq!(held.len(), ONE_TOKEN);
        held.extend(std::iter::from_fn(|| places.take("b")));
        held.extend(std::iter::from_fn(|| places.take("c")));
        assert_eq!(held.len(), GRANTED, "what is left goes to the third");
        assert!(places.take("d").is_none());
        held.truncate(ONE_TOKEN - 1);
        assert!(places.take("a").is_some() && places.take("d").is_some(), "a place that was left is free");
    }
}
