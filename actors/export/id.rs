//! The name of a pack: `YYYYMMDDTHHMMSSZ_<source>_<scope>`.

use crate::publishing::ExportScope;
use chrono::{NaiveDateTime, Timelike};
use std::fmt;

/// An export id, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExportId {
    /// When its run began, UTC. Ids sort by it.
    pub created: NaiveDateTime,
    /// The node's source name: lower-case letters, digits and `-`.
    pub source: String,
    /// Whether it builds on others.
    pub is_delta: bool,
}

impl ExportId {
    /// Of a text; None where it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let (stamp, source, scope) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || stamp.len() != 16 || !stamp.is_ascii() || source.is_empty() || source.len() > 100 {
            return None;
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !source.bytes().all(plain) {
            return None;
        }
        let is_delta = match scope {
            s if s == ExportScope::Full.name() => false,
            s if s == ExportScope::Delta.name() => true,
            _ => return None,
        };
        let created = NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%M%SZ").ok()?;
        // Signs, blanks and leap seconds, which the parser takes, do not come back the same.
        if created.format("%Y%m%dT%H%M%SZ").to_string() != stamp || created.nanosecond() >= 1_000_000_000 {
            return None;
        }
        Some(Self { created, source: source.to_owned(), is_delta })
    }
}

impl fmt::Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = if self.is_delta { ExportScope::Delta } else { ExportScope::Full };
        write!(f, "{}_{}_{}", self.created.format("%Y%m%dT%H%M%SZ"), self.source, scope.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_id_has_its_form() {
        let id = ExportId::parse("20260302T230000Z_home-1_delta").unwrap();
        assert_eq!(id.to_string(), "20260302T230000Z_home-1_delta");
        assert_eq!((id.source.as_str(), id.is_delta), ("home-1", true));
        for bad in [
            "20260302T230000Z_home_all",
            "2026-03-02_home_full",
            "20260302T230000Z__full",
            "20260302T230000Z_../x_full",
            "20260302T230000Z_home_full_full",
            "20261302T230000Z_home_full",
            "20260302T230000Z_Home_full",
            "20260302T235960Z_home_full",
            "+2026032T230000Z_home_full",
        ] {
            assert_eq!(ExportId::parse(bad), None, "{bad}");
        }
    }
}
