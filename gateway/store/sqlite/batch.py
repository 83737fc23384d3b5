"""One batch: the jobs of one commit and the callers who wait for them. Bounded in rows and in time, so that nobody waits long.

It never decides when to commit; `group_commit` does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.core.records import Accepted, NewMessage, Settlement, Stored
from gateway.store.base import Lines, Told, ToldSettled
from gateway.store.sqlite import accept_settle, counting, unlogged, watch_rows

WORK_SECONDS = 0.02
"""Seconds from the start of a commit in which it starts works, such as changes by people; the others wait for the next one."""
MOST_ACCEPTED = 1000
"""Rows of one commit, messages and deliveries together; a single message may have more."""
MOST_SETTLED = 500
"""Settlements of one commit."""


class Done(NamedTuple):
    """The callers of a work. The callback comes before the future, in the order of the commits."""

    future: asyncio.Future[Any]
    told: Callable[[Any], None] | None


Work = Callable[[sqlite3.Connection, counting.Changes], Any]


class Batch:
    """The jobs that wait for a commit, each with its caller."""

    def __init__(self) -> None:
        self.accepts: list[tuple[NewMessage, Told, Lines[Stored] | None]] = []
        self.settles: list[tuple[Settlement, ToldSettled, Lines[bool] | None]] = []
        self.works: list[tuple[Work, Done]] = []

    def __len__(self) -> int:
        return len(self.accepts) + len(self.settles) + len(self.works)

    def take(self) -> Batch:
        """Take out as many of the first jobs as one commit may hold; the others stay."""
        first = Batch()
        rows = number = 0
        for new, *_ in self.accepts:
            rows += 1 + len(new.deliveries)
            if number and rows > MOST_ACCEPTED:
                break
            number += 1
        first.accepts, self.accepts = self.accepts[:number], self.accepts[number:]
        first.settles, self.settles = self.settles[:MOST_SETTLED], self.settles[MOST_SETTLED:]
        first.works, self.works = self.works, []
        return first

    def lines(self, accepted: Sequence[Stored], done: Sequence[Any]) -> list[bytes]:
        """Make the audit lines about the results of a commit, in the writer's thread: of the accepts, then of the settles."""
        made: list[bytes] = []
        for (_, _, lines), stored in zip(self.accepts, accepted, strict=True):
            if lines is not None:
                made += lines(stored)
        for (_, _, lines_settled), in_time in zip(self.settles, done, strict=False):  # the results of works follow
            if lines_settled is not None:
                made += lines_settled(in_time)
        return made

    def tell(self, accepted: Sequence[Stored], done: Sequence[Any]) -> list[tuple[Work, Done]]:
        """Tell the callers the results of a commit: of the accepts, and of the settles and works in their order.

        Returns the works that the commit had no time for; their callers still wait.
        """
        for (_, told, _), stored in zip(self.accepts, accepted, strict=True):
            told(stored)
        settled = len(self.settles)
        for (_, told_settled, _), in_time in zip(self.settles, done[:settled], strict=True):
            told_settled(in_time)
        worked = len(done) - settled
        for (_, one), result in zip(self.works[:worked], done[settled:], strict=True):
            if one.told is not None:
                one.told(result)
            if not one.future.done():
                one.future.set_result(result)
        return self.works[worked:]

    def fail(self, error: Exception) -> None:
        """Tell every caller that nothing was committed."""
        for _, told, _ in self.accepts:
            told(error)
        for _, told_settled, _ in self.settles:
            told_settled(error)
        for _, one in self.works:
            if not one.future.done():
                one.future.set_exception(error)

    def singles(self) -> list[Batch]:
        """Return each job in a batch of its own."""
        batches = []
        for kind in ("accepts", "settles", "works"):
            for job in getattr(self, kind):
                batch = Batch()
                getattr(batch, kind).append(job)
                batches.append(batch)
        return batches

    def commit(
        self, connection: sqlite3.Connection, retention: float, logged_to: int, seconds: Callable[[], float]
    ) -> tuple[list[Stored], list[Any], int]:
        """Run one transaction, in the writer's thread: all accepts and settles, and the works that begin within WORK_SECONDS.

        Args:
            logged_to: the audit log has the lines up to this mark, see `unlogged`; 0 if it has no more than at the last commit.
            seconds: a monotonic clock; the first work begins whatever it says.
        Returns the results as `tell` takes them, and the mark of the lines to be written now; 0 if there are none.
        """
        changes: counting.Changes = counting.Changes()
        connection.execute("BEGIN IMMEDIATE")
        until = seconds() + WORK_SECONDS
        try:
            accepted = accept_settle.accept(connection, [new for new, *_ in self.accepts], retention, changes)
            self._keep_companions(connection, accepted)
            settlements = [settlement for settlement, *_ in self.settles]
            done: list[Any] = [*accept_settle.settle(connection, settlements, changes)]
            mark = unlogged.note(connection, unlogged.accepted(accepted) + unlogged.settled(settlements, done))
            for number, (work, _) in enumerate(self.works):
                if number and seconds() >= until:
                    break
                done.append(work(connection, changes))
            if self.works:
                mark = unlogged.newest(connection)  # a work may keep steps of its own
            counting.count(connection, changes)
            if logged_to:
                unlogged.forget(connection, logged_to)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return accepted, done, mark

    def _keep_companions(self, connection: sqlite3.Connection, accepted: Sequence[Stored]) -> None:
        """Write what belongs to the accepted messages that are new."""
        companions = [
            one
            for (new, *_), stored in zip(self.accepts, accepted, strict=True)
            if new.companions and isinstance(stored, Accepted)
            for one in new.companions
        ]
        if companions:
            watch_rows.keep(connection, companions)
