"""The file of refused requests: an SQLite database of its own beside the store. Nothing in it is authentic.

Its errors are those of SQLite and of the file system; `refused_store` turns them into ours. It is written without fsync.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.core.kept_requests import KeptRequests, RefusedRequest
from gateway.core.signature import Claim

MOST_KEPT = 10_000
"""Requests of one source; beyond it the oldest are deleted."""
_TRIM_BYTES = 256 * 1024
"""Bytes by which the file may exceed its limits for a moment, unless a single request is larger."""
_VERSION = 1
_DAMAGED = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html)."""
_PRAGMAS = """
PRAGMA synchronous = OFF;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = TRUNCATE;
PRAGMA cache_size = -1024;
"""
_SCHEMA = f"""
CREATE TABLE refused (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    arrived_at REAL NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB NOT NULL,
    raw_id BLOB NOT NULL,
    raw_timestamp BLOB NOT NULL,
    signatures BLOB NOT NULL,
    content_type BLOB,
    body BLOB NOT NULL
);
CREATE INDEX refused_by_source ON refused (source, seq, size, arrived_at);
CREATE INDEX refused_by_digest ON refused (digest, seq);
PRAGMA user_version = {_VERSION};
"""


class RefusedFile:
    """The open file. `set_aside` is the path that a damaged file was moved to; None if none was."""

    def __init__(self, path: Path) -> None:
        """Open it, or create it so that only its user may read it (0600). Raises sqlite3.Error or OSError if that fails now."""
        self.path = path
        self.set_aside: Path | None = None
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self.begin_anew()

    def begin_anew(self) -> None:
        """Move a damaged file aside, in place of one that was moved before, and create an empty one."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.damaged")
        with suppress(FileNotFoundError):
            self.path.replace(aside)
            self.set_aside = aside
        self._journal.unlink(missing_ok=True)
        self._open()

    def replaced(self) -> bool:
        """Return True if the file was removed or replaced."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != self._inode

    def keep(self, requests: Sequence[RefusedRequest], limits: Mapping[str, int]) -> None:
        """Add requests in one transaction, and delete the oldest of each source beyond its limit in bytes and MOST_KEPT.

        Of several attempts at one message the first and the last are kept, see `store.refused`.
        """
        with self._connection as db:
            sources: set[str] = set()
            size = 0
            for number, request in enumerate(requests, 1):
                self._insert(db, request)
                sources.add(request.source)
                size += request.size
                if size >= _TRIM_BYTES or number == len(requests):
                    for source in sources:
                        self._trim(db, source, limits.get(source, 0))
                    sources.clear()
                    size = 0

    def kept(self) -> dict[str, KeptRequests]:
        """Count what is kept, by source."""
        rows = self._connection.execute(
            "SELECT source, count(*), sum(size), min(arrived_at), max(arrived_at), max(seq) FROM refused GROUP BY source"
        )
        return {source: KeptRequests(*values) for source, *values in rows}

    def page(self, source: str, after: int, last: int, most: int, most_bytes: int) -> list[RefusedRequest]:
        """Read some requests of a source beyond one seq and up to another, in the order of their arrival."""
        rows = self._connection.execute(
            "SELECT seq, size FROM refused WHERE source = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (source, after, last, most),
        ).fetchall()
        chosen: list[int] = []
        for seq, size in rows:
            most_bytes -= size
            if chosen and most_bytes < 0:
                break
            chosen.append(seq)
        return [self._request(source, seq) for seq in chosen]

    def remove(self, seqs: Sequence[int]) -> None:
        """Delete requests by their seqs."""
        with self._connection as db:
            db.executemany("DELETE FROM refused WHERE seq = ?", [(seq,) for seq in seqs])
        self._give_back()

    def forget(self, sources: Sequence[str], before: float) -> None:
        """Delete everything of these sources, and of all sources what arrived before an instant (Unix seconds)."""
        with self._connection as db:
            db.executemany("DELETE FROM refused WHERE source = ?", [(source,) for source in sources])
            db.execute("DELETE FROM refused WHERE arrived_at < ?", (before,))
        self._give_back()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def _journal(self) -> Path:
        return self.path.with_name(f"{self.path.name}-journal")

    def _open(self) -> None:
        # Without O_NONBLOCK, a pipe in its place would block until somebody reads it.
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
        there = self.path.stat()
        self._inode = (there.st_dev, there.st_ino)
        self._connection = sqlite3.connect(self.path, check_same_thread=False, timeout=1.0)
        self._connection.executescript(_PRAGMAS)
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            self._begin(version)
        damage = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if damage != ("ok",):
            raise _damaged("quick_check found damage")

    def _begin(self, version: int) -> None:
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version or tables:
            raise _damaged(f"it is of version {version}")
        self._connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")

    def _insert(self, db: sqlite3.Connection, request: RefusedRequest) -> None:
        digest, claim = request.digest, request.claim
        db.execute(
            "DELETE FROM refused WHERE digest = ?1 AND seq > (SELECT min(seq) FROM refused WHERE digest = ?1)",
            (digest,),
        )
        content_type = request.content_type.encode("utf-8", "replace") if request.content_type is not None else None
        db.execute(
            "INSERT INTO refused (source, arrived_at, size, digest, raw_id, raw_timestamp, signatures, content_type, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(request.source, request.arrived_at, request.size, digest),
                *(claim.raw_id, claim.raw_timestamp, claim.signatures, content_type, request.body),
            ),
        )

    def _trim(self, db: sqlite3.Connection, source: str, limit: int) -> None:
        count, size = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM refused WHERE source = ?", (source,)).fetchone()
        while count > MOST_KEPT or size > limit:
            rows = db.execute("SELECT seq, size FROM refused WHERE source = ? ORDER BY seq LIMIT 200", (source,)).fetchall()
            for seq, one in rows:
                if count <= MOST_KEPT and size <= limit:
                    return
                db.execute("DELETE FROM refused WHERE seq = ?", (seq,))
                count, size = count - 1, size - one

    def _request(self, source: str, seq: int) -> RefusedRequest:
        raw_id, timestamp, signatures, content_type, body, arrived_at = self._connection.execute(
            "SELECT raw_id, raw_timestamp, signatures, content_type, body, arrived_at FROM refused WHERE seq = ?", (seq,)
        ).fetchone()
        text = content_type.decode() if content_type is not None else None
        return RefusedRequest(source, arrived_at, Claim(raw_id, timestamp, signatures), text, body, seq)

    def _give_back(self) -> None:
        """Let the file shrink by the deleted rows."""
        self._connection.executescript("PRAGMA incremental_vacuum")


def is_damage(error: Exception) -> bool:
    """Tell an error of the file itself from one of the disk or of the moment."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def _damaged(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = _DAMAGED[0]
    return error
