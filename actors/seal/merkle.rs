//! The pack's Merkle root: RFC 9162 §2.1.1 (0x00 before a leaf, 0x01 before a node) with BLAKE3 for SHA-256.
//!
//! Leaf input is the 32-byte BLAKE3 of an object; the order is data, sealed manifest, parity. The descriptor binds the
//! leaf count, so that a root cannot be passed off as that of a smaller tree.

/// Root over object hashes in order. Of no leaves: BLAKE3 of nothing.
///
/// Complete subtrees wait on a stack, sizes falling: the binary digits of the count so far. Folding them from the
/// right at the end is the RFC's split at the largest power of two.
pub fn root(leaves: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut complete: Vec<[u8; 32]> = Vec::new();
    for (count, input) in (0u64..).zip(leaves) {
        let mut right = leaf(&input);
        for _ in 0..count.trailing_ones() {
            let Some(left) = complete.pop() else { break };
            right = node(&left, &right);
        }
        complete.push(right);
    }
    let folded = complete.into_iter().rev().reduce(|right, left| node(&left, &right));
    folded.unwrap_or_else(|| *blake3::hash(b"").as_bytes())
}

fn leaf(input: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new().update(&[0]).update(input).finalize().as_bytes()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    *blake3::Hasher::new().update(&[1]).update(left).update(right).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162 §2.1.1 word for word: split at the largest power of two below n.
    fn by_the_book(leaves: &[[u8; 32]]) -> [u8; 32] {
        match leaves {
            [] => *blake3::hash(b"").as_bytes(),
            [one] => *blake3::hash(&[&[0u8][..], one].concat()).as_bytes(),
            many => {
                let split = many.len().next_power_of_two() / 2;
                let (left, right) = (by_the_book(&many[..split]), by_the_book(&many[split..]));
                *blake3::hash(&[&[1u8][..], &left, &right].concat()).as_bytes()
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_rfc_for_every_small_count() {
        let leaves: Vec<[u8; 32]> = (0..70u8).map(|i| *blake3::hash(&[i]).as_bytes()).collect();
        for count in 0..leaves.len() {
            assert_eq!(root(leaves[..count].iter().copied()), by_the_book(&leaves[..count]), "{count} leaves");
        }
    }

    #[test]
    fn inner_nodes_cannot_stand_in_for_leaves() {
        let leaves: Vec<[u8; 32]> = (0..4u8).map(|i| *blake3::hash(&[i]).as_bytes()).collect();
        let inner = [by_the_book(&leaves[..2]), by_the_book(&leaves[2..])];
        assert_ne!(root(leaves), root(inner));
    }
}
