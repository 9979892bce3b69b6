//! `datanode pack open`: a sealed pack, or a part of it, becomes plain files again.

use super::anchored::Anchored;
use super::global::Global;
use super::opening::{PassphraseArgs, opener};
use super::pack::of_seal;
use super::pack_pull::{Secrets, access, given_key, of_object, of_pull};
use super::table::thousands;
use crate::failure::{Code, Done, Failure, printable};
use chrono::NaiveDate;
use clap::Args;
use datanode_actors::export::{ExportId, PackManifest, Selection};
use datanode_actors::pull::{PullPlan, Wanted, open_there};
use datanode_actors::seal::{self, OpenReport, PackKey, PackUid, Unwraps};
use datanode_actors::vault::Vault;
use datanode_schema::files::sha256_hex;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to open, of what, to where.
#[derive(Args)]
#[command(after_help = "Examples:\n  datanode pack open data/vault --to restored --key node.key\n  \
    datanode pack open s3://bucket/market/sealed/datanode --latest --dataset equities_bars_minute --date 2026-02-27 --to day --key node.key\n\n\
    A file holds all symbols of its day or month. A part of a pack comes with its manifest.json and its sums: `sha256sum -c \
    --ignore-missing SHA256SUMS.stable.txt` compares what is there.")]
pub struct OpenArgs {
    /// A vault, a shipped sealing, or a bucket's sealings: s3://, gs://, az://, https://, http://, file://
    from: String,
    /// Where to; must not exist
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Which pack: the id of a sealing (in a vault, the beginning of it), or an export id [default: the only one]
    #[arg(long, value_name = "ID", conflicts_with = "latest")]
    id: Option<String>,
    /// The newest pack that the key opens
    #[arg(long)]
    latest: bool,
    /// Only files of this dataset
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// Only files that hold this session
    #[arg(long, value_name = "DATE")]
    date: Option<NaiveDate>,
    /// Only this file
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// The secret key [default: the configured seal.key_file]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Open only what stands in the anchor log of this public key, which may be in a file (the node's anchors/key.pub)
    #[arg(long, value_name = "PUBKEY|FILE")]
    log_key: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Of a bucket: which node's packs, where it has several
    #[arg(long)]
    source: Option<String>,
    /// Of a bucket: the address of an S3-compatible service. Secrets come from the environment, as for `pack pull`
    #[arg(long, value_name = "URL", default_value = "")]
    endpoint: String,
    /// Of a bucket: its region
    #[arg(long, default_value = "")]
    region: String,
}

/// Runs the command.
///
/// # Errors
/// 2 usage, 3 integrity or a wrong key, 4 contract, 5 no such pack, dataset or session.
pub fn run(g: &Global, a: &OpenArgs) -> Done {
    let Some(opener) = opener(g, a.key.as_deref(), &a.passphrase)? else {
        return Err(Failure::usage(
            "no key: name the secret key with --key FILE, or a passphrase with --passphrase-file",
        ));
    };
    let wanted = Selection { dataset: a.dataset.clone(), date: a.date, file: a.file.clone() };
    if a.from.contains("://") {
        return there(g, a, opener.as_ref(), &wanted);
    }
    let log_key = given_key(g, a.log_key.as_deref())?;
    let (uid, report, elsewhere) = here(Path::new(&a.from), a, opener.as_ref(), log_key.as_deref(), &wanted)?;
    tell(g, a, &hex::encode(uid), report, &elsewhere, None);
    Ok(())
}

fn tell(g: &Global, a: &OpenArgs, uid: &str, r: OpenReport, elsewhere: &BTreeSet<String>, fetched: Option<u64>) {
    if g.json {
        let mut v = json!({"pack_uid": uid, "to": a.to, "files": r.files, "bytes": r.bytes, "objects": r.objects, "elsewhere": elsewhere});
        if let (Some(n), Some(map)) = (fetched, v.as_object_mut()) {
            map.insert("downloaded_bytes".to_owned(), n.into());
        }
        println!("{v}");
    } else {
        let wire = fetched.map(|n| format!(", {} bytes fetched", thousands(n))).unwrap_or_default();
        println!(
            "opened   {}  {} files, {} bytes, of {} chunks{wire}",
            a.to.display(),
            thousands(r.files as u64),
            thousands(r.bytes),
            thousands(r.objects as u64)
        );
    }
    if !elsewhere.is_empty() {
        let ids: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
        eprintln!(
            "further files of what was meant lie in earlier packs; open with --id: {}",
            printable(&ids.join(", "))
        );
    }
}

