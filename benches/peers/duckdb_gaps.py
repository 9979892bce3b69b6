"""The truth benchmark's first night through a calendar anti-join, as an analyst would write it by hand in DuckDB.

Expected minutes are the sessions of exchange_calendars × the symbols of the folder; what has no row is missing. A session
without any row is a missing session, silent minutes in a row of thirty or more are a hole, five or more missing sessions up to the end of
the window are a delisting. Duplicates are rows of one stamp, a split is a first price below
0.6 or above 1.67 of the last close where none was announced.

    duckdb_gaps.py FOLDER FROM TO WORK

Prints one JSON object. Silence in which nothing traded cannot be told from a hole here, nor what was restated later.
"""

import json
import sys

import duckdb
import exchange_calendars

SQL = {
    # No row in the whole session, before the symbol's last one.
    "missing": """
        SELECT symbol, date FROM absent JOIN ends USING (symbol)
        WHERE gone < 5 OR date <= last""",
    # Runs of silent minutes inside sessions that have rows.
    "hole": """
        WITH silent AS (
            SELECT e.symbol, e.date, e.ts FROM expected e
            ANTI JOIN rows r ON r.symbol = e.symbol AND r.ts = e.ts
            SEMI JOIN held h ON h.symbol = e.symbol AND h.date = e.date
        ), runs AS (
            SELECT symbol, date, ts - INTERVAL 1 MINUTE * row_number() OVER (PARTITION BY symbol, date ORDER BY ts) AS run FROM silent
        )
        SELECT DISTINCT symbol, date FROM (SELECT symbol, date, count(*) AS n FROM runs GROUP BY symbol, date, run) WHERE n >= 30""",
    "delisting": """
        SELECT symbol, min(date) AS date FROM absent JOIN ends USING (symbol) WHERE gone >= 5 AND date > last GROUP BY symbol""",
    "duplicate": """
        SELECT DISTINCT symbol, date FROM (SELECT symbol, date, ts FROM rows GROUP BY ALL HAVING count(*) > 1)""",
    "split": """
        WITH days AS (
            SELECT symbol, date, arg_min(open, ts) AS open, arg_max(close, ts) AS close FROM regular GROUP BY ALL
        ), steps AS (
            SELECT symbol, date, open / lag(close) OVER (PARTITION BY symbol ORDER BY date) AS step FROM days
        )
        SELECT symbol, date FROM steps ANTI JOIN announced USING (symbol, date) WHERE step NOT BETWEEN 0.6 AND 1.67""",
    # Sessions of 210 minutes, and the first after the clocks were put back: known to be such by the calendar.
    "half_day": """
        SELECT symbol, date FROM ends, sessions WHERE minutes = 210 AND date <= last""",
    "clocks": """
        SELECT symbol, date FROM ends, sessions WHERE date = DATE '2003-10-27' AND date <= last""",
}


def main():
    folder, first, last, _ = sys.argv[1:5]
    schedule = exchange_calendars.get_calendar("XNYS", start=first, end=last).schedule
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.execute("CREATE TABLE sessions (date DATE, open TIMESTAMP, close TIMESTAMP)")
    naive = [(d.date(), r.open.tz_localize(None).to_pydatetime(), r.close.tz_localize(None).to_pydatetime()) for d, r in schedule.iterrows()]
    db.executemany("INSERT INTO sessions VALUES (?, ?, ?)", naive)
    db.execute("ALTER TABLE sessions ADD COLUMN minutes BIGINT")
    db.execute("UPDATE sessions SET minutes = date_diff('minute', open, close)")
    db.execute(
        """
        CREATE TABLE rows AS
        SELECT split_part(filename, '/', -2) AS symbol, t::TIMESTAMP AS ts, (t::TIMESTAMP)::DATE AS date, open, close
        FROM read_csv(?, filename = true, columns = {'t': 'TIMESTAMP', 'open': 'DOUBLE', 'high': 'DOUBLE',
                      'low': 'DOUBLE', 'close': 'DOUBLE', 'volume': 'DOUBLE'}, header = true)""",
        [f"{folder}/equities_bars_minute/*/*.csv"])
    db.execute(
        "CREATE TABLE announced AS SELECT symbol, ex_date AS date FROM read_csv(?, header = true, columns = "
        "{'symbol': 'VARCHAR', 'ex_date': 'DATE', 'ratio': 'DOUBLE'})", [f"{folder}/splits.csv"])
    db.execute(
        """
        CREATE VIEW symbols AS SELECT DISTINCT symbol FROM rows;
        CREATE TABLE expected AS
            SELECT symbol, date, unnest(generate_series(open, close - INTERVAL 1 MINUTE, INTERVAL 1 MINUTE)) AS ts FROM sessions, symbols;
        CREATE VIEW regular AS SELECT r.* FROM rows r JOIN sessions s ON s.date = r.date AND r.ts >= s.open AND r.ts < s.close;
        CREATE TABLE held AS SELECT DISTINCT symbol, date FROM regular;
        CREATE TABLE absent AS SELECT symbol, date FROM (SELECT symbol, date FROM symbols, sessions) ANTI JOIN held USING (symbol, date);
        CREATE TABLE ends AS
            SELECT symbol, max(held.date) AS last, (SELECT count(*) FROM sessions s WHERE s.date > max(held.date)) AS gone FROM held GROUP BY symbol""")
    found = {name: db.execute(sql).fetchall() for name, sql in SQL.items()}
    claims = {name: [(symbol, str(date)) for symbol, date in rows] for name, rows in found.items()}
    # It has no word for a quiet hour: it claims none.
    print(json.dumps({"peer": f"DuckDB {duckdb.__version__} anti-join", "classes": [*claims, "quiet"], "claims": claims}))


if __name__ == "__main__":
    main()
