//! Proofs over the node's own HTTP: what is public and to whom, strictly asked for, and as its document describes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::s3::beside_python;
use support::{DATANODE, Live, Node, SEEDED_NIGHT, Sim, run};

/// A node with two sealings, and its HTTP.
struct Serving {
    node: Node,
    _live: Live,
    url: String,
    _sim: Sim,
}

impl Serving {
    fn new(per_minute: &str) -> Self {
        let sim = Sim::seeded(2, 1, "");
        let mut node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
        node.run(&["nightly", "--json", "--now", "2025-06-28T23:00:00Z", "--as-of", "2025-06-27"]).exits(0);
        node.nightly(&[]).exits(0);
        node.set("DATANODE__SERVE__LISTEN", "127.0.0.1:0");
        node.set("DATANODE__SERVE__REQUESTS_PER_MINUTE", per_minute);
        node.set("DATANODE__LOG__LEVEL", "info");
        let mut c = node.command(&["run", "--now", SEEDED_NIGHT[1]]);
        let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(live.child().stderr.take().unwrap()).lines();
        let said = lines.by_ref().map_while(Result::ok).find(|l| l.contains("serving packs")).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let address = said.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let address: String = address.chars().filter(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Self { node, _live: live, url: format!("http://{address}"), _sim: sim }
    }
    fn token(&self, name: &str, scope: &str) -> String {
        self.node.run(&["token", "new", name, "--scope", scope]).exits(0).out.trim().to_owned()
    }
    /// Status, headers in lower case, body.
    fn ask(&self, path: &str, token: &str, more: &[&str]) -> (u16, String, Vec<u8>) {
        let (head, body) = (self.node.root.path().join("head"), self.node.root.path().join("body"));
        std::fs::write(&body, "").unwrap();
        let mut c = Command::new("curl");
        c.args(["-sS", "--path-as-is", "-D"]).arg(&head).arg("-o").arg(&body).args(more);
        if !token.is_empty() {
            c.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        run(c.arg(format!("{}{path}", self.url))).exits(0);
        let head = std::fs::read_to_string(head).unwrap().to_lowercase();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, head, std::fs::read(body).unwrap())
    }
    fn json(&self, path: &str, token: &str) -> Value {
        let (status, _, body) = self.ask(path, token, &[]);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
    #[track_caller]
    fn problem(&self, path: &str, token: &str, more: &[&str], status: u16) -> String {
        let (got, head, body) = self.ask(path, token, more);
        let body: Value = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {got} {e}"));
        assert_eq!((got, &body["status"]), (status, &status.into()), "{path}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
        head
    }
}

#[test]
fn what_is_public_of_sealings_is_given_to_its_scope_and_verifies() {
    let s = Serving::new("600");
    let (t, packs, both) =
        (s.token("auditor", "proofs:read"), s.token("box", "packs:read"), s.token("both", "packs:read,proofs:read"));
    let list = s.json("/v1/sealings", &t);
    let all = list["sealings"].as_array().unwrap();
    assert_eq!((all.len(), &list["next_before"]), (2, &Value::Null));
    let anchors = s.node.data().join("anchors");
    let places: Vec<_> = all.iter().map(|x| x["anchored_index"].as_u64().unwrap()).collect();
    assert_eq!(places, [1, 0], "the newest first");
    for one in all {
        let uid = one["pack_uid"].as_str().unwrap();
        let at = |part: &str| s.ask(&format!("/v1/sealings/{uid}/{part}"), &t, &[]);
        let (descriptor, proof) = (at("descriptor"), at("proof"));
        let file = s.node.data().join(format!("vault/descriptors/{uid}.json"));
        assert_eq!((descriptor.0, &descriptor.2), (200, &std::fs::read(&file).unwrap()));
        let d: Value = serde_json::from_slice(&descriptor.2).unwrap();
        assert_eq!((&one["objects"], &one["root"]), (&d["leaf_count"], &d["merkle_root"]));
        // What came over HTTP is all that is needed.
        let there = s.node.root.path().join(uid);
        std::fs::create_dir(&there).unwrap();
        std::fs::write(there.join("d.json"), &descriptor.2).unwrap();
        std::fs::write(there.join("p"), &proof.2).unwrap();
        let key = std::fs::read_to_string(anchors.join("key.pub")).unwrap();
        let mut c = Command::new(DATANODE);
        c.env_clear().current_dir(&there).args([
            "anchor",
            "verify",
            "p",
            "--descriptor",
            "d.json",
            "--key",
            key.trim(),
        ]);
        run(&mut c).exits(0);
    }
    // Pages and filters.
    let page = s.json("/v1/sealings?limit=1", &t);
    assert_eq!(page["sealings"][0], all[0]);
    let rest = s.json(&format!("/v1/sealings?limit=1&before={}", page["next_before"].as_str().unwrap()), &t);
    assert_eq!((&rest["sealings"][0], &rest["next_before"]), (&all[1], &Value::Null));
    let of = |query: &str| s.json(&format!("/v1/sealings?{query}"), &t)["sealings"].as_array().unwrap().len();
    let id = all[1]["export_id"].as_str().unwrap();
    assert_eq!((of(&format!("export_id={id}")), of("export_id=other")), (1, 0));
    assert_eq!(
        (of("since=2025-07-01T00:00:00Z"), of("since=2025-01-01T00:00:00Z"), of("since=2026-01-01T00:00:00Z")),
        (1, 2, 0)
    );
    // Packs without what is in them.
    let public = s.json("/v1/manifests", &t);
    assert_eq!(public["manifests"].as_array().unwrap().len(), 2);
    let one = s.json(&format!("/v1/manifests/{id}"), &t);
    assert_eq!(one["pack_uid"], all[1]["pack_uid"]);
    assert!(!public.to_string().contains("AAA") && !list.to_string().contains("data/"));
    s.problem("/v1/manifests/20200101T000000Z_datanode_full", &t, &[], 404);

    // The log, file by file.
    for (path, file) in [
        ("checkpoint", "checkpoint"),
        ("tile/0/000.p/2", "tile/0/000.p/2"),
        ("tile/entries/000.p/2", "tile/entries/000.p/2"),
    ] {
        let (status, _, body) = s.ask(&format!("/v1/anchors/{path}"), &t, &[]);
        assert_eq!((status, body), (200, std::fs::read(anchors.join(file)).unwrap()), "{path}");
    }
    std::fs::write(anchors.join("tile/0/000.p/3"), "beyond the checkpoint").unwrap();
    for path in [
        "tile/0/000.p/3",
        "tile/0/000",
        "tile/0/0",
        "tile/../checkpoint",
        "tile/0/..%2f..%2fkey.pub",
        "tile/",
        "key.pub",
        "",
    ] {
        s.problem(&format!("/v1/anchors/{path}"), &t, &[], 404);
    }
    let grown = s.json("/v1/anchors/consistency?old=1", &t);
    assert_eq!((&grown["new"], grown["hashes"].as_array().unwrap().len()), (&2.into(), 1));
    s.problem("/v1/anchors/consistency?old=3", &t, &[], 404);
    for query in ["", "?old=0", "?old=-1", "?old=1&old=1", "?old=x", "?new=1", "?old=1&x=1"] {
        s.problem(&format!("/v1/anchors/consistency{query}"), &t, &[], 400);
    }
    let beacon = std::fs::read(anchors.join("beacon")).unwrap();
    assert_eq!(s.ask("/v1/anchors/beacon", &t, &[]).2, beacon);
    std::fs::remove_file(anchors.join("beacon")).unwrap();
    s.problem("/v1/anchors/beacon", &t, &[], 404);

    // Strictly.
    let checkpoint = "/v1/anchors/checkpoint";
    for path in [
        "/v1/sealings?limit=0",
        "/v1/sealings?limit=501",
        "/v1/sealings?surprise=1",
        "/v1/anchors/checkpoint?x=1",
        "/v1/sealings?since=yesterday",
        "/v1/sealings/ABCDEF/proof",
        "/v1/openapi.json?x",
    ] {
        s.problem(path, &t, &[], 400);
    }
    s.problem("/v1/sealings/00000000000000000000000000000000/proof", &t, &[], 404);
    s.problem("/v1/anchors", &t, &[], 404);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        assert!(s.problem(checkpoint, &t, &["-X", method], 405).contains("allow: get,head"));
    }
    let (status, head, body) = s.ask(checkpoint, &t, &[]);
    let tag = head.lines().find_map(|l| l.strip_prefix("etag: ")).unwrap().trim().to_owned();
    assert_eq!(status, 200);
    let again = s.ask(checkpoint, &t, &["-H", &format!("If-None-Match: {tag}")]);
    assert_eq!((again.0, again.2.len()), (304, 0));
    let (status, head, _) = s.ask(checkpoint, &t, &["-I"]);
    assert_eq!(status, 200);
    assert!(head.contains(&tag) && head.contains(&format!("content-length: {}", body.len())), "{head}");

    // To whom.
    for path in ["/v1/sealings", checkpoint, "/v1/openapi.json", "/v1/anchors/nothing"] {
        assert!(s.problem(path, "", &[], 401).contains("www-authenticate: bearer"));
        s.problem(path, &packs, &[], 403);
    }
    assert_eq!(
        (s.ask("/v1/packs", &t, &[]).0, s.ask("/v1/packs", &both, &[]).0, s.ask(checkpoint, &both, &[]).0),
        (403, 200, 200)
    );
    let page = String::from_utf8(s.ask("/metrics", "", &[]).2).unwrap();
    assert!(
        page.contains("datanode_anchor_log_entries 2") && page.contains("datanode_sealings_not_anchored 0"),
        "{page}"
    );
    s.node.run(&["token", "new", "x", "--scope", "proofs:read,admin"]).exits(2);
}

#[test]
fn a_token_that_asks_too_often_waits_and_the_others_do_not() {
    let s = Serving::new("2");
    let (a, b) = (s.token("a", "proofs:read"), s.token("b", "packs:read,proofs:read"));
    let path = "/v1/anchors/checkpoint";
    assert_eq!((s.ask(path, &a, &[]).0, s.ask(path, &a, &[]).0), (200, 200));
    let head = s.problem(path, &a, &[], 429);
    let wait: u64 = head.lines().find_map(|l| l.strip_prefix("retry-after: ")).unwrap().trim().parse().unwrap();
    assert!((1..=31).contains(&wait), "{head}");
    assert_eq!(s.ask(path, &b, &[]).0, 200);
    // Packs are large; their files are not counted.
    assert!((0..5).all(|_| s.ask("/v1/packs", &b, &[]).0 == 200));
}

#[test]
fn a_stranger_who_reads_the_document_finds_the_api_as_described() {
    let Some(schemathesis) = beside_python("schemathesis") else { return };
    let s = Serving::new("0");
    let token = s.token("stranger", "proofs:read");
    let uid = s.json("/v1/sealings", &token)["sealings"][0]["pack_uid"].as_str().unwrap().to_owned();
    let id = s.json("/v1/manifests", &token)["manifests"][0]["export_id"].as_str().unwrap().to_owned();
    let run_it = |folder: &str, config: &str, more: &[&str]| {
        let folder = s.node.root.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("schemathesis.toml"), config).unwrap();
        let mut c = Command::new(&schemathesis);
        c.args(["run", &format!("{}/v1/openapi.json", s.url), "-H", &format!("Authorization: Bearer {token}")]);
        c.args(["--checks", "all", "--seed", "1", "--warnings", "off", "--suppress-health-check", "all"]).args(more);
        let ran = run(c.current_dir(&folder));
        // It asks everything but for the document, which it has.
        let asked = ran.out.contains("Tested: 19") && ran.out.contains("No issues found");
        assert!(ran.code == Some(0) && asked, "{}\n{}", ran.out, ran.err);
    };
    run_it("any", "", &["--phases", "examples,coverage,fuzzing", "--max-examples", "20"]);
    // And what is there, so that the answers themselves are compared with their description.
    let there = format!(
        "[parameters]\n\"path.pack_uid\" = \"{uid}\"\n\"path.export_id\" = \"{id}\"\n\"path.path\" = \"0/000.p/2\"\n\"query.old\" = 1\n"
    );
    run_it("there", &there, &["--mode", "positive", "--phases", "fuzzing", "--max-examples", "3"]);
}
