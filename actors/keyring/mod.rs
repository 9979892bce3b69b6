//! The node's keys as files, and what is done with them. The files are the truth: whoever is about to seal reads them again, under the
//! vault's lock, so that a process that has run since before a rotation never seals to a key that is no longer the node's.
//!
//! ```text
//! keys/node.key                       the node's identity; every stanza is wrapped to it
//!      node.key.next                  the one that a rotation has made and not taken into use
//!      node.key.rotation              a rotation is under way; doing it again ends it
//!      node.key.<date>-retired        an identity of before; it still opens what it opened, until it is removed
//!      recipients                     who else may open what is sealed: age1… # name
//!      passphrases.json               the recipients that a passphrase opens
//!      withheld                       recipient and sealing, a pair a line: what was sealed before a recipient was named for the future only
//! ```
//!
//! Knows files and the vault; no cipher (those are in `seal`), no store, no clock.

mod lists;
mod rewrap;
mod rotate;
mod shred;

pub use lists::{Named, New, add, remove};
pub use rewrap::{Rewrapped, rewrap_all};
pub use rotate::{Rotation, is_under_way, rotate};
pub use shred::{Borrower, ShredPlan, erase, plan_shred, shred};

use crate::seal::{Identity, PackKey, PackUid, PassphraseRecord, Recipient, SealError, Unwraps, unwrap, wrap};
use crate::vault::Vault;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the node's keys are.
#[derive(Clone)]
pub struct Keys {
    source: Source,
    configured: Vec<Recipient>,
}

#[derive(Clone)]
enum Source {
    /// A key file, and the files beside it.
    File(PathBuf),
    /// One identity and nothing else.
    Held(Box<Identity>),
}

/// What the files said when they were read.
pub struct Ring {
    own: Identity,
    retired: Vec<(PathBuf, Identity)>,
    configured: Vec<Recipient>,
    named: Vec<Named>,
    passphrases: Vec<PassphraseRecord>,
    withheld: BTreeSet<(String, PackUid)>,
}

impl Keys {
    /// A key file with the lists beside it, and the recipients that the settings name.
    pub fn of_file(path: &Path, configured: Vec<Recipient>) -> Self {
        // A rename must take the place of the file, not of a link to it.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Self { source: Source::File(path), configured }
    }

    /// One identity, which nothing changes.
    pub fn held(identity: Identity) -> Self {
        Self { source: Source::Held(Box::new(identity)), configured: Vec::new() }
    }

    /// The key file.
    ///
    /// # Errors
    /// There is none.
    pub fn file(&self) -> Result<&Path, SealError> {
        match &self.source {
            Source::File(path) => Ok(path),
            Source::Held(_) => Err(SealError::contract("keys", "are held in memory alone; name a key file")),
        }
    }

    /// Reads the files as they are now.
    ///
    /// # Errors
    /// The identity or a list cannot be read, or is open to others. A retired identity that cannot be read is passed over, loudly.
    pub fn read(&self) -> Result<Ring, SealError> {
        let file = match &self.source {
            Source::Held(own) => {
                let own = own.as_ref().clone();
                return Ok(Ring {
                    own,
                    retired: Vec::new(),
                    configured: self.configured.clone(),
                    named: Vec::new(),
                    passphrases: Vec::new(),
                    withheld: BTreeSet::new(),
                });
            }
            Source::File(file) => file,
        };
        let mut retired = Vec::new();
        for path in rotate::retired_files(file)? {
            match Identity::read(&path) {
                Ok(identity) => retired.push((path, identity)),
                Err(error) => tracing::error!(%error, "a retired key is passed over"),
            }
        }
        Ok(Ring {
            own: Identity::read(file)?,
            retired,
            configured: self.configured.clone(),
            named: lists::read_named(file)?,
            passphrases: lists::read_passphrases(file)?,
            withheld: lists::read_withheld(file)?,
        })
    }

