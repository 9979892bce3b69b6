//! `datanode vault`. None of it opens the state.

use super::global::Global;
use super::vault_beacon::{self, ChallengeCommand};
use crate::failure::{Done, Failure};
use clap::Subcommand;

/// What can be done with the vault.
#[derive(Subcommand)]
pub enum VaultCommand {
    /// Look at every object: presence, length, header
    Check,
    /// Say what the vault holds: a signed note, written to anchors/beacon and printed
    Beacon,
    /// Make a challenge, answer one, verify an answer
    #[command(subcommand)]
    Challenge(ChallengeCommand),
}

/// Runs the command.
///
/// # Errors
/// 3 integrity, 6 busy.
pub fn vault(g: &Global, v: &VaultCommand) -> Done {
    match v {
        VaultCommand::Check => Err(Failure::failed("not there yet")),
        VaultCommand::Beacon => vault_beacon::beacon(g),
        VaultCommand::Challenge(c) => vault_beacon::challenge(g, c),
    }
}
