//! A noisy night leaves no secret behind: not in what it says, writes, serves, or shows of itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::Signal;
use std::io::Read;
use std::path::Path;
use support::running::Running;
use support::web::{Asked, Reply, Web};
use support::{ADMIN, Node, SEEDED_NIGHT, Sim, run, tree};

/// Where each secret is put, and what it is. FRED's keys are 32 lower-case alphanumerics.
const SECRETS: [(&str, &str); 12] = [
    ("alpaca key", "PKSECRETalpacakey0001"),
    ("alpaca secret", "secretSECRETalpaca0002"),
    ("massive key", "massiveSECRETkey00003"),
    ("fred key", "fredsecretkey0000000000000000004"),
    ("tiingo key", "tiingoSECRETkey000005"),
    ("bucket key", "AKIASECRETBUCKET00006"),
    ("bucket secret", "bucketSECRETsecret007"),
    ("bucket token", "bucketSECRETtoken0008"),
    ("webhook", "hookSECRETpath0000009"),
    ("ntfy", "topicSECRETpath000010"),
    ("dead man", "switchSECRETpath00011"),
    ("serve token", "dnt_"),
];

/// A gateway as they are met: it repeats what it was sent in its error pages, in several forms.
fn reflecting(a: &Asked) -> Reply {
    let headers: String = a.headers.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
    let page = format!("<html>{} {}\n{headers}{}</html>", a.method, a.path, String::from_utf8_lossy(&a.body));
    let json = serde_json::json!({"message": page, "error_message": page, "detail": page}).to_string();
    let kind = |k: &str| vec![("Content-Type".to_owned(), k.to_owned())];
    match a.path.len() % 4 {
        0 => Reply::Text(403, kind("application/json"), json.into_bytes()),
        1 => Reply::Text(500, kind("text/html"), page.into_bytes()),
        2 => Reply::Text(200, kind("application/json"), json.into_bytes()),
        _ => Reply::CutWith(200, kind("application/json"), 1 << 20, json.into_bytes()),
    }
}

fn set(n: &mut Node, name: &str, secret: &str, field: &str) {
    n.set(name, secret);
    n.set(field, &format!("env:{name}"));
}

