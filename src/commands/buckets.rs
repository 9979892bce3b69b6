//! The destinations, as `datanode doctor` finds them: each is tried.

use crate::config::Settings;
use crate::wiring::destinations;
use datanode_actors::ship::{lies, probe_destination};
use datanode_schema::clock::Clock;

/// Tries every destination; what is wrong with any of them.
///
/// # Errors
/// In words.
pub fn check(settings: &Settings, clock: &Clock) -> Result<String, String> {
    let all = destinations(settings).map_err(|f| f.message)?;
    if all.is_empty() {
        return Ok("no destination; packs stay on this machine".to_owned());
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for d in &all {
        match probe_destination(d, clock) {
            Err(e) => bad.push(format!("{}: {e}", d.name)),
            Ok(p) => match lies(&p) {
                Some(why) if d.accept_unsafe => good.push(format!("{} is NOT SAFE, and accepted: {why}", d.name)),
                Some(why) => bad.push(format!(
                    "{}: {} does not keep its word: {why}; choose another, or set accept_unsafe_bucket = true",
                    d.name, p.url
                )),
                None if p.note.is_empty() => good.push(format!("{} keeps its word", d.name)),
                None => good.push(format!("{} keeps its word ({})", d.name, p.note)),
            },
        }
    }
    if bad.is_empty() { Ok(good.join("; ")) } else { Err(bad.join("; ")) }
}
