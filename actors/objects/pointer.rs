//! The registry pointer: a small text beside the packs, or in a consumer's repository, that names one pack for ever.
//!
//! Lines `key=value`, in this order: `repo= workflow= run_id= export_bucket= export_prefix= export_id= artifact_hint=`. Values may
//! be empty but for the bucket and the id; they hold no line break. Unknown keys are refused: a pointer decides what is trained on.

use crate::export::ExportId;

/// A pointer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pointer: {0}")]
pub struct BadPointer(pub String);

/// One pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    /// The repository that uses the pack.
    pub repo: String,
    /// Its workflow.
    pub workflow: String,
    /// The workflow's run.
    pub run_id: String,
    /// The bucket's URL, such as `s3://packs`.
    pub export_bucket: String,
    /// What comes before `export_<id>` in its keys, such as `exports/home`.
    pub export_prefix: String,
    /// The pack.
    pub export_id: String,
    /// Where the evidence of the run is, for people.
    pub artifact_hint: String,
}

/// The longest pointer that is read.
pub const MAX_POINTER: u64 = 16 << 10;

impl Pointer {
    fn fields(&mut self) -> [(&'static str, &mut String); 7] {
        [
            ("repo", &mut self.repo),
            ("workflow", &mut self.workflow),
            ("run_id", &mut self.run_id),
            ("export_bucket", &mut self.export_bucket),
            ("export_prefix", &mut self.export_prefix),
            ("export_id", &mut self.export_id),
            ("artifact_hint", &mut self.artifact_hint),
        ]
    }

    /// The text.
    pub fn to_text(&self) -> String {
        let mut copy = self.clone();
        copy.fields().into_iter().map(|(k, v)| format!("{k}={v}\n")).collect()
    }

    /// Parses and checks a text. Blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, BadPointer> {
        let mut out = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for (i, line) in text.lines().enumerate() {
            let at = |why: &str| BadPointer(format!("line {}: {why}", i + 1));
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| at("not key=value"))?;
            if value.contains('\0') || value.len() > 1024 {
                return Err(at("a value with a NUL, or longer than 1024 bytes"));
            }
            let mut fields = out.fields();
            let Some((name, field)) = fields.iter_mut().find(|(name, _)| *name == key) else {
                return Err(at(&format!("unknown key {key:?}")));
            };
            if !seen.insert(*name) {
                return Err(at(&format!("{key} is given twice")));
            }
            **field = value.to_owned();
        }
        if ExportId::parse(&out.export_id).is_none() {
            return Err(BadPointer(format!(
                "export_id={:?} is not YYYYMMDDTHHMMSSZ_<source>_full|delta",
                out.export_id
            )));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_as_it_was_written_and_what_is_no_pointer_is_refused() {
        let p = Pointer {
            export_bucket: "s3://packs".into(),
            export_prefix: "exports/home".into(),
            export_id: "20260302T230000Z_home_full".into(),
            ..Pointer::default()
        };
        assert_eq!(Pointer::parse(&p.to_text()), Ok(p.clone()));
        assert_eq!(Pointer::parse(&format!("# pinned\n\n{}", p.to_text())), Ok(p));
        for bad in
            ["", "export_id=latest\n", "export_id\n", "expot_id=20260302T230000Z_home_full\n", "export_id=../x\n"]
        {
            assert!(Pointer::parse(bad).is_err(), "{bad:?}");
        }
        let twice = "export_id=20260302T230000Z_home_full\nexport_id=20260303T230000Z_home_full\n";
        assert!(Pointer::parse(twice).is_err());
    }
}
