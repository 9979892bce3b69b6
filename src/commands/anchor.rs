//! `datanode anchor`.

use super::global::Global;
use crate::failure::{Done, Failure};
use clap::Subcommand;

/// What can be done with the anchor log.
#[derive(Subcommand)]
pub enum AnchorCommand {
    /// Print the newest checkpoint
    Checkpoint,
}

/// Runs the command.
///
/// # Errors
/// 3 integrity, 5 not found.
pub fn anchor(_g: &Global, a: &AnchorCommand) -> Done {
    match a {
        AnchorCommand::Checkpoint => Err(Failure::failed("not there yet")),
    }
}
