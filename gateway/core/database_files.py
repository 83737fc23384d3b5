"""The names of what lies beside the database: nothing else may have one of them."""

from __future__ import annotations

BESIDE = {
    "": "the database",
    "-wal": "the database's WAL",
    "-shm": "the database's shared memory",
    "-journal": "the database's journal",
    ".lock": "the database's lock",
    ".refused": "the refused requests",
    ".refused-journal": "the journal of the refused requests",
    ".addresses": "the addresses of the running gateway",
}
"""The files of a database, by what is added to its name (SQLite's own: sqlite.org/tempfiles.html)."""
