"""The truth benchmark's first night through nautilus_trader's ParquetDataCatalog, and what it says is missing.

Minute bars are written symbol by symbol with `write_data`, in two catalogs: a session at a time, as a user would who downloads a
day at a time, and all sessions at once. Then `get_missing_intervals_for_request` (its name in 1.221) is asked for the window from
the first open to the last close. It compares the ranges in the names of files, and reads none of them.

    nautilus_gaps.py FOLDER FROM TO WORK

Prints three JSON objects, one a line. "By session": the intervals as they come, each a claim that something is missing. "With a
calendar": an exchange calendar is laid over them, which the catalog does not have: nights, weekends and holidays are taken
out, what covers a whole session is a missing session, what covers half an hour or more of one is a hole; absences of five sessions
or more up to the end of the window are a delisting. "At once, with a calendar": the same of the other catalog.
"""

import json
import sys
import tempfile
from pathlib import Path

import exchange_calendars
import nautilus_trader
import pandas as pd
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog

MINUTE = 60_000_000_000
HOLE = 30 * MINUTE
GONE = 5


def bars(kind, path):
    rows = pd.read_csv(path)
    stamps = pd.to_datetime(rows["t"], utc=True).astype("int64").tolist()
    # `write_data` wants them in order; a batch that came twice stands beside itself then.
    values = sorted(zip(stamps, rows["open"], rows["high"], rows["low"], rows["close"], rows["volume"]))
    return [Bar(kind, *(Price(x, 2) for x in row[1:5]), Quantity(row[5], 0), row[0], row[0]) for row in values]


def claims_of(intervals, sessions):
    """The sessions that intervals cover: those as a whole, and those of half an hour or more."""
    whole, part = [], []
    for date, first, last in sessions:
        silent = max((min(b, last) - max(a, first) for a, b in intervals), default=0)
        if any(a <= first and last <= b for a, b in intervals):
            whole.append(date)
        elif silent >= HOLE:
            part.append(date)
    return whole, part


def laid_over(symbol, intervals, sessions, claims):
    """What intervals claim when a calendar is lent to them."""
    whole, part = claims_of(intervals, sessions)
    gone = 0
    while gone < len(whole) and whole[-1 - gone] == sessions[-1 - gone][0]:
        gone += 1
    if gone >= GONE:
        claims["delisting"].append((symbol, whole[-gone]))
        whole = whole[:-gone]
    claims["missing"] += [(symbol, date) for date in whole]
    claims["hole"] += [(symbol, date) for date in part]


def main():
    folder, first, last, work = sys.argv[1:5]
    schedule = exchange_calendars.get_calendar("XNYS", start=first, end=last).schedule
    sessions = [(str(day.date()), row.open.value, row.close.value - MINUTE) for day, row in schedule.iterrows()]
    start, end = sessions[0][1], sessions[-1][2]
    as_comes = {"missing": []}
    lent, at_once = [{"missing": [], "hole": [], "delisting": []} for _ in range(2)]
    with tempfile.TemporaryDirectory(dir=work) as one, tempfile.TemporaryDirectory(dir=work) as other:
        by_session, whole_range = ParquetDataCatalog(one), ParquetDataCatalog(other)
        for symbol in sorted(p.name for p in Path(folder, "equities_bars_minute").iterdir()):
            kind = BarType.from_str(f"{symbol}.XNYS-1-MINUTE-LAST-EXTERNAL")
            days = [bars(kind, path) for path in sorted(Path(folder, "equities_bars_minute", symbol).glob("*.csv"))]
            for day in days:
                by_session.write_data(day)
            whole_range.write_data([bar for day in days for bar in day])
            intervals = by_session.get_missing_intervals_for_request(start, end, Bar, str(kind))
            for a, b in intervals:
                whole, _ = claims_of([(a, b)], sessions)
                # An interval in which there is no session stands for a claim on the next one.
                after = [date for date, first, _ in sessions if first > a]
                as_comes["missing"] += [(symbol, date) for date in whole or after[:1]]
            laid_over(symbol, intervals, sessions, lent)
            laid_over(symbol, whole_range.get_missing_intervals_for_request(start, end, Bar, str(kind)), sessions, at_once)
    name = f"nautilus_trader {nautilus_trader.__version__}"
    for peer, claims in [("by session", as_comes), ("by session, with a calendar", lent), ("at once, with a calendar", at_once)]:
        print(json.dumps({"peer": f"{name} {peer}", "classes": ["hole", *(c for c in claims if c != "hole")], "claims": claims}))


if __name__ == "__main__":
    main()
