//! Encoding tables as Parquet: zstd, statistics, one row group a file unless it is large, no pandas metadata.
//! The same rows give the same bytes.

use super::file::{Field, File, Kind, Values};
use super::pages::{Dictionary, Sparse};
use super::{Bar, FrameError, Origin, Row, Table};
use datanode_schema::names::Dataset;
use polars::io::parquet::write::KeyValueMetadata;
use polars::prelude::*;
use std::sync::{LazyLock, Mutex};

/// Rows of a row group: small enough that a reader on a small machine can hold one.
pub(super) const ROW_GROUP: usize = 65_536;
/// Bytes that a row of bars comes to in a file, about.
const ROW_BYTES: usize = 24;

/// A row on its way into a file.
struct Line<'a> {
    key: &'a str,
    origin: Option<&'a Origin>,
    row: &'a Row,
}

/// The bytes of a raw file: one symbol's rows, in the order given.
///
/// # Errors
/// The rows cannot be encoded; `name` is what the error speaks of.
pub fn encode_raw(name: &str, dataset: Dataset, table: &Table) -> Result<Vec<u8>, FrameError> {
    let mut columns = value_columns(dataset);
    columns.extend([FEED, REQUEST]);
    let lines: Vec<Line<'_>> = lines("", table).collect();
    encode(name, dataset, &columns, &lines)
}

/// The bytes of a curated file: all symbols, each with its rows in the order given.
///
/// # Errors
/// The rows cannot be encoded; `name` is what the error speaks of.
pub fn encode_curated(name: &str, dataset: Dataset, symbols: &[(&str, &Table)]) -> Result<Vec<u8>, FrameError> {
    let lines: Vec<Line<'_>> = symbols.iter().flat_map(|(key, table)| lines(key, table)).collect();
    encode(name, dataset, &curated_columns(dataset), &lines)
}

fn curated_columns(dataset: Dataset) -> Vec<Field> {
    let mut columns: Vec<Field> = vec![(key_name(dataset), Kind::Text)];
    columns.extend(value_columns(dataset));
    columns.push(VENDOR);
    if has_feed(dataset) {
        columns.push(FEED);
    }
    columns.push(REQUEST);
    columns
}

/// A curated file encoded as its rows come, a row group at a time: the bytes are those of [`encode_curated`] over all of them.
pub struct CuratedEncoder {
    name: String,
    dataset: Dataset,
    columns: Vec<Field>,
    file: File,
    waiting: Vec<(String, Table)>,
}

impl CuratedEncoder {
    /// Without rows; `name` is what errors speak of.
    pub fn new(name: &str, dataset: Dataset) -> Self {
        let columns = curated_columns(dataset);
        Self { name: name.to_owned(), dataset, columns, file: File::new(4096), waiting: Vec::new() }
    }

    /// Adds the next rows of a symbol; those of one symbol may come in parts.
    ///
    /// # Errors
    /// They cannot be encoded.
    pub fn push(&mut self, symbol: String, table: Table) -> Result<(), FrameError> {
        self.waiting.push((symbol, table));
        let rows: usize = self.waiting.iter().map(|(_, t)| t.rows.len()).sum();
        self.write(rows / ROW_GROUP * ROW_GROUP)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// The rest cannot be encoded.
    pub fn finish(mut self) -> Result<Vec<u8>, FrameError> {
        self.write(usize::MAX)?;
        let fail = |cause: String| FrameError { file: self.name.clone(), cause };
        self.file.finish(&self.columns, &arrow_schema(&self.columns).map_err(fail)?).map_err(fail)
    }

    /// Encodes the first `rows` of what is waiting.
    fn write(&mut self, rows: usize) -> Result<(), FrameError> {
        if rows == 0 {
            return Ok(());
        }
        let all = self.waiting.iter().flat_map(|(key, table)| lines(key, table));
        let part: Vec<Line<'_>> = all.take(rows).collect();
        let fail = |cause: String| FrameError { file: self.name.clone(), cause };
        groups(&mut self.file, self.dataset, &self.columns, &part).map_err(fail)?;
        let mut left = part.len();
        for (_, table) in &mut self.waiting {
            let n = left.min(table.rows.len());
            table.rows.drain(..n);
            left -= n;
        }
        self.waiting.retain(|(_, t)| !t.rows.is_empty());
        Ok(())
    }
}

fn lines<'a>(key: &'a str, table: &'a Table) -> impl Iterator<Item = Line<'a>> {
    table.rows.iter().map(move |row| Line { key, origin: table.origin(row), row })
}

/// The name of the key column.
pub(super) fn key_name(dataset: Dataset) -> &'static str {
    dataset.key_column()
}

/// Whether curated rows say which tape they are from.
pub(super) fn has_feed(dataset: Dataset) -> bool {
    !matches!(dataset, Dataset::MacroTreasury | Dataset::CorporateActions)
}

/// The name of the column that `when` is in.
pub(super) fn when_name(dataset: Dataset) -> &'static str {
    match dataset {
        Dataset::CorporateActions => "ex_date",
        d if d.is_stamped() => "ts",
        _ => "dt",
    }
}

const VENDOR: Field = ("vendor", Kind::Text);
const FEED: Field = ("feed", Kind::Text);
const REQUEST: Field = ("request_id", Kind::Text);
/// An option's contract; its key is the underlier.
const CONTRACT: Field = ("symbol", Kind::Text);

