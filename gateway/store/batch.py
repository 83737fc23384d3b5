"""What waits for one commit, and who is told of it. Knows nothing of when that happens, see `sqlite`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.store import unlogged, writes
from gateway.store.records import NewMessage, Settlement, Stored

Told = Callable[[Stored | Exception], None]


class Done(NamedTuple):
    """Who is told of a settlement or a work: the callback first, in the order of the commits, whoever waits for the future."""

    future: asyncio.Future[Any]
    told: Callable[[Any], None] | None


Work = Callable[[sqlite3.Connection, writes.Changes], Any]


class Batch:
    """What waits for the next commit, each with who is told of it."""

    def __init__(self) -> None:
        self.accepts: list[tuple[NewMessage, Told]] = []
        self.settles: list[tuple[Settlement, Done]] = []
        self.works: list[tuple[Work, Done]] = []

    def __len__(self) -> int:
        return len(self.accepts) + len(self.settles) + len(self.works)

    def tell(self, accepted: Sequence[Stored], done: Sequence[Any]) -> None:
        """Tell the results of a commit: of the accepts, and of the settles and works in their order."""
        for (_, told), stored in zip(self.accepts, accepted, strict=True):
            told(stored)
        for one, result in zip(self._waiting(), done, strict=True):
            if one.told is not None:
                one.told(result)
            if not one.future.done():
                one.future.set_result(result)

    def fail(self, error: Exception) -> None:
        for _, told in self.accepts:
            told(error)
        for one in self._waiting():
            if not one.future.done():
                one.future.set_exception(error)

    def _waiting(self) -> list[Done]:
        return [*(done for _, done in self.settles), *(done for _, done in self.works)]

    def alone(self) -> list[Batch]:
        """Each job in a batch of its own."""
        batches = []
        for kind in ("accepts", "settles", "works"):
            for job in getattr(self, kind):
                batch = Batch()
                getattr(batch, kind).append(job)
                batches.append(batch)
        return batches

    def commit(self, connection: sqlite3.Connection, retention: float, logged_to: int) -> tuple[list[Stored], list[Any], int]:
        """Run everything in one transaction, in the writer's thread.

        Args:
            logged_to: the lines up to this mark are in the audit log, see `unlogged`.
        Returns the results as `tell` takes them, and the mark of the lines to be written now.
        """
        changes: writes.Changes = writes.Changes()
        connection.execute("BEGIN IMMEDIATE")
        try:
            accepted = writes.accept(connection, [new for new, _ in self.accepts], retention, changes)
            settlements = [settlement for settlement, _ in self.settles]
            done: list[Any] = [*writes.settle(connection, settlements, changes)]
            steps = unlogged.accepted(accepted) + unlogged.settled(settlements, done)
            done += [work(connection, changes) for work, _ in self.works]
            writes.count(connection, changes)
            unlogged.note(connection, steps)
            unlogged.forget(connection, logged_to)
            mark = unlogged.newest(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return accepted, done, mark
