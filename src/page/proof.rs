//! The proof of a sealing, verified by the browser that looks at it: here are its parts, `proof.js` has the steps.

use super::{Refusal, Site};
use datanode_actors::anchor::{Log, MAX_PROOF};
use datanode_actors::seal::PackUid;
use datanode_actors::vault::Vault;
use datanode_schema::clock::rfc3339_of;
use datanode_schema::records::AnchorRecord;
use maud::{Markup, html};
use std::io::Read;

/// The steps, in the order of `proof.js`.
const STEPS: [(&str, &str); 7] = [
    ("descriptor", "The descriptor is of this sealing, and has its root"),
    ("entry", "Its line in the log"),
    ("leaf", "Leaf hash: SHA-256 of a zero byte and the line"),
    ("path", "Hashes on the way to the root"),
    ("root", "They meet in the root of the checkpoint"),
    ("name", "The checkpoint is of the log that the key belongs to"),
    ("signature", "The checkpoint is signed with the key (Ed25519)"),
];

/// A part of a sealing's proof: `descriptor` or `proof`.
pub(super) fn file(site: &Site, uid: &str, what: &str) -> Result<Vec<u8>, Refusal> {
    let none = || Refusal::Nothing("there is no such sealing, or it is not anchored yet".to_owned());
    let node = &site.ctx.desk.node;
    let mut id = PackUid::default();
    if hex::decode_to_slice(uid, &mut id).is_err() || hex::encode(id) != uid {
        return Err(none());
    }
    match what {
        "descriptor" => {
            let folder = node.data.vault();
            if !folder.join("descriptors").is_dir() {
                return Err(none());
            }
            match Vault::open(&folder)?.descriptor(&id) {
                Ok(d) => Ok(d.encode()?),
                Err(datanode_actors::seal::SealError::NotFound { .. }) => Err(none()),
                Err(e) => Err(e.into()),
            }
        }
        "proof" => {
            let path = Log::at(node.data.anchors()).proof_path(&id);
            let file = std::fs::File::open(&path).map_err(|_| none())?;
            let mut bytes = Vec::new();
            let read = file.take(MAX_PROOF + 1).read_to_end(&mut bytes);
            match read {
                Ok(_) if bytes.len() as u64 <= MAX_PROOF => Ok(bytes),
                Ok(_) => Err(Refusal::Failed(format!("{}: is longer than a proof", path.display()))),
                Err(e) => Err(Refusal::Failed(format!("{}: {e}", path.display()))),
            }
        }
        _ => Err(none()),
    }
}

/// The part of a pack's page that verifies its proof.
pub(super) fn section(site: &Site, uid: &str, root: &str, anchored: Option<&AnchorRecord>) -> Markup {
    let public = site.ctx.desk.node.publishing.anchor.key.public();
    html! {
        h2 { "Proof" }
        @match anchored {
            None if uid.is_empty() => p { "It is not sealed, so there is nothing to prove." },
            None => p { "Its sealing is not in the log yet: the next cycle enters it." },
            Some(a) => {
                p { "Entered into the log as number " (a.index) " on " (rfc3339_of(a.at)) ". Your browser fetches descriptor and proof and computes every step itself." }
                div id="proof" data-uid=(uid) data-root=(root) data-index=(a.index) {
                    p {
                        label for="key" { "The log's public key: put in the one that you trust, if you have it elsewhere" }
                        input id="key" value=(public) spellcheck="false" autocomplete="off";
                    }
                    p {
                        label for="alter" { "Try it with " }
                        select id="alter" {
                            option value="" { "what the node has" }
                            option value="descriptor" { "an altered descriptor" }
                            option value="path" { "an altered path" }
                            option value="checkpoint" { "an altered checkpoint" }
                            option value="signature" { "an altered signature" }
                        }
                        " " button id="verify" type="button" { "Verify" }
                    }
                    noscript { p { "Without JavaScript: " code { "datanode anchor verify" } " does the same, on any machine." } }
                    p id="verdict" role="status" aria-live="polite" {}
                    ol.steps {
                        @for (name, words) in STEPS { li id={ "step-" (name) } { span.mark.off { "not tried" } " " (words) pre {} } }
                    }
                }
                script src="/page/proof.js" defer {}
            },
        }
    }
}
