"""The same bars through dlt, to Parquet: what a user would write instead of the node's ingest.

Pages of the simulator's Alpaca endpoint become Arrow tables (dlt's fast path) and a pipeline writes them to a folder. Only
that is compared: dlt then has no gaps, no verdicts, no pack. Prints figures as the rest of the harness does. The work runs
in a child, so that its memory and CPU are its own.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

HEADERS = {"APCA-API-KEY-ID": "a" * 32, "APCA-API-SECRET-KEY": "a" * 32}


def pages(url, timeframe, windows):
    """Yields one Arrow table a page: symbol, t, o, h, l, c, v."""
    import pyarrow as pa

    for symbol, start, end in windows:
        token = None
        while True:
            query = {"symbols": symbol, "timeframe": timeframe, "start": start, "end": end, "limit": 10000,
                     "adjustment": "raw", "feed": "sip", "sort": "asc"}
            if token:
                query["page_token"] = token
            request = urllib.request.Request(f"{url}/v2/stocks/bars?{urllib.parse.urlencode(query)}", headers=HEADERS)
            with urllib.request.urlopen(request) as answer:
                page = json.load(answer)
            for name, bars in page["bars"].items():
                columns = {k: [b[k] for b in bars] for k in ("t", "o", "h", "l", "c", "v")}
                columns = {k: v if k == "t" else [float(x) for x in v] for k, v in columns.items()}
                yield pa.table({"symbol": [name] * len(bars), **columns})
            token = page.get("next_page_token")
            if not token:
                break


def child(url, data, out):
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    daily, minute = [], []
    for file in sorted(data.glob("equities_bars/*.csv")):
        days = [line.split(",", 1)[0] for line in file.read_text().splitlines()[1:]]
        daily.append((file.stem, days[0], f"{days[-1]}T23:59:59Z"))
    for file in sorted(data.glob("equities_bars_minute/*/*.csv")):
        stamps = [line.split(",", 1)[0] for line in file.read_text().splitlines()[1:]]
        minute.append((file.parent.name, stamps[0], stamps[-1]))
    pipeline = dlt.pipeline(
        "bars", pipelines_dir=str(out / "state"), dataset_name="bars",
        destination=dlt.destinations.filesystem(bucket_url=(out / "files").as_uri()))
    resources = [dlt.resource(pages(url, "1Day", daily), name="equities_bars"),
                 dlt.resource(pages(url, "1Min", minute), name="equities_bars_minute")]
    pipeline.run(resources, loader_file_format="parquet")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(json.dumps(sum(n for name, n in counts.items() if not name.startswith("_dlt"))))


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--datanode", type=Path)
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--work", type=Path)
    ask.add_argument("--reps", type=int, default=3)
    ask.add_argument("--child", nargs=2, metavar=("URL", "OUT"))
    args = ask.parse_args()
    if args.child:
        return child(args.child[0], args.data, Path(args.child[1]))
    runner = os.environ.get("DATANODE_RUNNER", "").split()
    command = [*runner, str(args.datanode), "vendorsim", "--data", str(args.data)]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    runs = []
    try:
        url = simulator.stdout.readline().split()[1]
        for _ in range(args.reps):
            with tempfile.TemporaryDirectory(dir=args.work) as out:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                begun = time.perf_counter()
                words = [sys.executable, __file__, "--data", str(args.data), "--child", url, out]
                rows = int(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
                wall = time.perf_counter() - begun
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                runs.append((rows / wall, wall, after.ru_maxrss * 1024 / 1e6, cpu * 1e6 / rows))
    finally:
        simulator.kill()
        simulator.wait()
    note = f"{rows} bars; ingest only, no gaps, verdicts or pack"
    names = [("rows a second, ingest only", "rows/s", note), ("wall", "s", "imports of Python included"),
             ("peak memory", "MB", "resident"), ("CPU of a million rows", "CPU-s", "")]
    for (what, unit, note), samples in zip(names, zip(*runs)):
        print(json.dumps({"figure": "dlt", "what": what, "unit": unit, "value": statistics.median(samples),
                          "min": min(samples), "max": max(samples), "n": len(samples), "note": note}))


if __name__ == "__main__":
    main()