    /// Makes the key of a sealing and its stanza durable, before the first chunk; on a second call for the same uid gives the same key
    /// again, so that a sealing that was killed goes on byte for byte.
    ///
    /// # Errors
    /// The keys cannot be read, or none of them unwraps a stanza that is there.
    pub fn prepare(&self, vault: &Vault, uid: PackUid) -> Result<PackKey, SealError> {
        let _guard = vault.lock_shared()?;
        // Under the lock: a rotation is wholly before it or wholly after.
        let ring = self.read()?;
        let (key, stanza) = match vault.stanza(&uid)? {
            Some(stanza) => (ring.unwrap_stanza(vault, &uid, &stanza)?, stanza),
            // Another key than that of its chunks would open nothing, and look right.
            None if vault.shredded(&uid)?.is_some() || vault.descriptor_path(&uid).exists() => {
                let what = format!("stanza of sealing {}", hex::encode(uid));
                let why = "is gone, and the sealing is complete; `datanode vault repair` looks for a copy";
                return Err(SealError::integrity(what, why));
            }
            None => {
                let key = PackKey::generate()?;
                vault.put_passphrases(&uid, &ring.passphrases_of(&uid))?;
                let stanza = wrap(&key, &ring.recipients_of(&uid)?)?;
                (key, stanza)
            }
        };
        // Also where the stanza was there: its checksum may be what the kill prevented.
        vault.put_stanza(&uid, &stanza)?;
        Ok(key)
    }
}

impl Ring {
    /// The node's identity.
    pub fn own(&self) -> &Identity {
        &self.own
    }

    /// Identities of before that are still there, the newest first.
    pub fn retired(&self) -> impl Iterator<Item = (&Path, Recipient)> {
        self.retired.iter().map(|(path, identity)| (path.as_path(), identity.to_public()))
    }

    /// The recipients of the settings.
    pub fn configured(&self) -> &[Recipient] {
        &self.configured
    }

    /// The recipients of the list.
    pub fn named(&self) -> &[Named] {
        &self.named
    }

    /// The recipients that a passphrase opens.
    pub fn passphrases(&self) -> &[PassphraseRecord] {
        &self.passphrases
    }

    /// Who may open backups, which hold the node's keys: the node's own, those of the settings, those of the list from whom no sealing is
    /// withheld; and the records of passphrases of which the same holds.
    ///
    /// # Errors
    /// A record names no recipient.
    pub fn recipients_of_all(&self) -> Result<(Vec<Recipient>, Vec<PassphraseRecord>), SealError> {
        let withheld: BTreeSet<&str> = self.withheld.iter().map(|(recipient, _)| recipient.as_str()).collect();
        let mut all = vec![self.own.to_public()];
        all.extend(self.configured.iter().cloned());
        all.extend(
            self.named
                .iter()
                .filter(|n| !withheld.contains(n.recipient.to_string().as_str()))
                .map(|n| n.recipient.clone()),
        );
        let records: Vec<_> =
            self.passphrases.iter().filter(|record| !withheld.contains(record.recipient.as_str())).cloned().collect();
        for record in &records {
            all.push(record.recipient()?);
        }
        let mut met = BTreeSet::new();
        all.retain(|recipient| met.insert(recipient.to_string()));
        Ok((all, records))
    }

    /// All identities of the node, its own first.
    pub fn identities(&self) -> Vec<Identity> {
        std::iter::once(&self.own).chain(self.retired.iter().map(|(_, identity)| identity)).cloned().collect()
    }

    /// Who may open this sealing: the node's own first, each once.
    ///
    /// # Errors
    /// A record names no recipient.
    pub fn recipients_of(&self, uid: &PackUid) -> Result<Vec<Recipient>, SealError> {
        let mut all = vec![self.own.to_public()];
        all.extend(self.configured.iter().cloned());
        all.extend(self.named.iter().filter(|n| self.may(&n.recipient.to_string(), uid)).map(|n| n.recipient.clone()));
        for record in self.passphrases_of(uid) {
            all.push(record.recipient()?);
        }
        let mut met = BTreeSet::new();
        all.retain(|recipient| met.insert(recipient.to_string()));
        Ok(all)
    }

    /// The records of those passphrases that may open this sealing.
    pub fn passphrases_of(&self, uid: &PackUid) -> Vec<PassphraseRecord> {
        self.passphrases.iter().filter(|record| self.may(&record.recipient, uid)).cloned().collect()
    }

    fn may(&self, recipient: &str, uid: &PackUid) -> bool {
        !self.withheld.contains(&(recipient.to_owned(), *uid))
    }
}

impl Unwraps for Ring {
    fn unwrap_stanza(&self, _: &Vault, _: &PackUid, stanza: &[u8]) -> Result<PackKey, SealError> {
        let first = match unwrap(stanza, &self.own) {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        self.retired.iter().find_map(|(_, identity)| unwrap(stanza, identity).ok()).ok_or(first)
    }
}
