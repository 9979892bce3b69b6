//! `datanode pack pull`: no state, no configuration; a machine that has only this program.

use super::anchored::public_key;
use super::global::Global;
use super::opening::PassphraseArgs;
use super::table::thousands;
use crate::failure::{Code, Done, Failure, printable};
use crate::secrets;
use datanode_actors::objects::pointer::{MAX_POINTER, Pointer};
use datanode_actors::objects::{Access, Fault, ObjectError};
use datanode_actors::pull::{PullError, PullFault, PullPlan, Pulled, Wanted, pull};
use datanode_actors::seal::{Identity, Unwraps};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Fetch a pack from a bucket, a server or a folder, verified, into a folder that changes all at once or not at all
#[derive(clap::Args)]
#[command(after_help = "One of --latest, --id and --pointer is needed:\n  \
    datanode pack pull s3://market-packs --latest --to /data/packs/current")]
pub struct PullArgs {
    /// The bucket and prefix, or …/exports/SOURCE below it: s3://, gs://, az://, https://, http://, file://, or a folder
    #[arg(required_unless_present = "pointer")]
    url: Option<String>,
    /// The newest complete pack
    #[arg(long, required_unless_present_any = ["id", "pointer"], conflicts_with_all = ["id", "pointer"])]
    latest: bool,
    /// This pack; with --sealed also the id of a sealing
    #[arg(long, value_name = "ID", conflicts_with = "pointer")]
    id: Option<String>,
    /// The pack that a registry pointer names; URL, where it is given, goes before the pointer's bucket
    #[arg(long, value_name = "FILE")]
    pointer: Option<PathBuf>,
    /// Where to: a folder that does not exist, is empty, or holds an earlier pack
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Which node's packs, where the bucket has several
    #[arg(long)]
    source: Option<String>,
    /// The address of an S3-compatible service
    #[arg(long, value_name = "URL", default_value = "")]
    endpoint: String,
    /// S3: the region
    #[arg(long, default_value = "")]
    region: String,
    /// S3: access key id, as a reference (env:NAME, file:PATH, …) [default: env:AWS_ACCESS_KEY_ID where it is set and URL is given]
    #[arg(long, value_name = "REF")]
    key: Option<String>,
    /// S3: secret access key [default: env:AWS_SECRET_ACCESS_KEY where it is set]
    #[arg(long, value_name = "REF")]
    secret: Option<String>,
    /// S3: session token [default: env:AWS_SESSION_TOKEN where it is set]. HTTP: bearer token [default: env:DATANODE_TOKEN]
    #[arg(long, value_name = "REF")]
    token: Option<String>,
    /// The sealed pack instead of the plain one; implied by a URL of …/sealed/SOURCE
    #[arg(long)]
    sealed: bool,
    /// Sealed: take only what stands in the anchor log of this public key, which may be in a file (the node's anchors/key.pub)
    #[arg(long, value_name = "PUBKEY|FILE")]
    log_key: Option<String>,
    /// The secret key that opens sealed packs
    #[arg(long, value_name = "KEYFILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Downloads at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Give up on an answer of which nothing comes for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    timeout: u16,
    /// Take files of an earlier pull that have the right length without hashing them
    #[arg(long)]
    trust_local: bool,
    /// Say what would be fetched, and fetch nothing
    #[arg(long)]
    dry_run: bool,
}

/// Why nothing of the environment was sent.
const POINTED_AT: &str = "; where only a pointer says the address, no secret of the environment goes there: \
    give the URL before --pointer, or name the secrets with --key and --secret, or --token";

/// Runs the command.
///
/// # Errors
/// 1 the bucket or the disk failed, 2 usage, 3 integrity, 4 contract, 5 no such pack, 6 another pull is at work.
pub fn run(g: &Global, a: PullArgs) -> Done {
    let pointer = a.pointer.as_deref().map(read_pointer).transpose()?;
    let url = where_from(&a, pointer.as_ref())?;
    let secrets = Secrets {
        endpoint: &a.endpoint,
        region: &a.region,
        key: a.key.as_ref(),
        secret: a.secret.as_ref(),
        token: a.token.as_ref(),
        may_default: a.url.is_some(),
    };
    let access = access(&secrets, url.clone())?;
    let bucket = access.open_for(Duration::from_secs(a.timeout.into())).map_err(of_object)?;
    let above = url.trim_end_matches('/').rsplit('/').nth(1);
    let is_sealed = a.sealed || above == Some("sealed");
    let identity: Option<Box<dyn Unwraps>> = match (is_sealed, &a.identity, a.passphrase.read()?) {
        (false, ..) => None,
        (true, Some(_), Some(_)) => return Err(Failure::usage("a key and a passphrase: name one of them")),
        (true, Some(file), None) => Some(Box::new(Identity::read(file).map_err(|e| super::pack::of_seal(&e))?)),
        (true, None, Some(passphrase)) => Some(Box::new(passphrase)),
        (true, None, None) => {
            let what = "sealed packs need the key that opens them: --identity KEYFILE, or --passphrase-file FILE";
            return Err(Failure::usage(what));
        }
    };
    let wanted = match (pointer, a.id) {
        (Some(p), _) => Wanted::Id(p.export_id),
        (None, Some(id)) => Wanted::Id(id),
        (None, None) => Wanted::Latest,
    };
    let plan = PullPlan {
        bucket,
        wanted,
        source: a.source,
        to: a.to,
        parallel: a.parallel.into(),
        trust_local: a.trust_local,
        dry_run: a.dry_run,
        log_key: given_key(g, a.log_key.as_deref())?,
        identity,
    };
    let only_pointed_at = a.url.is_none();
    let done = pull(&plan, &|line| eprintln!("{}", printable(line))).map_err(|e| {
        let mut f = of_pull(e);
        if only_pointed_at && f.message.contains("credentials are refused") {
            f.message.push_str(POINTED_AT);
        }
        f
    })?;
    tell(g, &plan.to, &done);
    Ok(())
}

