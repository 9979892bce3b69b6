//! Where each setting's value comes from, for `datanode config show`. Secrets are shown as references; what they lead to is never resolved.

use super::{ConfigError, Settings, find_unknown, wrong_file};
use crate::secrets::is_reference;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name, `section.key`.
    pub setting: String,
    /// Its value; of what may be a secret only a reference is shown.
    pub value: Value,
    /// `default`, `FILE:LINE`, the name of an environment variable, or `--data-dir`.
    pub origin: String,
    /// When a changed value holds: at `reload`, or after a `restart`.
    pub takes_effect: &'static str,
}

/// What a reload takes without a restart. Of the four registries it is the content of the files; another path needs a restart.
const RELOADED: [&str; 2] = ["ship.", "backup."];
/// Settings that are references, or may lead to somebody's account.
const SECRET: [&str; 6] = ["key", "secret", "token", "webhook", "ntfy", "dead_man"];

/// All settings, by name.
///
/// # Errors
/// The file cannot be read.
pub fn shown(settings: &Settings, file: Option<&Path>, data_dir_flag: bool) -> Result<Vec<Shown>, ConfigError> {
    let text = match file {
        Some(f) => std::fs::read_to_string(f).map_err(|e| wrong_file(f, &e.to_string()))?,
        None => String::new(),
    };
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| wrong_file(file.unwrap_or(Path::new("")), e.message()))?;
    let in_file = serde_json::to_value(&table).unwrap_or_default();
    let tree = serde_json::to_value(settings).unwrap_or_default();
    find_unknown(&in_file, &tree, "").map_err(|e| wrong_file(file.unwrap_or(Path::new("")), &e))?;
    let mut leaves = Vec::new();
    walk(&tree, String::new(), &mut leaves);
    let variables: Vec<String> = std::env::vars_os().filter_map(|(k, _)| k.into_string().ok()).collect();
    let out = leaves.into_iter().map(|(setting, value)| {
        let variable = format!("DATANODE__{}", setting.replace('.', "__"));
        let variable = variables.iter().find(|v| v.eq_ignore_ascii_case(&variable));
        let origin = match (variable, file) {
            _ if setting == "data_dir" && data_dir_flag => "--data-dir".to_owned(),
            (Some(name), _) => name.clone(),
            (None, Some(f)) if at(&in_file, &setting).is_some() => match line_of(&text, &setting) {
                Some(n) => format!("{}:{n}", f.display()),
                None => f.display().to_string(),
            },
            _ => "default".to_owned(),
        };
        let reloaded = RELOADED.iter().any(|p| setting.starts_with(p));
        let takes_effect = if reloaded { "reload" } else { "restart" };
        Shown { value: masked(&setting, value), setting, origin, takes_effect }
    });
    Ok(out.collect())
}

fn walk(v: &Value, at: String, out: &mut Vec<(String, Value)>) {
    match v.as_object() {
        Some(map) => {
            for (k, v) in map {
                walk(v, if at.is_empty() { k.clone() } else { format!("{at}.{k}") }, out);
            }
        }
        None => out.push((at, v.clone())),
    }
}

fn at<'a>(tree: &'a Value, setting: &str) -> Option<&'a Value> {
    setting.split('.').try_fold(tree, |v, key| v.get(key))
}

/// A value as it may be shown.
fn masked(setting: &str, value: Value) -> Value {
    let Some(text) = value.as_str() else { return value };
    let last = setting.rsplit('.').next().unwrap_or_default();
    let hidden = SECRET.contains(&last) && !is_reference(text);
    // A password or a query in an address is none of what belongs there, and is not shown.
    let inside = text.contains("://") && !is_reference(text) && text.contains(['@', '?']);
    if hidden || inside { Value::from("(hidden: not a reference)") } else { value }
}

/// The line on which a file sets it, where it does so in the usual form.
fn line_of(text: &str, setting: &str) -> Option<usize> {
    let (section, key) = setting.rsplit_once('.').unwrap_or(("", setting));
    let mut current = String::new();
    text.lines().enumerate().find_map(|(i, line)| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
            current = name.trim().to_owned();
        } else if current == section && line.split('=').next().is_some_and(|k| k.trim() == key) && line.contains('=') {
            return Some(i + 1);
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_says_where_it_comes_from_and_no_literal_secret_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("datanode.toml");
        let text = "data_dir = \"d\"\n\n[log]\nlevel = \"warn\"\n[vendors.alpaca]\nkey = \"PKLITERAL\"\nsecret = \"env:S\"\nbase_url = \"https://u:p@h\"\n";
        std::fs::write(&file, text).unwrap();
        let settings = super::super::load(Some(&file), None).unwrap();
        let all = shown(&settings, Some(&file), false).unwrap();
        let of = |name: &str| all.iter().find(|s| s.setting == name).unwrap_or_else(|| panic!("{name}"));
        let line = |n: usize| format!("{}:{n}", file.display());
        assert_eq!((of("data_dir").origin.clone(), of("log.level").origin.clone()), (line(1), line(4)));
        assert_eq!(of("vendors.alpaca.secret").value, "env:S");
        assert_eq!(of("log.format").origin, "default");
        assert_eq!((of("backup.url").takes_effect, of("store.cache_mib").takes_effect), ("reload", "restart"));
        let told = serde_json::to_string(&all).unwrap();
        assert!(!told.contains("PKLITERAL") && !told.contains("u:p@"), "{told}");
        assert_eq!(
            shown(&settings, Some(&file), true).unwrap().iter().find(|s| s.setting == "data_dir").unwrap().origin,
            "--data-dir"
        );
    }
}
