//! sled behind a few functions: open, read, one transaction, flush. Nothing here knows the journal.

use std::{collections::HashMap, path::Path};

use sled::{
    IVec, Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{
    batch::{Op, Ops},
    disk, envelope,
    error::{StoreError, io_error, sled_error},
    root::{self, State},
    table::TableDef,
};

/// Table id of the root record's own envelope.
const ROOT_TABLE: u8 = 0;
const ROOT_TREE: &str = "root";
const ROOT_KEY: &[u8] = b"root";
/// sled collects garbage only in its periodic flush.
const FLUSH_EVERY_MS: u64 = 500;

/// An open sled with one tree for each table and one for the root record.
pub(crate) struct Engine {
    db: sled::Db,
    root: Tree,
    trees: Vec<Option<Tree>>,
    pub defs: Vec<TableDef>,
}

/// Refuses a list of tables that contradicts itself.
pub(crate) fn check_tables(tables: &[TableDef]) -> Result<(), StoreError> {
    for (i, t) in tables.iter().enumerate() {
        let fault = if t.id == 0 || t.id == u8::MAX {
            "its id is one of the store's own, 0 and 255"
        } else if tables.iter().take(i).any(|u| u.id == t.id || u.name == t.name) {
            "another table has the same name or id"
        } else {
            continue;
        };
        return Err(StoreError::Table { table: t.name.into(), why: fault.into() });
    }
    Ok(())
}

fn tree_name(t: &TableDef) -> String {
    format!("{:03}.{}", t.id, t.name)
}

/// Removes what a kill while opening leaves behind: sled would read the half-written file as a snapshot.
pub(crate) fn remove_half_snapshots(dir: &Path) -> Result<usize, StoreError> {
    let mut removed = 0;
    for name in disk::names(dir)? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            disk::remove(&dir.join(name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

impl Engine {
    /// Opens sled and its trees. Must run where a panic of sled can be caught.
    pub fn open(dir: &Path, tables: &[TableDef], cache_bytes: u64) -> Result<Engine, StoreError> {
        let removed = remove_half_snapshots(dir)?;
        if removed > 0 {
            tracing::info!(removed, "removed half-written snapshots of an opening that was killed");
        }
        let db = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .use_compression(false)
            .open()
            .map_err(sled_error("open its folder"))?;
        let known: Vec<String> = tables.iter().map(tree_name).collect();
        for name in db.tree_names() {
            let name = String::from_utf8_lossy(&name).into_owned();
            if !(name == ROOT_TREE || name == "__sled__default" || known.contains(&name)) {
                return Err(StoreError::Table {
                    table: name,
                    why: "the state holds it and this build does not know it; use the build that wrote it".into(),
                });
            }
        }
        let mut trees = vec![None; 256];
        for (t, name) in tables.iter().zip(&known) {
            if let Some(slot) = trees.get_mut(usize::from(t.id)) {
                *slot = Some(db.open_tree(name).map_err(sled_error("open a tree"))?);
            }
        }
        let root = db.open_tree(ROOT_TREE).map_err(sled_error("open the root record's tree"))?;
        Ok(Engine { db, root, trees, defs: tables.to_vec() })
    }

    pub fn tree(&self, table: u8) -> Result<&Tree, StoreError> {
        self.trees.get(usize::from(table)).and_then(Option::as_ref).ok_or_else(|| StoreError::Table {
            table: format!("with id {table}"),
            why: "the store was not opened with it; add it to the table of tables".into(),
        })
    }

    pub fn name(&self, table: u8) -> &'static str {
        self.defs.iter().find(|t| t.id == table).map_or("(unknown)", |t| t.name)
    }

    pub fn get(&self, table: u8, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.tree(table)?.get(key).map_err(sled_error("read a record"))
    }

    /// The state that the root record tells; `None` where there is no root record.
    pub fn state(&self) -> Result<Option<State>, String> {
        let Some(v) = self.root.get(ROOT_KEY).map_err(|e| format!("the root record cannot be read: {e}"))? else {
            return Ok(None);
        };
        match envelope::open(ROOT_TABLE, ROOT_KEY, &v) {
            Ok(o) => {
                State::from_bytes(o.payload).map(Some).ok_or_else(|| "the root record has a wrong length".to_owned())
            }
            Err(f) => Err(format!("the root record is damaged ({f:?})")),
        }
    }

    /// Calls `f` with every record, in order of table and key, until it fails.
    pub fn for_each(
        &self,
        mut f: impl FnMut(&TableDef, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for t in &self.defs {
            for item in self.tree(t.id)?.iter() {
                let (k, v) = item.map_err(sled_error("read its records"))?;
                f(t, &k, &v)?;
            }
        }
        Ok(())
    }

    /// Writes a plan and the new root as one transaction over the trees. Durable only after [`Engine::flush`].
    pub fn transact(&self, plan: &Plan<'_>, state: &State) -> Result<(), StoreError> {
        let mut by_table: Vec<(u8, Vec<Op<'_>>)> = Vec::new();
        for (&(table, key), change) in &plan.changes {
            let op = Op { table, key, value: change.new };
            match by_table.iter_mut().find(|(t, _)| *t == table) {
                Some((_, ops)) => ops.push(op),
                None => by_table.push((table, vec![op])),
            }
        }
        let mut trees = vec![self.root.clone()];
        for (t, _) in &by_table {
            trees.push(self.tree(*t)?.clone());
        }
        let mut sealed = Vec::new();
        envelope::seal(&mut sealed, ROOT_TABLE, 1, ROOT_KEY, &state.to_bytes());
        let write = |tx: &Vec<TransactionalTree>| -> Result<(), ConflictableTransactionError<()>> {
            let mut tx = tx.iter();
            if let Some(root) = tx.next() {
                root.insert(ROOT_KEY, sealed.as_slice())?;
            }
            for (tree, (_, ops)) in tx.zip(&by_table) {
                for op in ops {
                    match op.value {
                        Some(v) => tree.insert(op.key, v)?,
                        None => tree.remove(op.key)?,
                    };
                }
            }
            Ok(())
        };
        match trees.as_slice().transaction(write) {
            Ok(()) => Ok(()),
            Err(TransactionError::Storage(e)) => Err(sled_error("write a transaction")(e)),
            Err(TransactionError::Abort(())) => {
                Err(StoreError::Sled { doing: "write a transaction", cause: "it was aborted".into() })
            }
        }
    }

    /// Makes everything written so far durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map(|_| ()).map_err(sled_error("flush"))
    }

    /// Flushes, then syncs the files and folders that sled itself never syncs.
    pub fn settle(&self, dir: &Path) -> Result<(), StoreError> {
        self.flush()?;
        for name in ["conf", "db"] {
            let path = dir.join(name);
            std::fs::File::open(&path).and_then(|f| f.sync_all()).map_err(io_error("sync", &path))?;
            restrict(&path)?;
        }
        let blobs = dir.join("blobs");
        if blobs.is_dir() {
            disk::sync_dir(&blobs)?;
        }
        disk::sync_dir(dir)?;
        disk::sync_parent(dir)
    }
}

fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io_error("set the mode of", path))
}

/// What a group of batches changes, each key once.
#[derive(Default)]
pub(crate) struct Plan<'a> {
    changes: HashMap<(u8, &'a [u8]), Change<'a>>,
}

struct Change<'a> {
    /// Hash of the value before the group; `None` where there was none.
    old: Option<u128>,
    new: Option<&'a [u8]>,
}

impl<'a> Plan<'a> {
    /// The tables of its operations; several times where several are of one.
    pub fn tables(&self) -> impl Iterator<Item = u8> + '_ {
        self.changes.keys().map(|(table, _)| *table)
    }

    /// Adds the operations of a batch after those that are there already.
    pub fn add(&mut self, engine: &Engine, ops: &'a [u8]) -> Result<(), StoreError> {
        for op in Ops(ops) {
            let op = op.map_err(|why| StoreError::Table { table: "(batch)".into(), why: why.into() })?;
            match self.changes.entry((op.table, op.key)) {
                std::collections::hash_map::Entry::Occupied(mut e) => e.get_mut().new = op.value,
                std::collections::hash_map::Entry::Vacant(e) => {
                    let old = engine.get(op.table, op.key)?.map(|v| root::hash(op.table, op.key, &v));
                    e.insert(Change { old, new: op.value });
                }
            }
        }
        Ok(())
    }

    /// The first guard that does not hold against the state with this plan applied.
    pub fn broken_guard<'g>(&self, engine: &Engine, guards: &'g [u8]) -> Result<Option<Op<'g>>, StoreError> {
        for op in Ops(guards) {
            let op = op.map_err(|why| StoreError::Table { table: "(batch)".into(), why: why.into() })?;
            let holds = match self.changes.get(&(op.table, op.key)) {
                Some(change) => change.new == op.value,
                None => engine.get(op.table, op.key)?.as_deref() == op.value,
            };
            if !holds {
                return Ok(Some(op));
            }
        }
        Ok(None)
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The state after this plan, as the next commit.
    pub fn next(&self, state: &State) -> State {
        let mut next = state.clone();
        next.root.commit += 1;
        for ((table, key), change) in &self.changes {
            if let Some(old) = change.old {
                next.take(*table, old);
            }
            if let Some(new) = change.new {
                next.add(*table, root::hash(*table, key, new));
            }
        }
        next
    }
}