/// Out of a bucket; what is fetched is what is needed.
fn there(g: &Global, a: &OpenArgs, opener: &dyn Unwraps, wanted: &Selection) -> Done {
    let wanted_pack = match (&a.id, a.latest) {
        (Some(id), _) => Wanted::Id(id.clone()),
        (None, true) => Wanted::Latest,
        (None, false) => return Err(Failure::usage("which pack? name it with --id, or take the newest with --latest")),
    };
    let secrets =
        Secrets { endpoint: &a.endpoint, region: &a.region, key: None, secret: None, token: None, may_default: true };
    let bucket = access(&secrets, a.from.clone())?.open_for(Duration::from_secs(30)).map_err(of_object)?;
    let plan = PullPlan {
        bucket,
        wanted: wanted_pack,
        source: a.source.clone(),
        to: a.to.clone(),
        parallel: 8,
        trust_local: false,
        dry_run: false,
        log_key: given_key(g, a.log_key.as_deref())?,
        identity: None,
    };
    let done = open_there(&plan, opener, wanted, &|line| eprintln!("{}", printable(line))).map_err(of_pull)?;
    tell(g, a, &done.pack_uid, done.report, &done.elsewhere, Some(done.downloaded_bytes));
    Ok(())
}

fn here(
    path: &Path,
    a: &OpenArgs,
    opener: &dyn Unwraps,
    log_key: Option<&str>,
    wanted: &Selection,
) -> Result<(PackUid, OpenReport, BTreeSet<String>), Failure> {
    if !path.join("descriptors").is_dir() {
        let what = format!("{}: no vault and no sealing (it has no descriptors/)", path.display());
        return Err(Failure::new(Code::NotFound, what));
    }
    let vault = Vault::open_shipped(path).map_err(|e| of_seal(&e))?;
    let (uid, key) = choose(&vault, a, opener)?;
    if let Some(public) = log_key {
        let descriptor = vault.descriptor(&uid).map_err(|e| of_seal(&e))?;
        let anchored = Anchored::of(path, &descriptor, Some(public))?;
        if anchored.index().is_none() {
            let what = format!("sealing {}: {}; nothing was opened", hex::encode(uid), anchored.in_words());
            return Err(Failure::new(Code::Integrity, what));
        }
    }
    if wanted.is_everything() {
        let report = seal::open(&vault, uid, &key, &a.to, None).map_err(|e| of_seal(&e))?;
        return Ok((uid, report, BTreeSet::new()));
    }
    let selected = wanted
        .of(&manifest(&vault, uid, &key)?)
        .map_err(|e| Failure::new(Code::NotFound, printable(&e.to_string())))?;
    let means = |path: &str| selected.paths.contains(path);
    let report = seal::open(&vault, uid, &key, &a.to, Some(&means)).map_err(|e| of_seal(&e))?;
    Ok((uid, report, selected.elsewhere))
}

/// The sealing that is meant, and its key.
fn choose(vault: &Vault, a: &OpenArgs, opener: &dyn Unwraps) -> Result<(PackUid, PackKey), Failure> {
    let unwrap = |uid: &PackUid| seal::unwrap_key(vault, *uid, opener).map_err(|e| of_seal(&e));
    let uids = vault.descriptors().map_err(|e| of_seal(&e))?;
    let by_export = a.latest || a.id.as_ref().is_some_and(|i| ExportId::parse(i).is_some());
    if by_export {
        // What is in a sealing is known with its key alone.
        let mut found = Vec::new();
        for uid in &uids {
            let Ok(key) = unwrap(uid) else { continue };
            let (Ok(d), Ok(m)) = (vault.descriptor(uid), manifest(vault, *uid, &key)) else { continue };
            if a.id.as_ref().is_none_or(|i| *i == m.export_id) {
                let sum = sha256_hex(m.to_text().as_bytes());
                found.push(((m.export_id, d.generation), sum, *uid, key));
            }
        }
        // Of several sealings of a pack the last one, where they hold the same.
        found.sort_by(|a, b| a.0.cmp(&b.0));
        if let [.., (a, one, x, _), (b, other, y, _)] = found.as_slice()
            && a.0 == b.0
            && one != other
        {
            let what = format!(
                "{} was sealed several times, with other contents: {}, {}",
                a.0,
                hex::encode(x),
                hex::encode(y)
            );
            return Err(Failure::new(
                Code::Integrity,
                format!("{what}; find out which is right, and name it with --id"),
            ));
        }
        let none = || Failure::new(Code::NotFound, format!("{}: no such pack that this key opens", a.from));
        return found.pop().map(|(.., uid, key)| (uid, key)).ok_or_else(none);
    }
    let chosen: Vec<&PackUid> =
        uids.iter().filter(|u| a.id.as_ref().is_none_or(|i| hex::encode(u).starts_with(i.as_str()))).collect();
    match chosen.as_slice() {
        [one] => Ok((**one, unwrap(one)?)),
        [] => Err(Failure::new(Code::NotFound, format!("{}: no such sealing", a.from))),
        _ => {
            let all: Vec<String> = chosen.iter().map(hex::encode).collect();
            Err(Failure::usage(format!("several sealings; choose with --id, or --latest: {}", all.join(", "))))
        }
    }
}

fn manifest(vault: &Vault, uid: PackUid, key: &PackKey) -> Result<PackManifest, Failure> {
    let descriptor = vault.descriptor(&uid).map_err(|e| of_seal(&e))?;
    let sealed = seal::read_manifest(vault, &descriptor, key).map_err(|e| of_seal(&e))?;
    PackManifest::parse(sealed.manifest_json.as_bytes())
        .map_err(|e| Failure::new(Code::Contract, format!("sealing {}: manifest.json: {e}", hex::encode(uid))))
}
