"""The one writer of a node: everything that waits is one transaction. A commit is never cancelled, and never guessed about.

Each transaction counts itself in the row of its node. If the connection breaks while a COMMIT is on its way, the count tells
afterwards whether it arrived. If the count went back, a fail-over lost commits that had been acknowledged: that is told, loudly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

import asyncpg
from msgspec import Struct

from gateway.core.errors import StoreError
from gateway.core.records import Settlement, Stored
from gateway.store.base import Audit
from gateway.store.commit_jobs import CommittedJobs, Jobs, Work
from gateway.store.committing import Committing
from gateway.store.counted import Changes
from gateway.store.postgres import counting, unlogged
from gateway.store.postgres.accept_messages import accept
from gateway.store.postgres.claims import Cursors
from gateway.store.postgres.connection import Connection, Session
from gateway.store.postgres.ledger_rows import PostgresLedger
from gateway.store.postgres.postgres_errors import ConnectionLost, TransactionConflict
from gateway.store.postgres.request_locks import lock_for_batch
from gateway.store.postgres.settling import settle
from gateway.store.steps import accepted_steps, settled_steps

_T = TypeVar("_T")
WORK_SECONDS: Final = 0.1
"""Seconds from the start of a commit in which it starts works, such as changes by people; the others wait for the next one."""
_TRIES: Final = 5
"""Times that one job is tried which loses against other nodes again and again."""


class Unclear(Struct, frozen=True):
    """A commit of which nobody knows yet whether it arrived."""

    commit: int
    lines: tuple[bytes, ...]
    """Its audit lines, if it did."""
    result: CommittedJobs
    """Its result, without these lines."""


class PostgresCommits(Committing[Jobs]):
    """The writing session and all that waits for it; `run` has to run for anything to be committed."""

    def __init__(
        self,
        session: Session,
        node: int,
        commits: int,
        *,
        retention: float,
        audit: Audit,
        on_commit: Callable[[int, float], None],
        told: Callable[..., object],
        on_connection: Callable[[Connection], Awaitable[None]],
        look: Callable[[], Awaitable[None]],
    ) -> None:
        """
        Args:
            node: the number of this node.
            commits: the number of its last commit.
            told: called with `store.lost` and its facts if acknowledged commits are gone.
            on_connection: called with each new connection, before its first commit; it raises StoreError if there may be none.
            look: called about once a second, beside the commits; what it raises ends the store.
        """
        super().__init__(Jobs(), retention=retention, audit=audit, on_commit=on_commit)
        self.session = session
        self.node = node
        self.ledger = PostgresLedger()
        self.cursors = Cursors()
        self._told = told
        self._on_connection = on_connection
        self._look_beside = look
        self._commits = commits
        self._compared: Connection | None = None
        """The connection on which the count was found to be right."""
        self._unclear: Unclear | None = None
        self._earliest: dict[str, int] = {}
        """The earliest due time of the deliveries that the transaction in progress queues, by sink."""

    async def change(self, work: Callable[[Connection, Changes], Awaitable[_T]], told: Callable[[_T], None] | None = None) -> _T:
        """Run a function in the next commit that has time for it; `told` gets the result as soon as it is committed."""
        return cast("_T", await self._add(work, told))

    @property
    def all_clear(self) -> bool:
        """Every commit is known to have arrived, or not to."""
        return self._unclear is None

    async def settle_unclear(self) -> None:
        """Find out whether a commit arrived whose connection broke, and write its lines if it did. Raises StoreError."""
        await self.session.run(self._compare)

    async def _look(self) -> None:
        await self._look_beside()
        if self._unclear is not None and not self._waiting:
            try:
                await self.settle_unclear()
            except StoreError as error:
                self.trouble = str(error)
            else:
                self.trouble = None

    def _nothing(self) -> Work:
        return nothing

    async def _after(self) -> str | None:
        return None

    async def _transact(self, batch: Jobs, logged_to: int) -> CommittedJobs:
        for tries in range(1, _TRIES + 1):
            try:
                # The shield lets the transaction end by itself if the writer is cancelled: a cancelled COMMIT tells nothing.
                return await asyncio.shield(self.session.run(partial(self._run, batch, logged_to)))
            except TransactionConflict as conflict:
                if len(batch) > 1:
                    raise  # each job again, alone
                if tries == _TRIES:
                    raise StoreError(f"other nodes change the same rows at the same time ({conflict}): try again") from conflict
            except ConnectionLost:
                if (unclear := self._unclear) is None or not await self.session.run(self._compare):
                    raise
                return unclear.result
        raise AssertionError("the last try returns or raises")

    async def _run(self, batch: Jobs, logged_to: int, connection: Connection) -> CommittedJobs:
        """Run one transaction: the accepts that it has room for, all settles, and the works that begin within WORK_SECONDS."""
        if self._compared is not connection:
            await self._compare(connection)
        commit = self._commits + 1
        self.ledger.begin()
        await connection.execute("BEGIN")
        try:
            accepted, done, mark = await self._fill(connection, batch, commit, logged_to)
        except BaseException:
            self.ledger.rolled_back()
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
        lines = tuple(batch.lines(accepted, done))
        self._unclear = Unclear(commit, lines, CommittedJobs(accepted, done, mark, ()))
        try:
            warning = await _commit(connection)
        except BaseException:
            self.ledger.rolled_back()
            self._compared = None
            if not connection.is_closed():  # the server said no
                self._unclear = None
            raise
        self._unclear, self._commits = None, commit
        self.ledger.committed()
        self._lower_cursors()
        unwritten = await asyncio.to_thread(self._audit.write_now, lines) if lines else ()
        if warning:
            # The transaction is on this server alone: its lines are true, but nobody may count on it after a fail-over.
            self._audit.add(unwritten)
            self._audit.mark(mark)
            raise StoreError(f"the standby did not confirm a commit ({warning}): it is lost if this server fails now")
        return CommittedJobs(accepted, done, mark, unwritten)

    def _lower_cursors(self) -> None:
        for sink, due_ms in self._earliest.items():
            self.cursors.lower(sink, (due_ms, 0))

    async def _fill(
        self, connection: Connection, batch: Jobs, commit: int, logged_to: int
    ) -> tuple[Sequence[Stored], list[Any], int]:
        until = asyncio.get_running_loop().time() + WORK_SECONDS
        changes = Changes()
        news = [new for new, *_ in batch.accepts]
        settlements: list[Settlement] = [settlement for settlement, *_ in batch.settles]
        requests = {new.message.sr_uuid.encode() for new in news if new.message.sr_uuid}
        await lock_for_batch(connection, requests, [(one.seq, one.sink) for one in settlements])
        accepted, self._earliest = await accept(connection, news, self.node, self.retention, changes, self.ledger)
        done: list[Any] = [*await settle(connection, settlements, changes)]
        steps = accepted_steps(accepted) + settled_steps(settlements, done)
        mark = await unlogged.count_and_note(connection, self.node, commit, steps)
        for number, (work, _) in enumerate(batch.works):
            if number and asyncio.get_running_loop().time() >= until:
                break
            done.append(await work(connection, changes))
        if batch.works:
            mark = await unlogged.newest(connection, self.node)  # a work may keep steps of its own
        await self.ledger.write(connection)
        await counting.count(connection, changes, self.node)
        if logged_to:
            await unlogged.forget(connection, self.node, logged_to)
        return accepted, done, mark

    async def _compare(self, connection: Connection) -> bool:
        """Compare the count of commits with that of the database, on a connection that has not been compared yet.

        Returns True if an unclear commit arrived; its lines are written then, as far as they can be written now.
        """
        await self._on_connection(connection)
        found = await unlogged.commits(connection, self.node)
        unclear, self._unclear = self._unclear, None
        if arrived := unclear is not None and found == unclear.commit:
            assert unclear is not None
            self._audit.add(await asyncio.to_thread(self._audit.write_now, unclear.lines))
            self._lower_cursors()
            self._audit.mark(unclear.result.mark)
        elif found < self._commits:
            self._told("store.lost", expected=self._commits, found=found)
        self._commits, self._compared = found, connection
        return arrived


async def _commit(connection: Connection) -> str | None:
    """Commit; return the warning with which PostgreSQL tells that the wait for a synchronous standby was cancelled."""
    warnings: list[str] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.sqlstate == "01000":
            warnings.append(str(message.message))

    connection.add_log_listener(hear)
    try:
        await connection.execute("COMMIT")
    finally:
        connection.remove_log_listener(hear)
    return warnings[0] if warnings else None


async def nothing(connection: Connection, changes: Changes) -> None:
    """Change nothing: a commit that holds only this still forgets the steps whose lines are written."""
