//! The socket: who may ask, how long a line may be, and that no client holds up another.
//!
//! Each client has a task of its own that reads a line, answers it, and reads the next; a client that does not read its
//! answers is left after [`WRITE_PATIENCE`]. Queries scan the store and run on blocking threads, a few at a time.

use super::protocol::{AdminError, Answer, Code, MAX_LINE, Request};
use super::{AdminContext, queries};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, fchmod};
use serde_json::Value;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Clients at once.
pub const MAX_CLIENTS: usize = 64;
/// Queries at once.
const MAX_QUERIES: usize = 4;
/// How long an answer may wait for its reader.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether the ledger has changed, so that its maps are there before they are asked for.
const WARM: Duration = Duration::from_secs(60);
/// How long clients may finish what they are at when the node stops.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of a socket's path that the system takes (`sun_path`, without its terminator).
pub(super) const MAX_PATH: usize = 107;

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its path does not fit into a socket address.
    #[error(
        "{path}: a socket's path has at most {MAX_PATH} bytes and this one has {bytes}: choose a data folder with a shorter path, or link to it with one"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Something else stands there.
    #[error("{path} is in the way and is not a socket: move it out of the data folder")]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{path}: the admin socket could not be made: {cause}; check the owner and the permissions of the folder")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Makes the socket with mode 0600, in place of one that a dead process left. The caller holds the data folder's lock, so
