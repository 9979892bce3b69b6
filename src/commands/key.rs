//! `datanode key`: the node's key, who else may open what is sealed, and keys that are dropped. None of it opens the state, so it may be done
//! while the node runs: whoever seals reads the keys again.

use super::global::Global;
use super::key_shred;
use super::opening;
use super::pack::of_seal;
use super::table::print;
use crate::failure::{Code, Done, Failure};
use crate::wiring::{key_file, keys_of, make_private, write_new_key};
use clap::Subcommand;
use datanode_actors::keyring::{self, Keys, Named, New, Rewrapped};
use datanode_actors::seal::{Passphrase, PassphraseRecord, Recipient, unwrap_key};
use datanode_actors::vault::Vault;
use datanode_schema::paths::DataDir;
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
    /// The node's key, those of before, who else may open what is sealed, and what this node cannot open itself
    List,
    /// A new key for the node: every sealing is wrapped to it, nothing is sealed again. Doing it again ends one that was killed
    Rotate {
        /// Remove the key of before, once nothing needs it, instead of keeping it as FILE.DATE-retired
        #[arg(long)]
        discard: bool,
    },
    /// Let somebody else open what is sealed, too
    #[command(group = clap::ArgGroup::new("who").required(true).args(["recipient", "passphrase", "passphrase_file"]))]
    AddRecipient {
        /// A public key, age1…
        recipient: Option<Recipient>,
        /// Whoever knows a passphrase, which is asked for on the terminal
        #[arg(long, requires = "name")]
        passphrase: bool,
        /// The same; the passphrase is in FILE, on stdin (-), or behind a reference such as env:NAME
        #[arg(long, value_name = "FILE|-", requires = "name")]
        passphrase_file: Option<String>,
        /// What to call it
        #[arg(long)]
        name: Option<String>,
        /// Only what is sealed from now on
        #[arg(long)]
        future_only: bool,
    },
    /// Wrap every sealing without somebody, and seal to them no more. What they opened before they may have kept
    RemoveRecipient {
        /// Its name, or its public key
        which: String,
    },
    /// Drop the key of one sealing, here and wherever this node brought it: nothing opens it again
    Shred {
        /// The sealing: its id, or the beginning of it
        uid: String,
        /// Do it; without, it is only said what it would amount to
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// 1 a file cannot be written or a place not be reached, 2 usage, 3 a stanza opens with no key of this node, 5 not found, 6 the vault is in use.
pub fn key(g: &Global, k: &KeyCommand) -> Done {
    match k {
        KeyCommand::New { out } => new(g, out.clone()),
        KeyCommand::List => list(g),
        KeyCommand::Rotate { discard } => rotate(g, *discard),
        KeyCommand::AddRecipient { recipient, passphrase_file, name, future_only, .. } => {
            add(g, recipient.as_ref(), passphrase_file.as_deref(), name.as_deref(), *future_only)
        }
        KeyCommand::RemoveRecipient { which } => remove(g, which),
        KeyCommand::Shred { uid, yes } => key_shred::shred(g, uid, *yes),
    }
}

/// The keys of the settings, and the vault.
///
/// # Errors
/// There is no key, or no vault can be made.
pub fn keys_and_vault(g: &Global) -> Result<(Keys, Vault), Failure> {
    let settings = g.settings()?;
    let path = key_file(&settings);
    if !path.is_file() {
        let what = format!("{}: no key; make one with `datanode key new`", path.display());
        return Err(Failure::new(Code::NotFound, what));
    }
    make_private(&settings.data_dir)?;
    let vault = Vault::open(&DataDir::new(settings.data_dir.clone()).vault()).map_err(|e| of_seal(&e))?;
    Ok((keys_of(&settings)?, vault))
}

fn new(g: &Global, out: Option<PathBuf>) -> Done {
    let path = match out {
        Some(p) => p,
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

fn list(g: &Global) -> Done {
    let (keys, vault) = keys_and_vault(g)?;
    let file = keys.file().map_err(|e| of_seal(&e))?.to_owned();
    let ring = keys.read().map_err(|e| of_seal(&e))?;
    let uids = vault.stanzas().map_err(|e| of_seal(&e))?;
    let closed: Vec<String> =
        uids.iter().filter(|uid| unwrap_key(&vault, **uid, ring.own()).is_err()).map(hex::encode).collect();
    let under_way = keyring::is_under_way(&file);
    if g.json {
        let retired: Vec<_> =
            ring.retired().map(|(p, r)| serde_json::json!({"file": p, "public": r.to_string()})).collect();
        let named: Vec<_> = ring
            .named()
            .iter()
            .map(|n| serde_json::json!({"public": n.recipient.to_string(), "name": n.name}))
            .collect();
        let configured: Vec<String> = ring.configured().iter().map(ToString::to_string).collect();
        println!(
            "{}",
            serde_json::json!({"file": file, "public": ring.own().to_public().to_string(), "retired": retired,
                "configured": configured, "recipients": named, "passphrases": ring.passphrases(),
                "rotation_under_way": under_way, "sealings": uids.len(), "not_opened": closed, "last_backup": null})
        );
        return Ok(());
    }
    let mut rows = vec![row("node", "", &ring.own().to_public(), file.display().to_string())];
    rows.extend(ring.retired().map(|(p, r)| row("retired", "", &r, p.display().to_string())));
    rows.extend(ring.configured().iter().map(|r| row("recipient", "", r, "seal.recipients".to_owned())));
    rows.extend(ring.named().iter().map(|n| row("recipient", &n.name, &n.recipient, String::new())));
    for p in ring.passphrases() {
        let how = format!("argon2id, {} MiB, {} passes", p.memory_kib / 1024, p.passes);
        rows.push(vec!["passphrase".to_owned(), p.name.clone(), p.recipient.clone(), how]);
    }
    print(&["what", "name", "public", "where"], &rows);
    println!("{} sealings; last backup of the key: unknown to this node", uids.len());
    if under_way {
        println!("a rotation was begun and not ended: run `datanode key rotate` again");
    }
    if !closed.is_empty() {
        println!("{} do not open with the node's key: {}", closed.len(), closed.join(", "));
    }
    Ok(())
}

fn row(what: &str, name: &str, public: &Recipient, place: String) -> Vec<String> {
    vec![what.to_owned(), name.to_owned(), public.to_string(), place]
}

/// Sealings that the log knows and that have no stanza here: what destinations have of them is never wrapped anew.
fn only_elsewhere(g: &Global, vault: &Vault) -> Result<Vec<String>, Failure> {
    let anchors = DataDir::new(g.settings()?.data_dir).anchors();
    let known = datanode_actors::anchor::book(&anchors).map_err(|e| super::anchored::of_anchor(&e))?;
    let here = vault.stanzas().map_err(|e| of_seal(&e))?;
    let mut out = Vec::new();
    for uid in known.into_keys().filter(|uid| !here.contains(uid)) {
        if vault.shredded(&uid).map_err(|e| of_seal(&e))?.is_none() {
            out.push(hex::encode(uid));
        }
    }
    Ok(out)
}

fn rotate(g: &Global, discard: bool) -> Done {
    let (keys, vault) = keys_and_vault(g)?;
    let day = g.clock().now().date_naive().to_string();
    let elsewhere = if discard { only_elsewhere(g, &vault)? } else { Vec::new() };
    if !elsewhere.is_empty() {
        eprintln!(
            "the key of before is kept: {} sealings have no stanza here any more, and a copy of them may open with that key alone: {}; \
             remove its file yourself once none is needed",
            elsewhere.len(),
            elsewhere.join(", ")
        );
    }
    let discard = discard && elsewhere.is_empty();
    let done = keyring::rotate(&keys, &vault, &day, discard).map_err(|e| of_seal(&e))?;
    if g.json {
        println!(
            "{}",
            serde_json::json!({"public": done.public, "retired": done.retired, "resumed": done.resumed,
                "rewrapped": done.rewrapped.stanzas, "kept": done.rewrapped.kept, "not_opened": not_opened(&done.rewrapped)})
        );
    } else {
        let how = if done.resumed { "ended the rotation that was begun" } else { "rotated" };
        println!("{how}: the node's key is {}; {}", done.public, stanzas(&done.rewrapped));
        match &done.retired {
            Some(path) => println!(
                "the key of before is {}; it still opens what is at destinations and in the trash",
                path.display()
            ),
            None => println!(
                "the key of before is removed; stanzas in the trash, and at destinations until they are brought, open with no key here"
            ),
        }
        println!("keep a copy of the new key elsewhere. {NEXT}");
    }
    whole(&done.rewrapped)
}

const NEXT: &str = "A node that runs takes it at its next sealing, without a restart; destinations get the stanzas with the next night, or by \
`datanode nightly --stages ship`";

fn stanzas(r: &Rewrapped) -> String {
    format!("{} stanzas wrapped anew, {} were as they should be", r.stanzas, r.kept)
}

fn not_opened(r: &Rewrapped) -> Vec<String> {
    r.unopened.iter().map(|(uid, why)| format!("{}: {why}", hex::encode(uid))).collect()
}

/// Stanzas that no key of this node opens are its owner's to know of; all else is done.
fn whole(r: &Rewrapped) -> Done {
    if r.unopened.is_empty() {
        return Ok(());
    }
    let what = format!("{} sealings open with no key of this node, and stay as they are:\n  ", r.unopened.len());
    Err(Failure::new(Code::Integrity, what + &not_opened(r).join("\n  ")))
}

fn add(g: &Global, recipient: Option<&Recipient>, from: Option<&str>, name: Option<&str>, future_only: bool) -> Done {
    let (keys, vault) = keys_and_vault(g)?;
    let name = name.unwrap_or_default().to_owned();
    let new = match recipient {
        Some(r) => {
            let ring = keys.read().map_err(|e| of_seal(&e))?;
            let known =
                ring.configured().iter().chain([&ring.own().to_public()]).any(|k| k.to_string() == r.to_string());
            if known {
                return Err(Failure::usage(format!("{r} may open every pack already; `datanode key list` shows them")));
            }
            New::Key(Named { recipient: r.clone(), name })
        }
        None => {
            let text = match from {
                Some(from) => opening::read(from)?,
                None => opening::ask_twice()?,
            };
            let passphrase = Passphrase::new(text).map_err(|e| of_seal(&e))?;
            New::Passphrase(PassphraseRecord::new(&name, &passphrase).map_err(|e| of_seal(&e))?)
        }
    };
    let public = match &new {
        New::Key(n) => n.recipient.to_string(),
        New::Passphrase(r) => r.recipient.clone(),
    };
    change(g, &keys, &vault, &public, "added", !future_only, |file| keyring::add(file, &vault, new, future_only))
}

fn remove(g: &Global, which: &str) -> Done {
    let (keys, vault) = keys_and_vault(g)?;
    let ring = keys.read().map_err(|e| of_seal(&e))?;
    if ring.configured().iter().any(|r| r.to_string() == which) {
        return Err(Failure::usage(format!(
            "{which} is in the settings: take it out of seal.recipients, then run `datanode key rotate`"
        )));
    }
    let mut public = String::new();
    change(g, &keys, &vault, which, "removed", true, |file| {
        public = keyring::remove(file, which)?;
        Ok(())
    })
}

/// Changes a list, and wraps what is there to those that it names now, as one: nobody seals between.
fn change(
    g: &Global,
    keys: &Keys,
    vault: &Vault,
    who: &str,
    verb: &str,
    rewraps: bool,
    list: impl FnOnce(&std::path::Path) -> Result<(), datanode_actors::seal::SealError>,
) -> Done {
    let file = keys.file().map_err(|e| of_seal(&e))?;
    let _guard = vault.lock_exclusive().map_err(|e| of_seal(&e))?;
    list(file).map_err(|e| of_seal(&e))?;
    datanode_schema::failpoint::pass("key.listed");
    let done = match rewraps {
        true => keyring::rewrap_all(vault, &keys.read().map_err(|e| of_seal(&e))?, false).map_err(|e| of_seal(&e))?,
        false => Rewrapped::default(),
    };
    if g.json {
        println!("{}", serde_json::json!({"public": who, "rewrapped": done.stanzas, "not_opened": not_opened(&done)}));
    } else {
        println!(
            "{verb} {who}; {}",
            if rewraps { stanzas(&done) } else { "what was sealed before stays as it is".to_owned() }
        );
        println!("{NEXT}");
    }
    whole(&done)
}
