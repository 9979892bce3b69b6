//! What a person types: one file a command. Progress goes to stderr, results to stdout.

mod anchor;
mod anchored;
mod audit;
mod buckets;
mod cli;
mod collect_books;
mod demo;
mod doctor;
mod global;
mod init;
mod key;
mod nightly;
mod offload;
mod pack;
mod pack_diff;
mod pack_pull;
mod rebuild;
mod retention;
mod run;
mod table;
mod token;
mod vault;

pub use cli::main;
