//! `datanode vault`. None of it opens the state, but what says so.

use super::global::Global;
use super::vault_beacon::{self, ChallengeCommand};
use super::{vault_check, vault_repair};
use crate::failure::{Code, Done, Failure};
use clap::Subcommand;
use datanode_actors::seal::Identity;
use datanode_actors::vault::Vault;
use std::path::{Path, PathBuf};

/// What can be done with the vault.
#[derive(Subcommand)]
pub enum VaultCommand {
    /// Look at every object, record and key of a vault, and list everything that is wrong
    Check(vault_check::CheckArgs),
    /// Put right whatever another copy, parity or the plain pack can put right, and list what is left with what it costs
    Repair(vault_repair::RepairArgs),
    /// Say what the vault holds: a signed note, written to anchors/beacon and printed
    Beacon,
    /// Make a challenge, answer one, verify an answer
    #[command(subcommand)]
    Challenge(ChallengeCommand),
}

/// Runs the command.
///
/// # Errors
/// 3 integrity, 5 no vault there, 6 busy.
pub fn vault(g: &Global, v: &VaultCommand) -> Done {
    match v {
        VaultCommand::Check(a) => vault_check::run(g, a),
        VaultCommand::Repair(a) => vault_repair::run(g, a),
        VaultCommand::Beacon => vault_beacon::beacon(g),
        VaultCommand::Challenge(c) => vault_beacon::challenge(g, c),
    }
}

/// The vault that is meant, and the anchor log beside it: that of the node, of a data folder, or a folder that is one.
pub(super) fn place(g: &Global, path: Option<&Path>) -> Result<(PathBuf, PathBuf), Failure> {
    let data = match path {
        None => g.settings()?.data_dir,
        Some(p) if p.join("vault/descriptors").is_dir() => p.to_owned(),
        Some(p) => return Ok((p.to_owned(), p.join("anchors"))),
    };
    Ok((data.join("vault"), data.join("anchors")))
}

/// Opens it; nothing is made.
pub(super) fn open(path: &Path) -> Result<Vault, Failure> {
    let vault = Vault::at(path).map_err(|e| {
        let of = super::pack::of_seal(&e);
        Failure::new(Code::NotFound, format!("{}: there is no vault here ({})", path.display(), of.message))
    })?;
    // What is wrong with its descriptors is in the list of what is found.
    Ok(vault.clone().with_those_beside().unwrap_or(vault))
}

/// The key of a file.
pub(super) fn key(path: Option<&Path>) -> Result<Option<Identity>, Failure> {
    path.map(|p| Identity::read(p).map_err(|e| super::pack::of_seal(&e))).transpose()
}

/// The key that the log beside a vault is verified with: the one that was named, else this node's for its own vault.
pub(super) fn log_key(g: &Global, path: Option<&Path>, given: Option<&str>) -> Result<Option<String>, Failure> {
    if given.is_none() && path.is_some() {
        return Ok(None);
    }
    super::anchored::public_key(g, given)
}
