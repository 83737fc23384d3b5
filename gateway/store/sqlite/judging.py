"""The ledger in the writer: each message is judged by the row of its service request, in the transaction that accepts it.

A row is not written with its messages: rows that come in no order would cost a page each. Facts and the link to the request's
message before stand beside the message (`entries`); the rows change in memory and are flushed in slices, in the order of their
numbers, so that many share a page. `ledger.flushed` says how far the rows of the file reach; after a crash, the rows of the few
messages beyond it are judged again, and come out the same. `filling` does that, and reads the messages of older databases in.

Everything here runs in the writer's thread. A transaction begins with `begin` and ends with `committed` or `rolled_back`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

from gateway.core.records import NewMessage
from gateway.store.columns import pack_signed
from gateway.store.hot_rows import HotRows, Key, Standing
from gateway.store.ledger_state import Judged, LedgerState, key_of
from gateway.store.sqlite import arrivals, request_rows
from gateway.store.sqlite.many_rows import chunks, marks, values_of

MOST_UNFLUSHED: Final = 32_768
"""Messages after which the rows are flushed. The more there are, the more rows share a page, and the longer is the start after a
crash: a second and a half for twice as many, the most that can come until a flush ends."""
MOST_UNFLUSHED_BYTES: Final = 14_000_000
"""Bytes of rows in memory after which they are flushed, however few messages came."""
FLUSHED_AT_ONCE: Final = 3072
"""Rows that one transaction flushes, and one more for each message that it accepts, so that a flush ends under any load."""


class Ledger(LedgerState):
    """The rows in memory, and the flush that writes them later than their messages."""

    def __init__(self, hot: HotRows | None = None) -> None:
        super().__init__(hot)
        self._written: list[tuple[Key, Standing]] = []
        """The rows that the transaction in progress flushes."""
        self._keys: dict[str, int] = {}
        """The numbers of the labels in `signing_keys` that are known."""
        self._queue: list[Key] = []
        """The rows of the flush in progress that are still to be written, the last one first."""
        self._target = 0
        """How far the rows of the file reach when the flush in progress is over."""
        self._accepted = 0
        """Messages that the transaction in progress accepts."""
        self._before = (0, 0, 0, True, list[Key]())

    @property
    def flushing(self) -> bool:
        """A flush is in progress, and goes on with the next commit."""
        return bool(self._queue)

    def begin(self) -> None:
        """Begin a transaction."""
        self._before = (self.next_number, self.judged_to, self.flushed_to, self.live, self._queue)

    def committed(self) -> None:
        """Take over what the transaction changed."""
        self._put_changed()
        for key, standing in self._written:
            self.hot.flushed(key, standing)
        self.hot.make_room()
        self._end()

    def rolled_back(self) -> None:
        """Forget what the transaction changed."""
        self.next_number, self.judged_to, self.flushed_to, self.live, self._queue = self._before
        self._keys = {}  # the transaction may have written some of them
        self._end()

    def _end(self) -> None:
        super()._end()
        self._written, self._accepted = [], 0

    def load(self, connection: sqlite3.Connection, keys: Collection[Key | None]) -> list[Standing | None]:
        """Return the row of each service request, as the transaction in progress has it; None if it has none.

        Rows that are not in memory are read, and are there until the transaction is over.
        """
        found, cold = self.known(keys)
        if not cold:
            return found
        self._read |= request_rows.read(connection, cold)
        return self.known(keys)[0]

    def judge(self, connection: sqlite3.Connection, batch: Sequence[NewMessage]) -> list[Judged]:
        """Judge messages in this order, and let each be routed. Changes nothing, so it may be repeated."""
        keys = [key_of(new.message) for new in batch]
        return self.judge_by(keys, self.load(connection, keys) if self.live else [None] * len(keys), batch)

    def enter(self, connection: sqlite3.Connection, accepted: Sequence[tuple[Judged, int]]) -> list[int | None]:
        """Write the entries of messages that were just accepted, each with its seq, and change the rows of their requests.

        Returns the number of the service request of each; None if it has none.
        """
        self._accepted += len(accepted)
        known_keys = self._keys.get
        entries: list[tuple[object, ...]] = []
        rows = self.entries(accepted)
        for row, (one, _) in zip(rows, accepted, strict=True):
            if (by := one.new.signed) is None:
                entries.append((*row, None, None))
            else:
                entries.append((*row, known_keys(by.key) or self._key(connection, by.key), pack_signed(by)))
        for part in chunks(entries):
            connection.execute(_insert_entries(len(part)), values_of(part))
        self.write_loose(connection)
        return [row[1] for row in rows]

    def write_loose(self, connection: sqlite3.Connection) -> None:
        """Write the reference ids by which no request is found, with their messages, and those that a request got just now."""
        for part in chunks(self._loose):
            connection.execute(
                f"INSERT INTO loose_references (reference, message) VALUES {marks(len(part))} ON CONFLICT DO NOTHING",
                values_of(part),
            )
        self._loose = []
        if self._named:
            request_rows.name(connection, self._named)
            self._named = []

    def flush_some(self, connection: sqlite3.Connection, *, all_of_them: bool = False) -> None:
        """Write a slice of the changed rows, if a flush is in progress or due.

        Args:
            all_of_them: begin a flush however few rows there are.
        """
        if not self._queue:
            if not (all_of_them or self._is_due()):
                return
            self._queue = self.hot.to_flush()
            self._target = self._before[1]
        size = FLUSHED_AT_ONCE + self._accepted
        now, self._queue = self._queue[-size:], self._queue[:-size]
        self._written = [(key, standing) for key in reversed(now) if (standing := self.standing(key)) is not None]
        request_rows.write(connection, self._written)
        if not self._queue:
            connection.execute("UPDATE ledger SET flushed = ?", (self._target,))
            arrivals.note(connection, self._target)
            self.flushed_to = self._target

    def flush_all(self, connection: sqlite3.Connection) -> None:
        """Write all changed rows, in transactions of its own."""
        while self.hot.waiting:
            self.begin()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self.flush_some(connection, all_of_them=True)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self.rolled_back()
                raise
            self.committed()

    def _key(self, connection: sqlite3.Connection, label: str) -> int:
        """Return the number of a label, which the transaction in progress writes if it is new."""
        connection.execute("INSERT INTO signing_keys (label) VALUES (?) ON CONFLICT DO NOTHING", (label,))
        number: int = connection.execute("SELECT number FROM signing_keys WHERE label = ?", (label,)).fetchone()[0]
        self._keys[label] = number
        return number

    def _is_due(self) -> bool:
        return self._before[1] - self.flushed_to >= MOST_UNFLUSHED or self.hot.unflushed_size >= MOST_UNFLUSHED_BYTES


@cache
def _insert_entries(rows: int) -> str:
    return f"INSERT INTO entries VALUES {marks(rows, '(?, ?, ?, ?, ?, ?, ?)')}"
