//! Massive's flat files, as they are delivered: all tickers of a day in one file,
//! `{us_stocks_sip|us_options_opra}/{day_aggs_v1|minute_aggs_v1}/YYYY/MM/YYYY-MM-DD.csv.gz` with the header
//! `ticker,volume,open,close,high,low,window_start,transactions` (close third), `window_start` in nanoseconds. Prices are
//! unadjusted. Source: the vendor's flat-file documentation.
//!
//! A file is read line by line and only what was asked for is kept. Neither a line nor the whole may outgrow its bound,
//! since a small file can unpack to a very large one.

use super::files::add;
use super::{Ask, Fetched, Page, Refusal, occ};
use crate::frame::Bar;
use chrono::{DateTime, NaiveDate};
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Outcome};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const HEADER: &str = "ticker,volume,open,close,high,low,window_start,transactions";
/// A line of such a file has about 80 bytes.
const MAX_LINE: u64 = 1_024;
/// What every file may unpack to, and how many times its size beyond that. Text of this kind packs to a fifth or a tenth.
const ALWAYS: u64 = 64 << 20;
const MAX_RATIO: u64 = 100;

/// A folder with flat files of a dataset.
pub(super) struct Flat {
    root: PathBuf,
}

impl Flat {
    /// The flat files of `dataset` below `folder`; None where there are none.
    pub(super) fn of(folder: &Path, dataset: Dataset) -> Option<Self> {
        let below = match dataset {
            Dataset::EquitiesBars => "us_stocks_sip/day_aggs_v1",
            Dataset::EquitiesBarsMinute => "us_stocks_sip/minute_aggs_v1",
            Dataset::OptionsBars => "us_options_opra/minute_aggs_v1",
            _ => return None,
        };
        let root = folder.join(below);
        root.is_dir().then_some(Self { root })
    }

    fn file(&self, day: NaiveDate) -> PathBuf {
        self.root.join(day.format("%Y/%m/%Y-%m-%d.csv.gz").to_string())
    }

    /// Reads the files of the days that are asked for. A day without a file has no rows; a window without any file is no
    /// answer, since a folder that is not mounted looks like that.
    pub(super) fn read(&self, ask: &Ask, out: &mut Fetched, hash: &mut blake3::Hasher) -> Result<(), Refusal> {
        let wanted = Wanted::of(ask);
        let days = ask.from.iter_days().take_while(|d| *d <= ask.to).filter(|d| ask.wants(day_number(*d)));
        let mut found = false;
        for day in days {
            let path = self.file(day);
            if path.is_file() {
                found = true;
                let (page, bytes) = one(&path, ask, &wanted, hash)?;
                add(out, page, bytes);
            }
        }
        if found {
            return Ok(());
        }
        let note = format!(
            "{}: no file of {} to {}; add them, or narrow `from` and `to` of files in vendor_capabilities.yaml",
            self.root.display(),
            ask.from,
            ask.to
        );
        Err(Refusal::new(Outcome::Error, note))
    }
}

/// Which symbol of the ask a ticker of the file belongs to.
struct Wanted<'a> {
    /// By ticker, or of options by the letters that a root begins with.
    symbols: BTreeMap<String, &'a str>,
    options: bool,
}

impl<'a> Wanted<'a> {
    fn of(ask: &'a Ask) -> Self {
        let symbols = ask.symbols.iter().map(|s| (s.clone(), s.as_str())).collect();
        Self { symbols, options: ask.dataset == Dataset::OptionsBars }
    }

    fn find(&self, ticker: &str) -> Option<&'a str> {
        if self.options {
            let contract = ticker.strip_prefix("O:")?;
            // The root is the underlier but for adjusted series and classes of shares, which are looked for one by one.
            let exact = self.symbols.get(occ::root(contract)?).copied();
            return exact.or_else(|| self.symbols.values().find(|u| occ::is_of(contract, u)).copied());
        }
        self.symbols.get(ticker).copied()
    }
}

/// A file that is hashed as it is read.
struct Hashed<'a> {
    file: File,
    hash: &'a mut blake3::Hasher,
    bytes: u64,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buf)?;
        self.hash.update(buf.get(..n).unwrap_or(&[]));
        self.bytes += n as u64;
        Ok(n)
    }
}

fn one(path: &Path, ask: &Ask, wanted: &Wanted<'_>, hash: &mut blake3::Hasher) -> Result<(Page, u64), Refusal> {
    let failed = |e: std::io::Error| Refusal::unparsable(format!("{}: {e}", path.display()));
    let file = File::open(path).map_err(|e| Refusal::new(Outcome::Error, format!("{}: {e}", path.display())))?;
    let length = file.metadata().map_err(failed)?.len();
    let limit = ALWAYS.saturating_add(length.saturating_mul(MAX_RATIO));
    let packed = BufReader::with_capacity(256 * 1024, Hashed { file, hash, bytes: 0 });
    let mut text = BufReader::with_capacity(256 * 1024, MultiGzDecoder::new(packed).take(limit));
    let mut page = Page::default();
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        number += 1;
        if text.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let bad = |what: &str| Refusal::unparsable(format!("{}:{number}: {what}", path.display()));
        if !line.ends_with(b"\n") {
            let over = text.get_ref().limit() == 0;
            return Err(bad(if over {
                "it unpacks to far more than it should"
            } else {
                "a line that is too long or cut off"
            }));
        }
        let row = std::str::from_utf8(&line).map_err(|_| bad("no text"))?.trim_end();
        if number == 1 {
            if row != HEADER {
                return Err(bad(&format!("the header is not {HEADER:?}")));
            }
            continue;
        }
        take(&mut page, ask, wanted, row).map_err(|what| bad(&what))?;
    }
    if number <= 1 {
        return Err(Refusal::unparsable(format!("{}: empty, without even a header", path.display())));
    }
    if text.get_ref().limit() == 0 {
        return Err(Refusal::unparsable(format!("{}: it unpacks to far more than it should", path.display())));
    }
    Ok((page, length))
}

fn take(page: &mut Page, ask: &Ask, wanted: &Wanted<'_>, row: &str) -> Result<(), String> {
    let mut fields = row.split(',');
    let ticker = fields.next().unwrap_or("");
    let Some(symbol) = wanted.find(ticker) else { return Ok(()) };
    let mut next = |name: &str| fields.next().ok_or_else(|| format!("no {name} in {row:?}"));
    let float = |name: &str, text: &str| text.parse::<f64>().map_err(|_| format!("{name} {text:?} is no number"));
    let whole = |name: &str, text: &str| text.parse::<i64>().map_err(|_| format!("{name} {text:?} is no number"));
    let volume = float("volume", next("volume")?)?;
    let open = float("open", next("open")?)?;
    let close = float("close", next("close")?)?;
    let high = float("high", next("high")?)?;
    let low = float("low", next("low")?)?;
    let at = DateTime::from_timestamp_nanos(whole("window_start", next("window_start")?)?);
    let trades = match next("transactions")? {
        "" => None,
        text => Some(whole("transactions", text)?),
    };
    let bar = Bar { open, high, low, close, volume, trades, vwap: None };
    match ticker.strip_prefix("O:").filter(|_| wanted.options) {
        Some(contract) => page.take_option(ask, symbol, None, contract, Some(at), bar),
        None => page.take_bar(ask, symbol, Some(at), bar),
    }
    Ok(())
}
