//! `datanode vault`. None of it opens the state.

use super::global::Global;
use crate::failure::{Done, Failure};
use clap::Subcommand;

/// What can be done with the vault.
#[derive(Subcommand)]
pub enum VaultCommand {
    /// Look at every object: presence, length, header
    Check,
}

/// Runs the command.
///
/// # Errors
/// 3 integrity, 6 busy.
pub fn vault(_g: &Global, v: &VaultCommand) -> Done {
    match v {
        VaultCommand::Check => Err(Failure::failed("not there yet")),
    }
}
