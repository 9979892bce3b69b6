//! What is wrong, told to somebody: a webhook, a topic, a dead man's switch.
//!
//! A thread of its own looks at the node's health figures, decides what is due (`datanode_actors::alert`) and sends it. It reads the state
//! and writes what was told; nothing waits for it, and a receiver that hangs or refuses is tried again, later each time.
//!
//! | file | owns |
//! |---|---|
//! | `sources` | which figures mean that something is wrong |
//! | `receivers` | who is told, and in which form |
//! | `round` | one look: what is due, sent, noted |

mod receivers;
mod round;
mod sources;

pub use receivers::{Receiver, Receivers, trial};
pub use round::{Alerter, after_cycle};

use crate::admin::AdminContext;
use crate::admin::queries::facts;
use crate::failure::Failure;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Between two looks where the state changed meanwhile.
const LOOK: Duration = Duration::from_secs(5);
/// Looks that are skipped while it does not: what depends on time alone is seen within a minute.
const SKIPPED: u32 = 11;

/// The thread that looks.
pub struct Alerts {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Alerts {
    /// Starts looking.
    ///
    /// # Errors
    /// No thread or runtime can be made.
    pub fn start(context: Arc<AdminContext>, mut alerter: Alerter) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("alerts".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = look(&context, &mut alerter) => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(Failure::failed)?) })
    }

    /// Ends it; what is being sent is broken off, and sent again at the next start.
    pub fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn look(context: &AdminContext, alerter: &mut Alerter) {
    let (mut commit, mut skipped) = (None, 0);
    loop {
        let now = context.store.commit_number();
        if commit != Some(now) || skipped >= SKIPPED || alerter.waits() {
            skipped = 0;
            // This thread has nothing else to do: it may block.
            match facts(context) {
                Ok(f) => alerter.round(&context.desk.node, &f).await,
                Err(e) => tracing::warn!(error = %e, "the node's figures cannot be read, so nobody is alerted"),
            }
            // What was told is a commit too, and no news.
            commit = Some(context.store.commit_number().max(now));
        } else {
            skipped += 1;
        }
        tokio::time::sleep(LOOK).await;
    }
}