/// The columns of both forms: when, and the values.
fn value_columns(dataset: Dataset) -> Vec<Field> {
    let float = |name| (name, Kind::Float);
    let mut out = Vec::with_capacity(13);
    if dataset == Dataset::OptionsBars {
        out.push(CONTRACT);
    }
    out.push((when_name(dataset), if dataset.is_stamped() { Kind::Stamp } else { Kind::Day }));
    match dataset {
        Dataset::CorporateActions => out.extend([("kind", Kind::Text), float("ratio"), float("cash")]),
        Dataset::MacroTreasury => out.push(float("value")),
        _ => {
            out.extend(["open", "high", "low", "close", "volume"].map(float));
            out.extend([("trade_count", Kind::Int), float("vwap")]);
        }
    }
    out
}

/// Encoded in memory and by hand: see [`super::pages`] for why.
fn encode(name: &str, dataset: Dataset, fields: &[Field], lines: &[Line<'_>]) -> Result<Vec<u8>, FrameError> {
    let fail = |cause: String| FrameError { file: name.to_owned(), cause };
    let mut file = File::new(4096 + lines.len() * ROW_BYTES);
    groups(&mut file, dataset, fields, lines).map_err(fail)?;
    file.finish(fields, &arrow_schema(fields).map_err(fail)?).map_err(fail)
}

fn groups(file: &mut File, dataset: Dataset, fields: &[Field], lines: &[Line<'_>]) -> Result<(), String> {
    for part in lines.chunks(ROW_GROUP) {
        let columns = fields.iter().map(|f| (*f, values(dataset, *f, part)));
        file.group(part.len(), columns)?;
    }
    Ok(())
}

/// The values of a column.
fn values<'a>(dataset: Dataset, field: Field, lines: &'a [Line<'a>]) -> Values<'a> {
    let n = lines.len();
    let bar = |f: fn(&Bar) -> f64| {
        Values::Floats(Sparse::new(n, lines.iter().map(|l| Some(l.row.cell.bar().map_or(f64::NAN, f)))))
    };
    let float = |f: fn(&Row) -> Option<f64>| Values::Floats(Sparse::new(n, lines.iter().map(|l| f(l.row))));
    let text = |f: fn(&'a Line<'a>) -> &'a str| Values::Texts(Dictionary::new(lines.iter().map(f)));
    match field.0 {
        "open" => bar(|b| b.open),
        "high" => bar(|b| b.high),
        "low" => bar(|b| b.low),
        "close" => bar(|b| b.close),
        "volume" => bar(|b| b.volume),
        "vwap" => float(|r| r.cell.bar().and_then(|b| b.vwap)),
        "value" => float(|r| r.cell.value()),
        "ratio" => float(|r| r.cell.action().and_then(|a| a.ratio)),
        "cash" => float(|r| r.cell.action().and_then(|a| a.cash)),
        "trade_count" => Values::Ints(Sparse::new(n, lines.iter().map(|l| l.row.cell.bar().and_then(|b| b.trades)))),
        "vendor" => text(|l| l.origin.map_or("", |o| o.vendor.name())),
        "feed" => text(|l| l.origin.map_or("", |o| &o.feed)),
        "request_id" => text(|l| l.origin.map_or("", |o| &o.request_id)),
        "kind" => text(|l| l.row.cell.action().map_or("", |a| a.kind.name())),
        _ if field.1 == Kind::Stamp => Values::Ints(Sparse::new(n, lines.iter().map(|l| Some(l.row.when)))),
        _ if field.1 == Kind::Day => {
            Values::Days(lines.iter().map(|l| i32::try_from(l.row.when).unwrap_or(i32::MAX)).collect())
        }
        name if name == key_name(dataset) => text(|l| l.key),
        _ => text(|l| l.row.cell.contract()),
    }
}

/// The Arrow types of the columns, as pyarrow and polars put them into a file. Made once for each form.
fn arrow_schema(fields: &[Field]) -> Result<String, String> {
    type Known = Vec<(Vec<Field>, String)>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().map_err(|e| e.to_string())?;
    if let Some((_, text)) = known.iter().find(|(f, _)| f == fields) {
        return Ok(text.clone());
    }
    let schema =
        fields.iter().map(|(name, kind)| polars::prelude::Field::new((*name).into(), data_type(*kind))).collect();
    let text = arrow_key(&schema).value.ok_or("no Arrow schema")?;
    known.push((fields.to_vec(), text.clone()));
    Ok(text)
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Stamp => DataType::Datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC)),
        Kind::Day => DataType::Date,
        Kind::Float => DataType::Float64,
        Kind::Int => DataType::Int64,
        Kind::Text => DataType::String,
    }
}

/// The schema that is put into a file: polars declares its strings as Arrow string views, for which pyarrow has no filter
/// and no sort, so that it says large strings instead. The bytes of the columns are the same.
fn arrow_key(schema: &Schema) -> polars_parquet::write::KeyValue {
    let arrow = schema.iter().map(|(n, t)| t.to_arrow_field(n.clone(), CompatLevel::oldest()));
    polars_parquet::write::schema_to_metadata_key(&arrow.map(|f| (f.name.clone(), f)).collect())
}

/// How books and the ledger are written: by polars' own writer.
pub(super) fn options<W: std::io::Write>(to: W, schema: &Schema) -> ParquetWriter<W> {
    ParquetWriter::new(to)
        .with_key_value_metadata(Some(KeyValueMetadata::Static(vec![arrow_key(schema)])))
        .with_compression(ParquetCompression::Zstd(None))
        .with_statistics(StatisticsOptions::default())
        .with_row_group_size(Some(ROW_GROUP))
        .set_parallel(false)
}
