//! `datanode run`: the appliance.

use super::backup::config_file;
use super::global::Global;
use crate::admin;
use crate::alerts::{Alerter, Alerts};
use crate::backing::Backing;
use crate::collecting;
use crate::config::{Cadence, Settings};
use crate::failure::{Done, Failure};
use crate::http;
use crate::reload::Reloader;
use crate::shipping::Shipping;
use crate::system::{self, Appliance, Collecting};
use crate::telemetry;
use crate::wiring::{Wired, of_store, wire};
use datanode_actors::books::Board;
use datanode_actors::node::Node;
use datanode_actors::schedule::Rhythm;
use datanode_actors::ship::trust_all;
use datanode_schema::clock::{Clock, rfc3339};
use datanode_schema::names::{Stage, Vendor};
use datanode_schema::trail::Trail;
use sd_notify::NotifyState;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The longest that a stop may take: what is under way then is taken up at the next start.
const DRAIN: Duration = Duration::from_secs(9);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// With the exit code of what stopped it.
pub fn run(g: &Global) -> Done {
    let settings = g.settings()?;
    telemetry::start(&settings);
    let clock = g.clock();
    let wired = wire(&settings, &clock)?;
    let store = wired.node.store.clone();
    let served = system::block_on(serve(g.clone(), settings, clock, wired))?;
    store.close().map_err(of_store)?;
    tracing::info!("stopped");
    served
}

async fn serve(g: Global, settings: Settings, clock: Clock, wired: Wired) -> Done {
    let node = wired.node.clone();
    let rhythm = rhythm(&settings)?;
    let minutes = u64::from(settings.schedule.ingest_every_minutes);
    let every = (minutes > 0).then(|| Duration::from_secs(minutes * 60));
    // Before anything is started: a reference that leads to nothing is told now.
    let alerter = Alerter::new(&settings, clock.now().timestamp())?;
    let web = http::bind(&settings)?;
    let socket = node.data.admin_socket();
    let listener = admin::bind(&socket).map_err(Failure::failed)?;
    let reloader = Arc::new(Reloader::new(&settings, &wired));
    // Before anybody is told that the node is ready: an unhandled SIGHUP would end it.
    let hangups = signal(SignalKind::hangup()).map_err(Failure::failed)?;
    let board = Board::default();
    let parts = collecting::parts(&settings, &node, 0, board.clone())?;
    let appliance = Appliance::start(wired, rhythm, every)?;
    let books = parts.as_ref().map(|_| board);
    let collecting = parts.map(Collecting::start);
    let begin = begin(&appliance);
    let shipping = shipping(g.clone(), &node, begin.clone());
    let desk = admin::Desk { node: node.clone(), reloader: reloader.clone(), shipping, begin };
    let context = Arc::new(admin_context(desk, &settings, &clock, &appliance, books));
    let looked = node.clone();
    // Beside everything else: a bucket that is down must not keep the node from collecting.
    let looking = tokio::task::spawn_blocking(move || trust_all(&looked));
    let turning = appliance.clone();
    let http = web.map(|socket| http::start(socket, &settings, &context, move || turning.busy())).transpose()?;
    let alerts = Alerts::start(context.clone(), alerter)?;
    let backing = Backing::start(&settings, config_file(&g), node.clone())?;
    reloader.also(Box::new(move || backing.reload(&g.settings()?)));
    let reloading = tokio::spawn(reload_on(hangups, reloader));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(admin::serve(listener, context, async move {
        let _ = stopped.await;
    }));
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("collecting")]);
    tracing::info!(data_dir = %node.data.root().display(), socket = %socket.display(), "ready");
    let watchdog = tokio::spawn(watchdog(appliance.clone()));
    let broken = tokio::select! {
        asked = system::stop_requested() => {
            asked.map_err(Failure::failed)?;
            None
        }
        cause = store_stopped(&node) => Some(cause),
    };
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    tracing::info!("stopping: nothing new is claimed; waiting for what is under way");
    node.stop();
    if tokio::time::timeout(DRAIN, drained(&appliance, collecting.as_ref())).await.is_err() {
        tracing::warn!("what is under way is left; the next start takes it up");
    }
    watchdog.abort();
    looking.abort();
    reloading.abort();
    let _ = tokio::task::spawn_blocking(move || alerts.stop()).await;
    if let Some(http) = http {
        let _ = tokio::task::spawn_blocking(move || http.stop()).await;
    }
    let _ = stop.send(());
    let _ = tokio::time::timeout(Duration::from_millis(500), server).await;
    if let Err(e) = std::fs::remove_file(&socket) {
        tracing::debug!(error = %e, "the socket was gone");
    }
    match broken {
        None => Ok(()),
        Some(cause) => Err(Failure::failed(format!("the state takes no more commits ({cause}); start the node again"))),
    }
}

