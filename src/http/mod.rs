//! The node's own HTTP: health, metrics, packs for a training box in the same network, and proofs for who may not read them. Off by default, read-only, bounded.
//!
//! It runs on a thread of its own, so that neither the arbiter waits for a slow reader nor a reader for the arbiter. Nothing but standing
//! packs' own files and public records can be read, and none of it without a token; a token is not enough for anything else, because there is nothing else.
//!
//! | file | owns |
//! |---|---|
//! | `listen` | connections, bounded in number and patience |
//! | `tokens` | who may |
//! | `routes` | what is where, and how it is answered |
//! | `origin` | where a request comes from, and how it names the node |
//! | `packs` | which files that are |
//! | `range` | one header |
//! | `metrics`, `process`, `exposition` | the figures for Prometheus; what the kernel says; the text form |
//! | `proofs`, `problem` | what is public of sealings, and the log; how its errors look |
//! | `limit` | how often a token may ask for that |
//! | `status_page` | who may see the page of `crate::page` |

mod exposition;
mod limit;
mod listen;
mod metrics;
mod origin;
mod packs;
mod problem;
mod process;
mod proofs;
mod range;
mod routes;
mod status_page;
pub mod tokens;

use crate::admin::AdminContext;
use crate::config::Settings;
use crate::failure::Failure;
use listen::{Bounded, Peer};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Transfers that are under way when the node stops have so long.
const DRAIN: Duration = Duration::from_secs(2);

/// The server that runs.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Where the status page is, when nothing else is said.
const PAGE: &str = "127.0.0.1:8480";

/// Takes the address of `serve.listen`, before anything else is started; None where it is empty and there is no page.
///
/// # Errors
/// 2: the address cannot be used.
pub fn bind(settings: &Settings) -> Result<Option<TcpListener>, Failure> {
    let listen = match settings.serve.listen.as_str() {
        "" if !settings.serve.page => return Ok(None),
        "" => PAGE,
        set => set,
    };
    let address: SocketAddr = listen
        .parse()
        .map_err(|_| Failure::usage(format!("serve.listen: {listen:?} is not ADDRESS:PORT, such as 127.0.0.1:8480")))?;
    let unusable =
        |e: std::io::Error| Failure::usage(format!("serve.listen: {listen}: {e}; choose another address or port"));
    let socket = TcpListener::bind(address).map_err(unusable)?;
    socket.set_nonblocking(true).map_err(unusable)?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "packs are served to other machines without encryption: tokens and data can be read on the way; put it behind a tunnel or a proxy with TLS"
        );
    }
    Ok(Some(socket))
}

/// Serves on a socket of [`bind`], what `admin` knows too. `busy` says whether a cycle is under way.
///
/// # Errors
/// No thread or runtime can be made.
pub fn start(
    socket: TcpListener,
    settings: &Settings,
    admin: &Arc<AdminContext>,
    busy: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<Server, Failure> {
    let address = socket.local_addr().map_err(Failure::failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let app = routes::router(routes::Context::new(settings, admin, busy));
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        let ended = runtime.block_on(async {
            let listener = Bounded::new(tokio::net::TcpListener::from_std(socket)?);
            let (tell, told) = oneshot::channel::<()>();
            let server = axum::serve(listener, app.into_make_service_with_connect_info::<Peer>())
                .with_graceful_shutdown(async {
                    let _ = stopped.await;
                    let _ = tell.send(());
                });
            tokio::select! {
                ended = server.into_future() => ended,
                () = async {
                    let _ = told.await;
                    tokio::time::sleep(DRAIN).await;
                } => Ok(()),
            }
        });
        if let Err(e) = ended {
            tracing::error!(error = %e, "packs are no longer served; restart the node");
        }
        runtime.shutdown_background();
    });
    let thread = thread.map_err(Failure::failed)?;
    tracing::info!(%address, "serving packs");
    Ok(Server { stop: Some(stop), thread: Some(thread) })
}

impl Server {
    /// Ends it; what is under way has two seconds.
    pub fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
