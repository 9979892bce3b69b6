//! The status page: what is there and for whom, that it only reads, and how it looks in a browser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{ADMIN, Live, Node, SEEDED_NIGHT, Sim, python, run, tree};

/// A node with two packs, some gaps and an incident whose note is hostile, and its page.
struct Shown {
    node: Node,
    _live: Live,
    url: String,
    id: String,
    _sim: Sim,
}

/// What a note may hold and a page must not.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)> \" ' &amp;";

impl Shown {
    fn new(more: &[(&str, &str)]) -> Self {
        let sim = Sim::seeded(4, 1, "");
        // A symbol that no vendor has, with a slash in its name.
        let universe =
            sim.universe.replacen("equities_bars:\n", "equities_bars:\n    \"NO/ONE\": [{from: 2025-06-02}]\n", 1);
        let mut node = Node::new(&universe, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
        node.run(&["nightly", "--json", "--now", "2025-06-28T23:00:00Z", "--as-of", "2025-06-27"]).exits(0);
        let id = node.nightly(&[]).exits(0).json()["export_id"].as_str().unwrap().to_owned();
        node.set("DATANODE__SERVE__LISTEN", "127.0.0.1:0");
        node.set("DATANODE__SERVE__PAGE", "true");
        node.set("DATANODE__LOG__LEVEL", "info");
        more.iter().for_each(|(k, v)| node.set(k, v));
        let mut c = node.command(&["run", "--now", SEEDED_NIGHT[1]]);
        let mut live = Live::of(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(live.child().stderr.take().unwrap()).lines();
        let said = lines.by_ref().map_while(Result::ok).find(|l| l.contains("serving packs")).unwrap();
        lines.by_ref().map_while(Result::ok).find(|l| l.contains("ready")).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let address = said.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let address: String = address.chars().filter(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Self { node, _live: live, url: format!("http://{address}"), id, _sim: sim }
    }
    fn admin(&self, args: &[&str]) -> support::Ran {
        run(&mut self.node.program(ADMIN, args))
    }
    /// Status, headers in lower case, body.
    fn ask(&self, path: &str, more: &[&str]) -> (u16, String, String) {
        let (head, body) = (self.node.root.path().join("head"), self.node.root.path().join("body"));
        std::fs::write(&body, "").unwrap();
        let mut c = Command::new("curl");
        c.args(["-sS", "--path-as-is", "-D"]).arg(&head).arg("-o").arg(&body).args(more);
        run(c.arg(format!("{}{path}", self.url))).exits(0);
        let head = std::fs::read_to_string(head).unwrap().to_lowercase();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, head, String::from_utf8(std::fs::read(body).unwrap()).unwrap())
    }
    fn page(&self, path: &str) -> String {
        let (status, _, body) = self.ask(path, &[]);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
    /// Every page that the pages lead to, `/` included.
    fn pages(&self) -> Vec<String> {
        let mut found: Vec<String> = ["/", "/page/page.css", "/page/proof.js"].map(str::to_owned).into();
        let mut at = 0;
        while let Some(path) = found.get(at).cloned() {
            at += 1;
            let body = self.page(&path);
            for link in body.split(" href=\"").skip(1).map(|l| l.split('"').next().unwrap().replace("&amp;", "&")) {
                // A sample of the partitions is enough, and months go on for ever.
                let many = link.starts_with("/cell/") && found.iter().filter(|f| f.starts_with("/cell/")).count() > 12;
                let month = link.starts_with("/coverage/") && !link.contains("2025-06");
                let known = found.contains(&link) || !link.starts_with('/');
                let enough = many || (month && link.matches('/').count() > 2);
                if !known && !enough {
                    found.push(link);
                }
            }
        }
        found
    }
}

#[test]
fn every_page_is_small_reads_only_and_says_by_its_headers_that_nothing_comes_from_elsewhere() {
    let s = Shown::new(&[]);
    let pack = s.id.clone();
    s.admin(&["incident", "open", &pack, "--label", "deprecated", "--kind", "other", "--note", HOSTILE]).exits(0);
    let before = tree(&s.node.data());
    let all = s.pages();
    for wanted in [
        "/coverage",
        "/coverage/equities_bars",
        "/coverage/equities_bars/2025-06",
        "/vendors",
        "/runs",
        "/packs",
        "/incidents",
        "/doctor",
    ] {
        assert!(all.iter().any(|p| p == wanted), "nothing leads to {wanted}: {all:?}");
    }
    assert!(all.iter().any(|p| p.starts_with("/cell/")) && all.contains(&format!("/packs/{}", s.id)), "{all:?}");
    for path in &all {
        let (status, head, body) = s.ask(path, &[]);
        assert_eq!(status, 200, "{path}");
        assert!(body.len() <= 200_000, "{path}: {} bytes", body.len());
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'\r\n",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path} lacks {header}:\n{head}");
        }
        assert!(!head.contains("access-control-allow-origin") && !head.contains("set-cookie"), "{path}: {head}");
        if path.starts_with("/page/") {
            continue;
        }
        // The name of a namespace is no resource.
        let body = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!body.contains("<script>alert") && !body.contains("onerror=alert(2)>"), "{path} runs what a note says");
        assert!(
            !body.contains(" style=")
                && !body.contains("<style")
                && !body.contains("http://")
                && !body.contains("https://"),
            "{path}"
        );
    }
    assert!(s.page("/incidents").contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    // Reading it has written nothing.
    let after = tree(&s.node.data());
    let changed: Vec<&String> =
        before.keys().filter(|k| !k.starts_with("state/") && before.get(*k) != after.get(*k)).collect();
    assert_eq!(changed, Vec::<&String>::new());
    for path in ["/", "/coverage", "/packs", "/page/page.css"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"] {
            let (status, head, _) = s.ask(path, &["-X", method]);
            assert_eq!(status, 405, "{method} {path}");
            assert!(
                head.contains("allow: get, head") && head.contains("content-security-policy"),
                "{method} {path}: {head}"
            );
        }
        let (status, head, body) = s.ask(path, &["-I"]);
        assert_eq!((status, body.is_empty()), (200, false), "{head}");
        assert!(!body.contains("<html"));
    }
}

#[test]
fn the_page_is_for_browsers_of_this_machine_alone_and_not_there_where_it_is_not_switched_on() {
    let s = Shown::new(&[]);
    for host in ["localhost", "127.0.0.1:1234", "[::1]", "LOCALHOST:80"] {
        assert_eq!(s.ask("/", &["-H", &format!("Host: {host}")]).0, 200, "{host}");
    }
    for more in [
        ["-H", "Host: node.example:8480"],
        ["-H", "Host: evil.test"],
        ["-H", "Host: 10.0.0.1"],
        ["-H", "X-Forwarded-For: 127.0.0.1"],
        ["-H", "Via: 1.1 proxy"],
    ] {
        for path in ["/", "/coverage", "/packs", "/page/page.css", "/page/nothing"] {
            let (status, head, body) = s.ask(path, &more);
            assert_eq!(status, 403, "{path} {more:?}");
            assert!(head.contains("content-security-policy") && !body.contains("datanode-admin"), "{body}");
        }
    }
    // A token of another scope, or of any, changes nothing of that, and the page opens nothing else.
    let token = s.node.run(&["token", "new", "box"]).exits(0).out.trim().to_owned();
    assert_eq!(s.ask("/", &["-H", "Host: evil.test", "-H", &format!("Authorization: Bearer {token}")]).0, 403);
    assert_eq!(s.ask("/v1/packs", &[]).0, 401);

    let off = Shown::new(&[("DATANODE__SERVE__PAGE", "false")]);
    for path in ["/", "/coverage", "/page/page.css"] {
        assert_eq!(off.ask(path, &[]).0, 401, "{path}");
    }
}

#[test]
fn what_is_not_there_is_not_found_and_its_name_is_text() {
    let s = Shown::new(&[]);
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        "/coverage/nothing",
        "/coverage/equities_bars/2025-13",
        "/coverage/equities_bars/2025-6",
        "/coverage/equities_bars/2025-06/more",
        "/cell/equities_bars/NOBODY/2025-06-27",
        "/cell/equities_bars/NO%2FONE/2025-06-99",
        "/cell/equities_bars/NO%2FONE/1999-01-04",
        "/cell/equities_bars",
        "/cell",
        "/packs/20200101T000000Z_datanode_full",
        "/packs/last",
        "/packs/..%2f..%2fkeys",
        "/packs/../keys/node.key",
        "/page/../keys",
        "/page/sealing/00/proof",
        "/page/sealing/00000000000000000000000000000000/proof",
        "/page/sealing/00000000000000000000000000000000/descriptor",
        "/runs/more",
        "/vendors/%ff",
        "/vendors/%00",
        "/coverage//x",
        &format!("/coverage/{script}"),
        &format!("/packs/{script}"),
        &format!("/cell/equities_bars/{script}/2025-06-27"),
        &format!("/coverage/equities_bars/{script}"),
    ] {
        let (status, head, body) = s.ask(path, &[]);
        assert_eq!(status, 404, "{path}: {body}");
        assert!(head.contains("content-security-policy") && head.contains("text/html"), "{path}: {head}");
        assert!(body.contains("<h1>Not found</h1>") && !body.contains("<script>"), "{path}: {body}");
    }
    assert!(s.page(&format!("/coverage/equities_bars/2025-06?from={script}")).len() < 200_000);
    assert!(!s.page(&format!("/coverage/equities_bars/2025-06?from=%22%3E{script}")).contains("<script>"));
    assert!(s.ask("/coverage/equties_bars", &[]).2.contains("did you mean equities_bars"));
    // The way from a map to the reason of a cell, by what the socket says of it.
    let month = s.page("/coverage/equities_bars/2025-06");
    assert!(month.contains("/cell/equities_bars/NO%2FONE/2025-06-27"), "{month}");
    let cell = s.page("/cell/equities_bars/NO%2FONE/2025-06-27");
    let told: serde_json::Value =
        s.admin(&["--json", "qc", "explain", "equities_bars", "NO/ONE", "2025-06-27"]).exits(0).json();
    assert!(cell.contains(told["ships"].as_str().unwrap()), "{told}\n{cell}");
    assert!(cell.contains(told["absence"]["state"].as_str().unwrap()), "{told}\n{cell}");
    for reason in told["reasons"].as_array().unwrap() {
        assert!(cell.contains(reason["reason"].as_str().unwrap()), "{reason}");
    }
}

#[test]
fn a_browser_shows_every_page_and_verifies_a_proof_and_sees_an_altered_one_fail() {
    let s = Shown::new(&[]);
    let shots = s.node.root.path().join("shots");
    let Some(ran) = python("check_page.py", &[Path::new(&s.url), &shots]) else { return };
    if ran.code == Some(77) {
        eprintln!("SKIPPED: fixtures/check_page.py: {}", ran.out.trim());
        return;
    }
    let said = ran.exits(0).out;
    assert!(said.contains("pages, in light and dark"), "{said}");
}
