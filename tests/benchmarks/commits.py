"""Prints the median of a plain commit of SQLite in microseconds, as durable as the gateway's: WAL and `synchronous=FULL`.

Each commit inserts one row of 800 bytes.

    python -m tests.benchmarks.commits FOLDER SECONDS
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median

_INSERT = "INSERT INTO rows (body) VALUES (zeroblob(800))"
_FILLING = 1200
"""Commits of a page or two each: more than the 1,000 pages after which SQLite makes a checkpoint."""


def commit_seconds(folder: Path, seconds: float) -> list[float]:
    """Commit for some seconds, and return how long each commit took."""
    taken = []
    with closing(sqlite3.connect(folder / "commits.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        # Fill the write-ahead log until SQLite begins it again: a commit that makes the file longer takes longer.
        connection.execute("PRAGMA synchronous = OFF")
        for _ in range(_FILLING):
            connection.execute(_INSERT)
        connection.execute("PRAGMA synchronous = FULL")
        until = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < until:
            connection.execute(_INSERT)
            taken.append(time.perf_counter() - begun)
    return taken


if __name__ == "__main__":
    print(median(commit_seconds(Path(sys.argv[1]), float(sys.argv[2]))) * 1e6)
