//! `/metrics` as Prometheus itself reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use support::running::{Running, until};
use support::{ADMIN, Live, Node, Ran, SEEDED_NIGHT, Sim, run};

/// A node after a night in which one vendor failed at times and another had nothing, so that there are figures of every kind.
fn node() -> (Node, Running, Sim) {
    let faults = "seed: 1\nalpaca: {rules: [{every: 5, action: {status: {code: 503}}}]}\n";
    let sim = Sim::seeded(3, 1, faults);
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "massive"], &sim);
    n.set("DATANODE__SHIP__FOLDER", n.root.path().join("shipped").to_str().unwrap());
    n.set("DATANODE__VENDORS__ALPACA__PER_DAY", "100000");
    n.nightly(&[]).exits(0);
    n.set("DATANODE__LOG__LEVEL", "info");
    let running = Running::start(&mut n, &["--now", SEEDED_NIGHT[1]]);
    (n, running, sim)
}

/// The value of the one sample of a metric without labels.
fn value(page: &str, metric: &str) -> f64 {
    let line = page.lines().find(|l| l.split(' ').next() == Some(metric));
    line.unwrap_or_else(|| panic!("no {metric} in\n{page}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// The program's output where it is installed; None after saying that this part is skipped.
fn promtool(args: &[&str], input: &str) -> Option<Ran> {
    let mut c = Command::new("promtool");
    let c = c.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = c.spawn() else {
        eprintln!("SKIPPED: promtool is not installed (Debian: prometheus)");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(Live::of(child).wait())
}

#[test]
fn promtool_finds_nothing_to_say_and_the_page_says_what_the_admin_socket_says() {
    let (n, running, _sim) = node();
    let (status, page) = running.get("/metrics");
    assert_eq!(status, 200);
    if let Some(ran) = promtool(&["check", "metrics"], &page) {
        assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (Some(0), "", ""), "{page}");
    }
    let status: Value = run(&mut n.program(ADMIN, &["--json", "status"])).exits(0).json();
    for (absence, sessions) in status["queue"].as_object().unwrap() {
        let mark = format!("absence=\"{absence}\"");
        let of = page.lines().filter(|l| l.starts_with("datanode_gap_sessions") && l.contains(&mark));
        let sum: f64 = of.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        assert_eq!(Some(sum), sessions.as_f64(), "{absence} in\n{page}");
    }
    for (verdict, partitions) in status["ledger"].as_object().unwrap() {
        let metric = format!("datanode_partitions{{verdict=\"{verdict}\"}}");
        assert_eq!(Some(value(&page, &metric)), partitions.as_f64());
    }
    assert_eq!(Some(value(&page, "datanode_last_pack_rows")), status["last_pack"]["rows"].as_f64());
    assert_eq!(value(&page, "datanode_cycles_total{result=\"good\"}"), 1.0);
    assert_eq!(value(&page, "datanode_packs_shipped_total{destination=\"folder\"}"), 2.0, "plain and sealed");
    assert!(value(&page, "datanode_vendor_budget_remaining_ratio{vendor=\"alpaca\"}") < 1.0);
    assert!(value(&page, "process_resident_memory_bytes") > 1e6 && value(&page, "process_open_fds") > 3.0);
    for stage in ["ingest", "audit", "backfill", "curate", "qc", "export", "seal", "ship", "retention"] {
        value(&page, &format!("datanode_stage_duration_seconds{{stage=\"{stage}\"}}"));
    }
}

#[test]
fn a_real_prometheus_scrapes_the_node_and_answers_with_its_value() {
    if Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: prometheus is not installed (Debian: prometheus)");
        return;
    }
    let (n, running, _sim) = node();
    let (folder, node_at) = (n.root.path().join("prometheus"), running.url.trim_start_matches("http://"));
    std::fs::create_dir(&folder).unwrap();
    let config = folder.join("prometheus.yml");
    let scrape = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: datanode, static_configs: [{{targets: ['{node_at}']}}]}}]\n"
    );
    std::fs::write(&config, scrape).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut c = Command::new("prometheus");
    c.arg(format!("--config.file={}", config.display())).arg(format!("--storage.tsdb.path={}", folder.display()));
    c.arg(format!("--web.listen-address=127.0.0.1:{port}")).stdin(Stdio::null());
    let _prometheus = Live::of(c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let ask = |query: &str| -> Option<f64> {
        let mut c = Command::new("curl");
        c.args(["-sS", "-G", &format!("http://127.0.0.1:{port}/api/v1/query"), "--data-urlencode"]);
        let answer: Value = serde_json::from_str(&run(c.arg(format!("query={query}"))).out).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    until("a scrape", || ask("up == 1"));
    let (_, page) = running.get("/metrics");
    assert_eq!(ask("datanode_last_pack_rows"), Some(value(&page, "datanode_last_pack_rows")));
    assert_eq!(ask("sum(datanode_partitions)").map(|n| n > 0.0), Some(true));
    let buckets = "histogram_quantile(0.5, sum by (le) (datanode_vendor_request_duration_seconds_bucket))";
    assert!(ask(buckets).is_some(), "a histogram with all its buckets, if without a request");
}

/// The metrics that a text names.
fn named(text: &str) -> std::collections::BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !word(c)).map(str::to_owned);
    let prefixes = ["datanode_", "process_"];
    words.filter(|w| prefixes.iter().any(|p| w.starts_with(p) && w.len() > p.len())).collect()
}

#[test]
fn the_board_and_the_rules_name_metrics_that_the_node_has_and_each_rule_fires() {
    let ops = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ops");
    let read = |name: &str| std::fs::read_to_string(ops.join(name)).unwrap();
    let (board, rules) = (read("grafana/datanode.json"), read("prometheus/alerts.yml"));
    let board: Value = serde_json::from_str(&board).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|p| p["targets"].as_array().unwrap());
    let asked: String = targets.map(|t| t["expr"].as_str().unwrap().to_owned() + "\n").collect();
    let (_n, running, _sim) = node();
    let (_, page) = running.get("/metrics");
    let there: std::collections::BTreeSet<&str> =
        page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let unknown: Vec<String> = named(&format!("{asked}{rules}"))
        .into_iter()
        .filter(|m| !there.contains(m.trim_end_matches("_bucket")) && !there.contains(m.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in\n{page}");
    let Some(ran) = promtool(&["check", "rules", ops.join("prometheus/alerts.yml").to_str().unwrap()], "") else {
        return;
    };
    ran.exits(0);
    let tests = ops.join("prometheus/alerts.test.yml");
    promtool(&["test", "rules", tests.to_str().unwrap()], "").unwrap().exits(0);
    // A rule that no test makes fire proves nothing.
    let tests = read("prometheus/alerts.test.yml");
    for rule in rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {rule}\n")), "no test makes {rule} fire");
    }
}
