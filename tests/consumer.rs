//! ops/consumer as its users run it: real packs of a real node in a real S3 server, fetched and read by tools that know nothing of us.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::packs::{Pack, delta, files, full};
use support::s3::{KEY, S3, SECRET_KEY, beside_python};
use support::web::Web;
use support::{DATANODE, Node, Ran, SEEDED_NIGHT, Sim, differences, run, tree};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A bucket with a node's packs in it, brought there by the vendor's own client.
struct Market {
    s3: S3,
    node: Node,
    tools: PathBuf,
    _sim: Sim,
}

const URL: &str = "s3://packs/market/exports/datanode";

impl Market {
    fn new() -> Option<Self> {
        let (s3, aws) = (S3::honest("packs")?, beside_python("aws")?);
        let tools = aws.parent().unwrap().to_owned();
        let sim = Sim::seeded(4, 2, "");
        let node = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
        let market = Self { s3, node, tools, _sim: sim };
        market.node.nightly(&[]).exits(0);
        market.ship();
        Some(market)
    }
    /// Everything below exports/datanode, a pack's manifest last, and the pointer.
    fn ship(&self) {
        let from = self.node.data().join("exports/datanode");
        let mut packs: Vec<PathBuf> =
            std::fs::read_dir(&from).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
        packs.sort();
        for p in &packs {
            let name = p.file_name().unwrap().to_str().unwrap();
            self.aws(&[
                "s3",
                "cp",
                "--recursive",
                "--exclude",
                "manifest.json",
                &p.display().to_string(),
                &format!("{URL}/{name}"),
            ]);
            self.aws(&[
                "s3",
                "cp",
                &p.join("manifest.json").display().to_string(),
                &format!("{URL}/{name}/manifest.json"),
            ]);
        }
        let id =
            packs.last().unwrap().file_name().unwrap().to_str().unwrap().strip_prefix("export_").unwrap().to_owned();
        let pointer = self.node.root.path().join("latest.pointer");
        let text = format!(
            "repo=\nworkflow=\nrun_id=\nexport_bucket=s3://packs/market\nexport_prefix=exports/datanode\nexport_id={id}\nartifact_hint=\n"
        );
        std::fs::write(&pointer, text).unwrap();
        self.aws(&["s3", "cp", &pointer.display().to_string(), &format!("{URL}/latest.pointer")]);
    }
    fn env(&self, c: &mut Command) {
        let path = std::env::var("PATH").unwrap();
        let node = Path::new(DATANODE).parent().unwrap().display().to_string();
        c.env("PATH", format!("{}:{node}:{path}", self.tools.display()));
        c.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).env("AWS_REGION", "us-east-1");
        c.env("AWS_ENDPOINT_URL", &self.s3.endpoint);
    }
    fn aws(&self, args: &[&str]) {
        let mut c = Command::new(self.tools.join("aws"));
        self.env(&mut c);
        run(c.args(args).arg("--only-show-errors")).exits(0);
    }
    fn fetch(&self, args: &[&str]) -> Ran {
        let mut c = Command::new("bash");
        self.env(&mut c);
        run(c.arg(root("ops/consumer/fetch_pack.sh")).args(args).current_dir(self.node.root.path()))
    }
    fn pack(&self) -> PathBuf {
        let exports = self.node.data().join("exports/datanode");
        let mut all: Vec<PathBuf> = std::fs::read_dir(exports).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all.pop().unwrap()
    }
}

/// `fetch_pack.sh` with curl.
fn fetch(args: &[&str]) -> Ran {
    run(Command::new("bash").arg(root("ops/consumer/fetch_pack.sh")).args(args))
}

#[test]
fn a_pack_is_fetched_and_read_with_tools_that_everybody_has() {
    let Some(m) = Market::new() else { return };
    let dir = m.node.root.path().join("fetched");
    let to = dir.display().to_string();
    m.fetch(&[URL, &to]).exits(0);
    assert_eq!(differences(&m.pack(), &dir), Vec::<String>::new());
    let again = m.fetch(&[URL, &to, "latest"]).exits(0);
    assert!(again.out.contains("re-used"), "{}", again.out);
    let pointer = m.node.root.path().join("latest.pointer");
    m.fetch(&[URL, &to, &pointer.display().to_string()]).exits(0);
    // No key of this machine goes where only a pointer says, and this bucket asks for one.
    m.fetch(&["-", &to, &pointer.display().to_string()]).exits(1);
    let before = tree(&dir);
    m.fetch(&[URL, &to, &full(1)]).exits(5);
    m.fetch(&["s3://packs/elsewhere", &to]).exits(5);
    assert_eq!(tree(&dir).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());

    // Both readers, and they agree with each other and with the manifest.
    let python = m.tools.join("python");
    let load = |more: &[&str]| {
        let mut c = Command::new(&python);
        run(c.arg(root("ops/consumer/load_pack.py")).arg(&dir).args(more)).exits(0).json()
    };
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let named = |dataset: &str| -> u64 {
        let files = manifest["files"].as_array().unwrap();
        files.iter().filter(|f| f["dataset"] == dataset).map(|f| f["rows"].as_u64().unwrap()).sum()
    };
    for dataset in ["equities_bars", "equities_bars_minute"] {
        let all = load(&["--dataset", dataset]);
        assert_eq!(all["readers"], serde_json::json!(["duckdb", "polars"]));
        assert_eq!(all["rows"].as_u64().unwrap(), named(dataset), "{dataset}");
        let symbol = support::market(4, 2);
        drop(symbol);
        let green = load(&["--dataset", dataset, "--green"])["rows"].as_u64().unwrap();
        assert!(green <= named(dataset));
    }
    let symbols = m.node.root.path().join("universe.yaml");
    let first = std::fs::read_to_string(symbols).unwrap();
    let first = first.lines().skip_while(|l| !l.contains("equities_bars:")).nth(1).unwrap();
    let symbol: String = first.chars().filter(char::is_ascii_uppercase).collect();
    let some = load(&[&symbol])["rows"].as_u64().unwrap();
    assert!(some > 0 && some < named("equities_bars"), "{symbol}: {some}");
}

