//! What datanode stores and exchanges: rkyv records, keys, the one table of trees, the store over sled,
//! calendars, the registry of datasets and vendors, and the formats of the files on disk.
//!
//! This crate knows nothing of actors, HTTP, polars or ciphers. Imports go one way: `schema <- actors <- src`.

pub mod acts;
pub mod calendar;
pub mod clock;
pub mod direct;
pub mod failpoint;
pub mod files;
pub mod keys;
pub mod manifest;
pub mod names;
pub mod paths;
pub mod records;
pub mod registry;
pub mod shim;
pub mod store;
pub mod trail;
pub mod trees;
