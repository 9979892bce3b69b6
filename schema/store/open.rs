//! From a folder to a store that may acknowledge: lock, clear, open sled, agree with the journal, prove, sync.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    OPEN_THREAD, StoreOptions, check,
    disk::{self, Layout, Lock},
    engine::{self, Engine, Plan},
    error::StoreError,
    journal::{self, Numbered, Writer},
    root::{Root, State},
    table::TableDef,
};

/// A state of at most this many records is counted at every open, also after a clean stop: it costs under half a second.
const ALWAYS_COUNT: u64 = 50_000;

/// A store that is ready for its writer.
pub(crate) struct Opened {
    pub lock: Lock,
    pub engine: Engine,
    pub state: State,
    pub journal: Writer,
}

/// Runs `f` on a thread whose panics become errors, for at most `limit`.
///
/// sled panics on some damage. The thread's name tells the binary's panic hook to let it unwind.
pub(crate) fn on_open_thread<T: Send + 'static>(
    layout: &Layout,
    limit: Duration,
    what: &str,
    f: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (tx, rx) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(OPEN_THREAD.into())
        .spawn(move || {
            // The receiver is gone only after the time limit.
            let _ = tx.send(catch_unwind(AssertUnwindSafe(f)));
        })
        .map_err(super::error::io_error("start a thread to open", &layout.dir))?;
    let answer = rx.recv_timeout(limit);
    if !matches!(answer, Err(mpsc::RecvTimeoutError::Timeout)) {
        let _ = thread.join();
    }
    match answer {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(layout.corrupt(format!("sled panicked while {what}: {}", panic_text(&panic)))),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(StoreError::Slow { what: what.into(), seconds: limit.as_secs() }),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(layout.corrupt(format!("sled ended its thread while {what}"))),
    }
}

fn panic_text(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
}

/// The lock and the folders, for everything that works on a state folder.
pub(crate) fn prepare(dir: &Path, tables: &[TableDef]) -> Result<(Layout, Lock), StoreError> {
    crate::shim::check().map_err(|errno| StoreError::Unprotected { errno })?;
    engine::check_tables(tables)?;
    disk::make_dir(dir)?;
    let layout = Layout::new(dir);
    let lock = Lock::take(&layout)?;
    disk::sync_dir(dir)?;
    disk::make_dir(&layout.journal())?;
    journal::remove_temps(&layout.journal())?;
    journal::remove_temps(&layout.dir)?;
    Ok((layout, lock))
}

/// Opens a state folder.
pub(crate) fn open(dir: &Path, tables: &[TableDef], opts: &StoreOptions) -> Result<Opened, StoreError> {
    let (layout, lock) = prepare(dir, tables)?;
    let (tables, cache) = (tables.to_vec(), opts.cache_bytes);
    let at = layout.clone();
    // The lock goes with the thread: where opening hangs, the folder stays taken.
    on_open_thread(&layout, opts.open_timeout, "opening the state", move || recover(&at, lock, &tables, cache))
}

fn recover(layout: &Layout, lock: Lock, tables: &[TableDef], cache: u64) -> Result<Opened, StoreError> {
    if layout.rebuilding().exists() {
        return Err(layout.corrupt("a rebuild was interrupted while it moved its result into place"));
    }
    let (bases, segments) = journal::list(&layout.journal())?;
    let fresh = first_open(layout, &bases, &segments)?;
    let engine = Engine::open(&layout.sled(), tables, cache).map_err(|e| match e {
        // Files that sled itself wrote and does not take back are damaged, whatever it calls that.
        StoreError::Sled { doing, cause } if !fresh => layout.corrupt(format!("sled could not {doing}: {cause}")),
        other => other,
    })?;
    if fresh {
        return create(layout, lock, engine);
    }
    let marker = disk::read_clean(layout);
    let mut state = engine.state().map_err(|why| layout.corrupt(why))?.unwrap_or_default();
    let clean = marker == Some(state.root);
    let end = journal_end(layout, &segments, clean)?;
    let found = state.root;
    agree(layout, &found, &end, marker.as_ref())?;
    if found.commit < end.root.commit {
        if end.root.commit - found.commit > 1 {
            tracing::warn!(
                state = found.commit,
                journal = end.root.commit,
                "the state lost commits that the journal has"
            );
        }
        replay(layout, &engine, &segments, &mut state)?;
    }
    if !clean || found != state.root || state.root.count <= ALWAYS_COUNT {
        let problems = check::compare(&engine, &check::census(&engine)?, &state);
        if let Some(first) = problems.first() {
            let more = if problems.len() > 1 { format!(" (and {} more)", problems.len() - 1) } else { String::new() };
            return Err(layout.corrupt(format!("{first}{more}")));
        }
    }
    engine.settle(&layout.sled())?;
    if let Some(torn) = &end.torn {
        tracing::info!(why = torn.why, "cut a record that was never acknowledged off the journal");
        journal::cut(torn)?;
    }
    disk::remove(&layout.clean())?;
    disk::remove(&layout.creating())?;
    let Some(last) = segments.last() else { return Err(layout.corrupt("the journal has no segment")) };
    let journal = Writer::append_to(&layout.journal(), last.path.clone(), state.root)?;
    Ok(Opened { lock, engine, state, journal })
}

