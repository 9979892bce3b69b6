//! The form of a Parquet file: pages compressed one by one, row groups, the footer. Source: `parquet.thrift` of the
//! Parquet format, version 2.10. Knows kinds of columns and nothing of datasets.
//!
//! A file of some hundred rows is written three thousand times a minute of backfill: the compressor and its buffers are
//! kept for the thread, since making one costs more than compressing a page.

use super::pages::{Dictionary, Range, Sparse, deltas, floats, levels};
use super::thrift::Struct;
use std::cell::RefCell;

const MAGIC: &[u8] = b"PAR1";
/// Prices compress as well at the first level as at the third.
const ZSTD_LEVEL: i32 = 1;
const ZSTD: i32 = 6;
const OPTIONAL: i32 = 1;
const PLAIN: i32 = 0;
const RLE: i32 = 3;
const DELTA_BINARY_PACKED: i32 = 5;
const RLE_DICTIONARY: i32 = 8;

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nanoseconds since 1970 UTC.
    Stamp,
    /// Days since 1970.
    Day,
    /// f64.
    Float,
    /// i64.
    Int,
    /// UTF-8.
    Text,
}

/// A column: its name and what its values are.
pub(super) type Field = (&'static str, Kind);

/// The values of a column in one row group.
pub(super) enum Values<'a> {
    /// Of [`Kind::Stamp`] and [`Kind::Int`].
    Ints(Sparse<i64>),
    /// Of [`Kind::Day`].
    Days(Vec<i32>),
    /// Of [`Kind::Float`].
    Floats(Sparse<f64>),
    /// Of [`Kind::Text`].
    Texts(Dictionary<'a>),
}

struct Chunk {
    kind: Kind,
    name: &'static str,
    encodings: &'static [i32],
    /// Bytes of its pages with their headers, before and after compression.
    plain: usize,
    packed: usize,
    dictionary_at: Option<usize>,
    data_at: usize,
    nulls: usize,
    range: Range,
}

struct Group {
    rows: usize,
    chunks: Vec<Chunk>,
}

/// A file under way, in memory.
pub(super) struct File {
    out: Vec<u8>,
    groups: Vec<Group>,
}

struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
}

impl File {
    /// An empty file; `room` is how many bytes it will have, about.
    pub(super) fn new(room: usize) -> Self {
        let mut out = Vec::with_capacity(room);
        out.extend_from_slice(MAGIC);
        Self { out, groups: Vec::new() }
    }

    /// Adds a row group of `rows` rows; the columns come in the order of the file's fields.
    ///
    /// # Errors
    /// A page that is too large, or the compressor's.
    pub(super) fn group<'a>(
        &mut self,
        rows: usize,
        columns: impl Iterator<Item = (Field, Values<'a>)>,
    ) -> Result<(), String> {
        PACKER.with(|p| {
            let mut held = p.try_borrow_mut().map_err(|e| e.to_string())?;
            let packer = match &mut *held {
                Some(p) => p,
                none => none.insert(Packer::new()?),
            };
            let chunks = columns.map(|(field, values)| self.chunk(packer, rows, field, &values));
            let chunks = chunks.collect::<Result<Vec<_>, String>>()?;
            self.groups.push(Group { rows, chunks });
            Ok(())
        })
    }

    fn chunk(&mut self, packer: &mut Packer, rows: usize, field: Field, values: &Values<'_>) -> Result<Chunk, String> {
        let mut chunk = Chunk {
            kind: field.1,
            name: field.0,
            encodings: &[PLAIN, RLE],
            plain: 0,
            packed: 0,
            dictionary_at: None,
            data_at: 0,
            nulls: 0,
            range: None,
        };
        if let Values::Texts(d) = values {
            chunk.encodings = &[PLAIN, RLE, RLE_DICTIONARY];
            chunk.dictionary_at = Some(self.out.len());
            packer.plain.clear();
            chunk.range = d.page(&mut packer.plain);
            let count = number(d.texts.len())?;
            self.page(packer, &mut chunk, 2, |page| page.nested(7, |h| h.i32(1, count).i32(2, PLAIN)))?;
        }
        packer.plain.clear();
        let out = &mut packer.plain;
        let encoding = match values {
            Values::Texts(d) => {
                levels(out, rows, &[]);
                d.indices(out);
                RLE_DICTIONARY
            }
            Values::Days(days) => {
                levels(out, rows, &[]);
                out.extend(days.iter().flat_map(|d| d.to_le_bytes()));
                let ends = days.iter().min().zip(days.iter().max());
                chunk.range = ends.map(|(a, b)| (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()));
                PLAIN
            }
            Values::Ints(s) => {
                levels(out, rows, &s.present);
                deltas(out, &s.values);
                let ends = s.values.iter().min().zip(s.values.iter().max());
                chunk.range = ends.map(|(a, b)| (a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()));
                chunk.nulls = rows.saturating_sub(s.values.len());
                chunk.encodings = &[RLE, DELTA_BINARY_PACKED];
                DELTA_BINARY_PACKED
            }
            Values::Floats(s) => {
                levels(out, rows, &s.present);
                chunk.range = floats(out, &s.values);
                chunk.nulls = rows.saturating_sub(s.values.len());
                PLAIN
            }
        };
        chunk.data_at = self.out.len();
        let count = number(rows)?;
        self.page(packer, &mut chunk, 0, |page| {
            page.nested(5, |h| h.i32(1, count).i32(2, encoding).i32(3, RLE).i32(4, RLE))
        })?;
        Ok(chunk)
    }

