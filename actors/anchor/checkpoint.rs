//! Checkpoints (c2sp.org/tlog-checkpoint): the log's name, its size and its root, signed.

use super::tiles::MAX_SIZE;
use super::{AnchorError, verify_note};
use tlog_tiles::Hash;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries.
    pub size: u64,
    /// Root of the log's tree.
    pub root: [u8; 32],
}

impl Head {
    /// The text that is signed.
    pub(super) fn text(&self, origin: &str) -> String {
        format!("{origin}\n{}\n{}\n", self.size, Hash(self.root))
    }

    /// From the text of a note, and the log's name. Lines after the third are allowed (extensions), and not looked at.
    pub(super) fn parse(text: &str) -> Option<(&str, Self)> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let head = Self { size: size.parse().ok()?, root: Hash::parse_hash(root).ok()?.0 };
        let one_way = text.starts_with(&head.text(origin)) && !origin.is_empty() && head.size <= MAX_SIZE;
        one_way.then_some((origin, head))
    }

    /// Of a signed checkpoint of the log whose public key this is.
    ///
    /// # Errors
    /// It is none, another log's, or does not verify.
    pub fn verify(what: &str, note: &[u8], public: &str) -> Result<Self, AnchorError> {
        let text = verify_note(what, note, public)?;
        let name = public.trim().split('+').next().unwrap_or_default();
        match Self::parse(&text) {
            Some((origin, head)) if origin == name => Ok(head),
            _ => Err(AnchorError::integrity(what, "is signed, and no checkpoint of that log; fetch it again")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchor::LogKey;

    #[test]
    fn a_checkpoint_is_read_in_one_spelling_only_and_only_of_its_own_log() {
        let key = LogKey::generate("host/log").unwrap();
        let head = Head { size: 41, root: [7; 32] };
        let text = head.text("host/log");
        assert_eq!(Head::verify("c", &key.sign(&text).unwrap(), key.public()).unwrap(), head);
        let root = Hash([7; 32]);
        for other in [
            head.text("host/other"),
            format!("host/log\n+41\n{root}\n"),
            format!("host/log\n041\n{root}\n"),
            format!("host/log\n41\n{root}"),
            format!("host/log\n2000000000000\n{root}\n"),
            "host/log\n41\nAAAA\n".to_owned(),
            "datanode-beacon/v1\n".to_owned(),
        ] {
            if let Ok(note) = key.sign(&other) {
                assert!(Head::verify("c", &note, key.public()).is_err(), "{other:?}");
            }
        }
        let longer = key.sign(&format!("{text}extension\n")).unwrap();
        assert_eq!(Head::verify("c", &longer, key.public()).unwrap(), head);
    }
}
