//! A new state out of what can still be proved. Nothing that was there is deleted.
//!
//! In this order: make a new sled from the newest valid base and the journal behind it · where the journal is damaged,
//! copy the old sled without its snapshots, and take the copy only where it is whole and reaches at least as far ·
//! prove the result · set the old state aside and put the new one into its place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    StoreOptions, base,
    batch::{Op, write_op},
    check,
    disk::{self, Layout},
    engine::{Engine, Plan},
    error::{StoreError, io_error},
    journal::{self, Numbered, Writer},
    open::{on_open_thread, prepare, replay},
    root::{Root, State},
    table::TableDef,
};

const FROM_JOURNAL: &str = "sled.from-journal";
const FROM_OLD: &str = "sled.from-old";
const NEW_JOURNAL: &str = "journal.new";
/// Bytes of operations in one transaction while a base is read.
const CHUNK: usize = 4 << 20;

/// What a rebuild did.
#[derive(Debug, Clone)]
pub struct RebuildReport {
    /// The root of the new state.
    pub root: Root,
    /// Where the old one lies now.
    pub set_aside: PathBuf,
    /// What was done, a line each.
    pub steps: Vec<String>,
    /// Set where commits may be missing, and why: what depends on them must be made again from files.
    pub incomplete: Option<String>,
}

/// Makes a new state from the newest valid base and the journal, or from the old sled where that reaches further.
/// The old sled folder, and a damaged journal, are kept in `<dir>.set-aside-N`.
///
/// # Errors
/// [`StoreError::Busy`] while a node runs; [`StoreError::Corrupt`] where nothing can be proved: then only the set-aside
/// folder is left, and the state must be made from manifests, files and packs.
pub fn rebuild(dir: &Path, tables: &[TableDef], opts: &StoreOptions) -> Result<RebuildReport, StoreError> {
    let (layout, lock) = prepare(dir, tables)?;
    let work = Work {
        layout: layout.clone(),
        tables: tables.to_vec(),
        cache: opts.cache_bytes,
        aside: set_aside_path(dir),
        steps: Vec::new(),
    };
    // A rebuild reads all there is: the limit of an open would be too short.
    let limit = opts.open_timeout.saturating_mul(20);
    on_open_thread(&layout, limit, "rebuilding the state", move || {
        let _lock = lock;
        work.run()
    })
}

fn set_aside_path(dir: &Path) -> PathBuf {
    let name = dir.file_name().map_or_else(|| "state".into(), |n| n.to_string_lossy());
    let free = |n: &u32| !dir.with_file_name(format!("{name}.set-aside-{n}")).exists();
    let n = (1..).find(free).unwrap_or(u32::MAX);
    dir.with_file_name(format!("{name}.set-aside-{n}"))
}

struct Work {
    layout: Layout,
    tables: Vec<TableDef>,
    cache: u64,
    aside: PathBuf,
    steps: Vec<String>,
}

/// A finished candidate in a folder of its own, closed.
struct Candidate {
    name: &'static str,
    dir: PathBuf,
    root: Root,
    doubt: Option<String>,
}

impl Work {
    fn step(&mut self, text: String) {
        tracing::info!("{text}");
        self.steps.push(text);
    }

    fn run(mut self) -> Result<RebuildReport, StoreError> {
        if let Some(moves) = Moves::read(&self.layout) {
            moves.make(&self.layout)?;
            self.step("finished the moves of a rebuild that was interrupted".into());
        }
        let from_journal = self.try_journal()?;
        let from_sled = match &from_journal {
            Some(c) if c.doubt.is_none() => None,
            _ => self.try_old_sled()?,
        };
        let reach = from_journal.as_ref().map(|c| c.root.commit);
        let (best, keep_journal) = match (from_journal, from_sled) {
            (_, Some(s)) if Some(s.root.commit) >= reach => (s, false),
            (Some(j), _) => {
                let whole = j.doubt.is_none();
                (j, whole)
            }
            (None, _) => {
                return Err(StoreError::Corrupt {
                    what: format!("neither the journal nor the records in {} can be proved", self.layout.dir.display()),
                    next: "move that folder away and make a new state from manifests, files and packs".into(),
                });
            }
        };
        self.finish(best, keep_journal)
    }