#[test]
fn nothing_that_a_noisy_night_leaves_behind_holds_a_secret() {
    let faults = "seed: 7\nalpaca: {rules: [{every: 4, action: {status: {code: 503}}}, {p: 0.1, action: truncate}]}\n\
                  massive: {rules: [{every: 3, action: {status: {code: 500}}}, {p: 0.2, action: malformed}]}\n";
    let (sim, gateway) = (Sim::seeded(2, 1, faults), Web::new(Path::new("/nonexistent"), reflecting));
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive", "fred", "tiingo"], &sim);
    let secret = |name: &str| SECRETS.iter().find(|s| s.0 == name).unwrap().1;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret("massive key")).unwrap();
    set(&mut n, "S1", secret("alpaca key"), "DATANODE__VENDORS__ALPACA__KEY");
    set(&mut n, "S2", secret("alpaca secret"), "DATANODE__VENDORS__ALPACA__SECRET");
    n.set("DATANODE__VENDORS__MASSIVE__KEY", &format!("file:{}", file.path().display()));
    set(&mut n, "S4", secret("fred key"), "DATANODE__VENDORS__FRED__KEY");
    set(&mut n, "S5", secret("tiingo key"), "DATANODE__VENDORS__TIINGO__KEY");
    for vendor in ["ALPACA", "MASSIVE", "FRED", "TIINGO"] {
        n.set(&format!("DATANODE__VENDORS__{vendor}__BASE_URL"), &gateway.url);
    }
    n.set("DATANODE__VENDORS__ALPACA__TRADING_BASE_URL", &gateway.url);
    let there = "DATANODE__SHIP__DESTINATIONS__OFFSITE__";
    n.set(&format!("{there}URL"), "s3://bucket/prefix");
    n.set(&format!("{there}ENDPOINT"), &gateway.url);
    n.set(&format!("{there}REGION"), "us-east-1");
    set(&mut n, "S6", secret("bucket key"), &format!("{there}KEY"));
    set(&mut n, "S7", secret("bucket secret"), &format!("{there}SECRET"));
    set(&mut n, "S8", secret("bucket token"), &format!("{there}TOKEN"));
    for (i, (name, of)) in [("WEBHOOK", "webhook"), ("NTFY", "ntfy"), ("DEAD_MAN", "dead man")].into_iter().enumerate()
    {
        let url = format!("{}/services/{}?token={}", gateway.url, secret(of), secret(of));
        set(&mut n, &format!("A{i}"), &url, &format!("DATANODE__ALERTS__{name}"));
    }
    n.set("DATANODE__LOG__LEVEL", "trace");
    n.set("DATANODE__LOG__FORMAT", "json");
    let mut left: Vec<(String, Vec<u8>)> = Vec::new();
    // First a night in which every vendor is behind the gateway, then one in which two of them answer at times.
    let bad = n.nightly(&[]);
    left.push(("stdout of the bad night".into(), bad.out.into_bytes()));
    left.push(("stderr of the bad night".into(), bad.err.into_bytes()));
    n.set("DATANODE__VENDORS__ALPACA__BASE_URL", &sim.url);
    n.set("DATANODE__VENDORS__MASSIVE__BASE_URL", &sim.url);
    let night = n.nightly(&[]);
    assert!(night.code.is_some(), "it ends by itself: {night:?}");
    assert!(
        night.err.contains("\"level\":\"DEBUG\"") && night.err.contains("asking again"),
        "it is noisy: {}",
        night.err
    );
    {
        // Without this the test would prove nothing: each of them was sent, and came back.
        let asked = gateway.asked.lock().unwrap();
        let sent_there =
            ["alpaca key", "alpaca secret", "massive key", "fred key", "bucket key", "bucket token", "webhook", "ntfy"];
        for name in sent_there {
            let sent =
                |a: &&Asked| a.path.contains(secret(name)) || a.headers.values().any(|h| h.contains(secret(name)));
            assert!(asked.iter().any(|a| sent(&a)), "the {name} was never sent");
        }
    }
    left.push(("stdout of the night".into(), night.out.into_bytes()));
    left.push(("stderr of the night".into(), night.err.into_bytes()));
    let token = n.run(&["token", "new", "box"]).exits(0).out.trim().to_owned();
    let tries = n.run(&["alert", "test"]);
    left.push(("alert test".into(), format!("{}{}", tries.out, tries.err).into_bytes()));
    let doctor = n.run(&["doctor"]);
    left.push(("doctor".into(), format!("{}{}", doctor.out, doctor.err).into_bytes()));

    let running = Running::start(&mut n, &["--now", SEEDED_NIGHT[1]]);
    // The arguments hold none, and what the kernel would write of the memory is nothing.
    let proc = |name: &str| std::fs::read(format!("/proc/{}/{name}", running.live.pid())).unwrap();
    left.push(("cmdline".into(), proc("cmdline")));
    let limits = String::from_utf8(proc("limits")).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata(format!("/proc/{}/environ", running.live.pid())).unwrap(),
    );
    assert_eq!(owner, 0, "the environment of a process that cannot be dumped is root's");
    let with_token = |path: &str| {
        let mut c = std::process::Command::new("curl");
        c.args(["-sS", "-i", "-H", &format!("Authorization: Bearer {token}"), &format!("{}{path}", running.url)]);
        run(&mut c).out.into_bytes()
    };
    for path in ["/metrics", "/", "/v1/packs", "/v1/nothing", &format!("/v1/{token}"), &format!("/?token={token}")] {
        // What is asked is not repeated, a token in an address least of all.
        left.push((format!("GET {path}"), with_token(path)));
    }
    for args in [
        &["status"][..],
        &["ship"],
        &["vendors", "show", "fred"],
        &["config"],
        &["config", "reload"],
        &["runs", "last"],
        &["ship", "reload"],
    ] {
        let ran = run(&mut n.program(ADMIN, &[&["--json"], args].concat()));
        left.push((format!("admin {args:?}"), format!("{}{}", ran.out, ran.err).into_bytes()));
    }
    // As a panic would end it.
    let (_, said) = running.end(Signal::SIGABRT);
    left.push(("stderr of the node".into(), said.into_bytes()));
    for path in tree(n.root.path()).into_keys() {
        let bytes = std::fs::read(n.root.path().join(&path)).unwrap_or_default();
        if path.ends_with(".gz") {
            let mut out = Vec::new();
            let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut out);
            left.push((format!("{path} (unpacked)"), out));
        }
        assert!(!path.rsplit('/').next().unwrap().starts_with("core"), "a core file: {path}");
        left.push((path, bytes));
    }
    let found: Vec<String> = left
        .iter()
        .flat_map(|(place, bytes)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let of = |(what, secret): &(&str, &str)| {
                let secret = if *what == "serve token" { token_of(&token) } else { secret };
                text.contains(secret).then(|| {
                    let at = text.find(secret).unwrap();
                    let around: String =
                        text[..at].chars().rev().take(80).collect::<Vec<_>>().into_iter().rev().collect();
                    format!("the {what} is in {place}, after {around:?}")
                })
            };
            SECRETS.iter().filter_map(of).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The part of a token that nobody knows.
fn token_of(token: &str) -> &str {
    &token[token.len() - 24..]
}

#[test]
fn nothing_that_holds_a_secret_can_be_printed_for_debugging() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut seen = 0;
    for file in ["src", "actors", "schema"]
        .iter()
        .flat_map(|f| tree(&root.join(f)).into_keys().map(move |n| root.join(f).join(n)))
    {
        if file.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let (mut derives, mut inside) = (false, false);
        for (i, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            let bare = line.trim_start();
            if bare.starts_with("#[derive(") {
                derives = bare.contains("Debug") || bare.contains("Serialize");
            }
            inside |= bare.starts_with("pub struct ")
                || bare.starts_with("struct ")
                || bare.starts_with("pub(super) struct ");
            if inside && bare.contains("Zeroizing<") && !bare.starts_with("//") {
                seen += 1;
                if derives {
                    found.push(format!("{}:{}", file.display(), i + 1));
                }
            }
            if inside && (line == "}" || bare.ends_with(';') || bare.ends_with("{}")) {
                (inside, derives) = (false, false);
            }
        }
    }
    assert!(seen >= 10, "{seen} fields were looked at");
    assert!(found.is_empty(), "these derive Debug or Serialize: {found:?}");
}
