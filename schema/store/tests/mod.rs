//! Tests of the store from the inside: against the model, with damage, with failures injected.

mod copy;
mod damage;
mod recovery;
mod rules;
mod twin;

use std::{fs, path::Path};

use super::{Batch, Store, StoreError, StoreOptions, Table, TableDef};

pub type Row = (u64, Vec<u8>);
/// The records of both tables.
pub type Content = (Vec<(u64, Row)>, Vec<(String, Row)>);
pub const A: Table<u64, Row> = Table::new("a", 1, 1);
pub const B: Table<String, Row> = Table::new("b", 2, 1);

pub fn tables() -> Vec<TableDef> {
    vec![A.def(), B.def()]
}

pub fn options() -> StoreOptions {
    StoreOptions { cache_bytes: 4 << 20, free_space_floor: 0, segment_bytes: 16 << 10, ..StoreOptions::default() }
}

pub fn open(dir: &Path) -> Result<Store, StoreError> {
    Store::open(dir, &tables(), &options())
}

/// One batch over both tables.
pub fn batch(i: u64) -> Batch {
    let mut b = Batch::new();
    b.put(&A, &i, &(i, vec![i as u8; 40])).unwrap().put(&B, &format!("k{}", i % 7), &(i, vec![7; 20])).unwrap();
    b
}

/// What the folder would be had the process been killed now. No commit may be on its way.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for e in fs::read_dir(from).unwrap() {
        let e = e.unwrap();
        let goal = to.join(e.file_name());
        if e.file_type().unwrap().is_dir() {
            copy_dir(&e.path(), &goal);
        } else if let Err(error) = fs::copy(e.path(), goal) {
            // sled removes old snapshots whenever it likes.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

/// Everything a reader can see.
pub fn dump(s: &Store) -> Result<Content, StoreError> {
    Ok((s.load_all(&A, &[])?, s.load_all(&B, &[])?))
}