    fn finish(mut self, best: Candidate, keep_journal: bool) -> Result<RebuildReport, StoreError> {
        let layout = self.layout.clone();
        if !keep_journal {
            let dir = self.fresh(NEW_JOURNAL)?;
            let engine = Engine::open(&best.dir, &self.tables, self.cache)?;
            base::write(&dir, &engine, &best.root)?;
            drop(Writer::create(&dir, best.root)?);
            self.step(format!("began a new journal with a base at commit {}", best.root.commit));
        }
        disk::make_dir(&self.aside)?;
        let moves = Moves { candidate: best.name, aside: self.aside.clone(), keep_journal };
        moves.write(&layout)?;
        moves.make(&layout)?;
        let with_journal = if keep_journal { "" } else { " and its damaged journal" };
        self.step(format!("set the old state{with_journal} aside in {}", self.aside.display()));
        for name in [FROM_JOURNAL, FROM_OLD] {
            let left = layout.dir.join(name);
            if left.exists() {
                fs::remove_dir_all(&left).map_err(io_error("remove", &left))?;
            }
        }
        self.step(format!("the new state stands at commit {} with {} records", best.root.commit, best.root.count));
        Ok(RebuildReport { root: best.root, set_aside: self.aside, steps: self.steps, incomplete: best.doubt })
    }

    /// The newest valid base and every commit behind it that can be read.
    fn try_journal(&mut self) -> Result<Option<Candidate>, StoreError> {
        let (bases, segments) = journal::list(&self.layout.journal())?;
        if bases.is_empty() && segments.is_empty() {
            self.step("there is no journal".into());
            return Ok(None);
        }
        let mut valid = None;
        for b in bases.iter().rev() {
            match base::verify(b)? {
                Ok(root) => {
                    valid = Some((b.clone(), root));
                    break;
                }
                Err(why) => self.step(format!("passed over a base: {why}")),
            }
        }
        let reachable = |root: &Root| segments.iter().any(|s| s.number <= root.commit + 1);
        if valid.is_none() && !reachable(&Root::default()) {
            self.step("no base can be proved, and the journal does not go back to the first commit".into());
            return Ok(None);
        }
        let dir = self.fresh(FROM_JOURNAL)?;
        let engine = Engine::open(&dir, &self.tables, self.cache)?;
        let mut state = State::default();
        if let Some((b, root)) = &valid {
            state = load(&engine, b, root)?;
            self.step(format!("read {} records from {}", root.count, b.path.display()));
        }
        let doubt = if reachable(&state.root) {
            let replayed = replay(&self.layout, &engine, &segments, &mut state);
            self.step(format!("applied the journal up to commit {}", state.root.commit));
            match replayed {
                Ok(end) => end.damage.or(end.torn.map(|t| t.why)),
                Err(StoreError::Corrupt { what, .. }) => Some(what),
                Err(e) => return Err(e),
            }
        } else {
            Some(format!("the journal has no segment behind commit {}", state.root.commit))
        };
        if let Some(why) = &doubt {
            self.step(format!("the journal cannot be read to its end: {why}"));
        }
        engine.settle(&dir)?;
        let doubt = doubt.map(|why| format!("commits after {} may be missing: {why}", state.root.commit));
        self.prove(&engine, &state, &dir)?;
        Ok(Some(Candidate { name: FROM_JOURNAL, dir, root: state.root, doubt }))
    }

    /// A copy of the old sled without its snapshots, where it is whole.
    fn try_old_sled(&mut self) -> Result<Option<Candidate>, StoreError> {
        let old = self.layout.sled();
        if !old.is_dir() {
            return Ok(None);
        }
        let dir = self.fresh(FROM_OLD)?;
        for name in disk::names(&old)? {
            let from = old.join(&name);
            if !name.starts_with("snap.") && from.is_file() {
                fs::copy(&from, dir.join(&name)).map_err(io_error("copy", &from))?;
            }
        }
        let (at, tables, cache) = (dir.clone(), self.tables.clone(), self.cache);
        let limit = std::time::Duration::from_secs(3600);
        // A panic on this damaged copy must not end the rebuild.
        let tried = on_open_thread(&self.layout, limit, "reading the old state", move || {
            let engine = Engine::open(&at, &tables, cache)?;
            let state = engine.state().ok().flatten();
            let sound = match &state {
                Some(s) => check::compare(&engine, &check::census(&engine)?, s).is_empty(),
                None => false,
            };
            engine.settle(&at)?;
            Ok(state.filter(|_| sound))
        });
        match tried {
            Ok(Some(state)) => {
                self.step(format!("the old state without its snapshots is whole, at commit {}", state.root.commit));
                Ok(Some(Candidate { name: FROM_OLD, dir, root: state.root, doubt: None }))
            }
            Ok(None) => {
                self.step("the old state is not whole".into());
                Ok(None)
            }
            Err(e) => {
                self.step(format!("the old state cannot be read: {e}"));
                Ok(None)
            }
        }
    }

