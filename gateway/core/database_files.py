"""The names of the files that lie next to the database. No other file of the configuration may have one of them."""

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
    ".seal": "the last seal of the audit log",
}
"""The suffix of each file, and its purpose. The names of SQLite's own files are listed in sqlite.org/tempfiles.html."""
