//! Quarantine: what people, and the node in their place, say of partitions and packs. Holds, releases, incidents.
//!
//! | file | owns |
//! |---|---|
//! | `artifact` | what an incident may be about, and its one spelling |
//! | `manual` | what is said by hand makes of a verdict (pure): [`Manual::apply`] |
//! | `acts`, `enter` | doing an act: its line in the event file first, then the store, then the ledger |
//! | `seen` | the minimum bad-data list, which the node reports by itself |
//! | `pins` | packs that stay whatever retention says |
//! | `text` | lines of text, checked or cut |
//!
//! It must not know how verdicts are found, nor rewrite data: raw files stay whatever is said of them.
//!
//! # What the node reports by itself
//!
//! Each is open once for a kind and an artifact. A label on partitions makes them RED (`invalid`) or AMBER (`deprecated`); all other
//! artifacts are only recorded and shown, since what is wrong with them was not taken, was repaired, or is not a partition's.
//!
//! | kind | seen | artifact | label | closed |
//! |---|---|---|---|---|
//! | `unexpected_schema` | an answer that does not parse, or rows of it that cannot be (`raw`) | `answers/VENDOR/DATASET` | deprecated: nothing of it was taken | by a person |
//! | `unexpected_schema` | a raw or curated file that is not its table (`raw`, `qc`) | the file | deprecated: it was set aside, or is rebuilt | by a person |
//! | `wrong_mapping` | a book of a token that its market does not list, a market whose lists do not belong together (`books`) | `answers/polymarket/prediction_books` | deprecated: it was not taken | by a person |
//! | `wrong_mapping` | a market's tokens stand for other outcomes than before (`books`) | `prediction_books/MARKET/DAY..` | **invalid**: which side a row is of is not known | by a person |
//! | `misread_timestamps` | the check of that name (`qc`) | the partitions | **invalid** | by the node, once they are judged without it |
//! | `rate_limit_gaps` | [`seen::LARGE_GAP`] sessions open after a night with 429s (`schedule`) | `gaps/DATASET` | deprecated: absent is absent | by the node, once fewer are open |
//! | `gzip_not_closed` | a file of books that ends inside of a member (`books`) | the file | deprecated: its whole books were kept | by a person |
//! | `checksum_mismatch` | an upload that is not what was sent (`ship`) | the pack | deprecated: the pack itself is whole | by the node, once it has arrived |
//! | `storage_rot` | a file of the vault that is not what was written, or is gone (`vault`) | `vault/PACK_UID` | deprecated: the pack itself may be whole | by the node, once it is repaired |
//! | `wrong_key`, `failed_authentication` | intact objects that the key does not open, or that do not authenticate (`vault`) | `vault/PACK_UID` | **invalid** | by the node, once nothing of it is found any more |
//! | `replica_behind` | the second copy was not reached for days (`vault`) | `vault/replica` | deprecated | by the node, once it is |

mod acts;
mod artifact;
mod enter;
mod error;
mod manual;
mod pins;
pub mod seen;
pub mod text;

pub use acts::{Acts, Done, NODE, Opening, Span};
pub use artifact::Artifact;
pub use error::QuarantineError;
pub use manual::{Manual, Quarantine, Release, reenter, weigh_release};

use datanode_schema::acts::{BadEvents, read_all};
use datanode_schema::names::Act;
use datanode_schema::paths::DataDir;
use datanode_schema::records::Incident;
use std::collections::BTreeMap;

/// The incidents that the event files tell of, by number: for those who have the files and not the state.
///
/// # Errors
/// [`BadEvents`].
pub fn incidents_of_files(data: &DataDir) -> Result<BTreeMap<u64, Incident>, BadEvents> {
    let mut out = BTreeMap::new();
    for line in read_all(data)? {
        match line.act {
            Act::IncidentOpen => {
                out.insert(line.id, enter::incident_of(&line));
            }
            Act::IncidentClose => {
                if let Some(i) = line.incident.and_then(|id| out.get_mut(&id)) {
                    i.closed_at = line.unix().max(1);
                    (i.closed_by, i.closed_why) = (line.by, line.why);
                }
            }
            Act::Hold | Act::Release | Act::Pin | Act::Unpin => {}
        }
    }
    Ok(out)
}