#[test]
fn the_workflow_runs_in_both_variants() {
    let Some(m) = Market::new() else { return };
    let pointer = std::fs::read(m.node.root.path().join("latest.pointer")).unwrap();
    let id = m.pack().file_name().unwrap().to_str().unwrap().strip_prefix("export_").unwrap().to_owned();
    for (job, name) in [("with-datanode", "a"), ("with-plain-tools", "b")] {
        let checkout = m.node.root.path().join(name);
        support::copy(&root("ops/consumer"), &checkout.join("ops/consumer"));
        std::fs::write(checkout.join("pinned.pointer"), &pointer).unwrap();
        let workflow = |url: &str, wanted: &str, what: &str| {
            let mut c = Command::new(m.tools.join("python"));
            m.env(&mut c);
            c.arg(root("fixtures/run_consumer_workflow.py"))
                .arg(root("ops/consumer/github-workflow.yml"))
                .arg(job)
                .arg(&checkout);
            let known = [
                format!("vars.PACKS_URL={url}"),
                "vars.PACKS_REGION=us-east-1".to_owned(),
                format!("vars.PACKS_ENDPOINT={}", m.s3.endpoint),
                format!("secrets.PACKS_KEY_ID={KEY}"),
                format!("secrets.PACKS_SECRET={SECRET_KEY}"),
                format!("inputs.export_id={wanted}"),
                format!("inputs.run={what}"),
            ];
            run(c.args(known))
        };
        for wanted in ["latest", "pinned.pointer", &id] {
            workflow(URL, wanted, "test -f $PACK/data/qc/partition_status.parquet && echo the caller ran > ran.txt")
                .exits(0);
            assert_eq!(std::fs::read_to_string(checkout.join("ran.txt")).unwrap(), "the caller ran\n");
            std::fs::remove_file(checkout.join("ran.txt")).unwrap();
            for f in ["manifest.json", "SHA256SUMS.stable.txt", "verify.txt", "used.pointer"] {
                assert!(checkout.join("evidence").join(f).metadata().unwrap().len() > 0, "{job}: {f}");
            }
            // What it says that it used leads to the same pack again.
            let mut c = Command::new(DATANODE);
            m.env(&mut c);
            let used = checkout.join("evidence/used.pointer");
            run(c.args(["pack", "pull", URL, "--dry-run", "--to"]).arg(checkout.join("x")).arg("--pointer").arg(used))
                .exits(0);
        }
        assert_eq!(differences(&m.pack(), &checkout.join("pack")), Vec::<String>::new());
        workflow(URL, &full(1), "echo > ran.txt").exits(5);
        // The pack of the run before lies there still, and was not used.
        assert!(checkout.join("pack/manifest.json").exists() && !checkout.join("evidence/used.pointer").exists());
        workflow(URL, "latest", "exit 9").exits(9);
        assert!(!checkout.join("ran.txt").exists());
    }
}

