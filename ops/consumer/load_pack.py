#!/usr/bin/env python3
"""Reads a pack: bars of a symbol over all files, of sessions that quality control let pass.

    load_pack.py DIR [SYMBOL] [--dataset equities_bars] [--green]

Needs polars or duckdb, whichever is there; with both it compares them. As a module:

    from load_pack import bars_polars, bars_duckdb
    frame = bars_polars("packs/current", "AAPL").collect()

data/qc/partition_status.parquet says of each (dataset, symbol, dt) what was found. RED partitions are not in a pack at all; AMBER ones
are, where the dataset's rule lets them, and `green=True` leaves them out too. A session without a line in it is not used.
"""

import argparse
import json
from pathlib import Path

KEY = {"macro_treasury": "series", "prediction_books": "market"}


def _files(pack, dataset):
    """The dataset's files as the manifest names them: never by a glob, which would take what lies there by accident."""
    manifest = json.loads((Path(pack) / "manifest.json").read_text())
    return [str(Path(pack) / f["path"]) for f in manifest["files"] if f["dataset"] == dataset]


def _status(pack):
    return str(Path(pack) / "data/qc/partition_status.parquet")


def _passed(green):
    return ["GREEN"] if green else ["GREEN", "AMBER"]


def bars_polars(pack, symbol=None, dataset="equities_bars", green=False):
    """A LazyFrame; nothing is read before it is collected, and of each file only the row groups that can hold the symbol."""
    import polars as pl

    key = KEY.get(dataset, "symbol")
    frame = pl.scan_parquet(_files(pack, dataset))
    status = pl.scan_parquet(_status(pack)).filter(pl.col("dataset") == dataset)
    status = status.filter(pl.col("status").is_in(_passed(green))).select(pl.col("symbol").alias(key), "dt")
    if symbol is not None:
        frame = frame.filter(pl.col(key) == symbol)
        status = status.filter(pl.col(key) == symbol)
    # Minutes have a stamp; their session is the date in New York.
    if "dt" not in frame.collect_schema().names():
        frame = frame.with_columns(pl.col("ts").dt.convert_time_zone("America/New_York").dt.date().alias("dt"))
    return frame.join(status, on=[key, "dt"], how="semi")


def bars_duckdb(pack, symbol=None, dataset="equities_bars", green=False, connection=None):
    """A DuckDB relation over the same files."""
    import duckdb

    con = connection or duckdb.connect()
    key = KEY.get(dataset, "symbol")
    files = _files(pack, dataset)
    columns = [row[0] for row in con.execute("describe select * from read_parquet($f)", {"f": files[:1]}).fetchall()]
    dt = "b.dt" if "dt" in columns else "cast(timezone('America/New_York', b.ts) as date)"
    listed = lambda values: "[" + ", ".join("'" + v.replace("'", "''") + "'" for v in values) + "]"
    where = "" if symbol is None else f" and b.{key} = '" + symbol.replace("'", "''") + "'"
    return con.sql(
        f"select b.* from read_parquet({listed(files)}) b semi join "
        f"(select symbol, dt from read_parquet({listed([_status(pack)])}) "
        f" where dataset = '{dataset}' and list_contains({listed(_passed(green))}, status)) s "
        f"on b.{key} = s.symbol and {dt} = s.dt where true{where}"
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("pack")
    p.add_argument("symbol", nargs="?")
    p.add_argument("--dataset", default="equities_bars")
    p.add_argument("--green", action="store_true", help="leave AMBER partitions out too")
    a = p.parse_args()
    rows = {}
    try:
        rows["polars"] = bars_polars(a.pack, a.symbol, a.dataset, a.green).collect().height
    except ImportError:
        pass
    try:
        rows["duckdb"] = bars_duckdb(a.pack, a.symbol, a.dataset, a.green).aggregate("count(*)").fetchall()[0][0]
    except ImportError:
        pass
    if not rows:
        raise SystemExit("load_pack: neither polars nor duckdb is installed")
    if len(set(rows.values())) != 1:
        raise SystemExit(f"load_pack: the readers do not agree: {rows}")
    print(json.dumps({"dataset": a.dataset, "symbol": a.symbol, "rows": next(iter(rows.values())), "readers": sorted(rows)}))


if __name__ == "__main__":
    main()
