//! Base64 (RFC 4648 section 4) with its padding, and no other form of it.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of some bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    let letter = |six: u32| LETTERS.get((six & 63) as usize).copied().map_or('A', char::from);
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for three in bytes.chunks(3) {
        let held = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for at in 0..4 {
            text.push(if at > three.len() { '=' } else { letter(held >> (18 - 6 * at)) });
        }
    }
    text
}

/// The bytes of a text; None where it is not the text that [`encode`] gives.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bare = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(bare.len() / 4 * 3 + 2);
    for four in bare.chunks(4) {
        let mut held = 0u32;
        for letter in four {
            held = held << 6 | u32::from(value(*letter)?);
        }
        held <<= 6 * (4 - four.len());
        bytes.extend(held.to_be_bytes().into_iter().skip(1).take(four.len() * 6 / 8));
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    #[test]
    fn the_vectors_of_the_rfc_go_both_ways_and_nothing_else_is_taken() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, text) in vectors {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), plain.as_bytes());
        }
        for bad in ["Zg", "Zg=", "Zh==", "Z", "Zm9v=", "====", "Zm 9", "Zm9v\n", "é"] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
    }
}