#[test]
fn the_script_is_as_careful_as_the_program() {
    let root = tempfile::tempdir().unwrap();
    let (bucket, dir) = (root.path().join("bucket"), root.path().join("pack"));
    let (web, to) = (Web::folder(&bucket), dir.display().to_string());
    let url = web.url.as_str();
    let first = Pack::full(&full(1), files(1, 6, 20_000));
    first.write(&bucket);
    fetch(&[url, &to, &full(1)]).exits(0);
    // A delta: one new file, the others where they were.
    let mut later = first.files.clone();
    later[3].1 = files(2, 1, 20_000).remove(0).1;
    let held_by = later.iter().enumerate().filter(|(i, _)| *i != 3).map(|(_, (p, _))| (p.clone(), full(1))).collect();
    Pack { id: delta(2), files: later, held_by, base: Some(full(1)) }.write(&bucket);
    std::fs::write(bucket.join("latest.pointer"), format!("export_id={}\n", delta(2))).unwrap();
    web.sent.store(0, std::sync::atomic::Ordering::Relaxed);
    let ran = fetch(&[url, &to]).exits(0);
    assert!(ran.out.contains("5 re-used"), "{}", ran.out);
    assert!(web.sent.load(std::sync::atomic::Ordering::Relaxed) < 30_000);
    // The program makes the very same folder of it.
    let ours = root.path().join("ours");
    run(Command::new(DATANODE).args(["pack", "pull", url, "--id", &delta(2), "--to"]).arg(&ours)).exits(0);
    assert_eq!(differences(&ours, &dir), Vec::<String>::new());

    // A fetch that was killed between its two renames: the old pack comes back, and the rest goes.
    std::fs::rename(&dir, root.path().join("pack.fetch.replaced")).unwrap();
    std::fs::create_dir(root.path().join("pack.fetch.partial.abcdefgh")).unwrap();
    fetch(&[url, &to, &full(9)]).exits(5);
    assert_eq!(differences(&ours, &dir), Vec::<String>::new());

    let before = tree(&dir);
    let hostile = |path: &str| {
        let pack = Pack::full(&full(3), files(3, 2, 100));
        let mut m = pack.manifest();
        m["files"][0]["path"] = serde_json::json!(path);
        drop(std::fs::remove_dir_all(bucket.join(format!("export_{}", full(3)))));
        pack.write_with(&bucket, &m.to_string());
    };
    for path in [
        "/etc/passwd",
        "data/../../x",
        "data/a\nb",
        "data/$(touch x)",
        "data/a b",
        "data/-x/../y",
        &files(3, 2, 1)[1].0,
    ] {
        hostile(path);
        fetch(&[url, &to, &full(3)]).exits(4);
    }
    for change in ["missing", "altered"] {
        let folder = Pack::full(&full(4), files(4, 2, 100)).write(&bucket);
        let victim = folder.join(&files(4, 1, 1)[0].0);
        std::fs::remove_file(&victim).unwrap();
        if change == "altered" {
            std::fs::write(&victim, vec![0; 100]).unwrap();
        }
        fetch(&[url, &to, &full(4)]).exits(3);
    }
    fetch(&[url, &to, &full(9)]).exits(5);
    fetch(&[url, &to, "latest; rm -rf /"]).exits(4);
    fetch(&["ftp://x", &to]).exits(2);
    std::fs::create_dir(root.path().join("mine")).unwrap();
    std::fs::write(root.path().join("mine/thesis.tex"), "x").unwrap();
    fetch(&[url, &root.path().join("mine").display().to_string(), &full(1)]).exits(2);
    assert_eq!(tree(&dir), before);
    let beside: Vec<String> = std::fs::read_dir(root.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("pack"))
        .collect();
    assert_eq!(beside, ["pack"], "nothing is left beside it");
}

#[test]
fn the_script_does_not_go_back_to_an_older_pack_but_by_its_id() {
    let root = tempfile::tempdir().unwrap();
    let (bucket, dir) = (root.path().join("bucket"), root.path().join("pack"));
    let (web, to) = (Web::folder(&bucket), dir.display().to_string());
    Pack::full(&full(2), files(2, 2, 1_000)).write(&bucket);
    Pack::full(&full(3), files(3, 2, 1_000)).write(&bucket);
    fetch(&[&web.url, &to, &full(3)]).exits(0);
    let before = tree(&dir);
    std::fs::write(bucket.join("latest.pointer"), format!("export_id={}\n", full(2))).unwrap();
    fetch(&[&web.url, &to]).exits(3).says(&[&full(2), &full(3)]);
    assert_eq!(tree(&dir), before);
    fetch(&[&web.url, &to, &full(2)]).exits(0);
}

#[test]
fn the_script_sends_no_token_where_only_a_pointer_says() {
    let root = tempfile::tempdir().unwrap();
    let (bucket, pointer) = (root.path().join("bucket"), root.path().join("pin.pointer"));
    let web = Web::folder(&bucket);
    Pack::full(&full(1), files(1, 1, 100)).write(&bucket);
    std::fs::write(&pointer, format!("export_bucket={}\nexport_prefix=\nexport_id={}\n", web.url, full(1))).unwrap();
    for (url, sent) in [("-", false), (web.url.as_str(), true)] {
        let mut c = Command::new("bash");
        c.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/consumer/fetch_pack.sh"))
            .arg(url)
            .arg(root.path().join("pack"))
            .arg(&pointer);
        run(c.env("DATANODE_TOKEN", "dnt_secret")).exits(0);
        let asked = std::mem::take(&mut *web.asked.lock().unwrap());
        assert!(!asked.is_empty() && asked.iter().all(|a| a.headers.contains_key("authorization") == sent), "{url}");
    }
}
