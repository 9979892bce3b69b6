//! What a person types: one file a command. Progress goes to stderr, results to stdout.

mod alert;
mod anchor;
mod anchored;
mod audit;
mod backup;
mod buckets;
mod cli;
mod collect_books;
mod config;
mod demo;
mod doctor;
mod global;
mod init;
mod key;
mod key_shred;
mod nightly;
mod offload;
mod opening;
mod pack;
mod pack_diff;
mod pack_open;
mod pack_pull;
mod rebuild;
mod retention;
mod run;
mod table;
mod token;
mod vault;
mod vault_beacon;
mod vault_check;
mod vault_index;
mod vault_repair;

pub use cli::main;
