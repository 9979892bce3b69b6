//! The collector's shell: runs it beside the nightly cycles, and ends it when it is asked to.

use super::{BooksError, Collector, Parts, Summary};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use tokio::sync::watch;

/// Closes the open file and ends; waits for that.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopBooks;

/// The collector in a running node.
pub struct BooksActor {
    parts: Option<Parts>,
    stop: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

impl BooksActor {
    /// One that is not started.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Some(parts), stop: watch::Sender::new(false), ended: watch::Sender::new(false) }
    }
}

impl Actor for BooksActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(parts) = self.parts.take() else { return };
        let (stop, ended) = (self.stop.subscribe(), self.ended.clone());
        let collecting = async move {
            let done = collect(parts, stop).await;
            ended.send_replace(true);
            done
        };
        ctx.spawn(collecting.into_actor(self).map(|done, _, ctx| match done {
            Ok(s) => tracing::info!(books = s.counters.books, gaps = s.gaps, "the collector ended"),
            Err(e) => {
                tracing::error!(error = %e, "the collector stopped; start the node again");
                ctx.stop();
            }
        }));
    }
}

/// Recovers, then collects until it is told to stop.
///
/// # Errors
/// A file cannot be written.
pub async fn collect(parts: Parts, stop: watch::Receiver<bool>) -> Result<Summary, BooksError> {
    let made = tokio::task::spawn_blocking(move || Collector::new(parts)).await;
    made.map_err(|e| BooksError::Stopped(e.to_string()))??.run(stop).await
}

impl Handler<StopBooks> for BooksActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopBooks, _: &mut Self::Context) -> Self::Result {
        self.stop.send_replace(true);
        let mut ended = self.ended.subscribe();
        Box::pin(async move { drop(ended.wait_for(|e| *e).await) })
    }
}
