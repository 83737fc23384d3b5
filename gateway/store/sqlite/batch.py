"""One batch: the jobs of one commit and the callers who wait for them. Bounded in rows and in time, so that nobody waits long.

It never decides when to commit; `group_commit` does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.core.records import NewMessage, Settlement, Stored
from gateway.store.base import Lines, Told, ToldSettled
from gateway.store.sqlite import accept_settle, counting, unlogged
from gateway.store.sqlite.judging import Ledger

WORK_SECONDS = 0.02
"""Seconds from the start of a commit in which it starts works, such as changes by people; the others wait for the next one."""
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
        """Take out the first jobs, at most MOST_SETTLED settlements; the others stay."""
        first = Batch()
        first.accepts, self.accepts = self.accepts, []
        first.settles, self.settles = self.settles[:MOST_SETTLED], self.settles[MOST_SETTLED:]
        first.works, self.works = self.works, []
        return first

    def lines(self, accepted: Sequence[Stored], done: Sequence[Any]) -> list[bytes]:
        """Make the audit lines about the results of a commit, in the writer's thread: of the accepts, then of the settles."""
        made: list[bytes] = []
        for (_, _, lines), stored in zip(self.accepts, accepted, strict=False):  # the others wait for the next commit
            if lines is not None:
                made += lines(stored)
        for (_, _, lines_settled), in_time in zip(self.settles, done, strict=False):  # the results of works follow
            if lines_settled is not None:
                made += lines_settled(in_time)
        return made

    def tell(self, accepted: Sequence[Stored], done: Sequence[Any]) -> Batch:
        """Tell the callers the results of a commit: of the accepts, and of the settles and works in their order.

        Returns the accepts that it had no room for, and the works that it had no time for; their callers still wait.
        """
        for (_, told, _), stored in zip(self.accepts, accepted, strict=False):
            _tell(told, stored)
        settled = len(self.settles)
        for (_, told_settled, _), in_time in zip(self.settles, done[:settled], strict=True):
            _tell(told_settled, in_time)
        worked = len(done) - settled
        for (_, one), result in zip(self.works[:worked], done[settled:], strict=True):
            if one.told is not None:
                _tell(one.told, result)
            if not one.future.done():
                one.future.set_result(result)
        left = Batch()
        left.accepts, left.works = self.accepts[len(accepted) :], self.works[worked:]
        return left

    def put_back(self, left: Batch) -> None:
        """Put jobs that a commit left before all others."""
        self.accepts[:0] = left.accepts
        self.works[:0] = left.works

    def fail(self, error: Exception) -> None:
        """Tell every caller once that nothing was committed; nothing is left in the batch then."""
        accepts, settles, works = self.accepts, self.settles, self.works
        self.accepts, self.settles, self.works = [], [], []
        for _, told, _ in accepts:
            _tell(told, error)
        for _, told_settled, _ in settles:
            _tell(told_settled, error)
        for _, one in works:
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
        self, connection: sqlite3.Connection, retention: float, logged_to: int, seconds: Callable[[], float], ledger: Ledger
    ) -> tuple[list[Stored], list[Any], int]:
        """Run one transaction, in the writer's thread: the accepts that it has room for, all settles, and the works that begin
        within WORK_SECONDS.

        Args:
            logged_to: the audit log has the lines up to this mark, see `unlogged`; 0 if it has no more than at the last commit.
            seconds: a monotonic clock; the first work begins whatever it says.
        Returns the results as `tell` takes them, and the mark of the lines to be written now; 0 if there are none.
        """
        changes: counting.Changes = counting.Changes()
        ledger.begin()
        connection.execute("BEGIN IMMEDIATE")
        until = seconds() + WORK_SECONDS
        try:
            accepted = accept_settle.accept(connection, [new for new, *_ in self.accepts], retention, changes, ledger)
            settlements = [settlement for settlement, *_ in self.settles]
            done: list[Any] = [*accept_settle.settle(connection, settlements, changes)]
            mark = unlogged.note(connection, unlogged.accepted(accepted) + unlogged.settled(settlements, done))
            for number, (work, _) in enumerate(self.works):
                if number and seconds() >= until:
                    break
                done.append(work(connection, changes))
            if self.works:
                mark = unlogged.newest(connection)  # a work may keep steps of its own
            ledger.flush_some(connection)
            counting.count(connection, changes)
            if logged_to:
                unlogged.forget(connection, logged_to)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            ledger.rolled_back()
            raise
        ledger.committed()
        return accepted, done, mark


def _tell(told: Callable[[Any], None], result: object) -> None:
    """Tell a caller. The event loop reports a bug in that, and the other callers of the commit are told all the same."""
    try:
        told(result)
    except Exception as bug:
        asyncio.get_running_loop().call_exception_handler({"message": "a bug in what follows a commit", "exception": bug})
