"""The chaos benchmark's minute bars through dlt, to Parquet: what a user would write in place of the node's ingest.

dlt's own REST client pages through the simulator's Alpaca endpoint, all symbols in one question and 10,000 rows a page; each
page becomes an Arrow table (dlt's fast path) with stamps and numbers as such; an incremental cursor on the stamp and the filesystem destination do the rest.
Retries are dlt's own. Prints {"rows": N}, or {"rows": N, "failed": "…"} where dlt gave up.

    dlt_minutes.py URL OUT SYMBOLS FROM TO [SECONDS]     SECONDS: how long a request may take
"""

import json
import os
import sys
from datetime import datetime
from pathlib import Path


def main():
    url, out, symbols, first, last = sys.argv[1:6]
    seconds = float(sys.argv[6]) if len(sys.argv) > 6 else 60.0
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    import dlt
    import pyarrow as pa
    from dlt.sources.helpers.requests import Client
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

    client = RESTClient(
        base_url=url, headers={"APCA-API-KEY-ID": "a" * 32, "APCA-API-SECRET-KEY": "a" * 32},
        paginator=JSONResponseCursorPaginator(cursor_path="next_page_token", cursor_param="page_token"),
        session=Client(request_timeout=seconds).session)

    numbers = [(name, pa.float64()) for name in ("o", "h", "l", "c", "v", "vw")]
    wire = pa.schema([("t", pa.string()), *numbers, ("n", pa.int64())])

    @dlt.resource(name="equities_bars_minute", write_disposition="append", primary_key=())
    def bars(t=dlt.sources.incremental("t", initial_value=datetime.fromisoformat(f"{first}T04:00:00+00:00"))):
        query = {"symbols": symbols, "timeframe": "1Min", "start": t.start_value.strftime("%Y-%m-%dT%H:%M:%SZ"), "end": f"{last}T23:59:59Z",
                 "limit": 10000, "adjustment": "raw", "feed": "sip", "sort": "asc"}
        for page in client.paginate("/v2/stocks/bars", params=query, data_selector="bars"):
            for name, rows in (page[0] if page else {}).items():
                table = pa.Table.from_pylist(rows, schema=wire)
                table = table.set_column(0, "t", table["t"].cast(pa.timestamp("us", "UTC")))
                yield table.append_column("symbol", pa.array([name] * len(rows), pa.string()))

    pipeline = dlt.pipeline(
        "minutes", pipelines_dir=str(Path(out) / "state"), dataset_name="bars",
        destination=dlt.destinations.filesystem(bucket_url=(Path(out) / "files").as_uri()))
    said = {}
    try:
        pipeline.run(bars(), loader_file_format="parquet")
    except Exception as e:  # noqa: BLE001, what it is stands in the figures
        said["failed"] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
    trace = pipeline.last_trace.last_normalize_info if pipeline.last_trace else None
    counts = trace.row_counts if trace else {}
    said["rows"] = sum(n for name, n in counts.items() if not name.startswith("_dlt"))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
