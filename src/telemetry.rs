//! Logs and traces.
//!
//! Logs go to stderr, for people or as JSON, one object a line; the journal (or whoever holds stderr) keeps and rotates them, so nothing is
//! written to `logs/` here. Their level can be changed while the process runs ([`set_level`]). A level by itself is that of the node's own
//! code: libraries say at most what they call information, since what they say at `trace` may hold what was sent, keys included.
//!
//! Traces of cycles, stages and requests go to a collector by OTLP over HTTP where the settings name one. They are sent by a thread of their
//! own from a bounded queue: a collector that is slow or gone costs spans, never time.

use crate::config::Settings;
use axum::body::Bytes;
use axum::http::{Request, Response};
use datanode_actors::alert::{Posted, Poster};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter, fmt, reload};

/// What is left to send at the end has so long.
const FLUSH: Duration = Duration::from_secs(2);
/// A request to the collector.
const EXPORT: Duration = Duration::from_secs(5);
/// The longest filter.
const LONGEST: usize = 500;
/// The crates whose level a bare word is.
const OWN: [&str; 4] = ["datanode", "datanode_actors", "datanode_schema", "datanode_vendorsim"];

/// What is changed and ended later. One a process.
struct Running {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Mutex<String>,
    traces: Mutex<Option<Traces>>,
}

struct Traces {
    provider: SdkTracerProvider,
    runtime: tokio::runtime::Runtime,
}

static RUNNING: OnceLock<Running> = OnceLock::new();

/// Starts logging to stderr, and traces where there is a collector. A second start in one process keeps the first.
pub fn start(settings: &Settings) {
    use std::io::IsTerminal;
    if RUNNING.get().is_some() {
        return;
    }
    let level = settings.log.level.clone();
    let (first, wrong) = match parse(&level) {
        Ok(f) => (f, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    let (first, handle) = reload::Layer::new(first);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if settings.log.format == "json" {
        lines.json().with_filter(first).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_filter(first).boxed()
    };
    let traces = (!settings.telemetry.otlp.is_empty()).then(|| traces(settings));
    let (traces, no_traces) = match traces {
        Some(Ok(t)) => (Some(t), None),
        Some(Err(e)) => (None, Some(e)),
        None => (None, None),
    };
    // The spans of the node itself, whatever the log's level is.
    let own = filter::filter_fn(|m| *m.level() <= tracing::Level::INFO && m.target().starts_with("datanode"));
    let spans = traces
        .as_ref()
        .map(|t| tracing_opentelemetry::layer().with_tracer(t.provider.tracer("datanode")).with_filter(own));
    if tracing_subscriber::registry().with(lines).with(spans).try_init().is_err() {
        return;
    }
    let running = Running { filter: handle, level: Mutex::new(level), traces: Mutex::new(traces) };
    drop(RUNNING.set(running));
    if let Some(e) = wrong {
        tracing::warn!("log.level: {e}; info is used");
    }
    if let Some(e) = no_traces {
        tracing::warn!("telemetry.otlp: {e}; there are no traces");
    }
}

/// Changes the level of the log, until the process ends: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as
/// `info,datanode_actors::vendor=debug`.
///
/// # Errors
/// What is wrong with it; nothing has changed then.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = parse(level)?;
    let running = RUNNING.get().ok_or("this process does not log")?;
    running.filter.reload(filter).map_err(|e| format!("the level cannot be changed ({e})"))?;
    let before = std::mem::replace(&mut *held(&running.level), level.to_owned());
    tracing::info!(before, level, "the level of the log was changed");
    Ok(())
}

/// The level as it was set last; None where the process does not log.
pub fn level() -> Option<String> {
    RUNNING.get().map(|r| held(&r.level).clone())
}

/// Sends what is left of the traces, within two seconds. The last thing of a process.
pub fn finish() {
    let Some(t) = RUNNING.get().and_then(|r| held(&r.traces).take()) else { return };
    // What could not be sent in time is lost, as traces may be.
    drop(t.provider.shutdown_with_timeout(FLUSH));
    t.runtime.shutdown_background();
}

fn held<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A filter of a level or of directives.
fn parse(level: &str) -> Result<EnvFilter, String> {
    let level = level.trim();
    let help = "write error, warn, info, debug, trace, or a filter such as info,datanode_actors=debug";
    if level.is_empty() || level.len() > LONGEST {
        return Err(help.to_owned());
    }
    let word = level.to_ascii_lowercase();
    let text = match word.as_str() {
        "debug" | "trace" => OWN.iter().fold("info".to_owned(), |all, own| format!("{all},{own}={word}")),
        "error" | "warn" | "info" | "off" => word,
        // One word that is no level would be taken for the name of a crate, of which there is none.
        w if !w.contains(['=', ',', ':', '[']) => return Err(format!("{level:?} is no level; {help}")),
        _ => level.to_owned(),
    };
    EnvFilter::try_new(text).map_err(|e| format!("{level:?} is no filter ({e}); {help}"))
}

fn traces(settings: &Settings) -> Result<Traces, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp")
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime for it: {e}"))?;
    let client =
        Client { poster: Poster::new(EXPORT)?, handle: runtime.handle().clone(), failing: AtomicBool::new(false) };
    let base = settings.telemetry.otlp.trim_end_matches('/');
    let endpoint = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
    let exporter =
        SpanExporter::builder().with_http().with_http_client(client).with_endpoint(endpoint).with_timeout(EXPORT);
    let exporter = exporter.build().map_err(|_| "it is no address, such as http://127.0.0.1:4318".to_owned())?;
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("host.name", crate::wiring::host_id(settings)),
    ];
    let resource = Resource::builder_empty().with_service_name("datanode").with_attributes(attributes).build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Ok(Traces { provider, runtime })
}

/// The exporter's way out: its thread has no runtime, so the request is made on ours.
struct Client {
    poster: Poster,
    handle: tokio::runtime::Handle,
    failing: AtomicBool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let poster = self.poster.clone();
        let sending = self.handle.spawn(async move {
            let (parts, body) = request.into_parts();
            let headers: Vec<(String, String)> = parts
                .headers
                .iter()
                .filter_map(|(k, v)| Some((k.as_str().to_owned(), v.to_str().ok()?.to_owned())))
                .collect();
            let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            poster.send(&parts.uri.to_string(), &headers, Some(body.to_vec())).await
        });
        Box::pin(async move {
            let posted = sending.await?;
            let failed = !matches!(posted, Posted::Taken(_));
            if self.failing.swap(failed, Ordering::AcqRel) != failed {
                match failed {
                    true => {
                        tracing::warn!(%posted, "traces do not arrive at telemetry.otlp; spans are lost until they do")
                    }
                    false => tracing::info!("traces arrive again"),
                }
            }
            match posted {
                Posted::Taken(status) | Posted::Refused(status) => {
                    Ok(Response::builder().status(status).body(Bytes::new())?)
                }
                Posted::Failed(why) => Err(why.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_that_of_our_own_code_and_libraries_say_no_more_than_information() {
        let text = parse("trace").unwrap().to_string();
        assert!(text.contains("datanode_actors=trace") && text.split(',').any(|d| d == "info"), "{text}");
        assert_eq!(parse(" WARN ").unwrap().to_string(), "warn");
        assert_eq!(parse("info,hyper=debug").unwrap().to_string(), "hyper=debug,info");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_what_is_one() {
        for bad in ["", "loud", "datanode=loud", "info,,=", &"a=info,".repeat(200)] {
            let e = parse(bad).unwrap_err();
            assert!(e.contains("debug"), "{bad:?}: {e}");
        }
    }
}