/// a socket that stands there is nobody's. Needs a tokio runtime.
///
/// # Errors
/// [`BindError`].
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |cause: io::Error| BindError::Io { path: path.to_owned(), cause };
    let bytes = path.as_os_str().len();
    if bytes > MAX_PATH {
        return Err(BindError::TooLong { path: path.to_owned(), bytes });
    }
    match std::fs::symlink_metadata(path) {
        Ok(m) if m.file_type().is_socket() => std::fs::remove_file(path).map_err(failed)?,
        Ok(_) => return Err(BindError::InTheWay { path: path.to_owned() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let listener = listen(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

/// The mode is set on the descriptor before the name exists: Linux gives the file the descriptor's mode, so there is no
/// moment at which another user could connect. It is set on the file as well, for systems that do not.
fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listen(&fd, Backlog::new(128)?)?;
    Ok(fd.into())
}

/// Whether a peer may ask: root, or the user that the node runs as.
pub fn may_ask(peer: u32, owner: u32) -> bool {
    peer == 0 || peer == owner
}

/// Answers clients until `stop` is done; then removes the socket, and gives those at work a moment to finish.
pub async fn serve(listener: UnixListener, ctx: Arc<AdminContext>, stop: impl Future<Output = ()>) {
    let path = listener.local_addr().ok().and_then(|a| a.as_pathname().map(Path::to_owned));
    let owner = nix::unistd::geteuid().as_raw();
    let queries = Arc::new(Semaphore::new(MAX_QUERIES));
    let (closing, closed) = watch::channel(false);
    let mut clients = JoinSet::new();
    let mut warm = tokio::time::interval(WARM);
    warm.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
            _ = warm.tick() => warm_maps(&ctx, &queries),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => if let Some((stream, uid)) = admit(stream, owner, clients.len()) {
                    let client = Client { ctx: ctx.clone(), queries: queries.clone(), closed: closed.clone(), uid };
                    clients.spawn(client.run(stream));
                },
                Err(e) => {
                    // Out of descriptors, most likely: accepting again at once would only spin.
                    tracing::warn!(error = %e, "the admin socket could not accept a client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    if let Some(p) = path {
        // A file that stays behind is replaced by the next process.
        let _ = std::fs::remove_file(p);
    }
    let _ = closing.send(true);
    let finish = async { while clients.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        clients.shutdown().await;
    }
}

/// Counts what has changed on a thread that may block, where most of those are free.
fn warm_maps(ctx: &Arc<AdminContext>, queries: &Arc<Semaphore>) {
    let free = queries.available_permits() * 2 > MAX_QUERIES;
    let Some(turn) = queries.clone().try_acquire_owned().ok().filter(|_| free) else { return };
    let ctx = ctx.clone();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let counted = queries::facts(&ctx).map(|_| ()).map_err(|e| e.to_string());
        let warmed = || ctx.maps.warm(&ctx).and_then(|()| ctx.known.warm(&ctx)).map_err(|e| e.to_string());
        if let Err(e) = counted.and_then(|()| warmed()) {
            tracing::warn!(error = %e, "the ledger could not be counted");
        }
    });
}

/// The stream of a client that may ask, and its user; others get their refusal, as far as it fits without waiting.
fn admit(stream: UnixStream, owner: u32, clients: usize) -> Option<(UnixStream, u32)> {
    let refusal = match getsockopt(&stream, PeerCredentials) {
        Ok(peer) if !may_ask(peer.uid(), owner) => {
            tracing::warn!(uid = peer.uid(), "another user asked over the admin socket and was refused");
            AdminError::new(Code::Forbidden, format!("user {} may not ask: run as root or as user {owner}", peer.uid()))
        }
        Err(e) => AdminError::new(Code::Forbidden, format!("the system does not say who asks: {e}")),
        Ok(_) if clients >= MAX_CLIENTS => {
            AdminError::new(Code::Busy, format!("{clients} clients are connected: close one and try again"))
        }
        Ok(peer) => return Some((stream, peer.uid())),
    };
    let line = Answer { id: Value::Null, result: Err(refusal) }.to_line();
    let _ = stream.try_write(line.as_bytes());
    None
}

struct Client {
    ctx: Arc<AdminContext>,
    queries: Arc<Semaphore>,
    closed: watch::Receiver<bool>,
    uid: u32,
}

impl Client {
    async fn run(mut self, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = Lines { from: BufReader::new(read), line: Vec::new(), skipping: false };
        loop {
            let incoming = tokio::select! {
                biased;
                _ = self.closed.changed() => return,
                line = lines.next() => match line {
                    Ok(l) => l,
                    Err(_) => return,
                },
            };
            let answer = match incoming {
                Incoming::End => return,
                Incoming::Line(line) => self.answer(line).await,
                Incoming::TooLong => {
                    refuse(Code::TooLong, format!("a line has at most {MAX_LINE} bytes: ask in parts"))
                }
                Incoming::Half => {
                    refuse(Code::BadRequest, "the line ended without a newline: send one after each request")
                }
            };
            if say(&mut write, &answer).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, line: Vec<u8>) -> Answer {
        let request = match Request::parse(&line) {
            Ok(r) => r,
            Err((id, e)) => return Answer { id, result: Err(e) },
        };
        let id = request.id.clone();
        let Ok(_turn) = self.queries.acquire().await else { return refuse(Code::Busy, "the node is stopping") };
        let (ctx, uid) = (self.ctx.clone(), self.uid);
        let result = tokio::task::spawn_blocking(move || queries::answer(&ctx, &request.cmd, request.args, uid)).await;
        let gone = |_| AdminError::new(Code::Failed, "the query ended without an answer; see the node's log");
        Answer { id, result: result.map_err(gone).and_then(|r| r) }
    }
}

fn refuse(code: Code, message: impl Into<String>) -> Answer {
    Answer { id: Value::Null, result: Err(AdminError::new(code, message)) }
}

async fn say(to: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let line = answer.to_line();
    match tokio::time::timeout(WRITE_PATIENCE, to.write_all(line.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What a client sent.
enum Incoming {
    /// A line, without its newline.
    Line(Vec<u8>),
    /// More than [`MAX_LINE`] bytes; what follows up to the newline is dropped.
    TooLong,
    /// Bytes, and then the end: what is read next is [`Incoming::End`].
    Half,
    /// The end.
    End,
}

struct Lines {
    from: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
    skipping: bool,
}

impl Lines {
    async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            let chunk = self.from.fill_buf().await?;
            if chunk.is_empty() {
                let half = !std::mem::take(&mut self.line).is_empty();
                return Ok(if half { Incoming::Half } else { Incoming::End });
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let (part, used) = match end {
                Some(at) => (chunk.get(..at).unwrap_or_default(), at + 1),
                None => (chunk, chunk.len()),
            };
            let too_long = !self.skipping && self.line.len() + part.len() > MAX_LINE;
            if !self.skipping && !too_long {
                self.line.extend_from_slice(part);
            }
            self.from.consume(used);
            let was_skipping = self.skipping;
            self.skipping = end.is_none() && (was_skipping || too_long);
            if too_long {
                self.line = Vec::new();
                return Ok(Incoming::TooLong);
            }
            if end.is_some() && !was_skipping {
                return Ok(Incoming::Line(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_owner_may_ask() {
        assert!(may_ask(0, 1000) && may_ask(1000, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }

    #[tokio::test]
    async fn a_path_that_no_socket_address_holds_is_refused_with_advice() {
        let e = bind(&PathBuf::from(format!("/tmp/{}/admin.sock", "x".repeat(120)))).unwrap_err().to_string();
        assert!(e.contains("at most 107 bytes") && e.contains("shorter"), "{e}");
    }

    #[tokio::test]
    async fn a_socket_of_a_dead_process_is_replaced_and_a_file_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("admin.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists(), "the stale file is there");
        let _listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).await.is_ok());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(bind(&path).unwrap_err(), BindError::InTheWay { .. }));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