/// True where nothing was ever acknowledged in this folder; then it is emptied and marked.
fn first_open(layout: &Layout, bases: &[Numbered], segments: &[Numbered]) -> Result<bool, StoreError> {
    let sled = layout.sled();
    match (sled.exists(), segments.is_empty()) {
        (true, false) => return Ok(false),
        (true, true) if !layout.creating().exists() => {
            return Err(layout.corrupt(format!("the journal {} has no segment", layout.journal().display())));
        }
        (false, false) => return Err(layout.corrupt(format!("{} is missing", sled.display()))),
        (false, true) if !bases.is_empty() => return Err(layout.corrupt(format!("{} is missing", sled.display()))),
        (true, true) => {
            std::fs::remove_dir_all(&sled).map_err(super::error::io_error("remove the unfinished", &sled))?;
        }
        (false, true) => {}
    }
    disk::write_whole(&layout.creating(), b"the first open has not finished\n")?;
    disk::make_dir(&sled)?;
    Ok(true)
}

fn create(layout: &Layout, lock: Lock, engine: Engine) -> Result<Opened, StoreError> {
    engine.settle(&layout.sled())?;
    let journal = Writer::create(&layout.journal(), Root::default())?;
    disk::remove(&layout.creating())?;
    Ok(Opened { lock, engine, state: State::default(), journal })
}

/// The end of the journal: of its last segment after a clean stop, of all segments otherwise.
fn journal_end(layout: &Layout, segments: &[Numbered], clean: bool) -> Result<journal::End, StoreError> {
    let from = if clean { segments.len().saturating_sub(1) } else { 0 };
    let end = journal::read(segments.get(from..).unwrap_or_default(), |_, _| Ok(()))?;
    match end.damage {
        Some(what) => Err(layout.corrupt(format!("the journal, {what}"))),
        None => Ok(end),
    }
}

/// Refuses a state that cannot be what the journal tells.
fn agree(layout: &Layout, state: &Root, end: &journal::End, marker: Option<&Root>) -> Result<(), StoreError> {
    if let Some(m) = marker.filter(|m| m.commit > end.root.commit) {
        return Err(layout.corrupt(format!(
            "the node stopped cleanly after commit {}, the journal ends with {}",
            m.commit, end.root.commit
        )));
    }
    if state.commit > end.root.commit {
        let torn = end.torn.as_ref().map_or("it ends there".to_owned(), |t| t.why.clone());
        return Err(layout.corrupt(format!(
            "the state is at commit {}, the journal reaches only {} ({torn})",
            state.commit, end.root.commit
        )));
    }
    if state.commit == end.root.commit && *state != end.root {
        return Err(layout.corrupt(format!("state and journal disagree about commit {}", state.commit)));
    }
    Ok(())
}

/// Applies the records of the journal behind `state`, each as its own transaction, and proves each root.
pub(crate) fn replay(
    layout: &Layout,
    engine: &Engine,
    segments: &[Numbered],
    state: &mut State,
) -> Result<journal::End, StoreError> {
    let from = segments.partition_point(|s| s.number <= state.root.commit + 1).saturating_sub(1);
    let needed = segments.get(from..).unwrap_or_default();
    if needed.first().is_none_or(|s| s.number > state.root.commit + 1) {
        return Err(layout.corrupt(format!(
            "the state is at commit {}, older than the oldest segment of the journal",
            state.root.commit
        )));
    }
    journal::read(needed, |root, ops| {
        if root.commit <= state.root.commit {
            return Ok(());
        }
        let mut plan = Plan::default();
        plan.add(engine, ops)?;
        let next = plan.next(state);
        if next.root != *root {
            return Err(
                layout.corrupt(format!("commit {} of the journal does not lead to the root it names", root.commit))
            );
        }
        engine.transact(&plan, &next)?;
        *state = next;
        Ok(())
    })
}
