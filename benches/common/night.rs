//! Stages of a night over a data folder of [`crate::fill`], run as a person runs them.

use crate::child::{Measured, measured};
use serde_json::Value;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

/// Some stages of the night `as_of` over `dir/data`, with variables beside the usual ones; what the process used, and its summary.
///
/// # Errors
/// It did not end with 0.
pub fn stages(
    datanode: &Path,
    dir: &Path,
    stages: &str,
    as_of: &str,
    more: &[(String, String)],
) -> Result<(Measured, Value), Box<dyn Error>> {
    let now = format!("{as_of}T23:30:00Z");
    let words = ["nightly", "--json", "--stages", stages, "--as-of", as_of, "--now", &now, "--data-dir"];
    let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
    args.push(dir.join("data").into());
    let out = dir.join("out");
    let env =
        [("DATANODE__NODE__SOURCE", "bench"), ("DATANODE__NODE__HOST_ID", "bench"), ("DATANODE__LOG__LEVEL", "warn")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
    let universe = ("DATANODE__UNIVERSE".to_owned(), dir.join("universe.yaml").display().to_string());
    let m = measured(datanode, &args, &[&env[..], &[universe], more].concat(), &out)?;
    Ok((m, serde_json::from_slice(&std::fs::read(&out)?)?))
}
