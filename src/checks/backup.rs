//! Whether what is lost with this machine is somewhere else.

use super::Level;
use crate::backing::access;
use crate::config::Settings;
use crate::wiring::{key_file, keys_of};
use datanode_actors::backup::{Place, generations};
use datanode_schema::clock::{Clock, rfc3339};

/// Whether somebody besides this machine can open what it sealed.
pub(super) fn key_elsewhere(s: &Settings) -> (Level, String) {
    if !key_file(s).exists() {
        return (Level::Ok, "no key yet".to_owned());
    }
    let others = keys_of(s)
        .ok()
        .and_then(|k| k.read().ok()?.recipients_of_all().ok())
        .map(|(all, _)| all.len().saturating_sub(1));
    match others {
        None => (Level::Warning, "the keys cannot be read; see `datanode key list`".to_owned()),
        Some(0) => (
            Level::Warning,
            "only this machine can open what it seals and backs up; keep a copy of the key elsewhere AND name another recipient: \
             `datanode key add-recipient age1… --name N`, or `--passphrase --name N`"
                .to_owned(),
        ),
        Some(n) => (Level::Ok, format!("{n} more can open what this node seals")),
    }
}

/// How old the newest backup is. Asks the place.
pub fn newest(s: &Settings, clock: &Clock) -> (Level, String) {
    let place = match access(s, None) {
        Err(f) => return (Level::Failed, f.message),
        Ok(None) => {
            let text = "none: backup.url is empty; set it to a folder on another disk, or a bucket, and see `datanode backup create`";
            return (Level::Warning, text.to_owned());
        }
        Ok(Some(access)) => access,
    };
    let found = match Place::open(&place).and_then(|p| generations(&p)) {
        Err(e) => return (Level::Failed, format!("{e}; no backup can be made until then")),
        Ok(found) => found,
    };
    let Some(last) = found.iter().rev().find(|g| g.manifest.is_some()) else {
        return (Level::Warning, format!("none at {}; `datanode backup create` makes one", place.url));
    };
    let hours = clock.now().signed_duration_since(last.at).num_hours();
    // A node that has nothing new makes none; a week without any is no rest.
    let late = i64::from(s.backup.every_hours).saturating_mul(3).max(24 * 7);
    let text = format!("{} of {}, {hours} hours ago", last.name, rfc3339(last.at));
    if hours > late {
        (Level::Warning, format!("{text}; see `datanode-admin events`, then `datanode backup create`"))
    } else {
        (Level::Ok, text)
    }
}
