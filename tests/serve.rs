//! The node's own HTTP: what it gives, to whom, and what it keeps to itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{DATANODE, Live, Node, Ran, SEEDED_NIGHT, Sim, differences, run, tree};

/// A node with a pack, and its HTTP.
struct Serving {
    node: Node,
    live: Live,
    url: String,
    id: String,
    _sim: Sim,
}

impl Serving {
    fn new() -> Self {
        let sim = Sim::seeded(3, 1, "");
        let mut node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
        let made = node.nightly(&[]).exits(0).json();
        let id = made["export_id"].as_str().unwrap().to_owned();
        node.set("DATANODE__SERVE__LISTEN", "127.0.0.1:0");
        node.set("DATANODE__LOG__LEVEL", "info");
        let mut c = node.command(&["run", "--now", SEEDED_NIGHT[1]]);
        let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(live.child().stderr.take().unwrap()).lines();
        let said = lines.by_ref().map_while(Result::ok).find(|l| l.contains("serving packs")).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let address = said.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let address: String = address.chars().filter(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Self { node, live, url: format!("http://{address}"), id, _sim: sim }
    }
    fn token(&self, name: &str, more: &[&str]) -> String {
        let made = self.node.run(&[&["token", "new", name], more].concat()).exits(0);
        made.out.trim().to_owned()
    }
    fn curl(&self, path: &str, token: &str, more: &[&str]) -> Ran {
        let mut c = Command::new("curl");
        c.args(["-sS", "--path-as-is", "-w", "\n%{http_code}"]).args(more);
        if !token.is_empty() {
            c.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        run(c.arg(format!("{}{path}", self.url)))
    }
    /// Status and body.
    fn get(&self, path: &str, token: &str, more: &[&str]) -> (u16, String) {
        let out = self.curl(path, token, more).exits(0).out;
        let (body, status) = out.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
    fn pack(&self) -> std::path::PathBuf {
        self.node.data().join(format!("exports/datanode/export_{}", self.id))
    }
}

#[test]
fn a_pack_is_pulled_from_the_node_with_a_token_and_the_token_opens_nothing_else() {
    let s = Serving::new();
    let (token, graphs) = (s.token("box", &[]), s.token("graphs", &["--scope", "metrics:read"]));
    let to = s.node.root.path().join("pulled");
    let pull = |url: &str, token: &str, more: &[&str]| {
        let mut c = Command::new(DATANODE);
        c.env_clear().args(["pack", "pull", url, "--json", "--token", "env:T", "--to"]).arg(&to).args(more);
        run(c.env("T", token))
    };
    let url = format!("{}/v1/packs", s.url);
    assert_eq!(pull(&url, &token, &["--latest"]).exits(0).json()["export_id"], s.id);
    assert_eq!(differences(&s.pack(), &to), Vec::<String>::new());
    run(Command::new("sha256sum").args(["-c", "--quiet", "SHA256SUMS.stable.txt"]).current_dir(&to)).exits(0);
    let before = tree(&to);
    for at in [&url, &format!("{url}/exports/datanode")] {
        pull(at, &token, &["--latest"]).exits(0);
        pull(at, &token, &["--id", &s.id]).exits(0);
        pull(at, &token, &["--id", "20200101T000000Z_datanode_full"]).exits(5);
        pull(at, "dnt_wrong", &["--latest"]).exits(1).says(&["credentials"]);
        pull(at, &graphs, &["--latest"]).exits(1).says(&["credentials"]);
    }
    assert_eq!(tree(&to), before);
    // The pointers, with curl and the program.
    let pointer = s.node.root.path().join("p.pointer");
    let (status, text) = s.get(&format!("/v1/packs/exports/datanode/export_{}.pointer", s.id), &token, &[]);
    assert_eq!(status, 200);
    std::fs::write(&pointer, text).unwrap();
    let by_pointer = |more: &[&str]| {
        let mut c = Command::new(DATANODE);
        c.env_clear()
            .env("DATANODE_TOKEN", &token)
            .args(["pack", "pull", "--pointer"])
            .arg(&pointer)
            .arg("--to")
            .arg(&to);
        run(c.args(more))
    };
    by_pointer(&[]).exits(1).says(&["no secret of the environment goes there"]);
    by_pointer(&["--token", "env:DATANODE_TOKEN"]).exits(0);

    // Everything that is there needs the token, and what is not a pack's own file is not there.
    let manifest = format!("/v1/packs/exports/datanode/export_{}/manifest.json", s.id);
    for path in ["/v1/packs", manifest.as_str(), "/v1/packs/latest.pointer", "/", "/v1/nothing"] {
        assert_eq!(s.get(path, "", &[]).0, 401, "{path}");
        assert_eq!(s.get(path, &graphs, &[]).0, 403, "{path}");
    }
    std::fs::write(s.pack().join("planted.txt"), "x").unwrap();
    std::os::unix::fs::symlink(s.node.data().join("keys/node.key"), s.pack().join("data/key")).unwrap();
    let export = format!("/v1/packs/exports/datanode/export_{}", s.id);
    for path in [
        "/",
        "/admin",
        "/v1",
        "/v1/packs/exports",
        "/v1/packs/exports/datanode/",
        "/v1/packs/exports/other/latest.pointer",
        "/v1/packs/exports/nightly/2025-06-30/manifest.json",
        "/v1/packs/exports/datanode/../../keys/node.key",
        "/v1/packs/exports/datanode/export_20200101T000000Z_datanode_full/manifest.json",
    ] {
        assert_eq!(s.get(path, &token, &[]).0, 404, "{path}");
    }
    for path in [
        "",
        "/",
        "/data",
        "/planted.txt",
        "/data/key",
        "/data/../manifest.json",
        "/data/%2e%2e/manifest.json",
        "/%2fetc/passwd",
        "/data/..%2f..%2f..%2f..%2fkeys/node.key",
        "//manifest.json",
        "/manifest.json%00",
        "/manifest.json/",
    ] {
        assert_eq!(s.get(&format!("{export}{path}"), &token, &[]).0, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(s.get(&manifest, &token, &["-X", method]).0, 405, "{method}");
    }
    // A revoked token is void at once.
    s.node.run(&["token", "revoke", "box"]).exits(0);
    assert_eq!(s.get("/v1/packs", &token, &[]).0, 401);
    s.node.run(&["token", "revoke", "box"]).exits(5);
    let listed = s.node.run(&["token", "list"]).exits(0);
    assert!(listed.out.contains("graphs") && !listed.out.contains("box") && !listed.out.contains("dnt_"));
    // It stops with the node.
    s.live.signal(Signal::SIGTERM);
    assert_eq!(s.live.wait().code, Some(0));
}

#[test]
fn health_and_metrics_are_read_on_the_machine_itself_and_ranges_and_conditions_are_those_of_the_rfc() {
    let s = Serving::new();
    assert_eq!(s.get("/healthz", "", &[]), (200, "ok\n".to_owned()));
    assert_eq!(s.get("/readyz", "", &[]).0, 200);
    let (status, page) = s.get("/metrics", "", &[]);
    assert_eq!(status, 200);
    for metric in [
        "datanode_build_info{version=",
        "datanode_exports_made_total ",
        "datanode_last_pack_bytes ",
        "datanode_packs 1",
    ] {
        assert!(page.contains(metric), "{metric} in\n{page}");
    }
    let well_formed =
        |l: &str| l.starts_with("# ") || l.rsplit_once(' ').is_some_and(|(_, v)| v.parse::<f64>().is_ok());
    assert!(page.lines().all(well_formed), "{page}");
    let token = s.token("box", &["--days", "3"]);
    let base = format!("/v1/packs/exports/datanode/export_{}", s.id);
    let sums = std::fs::read(s.pack().join("SHA256SUMS.stable.txt")).unwrap();
    let path = format!("{base}/SHA256SUMS.stable.txt");
    let head = s.curl(&path, &token, &["-I"]).exits(0).out.to_lowercase();
    let tag = head.lines().find_map(|l| l.strip_prefix("etag: ")).unwrap().trim().to_owned();
    assert!(
        head.contains(&format!("content-length: {}", sums.len())) && head.contains("accept-ranges: bytes"),
        "{head}"
    );
    assert_eq!(tag.trim_matches('"'), datanode_schema::files::sha256_hex(&sums));
    let (status, body) = s.get(&path, &token, &["-H", "Range: bytes=5-20"]);
    assert_eq!((status, body.as_bytes()), (206, &sums[5..21]));
    assert_eq!(s.get(&path, &token, &["-H", "Range: bytes=999999999-"]).0, 416);
    assert_eq!(s.get(&path, &token, &["-H", &format!("If-None-Match: {tag}")]).0, 304);
    assert_eq!(s.get(&path, &token, &["-H", "If-Match: \"other\""]).0, 412);
    assert_eq!(s.get(&path, &token, &["-H", "Range: bytes=0-1", "-H", "If-Range: \"other\""]).0, 200);
    let (status, list) = s.get("/v1/packs?limit=1", &token, &[]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (status, &list["packs"][0]["export_id"], &list["next_before"]),
        (200, &s.id.clone().into(), &serde_json::Value::Null)
    );
    assert_eq!(s.get(&format!("/v1/packs?before={}", s.id), &token, &[]).1, "{\"next_before\":null,\"packs\":[]}");
    assert_eq!(s.get("/v1/packs?surprise=1", &token, &[]).0, 400);
    // A file that is no longer what was published is not given out.
    let manifest = s.pack().join("manifest.json");
    let text = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, &text[..text.len() - 1]).unwrap();
    assert_eq!(s.get(&format!("{base}/manifest.json"), &token, &[]).0, 500);
}

#[test]
fn slow_and_many_clients_do_not_keep_others_out() {
    let s = Serving::new();
    let address = s.url.strip_prefix("http://").unwrap().to_owned();
    // 64 connections that send one byte of a request and then nothing.
    let slow: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut c = TcpStream::connect(&address).unwrap();
            c.write_all(b"G").unwrap();
            c
        })
        .collect();
    // The oldest gives its place to who comes.
    let began = std::time::Instant::now();
    assert_eq!(s.get("/healthz", "", &["--max-time", "60"]).0, 200);
    let mut first = &slow[0];
    let mut rest = Vec::new();
    assert!(matches!(first.read_to_end(&mut rest), Ok(_) | Err(_)) && rest.len() < 1000);
    assert!(began.elapsed().as_secs() < 15, "only its time ended it");
    // The others are closed when their time is over, asked or not.
    let mut last = &slow[63];
    assert!(matches!(last.read_to_end(&mut rest), Ok(_) | Err(_)) && began.elapsed().as_secs() < 45);
    // A request whose head has no end.
    let mut endless = TcpStream::connect(&address).unwrap();
    endless.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let line = format!("X-Long: {}\r\n", "a".repeat(8_000));
    let refused = (0..10_000).any(|_| endless.write_all(line.as_bytes()).is_err());
    assert!(refused, "80 MB of headers were taken");
}

#[test]
fn a_wrong_address_is_refused_at_the_start_and_a_public_one_is_warned_of() {
    let sim = Sim::seeded(1, 1, "");
    let mut node = Node::new(&sim.universe, SEEDED_NIGHT);
    node.set("DATANODE__SERVE__LISTEN", "everywhere");
    node.run(&["run"]).exits(2).says(&["serve.listen", "127.0.0.1:8480"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    node.set("DATANODE__SERVE__LISTEN", &taken.local_addr().unwrap().to_string());
    node.run(&["run"]).exits(2).says(&["serve.listen"]);
    node.set("DATANODE__SERVE__LISTEN", "0.0.0.0:0");
    let mut c = node.command(&["run"]);
    let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(live.child().stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|l| l.contains("without encryption")));
    drop(lines);
    assert!(Path::new(&node.data()).is_dir());
    node.run(&["token", "new", "a b"]).exits(2);
    node.run(&["token", "new", "x", "--scope", "admin"]).exits(2);
}
