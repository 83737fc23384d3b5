"""One batch: the jobs of one transaction of SQLite. Bounded in rows and in time, so that nobody waits long.

It never decides when to commit; `group_commit` does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from gateway.core.records import Stored
from gateway.store.commit_jobs import Jobs
from gateway.store.counted import Changes
from gateway.store.sqlite import accept_settle, counting, unlogged
from gateway.store.sqlite.judging import Ledger
from gateway.store.steps import accepted_steps, settled_steps

WORK_SECONDS = 0.02
"""Seconds from the start of a commit in which it starts works, such as changes by people; the others wait for the next one."""


class Batch(Jobs):
    """The jobs that wait for a commit, each with its caller."""

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
        changes: Changes = Changes()
        ledger.begin()
        connection.execute("BEGIN IMMEDIATE")
        until = seconds() + WORK_SECONDS
        try:
            accepted = accept_settle.accept(connection, [new for new, *_ in self.accepts], retention, changes, ledger)
            settlements = [settlement for settlement, *_ in self.settles]
            done: list[Any] = [*accept_settle.settle(connection, settlements, changes)]
            mark = unlogged.note(connection, accepted_steps(accepted) + settled_steps(settlements, done))
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