/// When whole cycles are due.
fn rhythm(s: &Settings) -> Result<Rhythm, Failure> {
    let at = s.schedule.at().map_err(Failure::usage)?;
    Ok(Rhythm { at, hourly: s.export.cadence == Cadence::Hourly })
}

/// SIGHUP reads the registry again. What came of it is logged there; a wrong file changes nothing.
async fn reload_on(mut hangups: Signal, reloader: Arc<Reloader>) {
    while hangups.recv().await.is_some() {
        let r = reloader.clone();
        let _ = tokio::task::spawn_blocking(move || r.reload("SIGHUP")).await;
    }
}

/// A store that stopped stays stopped: the process ends, and the service manager starts it again.
async fn store_stopped(node: &Node) -> String {
    loop {
        if let Some(cause) = node.store.stopped() {
            return cause;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until the collector's file is closed and no cycle is under way.
async fn drained(appliance: &Appliance, collecting: Option<&Collecting>) {
    if let Some(c) = collecting {
        c.stop().await;
    }
    while appliance.busy() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Tells systemd that the arbiter still turns.
async fn watchdog(appliance: Appliance) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::time::sleep(limit / 2).await;
        if appliance.alive() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Begins a cycle where none is under way.
fn begin(appliance: &Appliance) -> admin::Begin {
    let (appliance, runtime) = (appliance.clone(), tokio::runtime::Handle::current());
    Arc::new(move |stages| {
        let free = !appliance.busy();
        let appliance = appliance.clone();
        if free {
            // How it ends is in the log, and in `runs` and `ship`.
            drop(runtime.spawn(async move { appliance.run_now(stages).await }));
        }
        free
    })
}

/// What a person may do to destinations.
fn shipping(g: Global, node: &Arc<Node>, begin: admin::Begin) -> Arc<Shipping> {
    Arc::new(Shipping::new(node.clone(), Box::new(move || g.settings()), Box::new(move || begin(vec![Stage::Ship]))))
}

fn admin_context(
    desk: admin::Desk,
    settings: &Settings,
    clock: &Clock,
    appliance: &Appliance,
    books: Option<Board>,
) -> admin::AdminContext {
    let node = &desk.node;
    let (n, c, rhythm, appliance) = (node.clone(), clock.clone(), rhythm(settings), appliance.clone());
    let live = move || {
        let enabled: Vec<&str> = n.enabled.iter().map(|v: &Vendor| v.name()).collect();
        let next = rhythm.as_ref().map(|r| rfc3339(r.next(c.now()))).unwrap_or_default();
        json!({"vendors": enabled, "busy": appliance.busy(), "next_nightly": next, "host_id": n.host_id, "source": n.source})
    };
    let (registry, root) = (node.clone(), node.data.root().to_owned());
    admin::AdminContext {
        store: node.store.clone(),
        data: node.data.clone(),
        clock: clock.clone(),
        registry: Box::new(move || registry.registry()),
        enabled: node.enabled.iter().copied().chain(books.as_ref().map(|_| Vendor::Polymarket)).collect(),
        started_at: clock.now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        live: Box::new(live),
        disk_free: Box::new(move || admin::free_bytes(&root)),
        counted: Default::default(),
        maps: Default::default(),
        known: Default::default(),
        trail: Trail::of(&node.data),
        set_level: Box::new(crate::telemetry::set_level),
        log_level: Default::default(),
        desk,
        books,
    }
}
