//! `datanode key`.

use super::global::Global;
use crate::failure::{Done, Failure};
use crate::wiring::{key_file, write_new_key};
use clap::Subcommand;
use std::path::PathBuf;

/// What can be done with keys.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key: the secret goes to FILE (0600), the public part is printed
    New {
        /// Where to; an existing file is never replaced [default: the configured seal.key_file]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs the command.
///
/// # Errors
/// The file exists or cannot be written.
pub fn key(g: &Global, k: &KeyCommand) -> Done {
    let KeyCommand::New { out } = k;
    let path = match out {
        Some(p) => p.clone(),
        None => key_file(&g.settings()?),
    };
    if path.exists() {
        return Err(Failure::failed(format!(
            "{}: there is a key already, and it is not replaced; name another file with --out",
            path.display()
        )));
    }
    let public = write_new_key(&path)?.to_public().to_string();
    if g.json {
        println!("{}", serde_json::json!({"file": path, "public": public}));
    } else {
        println!("{public}");
        eprintln!("the secret key is in {}; keep a copy elsewhere: without it no sealed pack opens", path.display());
    }
    Ok(())
}
