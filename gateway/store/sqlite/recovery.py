"""Checks before SQLite opens a database: a killed process, or a person with `cp` and `rm`, may have left wrong files.

The files are read by hand, which is safe only before SQLite opens them: closing a file that SQLite has open would drop SQLite's
POSIX locks (sqlite.org/howtocorrupt.html, section 2.2). A file that may belong to another program is never written to.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.core.errors import StoreCorrupt, StoreFailed
from gateway.store.sqlite.migrations import APPLICATION_ID

_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_BUSY_SECONDS = 2.0


def roll_back(path: Path) -> None:
    """Let SQLite undo a transaction that a killed process left in a rollback journal. Only the holder of the lock may call it.

    The gateway writes such a journal once in the life of a file: when SQLite switches it to WAL. A read-only connection cannot
    roll it back (SQLITE_READONLY_ROLLBACK), so this comes before the first look. Blocks on the disk.
    Raises StoreCorrupt if the database may belong to another program: both files stay as they are. SQLite's errors pass.
    """
    journal = path.with_name(f"{path.name}-journal")
    # SQLite's own rule for a hot journal (sqlite.org/lockingv3.html, section 4.2).
    if not path.exists() or _beginning(journal, 1) in (b"", b"\0"):
        return
    if not _is_ours(_beginning(path, 105), _beginning(journal, 20)):
        raise StoreCorrupt(
            f"{path}: another program was killed while it wrote to this database, and {journal.name} beside it undoes that;"
            " both were left as they are: name another file under [store] path"
        )
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def check_header(path: Path) -> None:
    """Raise StoreCorrupt if the file is not a database, or is beside the write-ahead log of another database."""
    wal = path.with_name(f"{path.name}-wal")
    header = _beginning(path, 20)
    if header and header[:16] != _MAGIC:
        raise StoreCorrupt(f"{path}: is not an SQLite database; it was left as it is")
    if not (wal.exists() and wal.stat().st_size):
        return
    move = f"move {wal.name} and {path.name}-shm away, and start again"
    if not header:  # SQLite would delete the log: a database has its first page before its log has a first frame
        raise StoreCorrupt(
            f"{path} is {'empty' if path.exists() else 'gone'}, and {wal.name} beside it holds messages of the database that was"
            f" there: put that back; or, to begin with a new one, {move}"
        )
    # Bytes 18 and 19 are 2 from before the first frame of a log is written until after the log is removed
    # (sqlite.org/fileformat2.html, section 1.3.3). A backup has 1 there, and SQLite would put the old log's pages into it.
    if header[18:20] == b"\1\1":
        raise StoreCorrupt(
            f"{path} is a restored backup, and {wal.name} beside it belongs to the database that was there before: {move}"
        )


def _is_ours(header: bytes, journal: bytes) -> bool:
    """Return True if the database belongs to the gateway, or was just being made and is still empty.

    sqlite.org/fileformat2.html, sections 1.3 and 1.6; a journal's header has at byte 16 the pages that there were before.
    """
    if header[:16] != _MAGIC:
        was_empty = journal[:8] == _JOURNAL_MAGIC and journal[16:20] == bytes(4)
        return not header.strip(b"\0") and (not header or was_empty)
    no_table = header[100:101] == b"\x0d" and header[103:105] == bytes(2)
    return header[68:72] == APPLICATION_ID.to_bytes(4, "big") or (header[68:72] == bytes(4) and no_table)


def _beginning(path: Path, size: int) -> bytes:
    """Read the first bytes of a file; none if it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror}") from None
