//! Pages of a column: how values become bytes, and their statistics. Source: the Parquet format's `Encodings.md`.
//!
//! Prices are written plain, whole numbers as packed differences, texts as a dictionary with runs: for bars this is both
//! the smallest and the quickest of what every reader knows. polars' own writer counts the distinct values of every column
//! to choose, which costs as much as compressing them.

use super::thrift::{varint, zigzag};
use std::collections::HashMap;

/// Differences of one block; a miniblock is a quarter of it.
const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

/// The least and the greatest value in Parquet's plain form; None where there is none.
pub(super) type Range = Option<(Vec<u8>, Vec<u8>)>;

/// Values of one column, nulls left out, and which rows have one (empty: all have).
pub(super) struct Sparse<T> {
    pub(super) values: Vec<T>,
    pub(super) present: Vec<bool>,
}

impl<T> Sparse<T> {
    pub(super) fn new(rows: usize, of: impl Iterator<Item = Option<T>>) -> Self {
        let mut out = Self { values: Vec::with_capacity(rows), present: Vec::new() };
        for (i, v) in of.enumerate() {
            if v.is_none() && out.present.is_empty() {
                out.present.resize(i, true);
            }
            if v.is_none() || !out.present.is_empty() {
                out.present.push(v.is_some());
            }
            out.values.extend(v);
        }
        out
    }
}

/// Which rows have a value: one bit a row, as a run where all have one. The length stands before it.
pub(super) fn levels(out: &mut Vec<u8>, rows: usize, present: &[bool]) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    if present.is_empty() {
        varint(out, (rows as u64) << 1);
        out.push(1);
    } else {
        varint(out, (present.len().div_ceil(8) as u64) << 1 | 1);
        let byte = |bits: &[bool]| bits.iter().rev().fold(0u8, |b, p| b << 1 | u8::from(*p));
        out.extend(present.chunks(8).map(byte));
    }
    let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(head) = out.get_mut(at..at + 4) {
        head.copy_from_slice(&len.to_le_bytes());
    }
}

/// Floats as they are.
pub(super) fn floats(out: &mut Vec<u8>, values: &[f64]) -> Range {
    out.reserve(values.len() * 8);
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut numbers = false;
    for v in values {
        out.extend_from_slice(&v.to_le_bytes());
        numbers |= !v.is_nan();
        min = min.min(*v);
        max = max.max(*v);
    }
    // A zero may be of either sign, and readers do not agree which is less.
    let (min, max) = (if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max });
    numbers.then(|| (min.to_le_bytes().to_vec(), max.to_le_bytes().to_vec()))
}

/// Whole numbers as differences in blocks, each packed in as few bits as its greatest needs (DELTA_BINARY_PACKED).
pub(super) fn deltas(out: &mut Vec<u8>, values: &[i64]) {
    varint(out, BLOCK as u64);
    varint(out, (BLOCK / MINIBLOCK) as u64);
    varint(out, values.len() as u64);
    let mut before = values.first().copied().unwrap_or(0);
    varint(out, zigzag(before));
    let mut block = [0i64; BLOCK];
    for part in values.get(1..).unwrap_or(&[]).chunks(BLOCK) {
        for (d, v) in block.iter_mut().zip(part) {
            *d = v.wrapping_sub(before);
            before = *v;
        }
        let used = block.get(..part.len()).unwrap_or(&block);
        let least = used.iter().copied().min().unwrap_or(0);
        varint(out, zigzag(least));
        let width = |m: &[i64]| 64 - m.iter().fold(0, |all, d| all | d.wrapping_sub(least) as u64).leading_zeros();
        let at = out.len();
        out.extend_from_slice(&[0; BLOCK / MINIBLOCK]);
        for (i, mini) in used.chunks(MINIBLOCK).enumerate() {
            let bits = width(mini);
            if let Some(w) = out.get_mut(at + i) {
                *w = bits as u8;
            }
            pack(out, mini.iter().map(|d| d.wrapping_sub(least) as u64), bits);
        }
    }
}

