//! `datanode token`: who may read packs over the node's own HTTP.

use super::global::Global;
use super::table::print;
use crate::failure::{Code, Done, Failure};
use crate::http::tokens::{PACKS_READ, SCOPES, Tokens};
use clap::Subcommand;
use datanode_schema::clock::rfc3339;

/// What can be done with tokens.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed this once, only its hash is kept
    New {
        /// What it is called: letters, digits, `-`, `_`, `.`
        name: String,
        /// What it may do: packs:read, metrics:read, proofs:read; several with commas between
        #[arg(long, default_value = PACKS_READ, value_delimiter = ',', value_parser = SCOPES)]
        scope: Vec<String>,
        /// Void after so many days [default: never]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
    },
    /// The tokens, without themselves
    List,
    /// End a token, at once
    Revoke {
        /// Its name
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// 1 the name is taken or the file cannot be written, 2 the name cannot be used, 5 there is no such token, or no data folder.
pub fn token(g: &Global, t: &TokenCommand) -> Done {
    let data = g.settings()?.data_dir;
    if !data.is_dir() {
        // A folder made for a token would be one that no node reads.
        let what = format!("{}: there is no data folder; check data_dir, or start the node once", data.display());
        return Err(Failure::new(Code::NotFound, what));
    }
    let tokens = Tokens::new(&data);
    match t {
        TokenCommand::New { name, scope, days } => {
            let mut scope = scope.clone();
            scope.sort();
            scope.dedup();
            let scope = scope.join(",");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(Failure::usage(format!(
                    "{name:?}: a token's name has 1 to 64 letters, digits, `-`, `_`, `.`"
                )));
            }
            let token = tokens.add(name, &scope, g.clock().now(), *days).map_err(Failure::failed)?;
            if g.json {
                println!("{}", serde_json::json!({"name": name, "scope": scope, "token": token}));
            } else {
                println!("{token}");
                eprintln!("it is not shown again; `datanode token revoke {name}` ends it");
            }
        }
        TokenCommand::List => {
            let all = tokens.read().map_err(|e| Failure::new(Code::Integrity, e))?;
            let expires = |t: &crate::http::tokens::Token| t.expires_at.map(rfc3339);
            if g.json {
                for t in &all {
                    let v = serde_json::json!({"name": t.name, "scope": t.scope, "created_at": rfc3339(t.created_at), "expires_at": expires(t)});
                    println!("{v}");
                }
            } else {
                let row = |t| expires(t).unwrap_or_else(|| "never".to_owned());
                let rows: Vec<_> =
                    all.iter().map(|t| vec![t.name.clone(), t.scope.clone(), rfc3339(t.created_at), row(t)]).collect();
                print(&["name", "scope", "created", "expires"], &rows);
            }
        }
        TokenCommand::Revoke { name } => {
            if !tokens.revoke(name).map_err(Failure::failed)? {
                return Err(Failure::new(
                    Code::NotFound,
                    format!("there is no token {name:?}; `datanode token list` shows them"),
                ));
            }
            eprintln!("{name} is void");
        }
    }
    Ok(())
}
