//! Pins: a pack that somebody refers to stays, here and wherever it was brought, until it is unpinned.

use super::acts::{Acts, Done};
use super::{QuarantineError, text};
use datanode_schema::acts::Line;
use datanode_schema::names::Act;
use datanode_schema::trees::{PACKS, PINS};

impl Acts {
    /// Pins a pack; a second pin replaces the note of the first.
    ///
    /// # Errors
    /// [`QuarantineError::NotFound`] where there is no such pack.
    pub fn pin(&self, export_id: &str, by: &str, note: &str) -> Result<Done, QuarantineError> {
        let note = text::line("note", note)?;
        if self.store.load(&PACKS, &export_id.to_owned())?.is_none() {
            return Err(QuarantineError::NotFound(format!(
                "there is no pack {export_id:?}; `datanode retention plan` names those that stand"
            )));
        }
        self.pinning(Act::Pin, export_id, by, &note)
    }

    /// Ends a pin: the rules hold for the pack again.
    ///
    /// # Errors
    /// [`QuarantineError::NotFound`] where the pack is not pinned.
    pub fn unpin(&self, export_id: &str, by: &str, why: &str) -> Result<Done, QuarantineError> {
        let why = text::line("why", why)?;
        if self.store.load(&PINS, &export_id.to_owned())?.is_none() {
            return Err(QuarantineError::NotFound(format!(
                "{export_id:?} is not pinned; `datanode retention plan` shows the pins"
            )));
        }
        self.pinning(Act::Unpin, export_id, by, &why)
    }

    fn pinning(&self, act: Act, export_id: &str, by: &str, why: &str) -> Result<Done, QuarantineError> {
        let _turn = self.still();
        let mut line = Line::new(self.now(), by, act, why);
        line.artifact = Some(export_id.to_owned());
        self.act(line)
    }
}
