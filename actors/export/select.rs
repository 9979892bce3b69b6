//! Some files of a pack: a dataset, a session, a path.

use super::{PackFile, PackManifest};
use chrono::NaiveDate;
use std::collections::BTreeSet;

/// Which files are meant; what is not said is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Files of this dataset (`qc`: the verdicts).
    pub dataset: Option<String>,
    /// Files whose window has this session. A file holds all symbols of its day or month.
    pub date: Option<NaiveDate>,
    /// This file.
    pub file: Option<String>,
}

/// Nothing, or nothing here, is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unselected {
    /// No file is.
    #[error("no file of {export_id} is meant: it has {has}")]
    Nothing {
        /// The pack.
        export_id: String,
        /// What could be meant.
        has: String,
    },
    /// Every one of them lies in an earlier pack.
    #[error("what is meant of {export_id} lies in earlier packs: open {} with --id", holders.join(", "))]
    Elsewhere {
        /// The pack.
        export_id: String,
        /// Where.
        holders: Vec<String>,
    },
}

/// What is meant of a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Paths of files that the pack itself holds.
    pub paths: BTreeSet<String>,
    /// Earlier packs that hold further ones.
    pub elsewhere: BTreeSet<String>,
}

impl Selection {
    /// Whether every file is meant.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// What is meant of this pack.
    ///
    /// # Errors
    /// Nothing, or nothing that the pack itself holds.
    pub fn of(&self, m: &PackManifest) -> Result<Selected, Unselected> {
        let mut selected = Selected::default();
        for f in m.files.iter().filter(|f| self.means(f)) {
            match &f.held_by {
                None => selected.paths.insert(f.path.clone()),
                Some(holder) => selected.elsewhere.insert(holder.clone()),
            };
        }
        let export_id = m.export_id.clone();
        match (selected.paths.is_empty(), selected.elsewhere.is_empty()) {
            (false, _) => Ok(selected),
            (true, false) => {
                Err(Unselected::Elsewhere { export_id, holders: selected.elsewhere.into_iter().collect() })
            }
            (true, true) => {
                let datasets: BTreeSet<&str> = m.files.iter().map(|f| f.dataset.as_str()).collect();
                let names = datasets.into_iter().collect::<Vec<_>>().join(", ");
                let has = format!("{names}, from {} to {}", m.time_window.start, m.time_window.end);
                Err(Unselected::Nothing { export_id, has })
            }
        }
    }

    fn means(&self, f: &PackFile) -> bool {
        self.dataset.as_ref().is_none_or(|d| *d == f.dataset)
            && self.date.is_none_or(|d| f.window.start <= d && d <= f.window.end)
            && self.file.as_ref().is_none_or(|p| *p == f.path)
    }
}
