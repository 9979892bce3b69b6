//! Encoding tables as Parquet: zstd, statistics, one row group a file unless it is large, no pandas metadata.
//! The same rows give the same bytes.

use super::{Bar, Cell, FrameError, Table};
use datanode_schema::names::Dataset;
use polars::io::parquet::write::KeyValueMetadata;
use polars::prelude::*;

/// Rows of a row group: small enough that a reader on a small machine can hold one.
const ROW_GROUP: usize = 65_536;

/// The bytes of a raw file: one symbol's rows, in the order given.
///
/// # Errors
/// The rows cannot be encoded; `name` is what the error speaks of.
pub fn encode_raw(name: &str, dataset: Dataset, table: &Table) -> Result<Vec<u8>, FrameError> {
    let mut columns = value_columns(dataset, table.rows.iter().map(|r| (r.when, &r.cell)));
    let origin = |f: fn(&super::Origin) -> &str| -> Vec<&str> {
        table.rows.iter().map(|r| table.origin(r).map_or("", f)).collect()
    };
    columns.push(Column::new("feed".into(), origin(|o| &o.feed)));
    columns.push(Column::new("request_id".into(), origin(|o| &o.request_id)));
    encode(name, columns, table.rows.len())
}

/// The bytes of a curated file: all symbols, each with its rows in the order given.
///
/// # Errors
/// The rows cannot be encoded; `name` is what the error speaks of.
pub fn encode_curated(name: &str, dataset: Dataset, symbols: &[(&str, &Table)]) -> Result<Vec<u8>, FrameError> {
    let rows = || symbols.iter().flat_map(|(s, t)| t.rows.iter().map(move |r| (*s, *t, r)));
    let height = symbols.iter().map(|(_, t)| t.rows.len()).sum();
    let text = |f: &dyn Fn(&super::Origin) -> String| -> Vec<String> {
        rows().map(|(_, t, r)| t.origin(r).map_or_else(String::new, f)).collect()
    };
    let key: Vec<&str> = rows().map(|(s, _, _)| s).collect();
    let mut columns = vec![Column::new(key_name(dataset).into(), key)];
    columns.extend(value_columns(dataset, rows().map(|(_, _, r)| (r.when, &r.cell))));
    columns.push(Column::new("vendor".into(), text(&|o| o.vendor.name().to_owned())));
    if has_feed(dataset) {
        columns.push(Column::new("feed".into(), text(&|o| o.feed.to_string())));
    }
    columns.push(Column::new("request_id".into(), text(&|o| o.request_id.to_string())));
    encode(name, columns, height)
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

fn value_columns<'a>(dataset: Dataset, rows: impl Iterator<Item = (i64, &'a Cell)> + Clone) -> Vec<Column> {
    let name = when_name(dataset);
    let when = match dataset {
        _ if dataset.is_stamped() => Int64Chunked::from_vec(name.into(), rows.clone().map(|(w, _)| w).collect())
            .into_datetime(TimeUnit::Nanoseconds, Some(TimeZone::UTC))
            .into_column(),
        _ => {
            let days = rows.clone().map(|(w, _)| i32::try_from(w).unwrap_or(i32::MAX)).collect();
            Int32Chunked::from_vec(name.into(), days).into_date().into_column()
        }
    };
    let mut columns = Vec::with_capacity(9);
    if dataset == Dataset::OptionsBars {
        let contract = |c: &'a Cell| if let Cell::Option(o) = c { &*o.contract } else { "" };
        let contracts: Vec<&str> = rows.clone().map(|(_, c)| contract(c)).collect();
        columns.push(Column::new("symbol".into(), contracts));
    }
    columns.push(when);
    if dataset == Dataset::CorporateActions {
        columns.extend(action_columns(rows));
        return columns;
    }
    if dataset == Dataset::MacroTreasury {
        let values: Vec<Option<f64>> = rows.map(|(_, c)| if let Cell::Value(v) = c { *v } else { None }).collect();
        columns.push(Column::new("value".into(), values));
        return columns;
    }
    let float = |name: &'static str, f: fn(&Bar) -> f64| {
        let v: Vec<f64> = rows.clone().map(|(_, c)| c.bar().map_or(f64::NAN, f)).collect();
        Column::new(name.into(), v)
    };
    columns.push(float("open", |b| b.open));
    columns.push(float("high", |b| b.high));
    columns.push(float("low", |b| b.low));
    columns.push(float("close", |b| b.close));
    columns.push(float("volume", |b| b.volume));
    let trades: Vec<Option<i64>> = rows.clone().map(|(_, c)| c.bar().and_then(|b| b.trades)).collect();
    let vwap: Vec<Option<f64>> = rows.map(|(_, c)| c.bar().and_then(|b| b.vwap)).collect();
    columns.push(Column::new("trade_count".into(), trades));
    columns.push(Column::new("vwap".into(), vwap));
    columns
}

fn action_columns<'a>(rows: impl Iterator<Item = (i64, &'a Cell)> + Clone) -> [Column; 3] {
    let kinds: Vec<&str> = rows.clone().map(|(_, c)| c.action().map_or("", |a| a.kind.name())).collect();
    let ratios: Vec<Option<f64>> = rows.clone().map(|(_, c)| c.action().and_then(|a| a.ratio)).collect();
    let cash: Vec<Option<f64>> = rows.map(|(_, c)| c.action().and_then(|a| a.cash)).collect();
    [Column::new("kind".into(), kinds), Column::new("ratio".into(), ratios), Column::new("cash".into(), cash)]
}

/// Encoded in memory: polars writes page by page, and a file of some kilobytes would cost dozens of system calls.
fn encode(name: &str, columns: Vec<Column>, height: usize) -> Result<Vec<u8>, FrameError> {
    let fail = |e: PolarsError| FrameError { file: name.to_owned(), cause: e.to_string() };
    let mut frame = DataFrame::new(height, columns).map_err(fail)?;
    let mut out = Vec::with_capacity(16 * 1024);
    options(&mut out, frame.schema()).finish(&mut frame).map_err(fail)?;
    Ok(out)
}

/// The one way in which Parquet is written.
///
/// polars declares its strings as Arrow string views, for which pyarrow has no filter and no sort: the schema that is
/// put into the file says large strings instead. The bytes of the columns are the same.
pub(super) fn options<W: std::io::Write>(to: W, schema: &Schema) -> ParquetWriter<W> {
    let arrow = schema.iter().map(|(n, t)| t.to_arrow_field(n.clone(), CompatLevel::oldest()));
    let arrow = arrow.map(|f| (f.name.clone(), f)).collect();
    let key = polars_parquet::write::schema_to_metadata_key(&arrow);
    ParquetWriter::new(to)
        .with_key_value_metadata(Some(KeyValueMetadata::Static(vec![key])))
        .with_compression(ParquetCompression::Zstd(None))
        .with_statistics(StatisticsOptions::default())
        .with_row_group_size(Some(ROW_GROUP))
        .set_parallel(false)
}
