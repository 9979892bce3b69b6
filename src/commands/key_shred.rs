//! `datanode key shred`: the key of one sealing is dropped.

use super::global::Global;
use super::key::keys_and_vault;
use super::pack::of_seal;
use super::table::thousands;
use crate::config::Settings;
use crate::failure::{Code, Done, Failure};
use crate::wiring::{destinations, vault_rules};
use datanode_actors::keyring::{self, Borrower, ShredPlan};
use datanode_actors::objects::{Access, layout};
use datanode_actors::seal::PackUid;
use datanode_actors::vault::Vault;
use datanode_schema::clock::rfc3339;

/// Shreds a sealing, or says what that would amount to.
///
/// # Errors
/// 1 a place could not be reached, 2 without --yes, 5 no such sealing, 6 the vault is in use.
pub fn shred(g: &Global, uid: &str, yes: bool) -> Done {
    let (keys, vault) = keys_and_vault(g)?;
    let uid = chosen(&vault, uid)?;
    let ring = keys.read().map_err(|e| of_seal(&e))?;
    let plan = keyring::plan_shred(&vault, &ring, &uid).map_err(|e| of_seal(&e))?;
    if !yes {
        tell(&uid, &plan);
        return Err(Failure::usage("nothing was done: add --yes, and there is no way back"));
    }
    // Before anything is dropped: a place that is not configured rightly would keep its key.
    let settings = g.settings()?;
    let places = places(&settings, &uid)?;
    let by = format!("uid {}", nix::unistd::getuid());
    let note = keyring::shred(&vault, &uid, &rfc3339(g.clock().now()), &by).map_err(|e| of_seal(&e))?;
    let text = note.encode().map_err(|e| of_seal(&e))?;
    let (mut reached, mut failed) = (Vec::new(), Vec::new());
    for (name, prefix, access) in places {
        let done = access.open_to_send().and_then(|bucket| keyring::erase(&bucket, &prefix, &uid, &text));
        match done {
            Ok(true) => reached.push(name),
            Ok(false) => {}
            Err(e) => failed.push(format!("{name}: {e}")),
        }
    }
    if g.json {
        let of: Vec<String> = plan.borrowers.iter().map(|b| hex::encode(b.uid)).collect();
        let v = serde_json::json!({"pack_uid": hex::encode(uid), "shredded_at": note.shredded_at, "also_at": reached,
            "not_reached": failed, "disclosed_by": of});
        println!("{v}");
    } else {
        tell(&uid, &plan);
        println!("shredded {} at {}", hex::encode(uid), note.shredded_at);
        println!("its proofs go on verifying; its plain pack in exports/, where it stands, was not touched");
        if !reached.is_empty() {
            println!("dropped as well at: {}", reached.join(", "));
            println!("a bucket that keeps versions keeps the old stanza as one: remove it there");
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let what =
        "its key is gone here, and may still be at these places; run it again, or remove the stanza there by hand:\n  ";
    Err(Failure::failed(format!("{what}{}", failed.join("\n  "))))
}

fn chosen(vault: &Vault, begins: &str) -> Result<PackUid, Failure> {
    let all = vault.descriptors().map_err(|e| of_seal(&e))?;
    let found: Vec<&PackUid> = all.iter().filter(|uid| hex::encode(uid).starts_with(begins)).collect();
    match found.as_slice() {
        [one] if !begins.is_empty() => Ok(**one),
        [] => Err(Failure::new(Code::NotFound, format!("no sealing {begins} in the vault"))),
        _ => Err(Failure::usage(format!("{} sealings begin with {begins:?}; say more of its id", found.len()))),
    }
}

/// Where else this node may have brought its key: name, folder of the sealing there, access.
fn places(settings: &Settings, uid: &PackUid) -> Result<Vec<(String, String, Access)>, Failure> {
    let folder = layout::sealing(&settings.node.source, &hex::encode(uid));
    let mut out: Vec<_> = destinations(settings)?
        .into_iter()
        .map(|d| (format!("destination {}", d.name), folder.clone(), d.access))
        .collect();
    if let Some(replica) = vault_rules(settings)?.replica {
        out.push(("the vault's replica".to_owned(), String::new(), replica.access));
    }
    Ok(out)
}

fn tell(uid: &PackUid, plan: &ShredPlan) {
    let of = plan.export_id.as_deref().unwrap_or("a pack that cannot be told");
    let again = if plan.done { ", shredded before" } else { "" };
    println!("sealing {} of {of}{again}", hex::encode(uid));
    if plan.borrowers.is_empty() {
        println!("no other sealing uses its chunks");
    }
    for Borrower { uid, export_id, files } in &plan.borrowers {
        let of = export_id.as_deref().unwrap_or("a pack that cannot be told");
        let what = match files {
            Some((files, bytes)) => {
                format!("{} of its files ({} bytes) stay readable", thousands(*files), thousands(*bytes))
            }
            None => "an unknown part of it stays readable".to_owned(),
        };
        println!("{what} through sealing {} of {of}", hex::encode(uid));
    }
}
