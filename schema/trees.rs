//! The one table of trees.
//!
//! | tree | key | value | what it is for |
//! |---|---|---|---|
//! | bookmarks | dataset, symbol, vendor | windows answered | ingest asks for what no window covers |
//! | holdings | dataset, symbol, month, vendor | sessions in raw | the audit compares these with the calendar |
//! | gaps | dataset, symbol, month | absent and short sessions | the queue |
//! | leases | lease number | who is at work on what | claims |
//! | budgets | vendor | what was spent | written before a request goes out |
//! | demotions | dataset, symbol, vendor | windows, until when not to ask | entitlement learned from refusals |
//! | touched | dataset, curated file | – | curated files to rebuild |
//! | unjudged | dataset, curated file | – | curated files to judge |
//! | curated | dataset, curated file | sums, rows | what the exporter links |
//! | ledger | dataset, symbol, month | verdicts | the QC ledger |
//! | contexts | hash | JSON | thresholds and calendar behind a verdict |
//! | runs | run id | stages, counters | resuming and history |
//! | packs | export id | sums, sealing | the pack index |
//! | sealings | pack uid | export id | written before the first chunk |
//! | chunks | object hash | sealing, index | a cache of the vault's descriptors |
//! | shipments | destination, export id | receipt | what arrived where |
//! | counters | name | number | fencing and lease numbers |
//! | standings | vendor, dataset | how it has done | quality and latency of the score |
//! | vendor_states | vendor | paused or not | what a person said |
//! | seconds | dataset, symbol, month | a second vendor's view | spot checks, confirmed jumps |
//! | actions | dataset, symbol, month | splits, dividends | what explains a jump |
//! | calendars | purpose, calendar, year | sessions | which days a correction changes |
//! | unrelated | dataset, symbol, month | – | ledger months whose sessions are to be compared with their neighbours again |
//! | suspects | dataset, symbol, month | – | ledger months with a jump that a second vendor could confirm |
//! | holds | dataset, symbol, act | days held or released, by whom, why | what people say of partitions |
//! | retired | dataset, symbol, month | gap pages | the evidence of symbols that left the universe, should they come back |
//! | restating | dataset, raw file | sessions | restatements on their way into a file |
//! | pins | export id | by whom, when, why | packs that stay whatever the rules say |
//! | offloaded | path below the data folder | sum, remote, when verified | what may be removed here, and is no damage where it is gone |
//! | needs | form, export id, export id | – | what packs build on whose local files retention has removed |
//! | receipts | destination, export id, object | sum, e-tag | what need not be sent again, and what the bucket can copy |
//! | probes | destination | what it was seen to do | whether it may be trusted |
//! | anchors | pack uid | index in the log, when | what is not in it yet |
//! | log_heads | public key of the log | size and root | the last checkpoint that was signed: an older log is refused |
//! | generations | pack uid | the pack uid that it replaces | sealings that were made anew |
//! | replicated | path below the vault | sum, e-tag | what the vault's second copy has |
//! | scrub | `vault` | cursor, figures | which objects are read next |
//! | stanzas | destination, pack uid | digest of the stanza's files | which stanzas there are not as they are here |
//! | told | receiver, what | when it was told | alerts are told once, also over restarts |
//! | backups | `last` | what became of the last backup | whether one is due, and how old the last one is |
//! | incidents | act | artifact, label, note, replacement | what is known to be wrong |

use crate::keys::{BookmarkKey, CalendarKey, CapabilityKey, HoldKey, HoldingKey, PageKey, TouchedKey};
use crate::records as r;
use crate::store::{Table, TableDef};

/// See the table above.
pub const BOOKMARKS: Table<BookmarkKey, r::Bookmark> = Table::new("bookmarks", 1, 2);
/// See the table above.
pub const HOLDINGS: Table<HoldingKey, r::Holding> = Table::new("holdings", 2, 2);
/// See the table above.
pub const GAPS: Table<PageKey, r::GapPage> = Table::new("gaps", 3, 3);
/// See the table above.
pub const LEASES: Table<u64, r::Lease> = Table::new("leases", 4, 1);
/// See the table above; the key is the vendor's name.
pub const BUDGETS: Table<String, r::BudgetRecord> = Table::new("budgets", 5, 2);
/// See the table above.
pub const DEMOTIONS: Table<BookmarkKey, r::Demotions> = Table::new("demotions", 6, 2);
/// See the table above; the value is the unix second of the touch.
pub const TOUCHED: Table<TouchedKey, i64> = Table::new("touched", 7, 1);
/// See the table above; the value is the unix second of the rebuild.
pub const UNJUDGED: Table<TouchedKey, i64> = Table::new("unjudged", 8, 1);
/// See the table above.
pub const CURATED: Table<TouchedKey, r::CuratedFile> = Table::new("curated", 9, 1);
/// See the table above.
pub const LEDGER: Table<PageKey, r::LedgerPage> = Table::new("ledger", 10, 2);
/// See the table above; the key is the first 8 bytes of the JSON's BLAKE3.
pub const CONTEXTS: Table<u64, String> = Table::new("contexts", 11, 1);
/// See the table above.
pub const RUNS: Table<String, r::RunRecord> = Table::new("runs", 12, 1);
/// See the table above.
pub const PACKS: Table<String, r::PackRecord> = Table::new("packs", 13, 1);
/// See the table above; the key is the hex of the pack uid.
pub const SEALINGS: Table<String, r::SealingRecord> = Table::new("sealings", 14, 1);
/// See the table above; the key is the hex of the object's BLAKE3.
pub const CHUNKS: Table<String, r::ChunkRecord> = Table::new("chunks", 15, 1);
/// See the table above; the key is `destination/plain|sealed/export_id`.
pub const SHIPMENTS: Table<String, r::Shipment> = Table::new("shipments", 16, 1);
/// See the table above.
pub const COUNTERS: Table<String, u64> = Table::new("counters", 17, 1);
/// See the table above.
pub const STANDINGS: Table<CapabilityKey, r::Standing> = Table::new("standings", 18, 1);
/// See the table above; the key is the vendor's name.
pub const VENDOR_STATES: Table<String, r::VendorState> = Table::new("vendor_states", 19, 1);
/// See the table above.
pub const SECONDS: Table<PageKey, r::SecondPage> = Table::new("seconds", 20, 1);
/// See the table above; the dataset of the key is `corporate_actions`.
pub const ACTIONS: Table<PageKey, r::ActionPage> = Table::new("actions", 21, 1);
/// See the table above.
pub const CALENDARS: Table<CalendarKey, r::CalendarYear> = Table::new("calendars", 22, 1);
/// See the table above; the value is the unix second of the change.
pub const UNRELATED: Table<PageKey, i64> = Table::new("unrelated", 25, 1);
/// See the table above; the value is the unix second since which it is one.
pub const SUSPECTS: Table<PageKey, i64> = Table::new("suspects", 26, 1);
/// See the table above.
pub const HOLDS: Table<HoldKey, r::HoldRecord> = Table::new("holds", 23, 1);
/// See the table above; the key is the number of the act that opened it.
pub const INCIDENTS: Table<u64, r::Incident> = Table::new("incidents", 24, 1);