    /// Writes the page that stands in the packer's buffer. `kind`: 0 data, 2 dictionary.
    fn page(
        &mut self,
        packer: &mut Packer,
        chunk: &mut Chunk,
        kind: i32,
        head: impl FnOnce(Struct<'_>) -> Struct<'_>,
    ) -> Result<(), String> {
        let Packer { zstd, plain, packed } = packer;
        packed.clear();
        packed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        zstd.compress_to_buffer(plain.as_slice(), packed).map_err(|e| format!("zstd: {e}"))?;
        let at = self.out.len();
        let page = Struct::new(&mut self.out).i32(1, kind).i32(2, number(plain.len())?).i32(3, number(packed.len())?);
        head(page).end();
        let header = self.out.len() - at;
        self.out.extend_from_slice(packed);
        chunk.plain += header + plain.len();
        chunk.packed += header + packed.len();
        Ok(())
    }

    /// The whole file. `arrow`: what goes under `ARROW:schema`, the Arrow types of the columns.
    ///
    /// # Errors
    /// A footer that is too large.
    pub(super) fn finish(mut self, fields: &[Field], arrow: &str) -> Result<Vec<u8>, String> {
        let rows = self.groups.iter().map(|g| g.rows).sum();
        let at = self.out.len();
        let columns = number(fields.len())?;
        let schema: Vec<Option<Field>> = std::iter::once(None).chain(fields.iter().map(|f| Some(*f))).collect();
        Struct::new(&mut self.out)
            .i32(1, 1)
            .structs(2, &schema, |s, f| match f {
                None => s.bytes(4, b"root").i32(5, columns),
                Some(f) => element(s, *f),
            })
            .i64(3, wide(rows))
            .structs(4, &self.groups, row_group)
            .structs(5, &[arrow], |s, a| s.bytes(1, b"ARROW:schema").bytes(2, a.as_bytes()))
            .bytes(6, b"datanode")
            .structs(7, fields, |s, _| s.nested(1, |order| order))
            .end();
        let footer = u32::try_from(self.out.len() - at).map_err(|e| e.to_string())?;
        self.out.extend_from_slice(&footer.to_le_bytes());
        self.out.extend_from_slice(MAGIC);
        Ok(self.out)
    }
}

impl Packer {
    fn new() -> Result<Self, String> {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|e| format!("zstd: {e}"))?;
        Ok(Self { zstd, plain: Vec::new(), packed: Vec::new() })
    }
}

/// Parquet's physical type.
fn physical(kind: Kind) -> i32 {
    match kind {
        Kind::Day => 1,
        Kind::Stamp | Kind::Int => 2,
        Kind::Float => 5,
        Kind::Text => 6,
    }
}

/// A column of the schema: type, optional, name, and what the type means.
fn element<'a>(s: Struct<'a>, (name, kind): Field) -> Struct<'a> {
    let s = s.i32(1, physical(kind)).i32(3, OPTIONAL).bytes(4, name.as_bytes());
    match kind {
        Kind::Float | Kind::Int => s,
        Kind::Text => s.i32(6, 0).nested(10, |t| t.nested(1, |text| text)),
        Kind::Day => s.i32(6, 6).nested(10, |t| t.nested(6, |date| date)),
        Kind::Stamp => s.nested(10, |t| t.nested(8, |ts| ts.bool(1, true).nested(2, |unit| unit.nested(3, |ns| ns)))),
    }
}

fn row_group<'a>(s: Struct<'a>, g: &Group) -> Struct<'a> {
    let plain = g.chunks.iter().map(|c| c.plain).sum();
    let packed = g.chunks.iter().map(|c| c.packed).sum();
    let at = g.chunks.first().map_or(0, |c| c.dictionary_at.unwrap_or(c.data_at));
    s.structs(1, &g.chunks, |s, c| s.i64(2, wide(c.data_at)).nested(3, |m| column(m, c, g.rows)))
        .i64(2, wide(plain))
        .i64(3, wide(g.rows))
        .i64(5, wide(at))
        .i64(6, wide(packed))
}

fn column<'a>(s: Struct<'a>, c: &Chunk, rows: usize) -> Struct<'a> {
    let s = s
        .i32(1, physical(c.kind))
        .numbers(2, c.encodings)
        .texts(3, &[c.name])
        .i32(4, ZSTD)
        .i64(5, wide(rows))
        .i64(6, wide(c.plain))
        .i64(7, wide(c.packed))
        .i64(9, wide(c.data_at));
    let s = if let Some(at) = c.dictionary_at { s.i64(11, wide(at)) } else { s };
    s.nested(12, |t| {
        let t = t.i64(3, wide(c.nulls));
        if let Some((min, max)) = &c.range { t.bytes(5, max).bytes(6, min) } else { t }
    })
}

fn wide(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn number(n: usize) -> Result<i32, String> {
    i32::try_from(n).map_err(|_| format!("{n} is too large for a page"))
}
