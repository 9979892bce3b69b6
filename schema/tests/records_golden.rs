//! The bytes of every record, frozen: a published version is never edited, and every architecture writes the same.
//! `UPDATE_GOLDEN=1` writes the file of a record that is new; a changed one needs a new version instead.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use datanode_schema::records::*;
use std::path::PathBuf;

fn golden<T>(name: &str, value: &T)
where
    T: for<'a> rkyv::Serialize<
            rkyv::api::high::HighSerializer<Vec<u8>, rkyv::ser::allocator::ArenaHandle<'a>, rkyv::rancor::Error>,
        >,
{
    let mut bytes = Vec::new();
    bytes = rkyv::api::high::to_bytes_in(value, bytes).unwrap();
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../fixtures/golden/records", &format!("{name}.hex")].iter().collect();
    let text = format!("{}\n", hex::encode(&bytes));
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, &text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, want, "{name}: the bytes of a published record changed; make a version 2 of it");
}

#[test]
fn the_bytes_of_every_record_are_what_they_were() {
    let window = Window { from: -10, to: 20_000 };
    let answer = Answer { vendor: 2, outcome: 3, days: 1, attempts: 0, last_day: 20_513 };
    let group = GapGroup {
        days: 0b110,
        state: 1,
        why: 0,
        expected: 390,
        rows: 6,
        discovered_at: 1_772_400_000,
        answers: vec![answer],
    };
    let day = LedgerDay {
        day: 20_513,
        verdict: 3,
        reasons: 0b1000,
        expected: 390,
        rows: 6,
        vendor: 2,
        context: 0x1122_3344_5566_7788,
        first_seen: 1_772_400_000,
        updated_at: 1_772_400_001,
        print: Print { digest: [7; 16], open: 1.5, close: 2.5, volume: 100.0 },
    };
    golden(
        "bookmark.v2",
        &Bookmark {
            windows: vec![window],
            rows: 5849,
            answers: 1,
            restated: 0,
            updated_at: 1_772_400_000,
            looked_at: 1_772_400_001,
        },
    );
    golden(
        "holding.v2",
        &Holding::pack(
            20_500,
            [HoldingDay {
                day: 20_513,
                rows: 400,
                regular: 360,
                first: 0,
                last: 389,
                duplicates: 2,
                restated: 1,
                silent: vec![Silence { from: 60, minutes: 30 }],
            }],
        ),
    );
    golden("gap_page.v3", &GapPage { groups: vec![group] });
    golden("ledger_page.v2", &LedgerPage::pack(20_500, &[day]));
    let second = Second { day: 20_513, vendor: 3, compared: 390, differ: 2, open: 1.5, close: 2.5 };
    golden("seconds.v1", &SecondPage { days: vec![second] });
    let action = ActionDay { day: 20_513, split: 4.0, cash: 0.5, other: 0 };
    golden("actions.v1", &ActionPage { days: vec![action] });
    let demotion = Demotion { from: 20_000, to: i32::MAX, until: 1_772_400_000, step: 2, why: "403".into() };
    golden("demotions.v2", &Demotions { windows: vec![demotion] });
    golden(
        "standing.v1",
        &Standing { asks: 10, good: 9, quality_ppm: 900_000, latency_ms: 120, updated_at: 1_772_400_000 },
    );
    golden("vendor_state.v1", &VendorState { paused: true, by: "uid 1000".into(), at: 1_772_400_000 });
    golden(
        "lease.v1",
        &Lease {
            vendor: 2,
            dataset: 1,
            symbol: "AAPL".into(),
            from: 1,
            to: 2,
            fence: 3,
            holder: 4,
            boot_id: "boot".into(),
            deadline_ms: 5,
            claimed_at: 6,
        },
    );
    golden(
        "budget.v2",
        &BudgetRecord {
            day: 20_513,
            today: 7,
            total: 8,
            boot_id: "boot".into(),
            recent: vec![Spent { second: 9, requests: 10 }],
            closed_until: 11,
            slowed_ppm: 300_000,
        },
    );
    golden(
        "run.v1",
        &RunRecord {
            as_of: 20_513,
            started_at: 1,
            finished_at: 2,
            stages: vec![StageRecord { stage: 1, millis: 3, counters: "{}".into() }],
            export_id: "20260301T230000Z_datanode_full".into(),
            error: String::new(),
            attempts: 1,
            window: [0, 0],
            only: vec![1, 2],
        },
    );
    golden(
        "curated.v1",
        &CuratedFile { sha256: [1; 32], bytes: 2, rows: 3, from: 4, to: 5, superseded: 6, conflicts: 7, updated_at: 8 },
    );
    golden(
        "pack.v1",
        &PackRecord {
            as_of: 1,
            created_at: 2,
            manifest_sha256: [3; 32],
            content: [4; 32],
            files: 5,
            bytes: 6,
            rows: 7,
            pack_uid: "00".into(),
            root: [8; 32],
            removed_at: 9,
        },
    );
    golden("sealing.v1", &SealingRecord { export_id: "x".into(), generation: 0, done: 1 });
    golden("chunk.v1", &ChunkRecord { pack_uid: "00".into(), index: 1, bytes: 2 });
    let mut sessions = [0; 12];
    sessions[0] = 0b1110;
    let hours =
        vec![CalendarHours { from: 2, open: 870, close: 1_260 }, CalendarHours { from: 3, open: 870, close: 1_080 }];
    golden("calendar_year.v1", &CalendarYear { sessions, hours });
    golden(
        "hold.v1",
        &HoldRecord {
            from: 20_513,
            to: i32::MAX,
            holds: true,
            lets: 0b1_0000,
            at: 1_772_400_000,
            by: "uid 1000".into(),
            why: "x".into(),
        },
    );
    golden(
        "incident.v1",
        &Incident {
            kind: 1,
            label: 2,
            artifact: "equities_bars/AAPL".into(),
            note: "n".into(),
            replacement: "r".into(),
            evidence: "e".into(),
            opened_at: 1,
            opened_by: "node".into(),
            closed_at: 2,
            closed_by: "uid 0".into(),
            closed_why: "w".into(),
        },
    );
    golden("anchor.v1", &AnchorRecord { index: 41, at: 1_772_400_000 });
    let told = Told { kind: "pack_late".into(), summary: "s".into(), since: 1, at: 2, times: 3 };
    golden("told.v1", &told);
    golden("log_head.v1", &LogHead { size: 42, root: [9; 32], at: 1_772_400_000 });
    let scrub = ScrubRecord { cursor: "ab".into(), began_at: 1, ended_at: 2, read_at: 3, objects: 4, bytes: 5, bad: 6 };
    golden("scrub.v1", &scrub);
    golden("pin.v1", &Pin { at: 1_772_400_000, by: "uid 1000".into(), note: "the paper cites it".into() });
    golden(
        "offloaded.v1",
        &Offloaded {
            bytes: 1,
            sha256: [2; 32],
            remote: "gdrive:datanode".into(),
            how: "sha256".into(),
            verified_at: 1_772_400_000,
            removed_at: 1_772_400_001,
        },
    );
    golden("shipment.v1", &Shipment { files: 1, bytes: 2, finished_at: 3 });
    golden("receipt.v1", &Receipt { sum: [4; 32], bytes: 5, e_tag: "6".repeat(32), at: 7 });
    let note = "it overwrote an object that was to be created".to_owned();
    let (url, id) = ("s3://packs/home".to_owned(), "9".repeat(32));
    golden("probe.v1", &Probe { url, create: 2, checksum: 1, read_back: 1, note, at: 8, id });
    golden(
        "backup.v1",
        &BackupRecord {
            generation: "backup_20260302T230000Z".into(),
            at: 1_772_400_000,
            commit: 41,
            bytes: 42,
            fingerprint: "7".repeat(64),
            others: 1,
            failed_at: 1_772_400_001,
            error: "x".into(),
        },
    );
}