/// See the table above.
pub const RETIRED: Table<PageKey, r::GapPage> = Table::new("retired", 27, 1);

/// See the table above; the path is that of the raw file, the value day numbers with commas between them.
pub const RESTATING: Table<TouchedKey, String> = Table::new("restating", 28, 1);

/// See the table above.
pub const PINS: Table<String, r::Pin> = Table::new("pins", 31, 1);
/// See the table above.
pub const OFFLOADED: Table<String, r::Offloaded> = Table::new("offloaded", 32, 1);
/// See the table above; the key is `<plain|sealed>/<export id>/<the one that it builds on>`, the last part empty in one record of each
/// pack whose needs are all known; the value is the unix second at which they were noted.
pub const NEEDS: Table<String, i64> = Table::new("needs", 33, 1);
/// See the table above; the key is `destination/export_id/path`, the path below the pack or the sealing.
pub const RECEIPTS: Table<String, r::Receipt> = Table::new("receipts", 29, 1);

/// See the table above; the key is the destination's name.
pub const PROBES: Table<String, r::Probe> = Table::new("probes", 30, 1);

/// See the table above; the key is the hex of the pack uid.
pub const ANCHORS: Table<String, r::AnchorRecord> = Table::new("anchors", 34, 1);
/// See the table above; key and value are hex.
pub const GENERATIONS: Table<String, String> = Table::new("generations", 35, 1);
/// See the table above; the key is `destination/pack uid`.
pub const STANZAS: Table<String, String> = Table::new("stanzas", 39, 1);

/// See the table above; the key is the log's public key.
pub const LOG_HEADS: Table<String, r::LogHead> = Table::new("log_heads", 41, 1);
/// See the table above; besides paths the keys of `actors/vault/replica.rs`.
pub const REPLICATED: Table<String, r::Receipt> = Table::new("replicated", 36, 1);
/// See the table above.
pub const SCRUB: Table<String, r::ScrubRecord> = Table::new("scrub", 37, 1);

/// See the table above; the key is `webhook|ntfy|dead_man/key of the alert`.
pub const TOLD: Table<String, r::Told> = Table::new("told", 42, 1);
/// See the table above.
pub const BACKUPS: Table<String, r::BackupRecord> = Table::new("backups", 43, 1);

/// Every tree, for opening, checking and rebuilding.
pub fn all() -> Vec<TableDef> {
    vec![
        BOOKMARKS.def(),
        HOLDINGS.def(),
        GAPS.def(),
        LEASES.def(),
        BUDGETS.def(),
        DEMOTIONS.def(),
        TOUCHED.def(),
        UNJUDGED.def(),
        CURATED.def(),
        LEDGER.def(),
        CONTEXTS.def(),
        RUNS.def(),
        PACKS.def(),
        SEALINGS.def(),
        CHUNKS.def(),
        SHIPMENTS.def(),
        COUNTERS.def(),
        STANDINGS.def(),
        VENDOR_STATES.def(),
        SECONDS.def(),
        ACTIONS.def(),
        CALENDARS.def(),
        UNRELATED.def(),
        SUSPECTS.def(),
        HOLDS.def(),
        INCIDENTS.def(),
        RETIRED.def(),
        RESTATING.def(),
        PINS.def(),
        OFFLOADED.def(),
        NEEDS.def(),
        RECEIPTS.def(),
        PROBES.def(),
        ANCHORS.def(),
        GENERATIONS.def(),
        REPLICATED.def(),
        SCRUB.def(),
        LOG_HEADS.def(),
        STANZAS.def(),
        TOLD.def(),
        BACKUPS.def(),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_trees_share_a_name_or_a_number() {
        let all = super::all();
        let mut names: Vec<_> = all.iter().map(|t| t.name).collect();
        let mut ids: Vec<_> = all.iter().map(|t| t.id).collect();
        names.sort_unstable();
        names.dedup();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((names.len(), ids.len()), (all.len(), all.len()));
    }
}