fn tell(g: &Global, to: &Path, p: &Pulled) {
    if g.json {
        let mut v = serde_json::json!(p);
        if let Some(fields) = v.as_object_mut() {
            fields.insert("to".to_owned(), serde_json::json!(to));
        }
        println!("{v}");
        return;
    }
    let verb = match (p.dry_run, p.unchanged) {
        (true, _) => "would pull",
        (false, true) => "unchanged",
        (false, false) => "pulled",
    };
    println!(
        "{verb}  {}  {} files, {} bytes: {} files fetched ({} bytes), {} re-used ({} bytes), {} verified; in {}",
        p.export_id,
        thousands(p.files),
        thousands(p.bytes),
        thousands(p.downloaded_files),
        thousands(p.downloaded_bytes),
        thousands(p.reused_files),
        thousands(p.reused_bytes),
        thousands(p.verified_files),
        to.display()
    );
}

fn read_pointer(path: &Path) -> Result<Pointer, Failure> {
    let named = |what: String| format!("{}: {what}", path.display());
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(MAX_POINTER + 1).read_to_string(&mut text));
    read.map_err(|e| Failure::usage(named(format!("the pointer cannot be read: {e}"))))?;
    if text.len() as u64 > MAX_POINTER {
        return Err(Failure::new(Code::Contract, named("is longer than any pointer".to_owned())));
    }
    Pointer::parse(&text).map_err(|e| Failure::new(Code::Contract, named(e.to_string())))
}

/// The URL that was given, or the pointer's bucket and prefix.
fn where_from(a: &PullArgs, pointer: Option<&Pointer>) -> Result<String, Failure> {
    match (&a.url, pointer) {
        (Some(url), _) => Ok(url.clone()),
        (None, Some(p)) if !p.export_bucket.is_empty() => {
            let (bucket, prefix) = (p.export_bucket.trim_end_matches('/'), p.export_prefix.trim_matches('/'));
            Ok(if prefix.is_empty() { bucket.to_owned() } else { format!("{bucket}/{prefix}") })
        }
        _ => Err(Failure::usage("the pointer names no export_bucket: give the URL before it")),
    }
}

/// The first of: the reference that was given, the environment variable where it is set, nothing.
fn secret(option: &str, reference: Option<&String>, variable: &str) -> Result<Zeroizing<String>, Failure> {
    let set = |v: &&str| std::env::var_os(v).is_some_and(|v| !v.is_empty());
    let default = || Some(variable).filter(set).map(|v| format!("env:{v}")).unwrap_or_default();
    secrets::resolve(option, &reference.cloned().unwrap_or_else(default)).map_err(Failure::usage)
}

/// The public key of a log, where one was named.
pub(super) fn given_key(g: &Global, given: Option<&str>) -> Result<Option<String>, Failure> {
    given.map_or(Ok(None), |text| public_key(g, Some(text)))
}

/// How one gets into a bucket: references to its secrets; those that are not given are taken from the environment where `may_default`.
pub(super) struct Secrets<'a> {
    pub endpoint: &'a str,
    pub region: &'a str,
    pub key: Option<&'a String>,
    pub secret: Option<&'a String>,
    pub token: Option<&'a String>,
    pub may_default: bool,
}

pub(super) fn access(a: &Secrets<'_>, url: String) -> Result<Access, Failure> {
    let is_s3 = url.starts_with("s3://");
    // What belongs to one provider is not sent to another, and nothing to an address that only a pointer names.
    let (key, secret_key, token) = match (a.may_default, is_s3, url.starts_with("http")) {
        (true, true, _) => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        (true, false, true) => ("", "", "DATANODE_TOKEN"),
        _ => ("", "", ""),
    };
    let setting = |given: &str, variable: &str| match given {
        "" if is_s3 => std::env::var(variable).unwrap_or_default(),
        given => given.to_owned(),
    };
    Ok(Access {
        endpoint: setting(a.endpoint, "AWS_ENDPOINT_URL"),
        region: setting(a.region, "AWS_REGION"),
        key: secret("--key", a.key, key)?,
        secret: secret("--secret", a.secret, secret_key)?,
        token: secret("--token", a.token, token)?,
        url,
    })
}

pub(super) fn of_object(e: ObjectError) -> Failure {
    // A folder that is not there holds no pack; everything else about an address is its writer's.
    let code = if e.what == "no such folder" || e.fault == Fault::NotFound { Code::NotFound } else { Code::Usage };
    Failure::new(code, e.to_string())
}

pub(super) fn of_pull(e: PullError) -> Failure {
    let code = match e.fault {
        PullFault::Failed => Code::Failed,
        PullFault::Usage => Code::Usage,
        PullFault::Integrity => Code::Integrity,
        PullFault::Contract => Code::Contract,
        PullFault::NotFound => Code::NotFound,
        PullFault::Busy => Code::Busy,
    };
    Failure::new(code, e.message)
}