/// A miniblock: the lowest bits of each number, the first lowest; filled up with zeros.
fn pack(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>, bits: u32) {
    let end = out.len() + MINIBLOCK / 8 * bits as usize;
    let (mut held, mut filled) = (0u128, 0);
    for n in numbers {
        held |= u128::from(n) << filled;
        filled += bits;
        while filled >= 8 {
            out.push(held as u8);
            held >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(held as u8);
    }
    out.resize(end, 0);
}

/// A column of texts: each text once, and runs of indices into them.
pub(super) struct Dictionary<'a> {
    pub(super) texts: Vec<&'a str>,
    runs: Vec<(usize, u32)>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(of: impl Iterator<Item = &'a str>) -> Self {
        let mut out = Self { texts: Vec::new(), runs: Vec::new() };
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut last: Option<&str> = None;
        for t in of {
            if let (true, Some((n, _))) = (last == Some(t), out.runs.last_mut()) {
                *n += 1;
                continue;
            }
            last = Some(t);
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            let index = *known.entry(t).or_insert(next);
            if index == next {
                out.texts.push(t);
            }
            out.runs.push((1, index));
        }
        out
    }

    /// The texts themselves, each with its length before it.
    pub(super) fn page(&self, out: &mut Vec<u8>) -> Range {
        for t in &self.texts {
            out.extend_from_slice(&u32::try_from(t.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(t.as_bytes());
        }
        let (min, max) = (self.texts.iter().min()?, self.texts.iter().max()?);
        Some((min.as_bytes().to_vec(), max.as_bytes().to_vec()))
    }

    /// The indices, as runs.
    pub(super) fn indices(&self, out: &mut Vec<u8>) {
        let most = u32::try_from(self.texts.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let bits = (32 - most.leading_zeros()).max(1);
        out.push(bits as u8);
        for (n, index) in &self.runs {
            varint(out, (*n as u64) << 1);
            out.extend(index.to_le_bytes().iter().take(bits.div_ceil(8) as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_value_are_left_out_and_marked() {
        let s = Sparse::new(4, [Some(1), None, Some(2), Some(3)].into_iter());
        assert_eq!((s.values, s.present), (vec![1, 2, 3], vec![true, false, true, true]));
        assert!(Sparse::new(2, [Some(1), Some(2)].into_iter()).present.is_empty());
        let mut out = Vec::new();
        levels(&mut out, 4, &[true, false, true, true]);
        assert_eq!(out, [2, 0, 0, 0, 3, 0b1101]);
    }

    #[test]
    fn differences_are_the_example_of_the_specification() {
        let mut out = Vec::new();
        deltas(&mut out, &[7, 5, 3, 1, 2, 3, 4, 5]);
        // 128 4 8 7, then least -2, width 2, the differences 0 0 0 3 3 3 3.
        assert_eq!(out, [[0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111].as_slice(), &[0; 6]].concat());
    }

    #[test]
    fn a_range_knows_no_nan_and_zeros_of_both_signs() {
        let mut out = Vec::new();
        assert_eq!(floats(&mut out, &[f64::NAN]), None);
        let zero = floats(&mut out, &[0.0, f64::NAN]).unwrap();
        assert_eq!(zero, ((-0.0f64).to_le_bytes().to_vec(), 0.0f64.to_le_bytes().to_vec()));
    }

    #[test]
    fn a_text_is_kept_once() {
        let d = Dictionary::new(["a", "a", "b", "a"].into_iter());
        assert_eq!(
            (d.texts.as_slice(), d.runs.as_slice()),
            (["a", "b"].as_slice(), [(2, 0), (1, 1), (1, 0)].as_slice())
        );
        let mut out = Vec::new();
        d.indices(&mut out);
        assert_eq!(out, [1, 4, 0, 2, 1, 2, 0]);
    }
}
