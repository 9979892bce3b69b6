//! The index of the vault in the state, made again from descriptors: it is a cache of them.

use super::global::Global;
use crate::failure::{Done, Failure};
use crate::wiring::{of_store, open_store};
use datanode_actors::vault::{Vault, rebuild_index};

/// Makes it again.
///
/// # Errors
/// 6 while the node runs; 3 where a descriptor cannot be read.
pub(super) fn rebuild(g: &Global, vault: &Vault) -> Done {
    let store = open_store(&g.settings()?)?;
    let made = rebuild_index(&store, vault).map_err(Failure::failed);
    store.close().map_err(of_store)?;
    let made = made?;
    eprintln!(
        "index: {} sealings, {} objects; {} entries were not of this vault",
        made.sealings, made.objects, made.gone
    );
    Ok(())
}
