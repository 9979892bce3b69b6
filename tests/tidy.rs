//! The rules of the house, read from its sources: who may name what. Each failure is a list of `file:line: text`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A line of code: no comment, no text of a `#[cfg(test)]` module.
struct Code {
    file: String,
    line: usize,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder of the project, relative to it; sorted.
fn sources(folder: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(f) = folders.pop() {
        for e in std::fs::read_dir(&f).unwrap() {
            let path = e.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    out.sort();
    assert!(!out.is_empty(), "{folder} has no sources");
    out
}

/// Sources that are compiled into the product: `tests` folders and files are not.
fn product(folders: &[&str]) -> Vec<String> {
    let all = folders.iter().flat_map(|f| sources(f));
    all.filter(|f| !f.split('/').any(|c| c == "tests" || c == "tests.rs")).collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The lines of a file without comments and without test modules. rustfmt puts a module's closing brace at the
/// indentation of its `mod`, which is what ends it here.
fn code(file: &str) -> Vec<Code> {
    let text = read(file);
    let mut out = Vec::new();
    let (mut testing, mut skip_until): (bool, Option<String>) = (false, None);
    for (i, line) in text.lines().enumerate() {
        if let Some(end) = &skip_until {
            if line == end {
                skip_until = None;
            }
            continue;
        }
        let bare = line.trim_start();
        if bare.starts_with("#[cfg(test)]") || bare.starts_with("#[cfg(all(test") {
            testing = true;
            continue;
        }
        if testing {
            if bare.starts_with("#[") {
                continue;
            }
            testing = false;
            if line.trim_end().ends_with('{') {
                let indent = &line[..line.len() - bare.len()];
                skip_until = Some(format!("{indent}}}"));
            }
            continue;
        }
        if bare.starts_with("//") {
            continue;
        }
        let text = line.split(" // ").next().unwrap_or(line).to_owned();
        out.push(Code { file: file.to_owned(), line: i + 1, text });
    }
    out
}

/// Whether `text` has `word` as a word of its own.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(i, w)| {
        let before = text[..i].chars().next_back();
        let after = text[i + w.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Whether `text` goes into a crate by its name: `krate::`, not as the end of another word.
fn names_crate(text: &str, krate: &str) -> bool {
    let path = format!("{krate}::");
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.match_indices(&path).any(|(i, _)| !text[..i].chars().next_back().is_some_and(inside))
}

/// Fails with the lines of `files` that `bad` finds fault with.
#[track_caller]
fn none(rule: &str, files: &[String], bad: impl Fn(&str) -> bool) {
    let found: Vec<String> = files
        .iter()
        .flat_map(|f| code(f))
        .filter(|c| bad(&c.text))
        .map(|c| format!("{}:{}: {}", c.file, c.line, c.text.trim()))
        .collect();
    assert!(found.is_empty(), "{rule}; {} lines do not keep it:\n{}", found.len(), found.join("\n"));
}

/// Product sources but those that `allowed` names (a file, or a folder with its slash).
fn but(folders: &[&str], allowed: &[&str]) -> Vec<String> {
    let may = |f: &String| allowed.iter().any(|a| f == a || (a.ends_with('/') && f.starts_with(a)));
    product(folders).into_iter().filter(|f| !may(f)).collect()
}

const ALL: [&str; 3] = ["schema", "actors", "src"];

#[test]
fn only_the_shells_and_the_system_name_actix() {
    let leading =
        ["actors/schedule/cycle.rs", "actors/schedule/stages.rs", "actors/schedule/error.rs", "src/system.rs"];
    let files: Vec<String> = but(&ALL, &leading).into_iter().filter(|f| !f.ends_with("/actor.rs")).collect();
    none("actix belongs into actor.rs files, src/system.rs and the leaders of the cycle", &files, |t| {
        has_word(t, "actix")
    });
}

#[test]
fn only_the_store_names_sled() {
    none("sled belongs into schema/store", &but(&ALL, &["schema/store/"]), |t| {
        t.contains("sled::") || has_word(t, "use sled")
    });
}

#[test]
fn only_the_shim_is_unsafe() {
    let bad = |t: &str| has_word(t, "unsafe") || t.contains("allow(unsafe_code");
    none("unsafe code belongs into schema/shim.rs", &but(&ALL, &["schema/shim.rs"]), bad);
    let simulator: Vec<String> = sources("fixtures");
    none("unsafe code belongs into schema/shim.rs", &simulator, bad);
    let allowed = code("schema/shim.rs").iter().filter(|c| c.text.contains("allow(unsafe_code")).count();
    assert_eq!(allowed, 1, "schema/shim.rs allows it once");
}

#[test]
fn only_frame_names_polars() {
    none("polars belongs into actors/frame", &but(&ALL, &["actors/frame/"]), |t| has_word(t, "polars"));
}

#[test]
fn only_the_seal_names_a_cipher() {
    let ciphers = ["age", "chacha20poly1305", "chacha20", "hkdf", "ring", "aes_gcm"];
    let bad = |t: &str| ciphers.iter().any(|c| names_crate(t, c));
    // rustls has to be told its provider by name; nothing is enciphered there.
    let bad = |t: &str| bad(t) && !t.contains("rustls::crypto::ring::default_provider()");
    none("ciphers belong into actors/seal", &but(&ALL, &["actors/seal/"]), bad);
}

#[test]
fn imports_go_one_way() {
    let above = |t: &str| {
        names_crate(t, "datanode_actors") || names_crate(t, "datanode") || names_crate(t, "datanode_vendorsim")
    };
    none("schema knows nothing of actors and the appliance", &product(&["schema"]), above);
    let above = |t: &str| names_crate(t, "datanode") || names_crate(t, "datanode_vendorsim");
    none("actors know nothing of the appliance", &product(&["actors"]), above);
    let node = |t: &str| names_crate(t, "datanode_actors") || names_crate(t, "datanode");
    none("the simulator knows nothing of the node", &sources("fixtures/vendorsim"), node);
    for (file, above) in
        [("schema/Cargo.toml", &["datanode-actors", "datanode"][..]), ("actors/Cargo.toml", &["datanode"])]
    {
        let text = read(file);
        let named = text.lines().filter_map(|l| l.split(['.', ' ', '=']).next());
        assert!(!named.into_iter().any(|n| above.contains(&n)), "{file} depends on what is above it");
    }
}

#[test]
fn only_one_file_reads_the_clock() {
    let bad =
        |t: &str| ["Utc::now", "SystemTime::now", "Local::now", "SystemTime::UNIX_EPOCH"].iter().any(|c| t.contains(c));
    none("only schema/clock.rs reads the clock", &but(&ALL, &["schema/clock.rs"]), bad);
}

#[test]
fn nothing_unwraps_outside_tests() {
    none("no unwrap and no expect outside tests", &product(&ALL), |t| {
        t.contains(".unwrap()") || t.contains(".expect(")
    });
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<String> = product(&ALL)
        .into_iter()
        .map(|f| (read(&f).lines().count(), f))
        .filter(|(n, _)| *n > 400)
        .map(|(n, f)| format!("{f}: {n} lines"))
        .collect();
    assert!(long.is_empty(), "at most 400 lines a file:\n{}", long.join("\n"));
}

#[test]
fn no_file_names_a_developers_machine() {
    let listed = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root()).output();
    let files: Vec<PathBuf> = match listed {
        Ok(o) if o.status.success() => {
            String::from_utf8(o.stdout).unwrap().lines().map(|l| root().join(l)).filter(|p| p.is_file()).collect()
        }
        _ => {
            eprintln!("SKIPPED: not a git work tree, or no git");
            return;
        }
    };
    // In two halves, so that this file does not name them.
    let homes = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];
    let mut found = Vec::new();
    for f in &files {
        let Ok(text) = std::fs::read_to_string(f) else { continue };
        for (i, line) in text.lines().enumerate() {
            if homes.iter().any(|h| starts_a_path(line, h)) {
                found.push(format!("{}:{}: {}", f.strip_prefix(root()).unwrap().display(), i + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "no absolute path of a machine:\n{}", found.join("\n"));
}

/// Whether `home` stands in `line` as the beginning of a path, not as the inside of one or of a URL.
fn starts_a_path(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(i, _)| {
        !line[..i].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || "._-/}>~".contains(c))
    })
}

#[test]
fn these_checks_find_what_they_look_for() {
    assert!(has_word("use actix::Actor;", "actix") && !has_word("let actixy = 1;", "actix"));
    assert!(
        names_crate("use age::x509::Identity;", "age") && !names_crate("Page::new(), Stage::All, std::age::x", "age")
    );
    let home = concat!("/", "home/");
    assert!(starts_a_path(&format!("see {home}x"), home) && !starts_a_path(&format!("http://host{home}x"), home));
    let in_tests = code("schema/clock.rs");
    assert!(
        in_tests.iter().any(|c| c.text.contains("Utc::now")) && !in_tests.iter().any(|c| c.text.contains("unwrap()"))
    );
}