    fn fresh(&self, name: &str) -> Result<PathBuf, StoreError> {
        let dir = self.layout.dir.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(io_error("remove", &dir))?;
        }
        disk::make_dir(&dir)?;
        Ok(dir)
    }

    fn prove(&self, engine: &Engine, state: &State, dir: &Path) -> Result<(), StoreError> {
        match check::compare(engine, &check::census(engine)?, state).first() {
            None => Ok(()),
            Some(what) => Err(StoreError::Corrupt {
                what: format!("the rebuilt state in {} does not prove: {what}", dir.display()),
                next: "check the disk and the memory of this machine".into(),
            }),
        }
    }
}

/// Writes the records of a base, then its root.
fn load(engine: &Engine, b: &Numbered, root: &Root) -> Result<State, StoreError> {
    let mut state = State::default();
    let mut ops = Vec::new();
    let mut apply = |ops: &mut Vec<u8>, commit: u64| -> Result<State, StoreError> {
        let mut plan = Plan::default();
        plan.add(engine, ops)?;
        let mut next = plan.next(&state);
        next.root.commit = commit;
        engine.transact(&plan, &next)?;
        state = next.clone();
        ops.clear();
        Ok(next)
    };
    let read = base::read(b, |op| {
        write_op(&mut ops, &Op { ..*op });
        if ops.len() >= CHUNK { apply(&mut ops, 0).map(|_| ()) } else { Ok(()) }
    })?;
    let state = apply(&mut ops, root.commit)?;
    let changed = || StoreError::Corrupt {
        what: format!("{} changed while it was read", b.path.display()),
        next: "check the disk and run the command again".into(),
    };
    if read == Ok(*root) && state.root == *root { Ok(state) } else { Err(changed()) }
}

/// The last part of a rebuild, written down before it begins so that the next rebuild can finish it.
struct Moves {
    candidate: &'static str,
    aside: PathBuf,
    keep_journal: bool,
}

impl Moves {
    fn write(&self, layout: &Layout) -> Result<(), StoreError> {
        let aside = self.aside.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("{}\n{aside}\n{}\n", self.candidate, self.keep_journal);
        disk::write_whole(&layout.rebuilding(), text.as_bytes())
    }

    fn read(layout: &Layout) -> Option<Moves> {
        let text = fs::read_to_string(layout.rebuilding()).ok()?;
        let mut lines = text.lines();
        let candidate = lines.next()?;
        Some(Moves {
            candidate: [FROM_JOURNAL, FROM_OLD].into_iter().find(|n| *n == candidate)?,
            aside: layout.dir.with_file_name(lines.next()?),
            keep_journal: lines.next()? == "true",
        })
    }

    /// Each move is made where its source is still there, so that all can be made again. The last one is the
    /// candidate's: while it stands, the folder `sled` is the old one.
    fn make(&self, layout: &Layout) -> Result<(), StoreError> {
        let candidate = layout.dir.join(self.candidate);
        if candidate.exists() {
            move_path(&layout.sled(), &self.aside.join("sled"))?;
            let new = layout.dir.join(NEW_JOURNAL);
            if !self.keep_journal && new.exists() {
                move_path(&layout.journal(), &self.aside.join("journal"))?;
                // Made empty again by whoever took the lock since; a folder with files in it is not removed.
                let _ = fs::remove_dir(layout.journal());
                move_path(&new, &layout.journal())?;
            }
            disk::remove(&layout.clean())?;
            disk::remove(&layout.creating())?;
            move_path(&candidate, &layout.sled())?;
        }
        disk::remove(&layout.rebuilding())
    }
}

/// Moves what is there; what is at the goal already stays.
fn move_path(from: &Path, to: &Path) -> Result<(), StoreError> {
    if !from.exists() || to.exists() {
        return Ok(());
    }
    fs::rename(from, to).map_err(io_error("move", from))?;
    disk::sync_parent(from)?;
    disk::sync_parent(to)
}
