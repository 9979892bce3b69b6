//! Traces as a collector receives them, and what a collector that hangs costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use support::web::{Reply, Web};
use support::{Node, SEEDED_NIGHT, Sim, counts};

/// A span, read from the protobuf of opentelemetry-proto's `trace/v1/trace.proto`.
#[derive(Clone, Debug)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    attributes: BTreeMap<String, String>,
}

/// The fields of a message: number and, of those with a length, the bytes; of varints the number itself.
fn fields(mut b: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    fn varint(b: &mut &[u8]) -> u64 {
        let (mut n, mut shift) = (0u64, 0);
        loop {
            let byte = b[0];
            *b = &b[1..];
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return n;
            }
            shift += 7;
        }
    }
    let mut out = Vec::new();
    while !b.is_empty() {
        let key = varint(&mut b);
        let (bytes, number) = match key & 7 {
            0 => (Vec::new(), varint(&mut b)),
            1 => {
                let (head, rest) = b.split_at(8);
                b = rest;
                (head.to_vec(), 0)
            }
            2 => {
                let n = varint(&mut b) as usize;
                let (head, rest) = b.split_at(n);
                b = rest;
                (head.to_vec(), 0)
            }
            5 => {
                let (head, rest) = b.split_at(4);
                b = rest;
                (head.to_vec(), 0)
            }
            kind => panic!("a field of kind {kind}"),
        };
        out.push((key >> 3, bytes, number));
    }
    out
}

fn of(message: &[u8], number: u64) -> Vec<Vec<u8>> {
    fields(message).into_iter().filter(|f| f.0 == number).map(|f| f.1).collect()
}

fn text(message: &[u8], number: u64) -> String {
    String::from_utf8(of(message, number).pop().unwrap_or_default()).unwrap()
}

fn spans(request: &[u8]) -> Vec<Span> {
    let scopes = of(request, 1).into_iter().flat_map(|r| of(&r, 2));
    let attribute = |a: Vec<u8>| {
        let value = of(&a, 2).pop().unwrap();
        let number = fields(&value).into_iter().find(|f| f.0 == 3).map(|f| f.2.to_string());
        (text(&a, 1), number.unwrap_or_else(|| text(&value, 1)))
    };
    let span = |s: Vec<u8>| Span {
        trace: of(&s, 1).pop().unwrap(),
        id: of(&s, 2).pop().unwrap(),
        parent: of(&s, 4).pop().unwrap_or_default(),
        name: text(&s, 5),
        attributes: of(&s, 9).into_iter().map(attribute).collect(),
    };
    scopes.flat_map(|s| of(&s, 2)).map(span).collect()
}

fn collector(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Web {
    Web::new(std::path::Path::new("/nonexistent"), move |_| reply())
}

#[test]
fn a_collector_receives_the_cycle_its_stages_and_each_request_with_what_came_of_it() {
    let sim = Sim::seeded(2, 1, "seed: 1\nalpaca: {rules: [{first: 1, action: {status: {code: 503}}}]}\n");
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    let web = collector(|| Reply::Text(200, Vec::new(), Vec::new()));
    n.set("DATANODE__TELEMETRY__OTLP", &web.url);
    // The log's level is not that of the traces.
    n.set("DATANODE__LOG__LEVEL", "error");
    let asked = {
        n.nightly(&[]).exits(0);
        web.asked.lock().unwrap().clone()
    };
    assert!(asked.iter().all(|a| a.path == "/v1/traces" && a.headers["content-type"] == "application/x-protobuf"));
    let all: Vec<Span> = asked.iter().flat_map(|a| spans(&a.body)).collect();
    let named = |name: &str| all.iter().filter(|s| s.name == name).cloned().collect::<Vec<_>>();
    let (cycles, stages, requests) = (named("cycle"), named("stage"), named("request"));
    assert_eq!(cycles.len(), 1, "{all:?}");
    assert!(cycles[0].parent.is_empty() && cycles[0].attributes["as_of"] == "2025-06-30");
    let names: Vec<&str> = stages.iter().map(|s| s.attributes["stage"].as_str()).collect();
    assert_eq!(names, ["ingest", "audit", "backfill", "curate", "qc", "export", "seal", "ship", "retention"]);
    assert!(stages.iter().all(|s| s.parent == cycles[0].id && s.trace == cycles[0].trace));
    assert_eq!(requests.len() as u64, sim.stats.requests(), "each request is a span");
    let parents: Vec<&Span> = requests.iter().map(|r| stages.iter().find(|s| s.id == r.parent).unwrap()).collect();
    assert!(parents.iter().all(|s| ["ingest", "backfill"].contains(&s.attributes["stage"].as_str())));
    let with = |key: &str, value: &str| requests.iter().filter(|r| r.attributes[key] == value).count();
    assert_eq!(with("vendor", "alpaca"), requests.len());
    assert_eq!((with("outcome", "error"), with("attempt", "2")), (1, 1), "the failure, and asking again");
    assert!(with("dataset", "equities_bars") > 0 && with("dataset", "equities_bars_minute") > 0);
    assert!(requests.iter().all(|r| !r.attributes["symbol"].is_empty()));
}

#[test]
fn a_collector_that_hangs_or_is_not_there_costs_the_night_nothing_but_spans() {
    let sim = Sim::seeded(1, 1, "");
    for address in [collector(|| Reply::Silence), collector(|| Reply::Text(503, Vec::new(), Vec::new()))] {
        let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
        n.set("DATANODE__TELEMETRY__OTLP", &address.url);
        let done = n.nightly(&[]).exits(0).json();
        counts(&done, "export", &[("unchanged", 0)]);
    }
    let mut n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca"], &sim);
    n.set("DATANODE__TELEMETRY__OTLP", "http://127.0.0.1:1");
    n.nightly(&[]).exits(0);
}
