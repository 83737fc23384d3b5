"""Group commit: everything that waits is committed as one transaction. Each engine says how; this knows no database.

The next batch gathers during the commit in progress, and under load for up to 2 ms more.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from gateway.core.errors import GatewayError, StoreCorrupt, StoreError, StoreFailed, StoreOverloaded
from gateway.core.records import NewMessage, Settlement, Stored
from gateway.store.base import MOST_WAITING, Audit, Lines, Told, ToldSettled
from gateway.store.commit_jobs import CommittedJobs, Done, Jobs, Work

GATHER_SECONDS = 0.002
"""Seconds that a commit waits at most for an event loop that goes on finding work."""
LOOK_SECONDS = 1.0
"""Seconds between two looks at what may have happened beside the commits."""
_QUIET_TURNS = 2
"""Turns without a new job until the loop has read the bytes that the kernel has: in the first turn it only learns of them."""
_Jobs = TypeVar("_Jobs", bound=Jobs)


class NoAudit:
    """Stands in for an audit log that nobody keeps: nobody makes lines either."""

    written_to = 0

    def write_now(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Write nothing."""
        return lines

    def add(self, lines: Sequence[bytes]) -> None:
        """Refuse lines: their audit log has to be given to the store."""
        if lines:
            raise RuntimeError("audit lines were given to a store that was opened without the audit log")

    def mark(self, mark: int) -> None:
        """Do nothing."""


class Committing(ABC, Generic[_Jobs]):
    """All that waits for a commit. `run` repeats `step`, which commits one batch."""

    def __init__(self, jobs: _Jobs, *, retention: float, audit: Audit, on_commit: Callable[[int, float], None]) -> None:
        """
        Args:
            retention: seconds for which a message makes duplicates.
            on_commit: called after each commit with the number of jobs in it and the seconds it took.
        """
        self.retention = retention
        self.on_commit = on_commit
        self.trouble: str | None = None
        """Why the last commit, or the work after it, failed; None if it succeeded."""
        self.may_forget = False
        """The audit log has the lines of all earlier lives, so steps may be forgotten once their lines are written."""
        self._audit = audit
        self._forgotten_to = 0
        self._waiting = jobs
        self._wake = asyncio.Event()
        self._broken: StoreError | None = None
        """Why nothing is taken any more; it never changes back to None."""
        self._finishing = False
        self._last_size = 0
        """Jobs in the last commit. A job that comes alone need not wait for others."""

    @property
    def untrusted(self) -> bool:
        """The disk or the files can no longer be trusted."""
        return isinstance(self._broken, StoreFailed | StoreCorrupt)

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        """Put a message into the next commit, see `base.Accepting.submit`."""
        if self._broken is not None:
            told(self._broken)
        elif len(self._waiting.accepts) >= MOST_WAITING:
            told(StoreOverloaded("too many messages wait for the disk"))
        else:
            self._waiting.accepts.append((new, told, lines))
            self._wake.set()

    def submit_settlement(self, settlement: Settlement, told: ToldSettled, lines: Lines[bool] | None = None) -> None:
        """Put an outcome into the next commit, see `base.Delivering.submit_settlement`."""
        if self._broken is not None:
            told(self._broken)
        else:
            self._waiting.settles.append((settlement, told, lines))
            self._wake.set()

    async def run(self) -> None:
        """Commit until `finish`. Raises StoreFailed or StoreCorrupt if the disk or the files can no longer be trusted."""
        loop = asyncio.get_running_loop()
        try:
            look_at = loop.time() + LOOK_SECONDS
            while True:
                committed = await self.step()
                if loop.time() >= look_at:
                    await self._look()
                    if not committed and self._logged_to() > self._forgotten_to:
                        self._add(self._nothing())  # no other commit is near that would forget the steps
                    look_at = loop.time() + LOOK_SECONDS
                if committed:
                    continue
                if self._finishing:
                    self._broken = StoreError("the gateway is stopping")
                    return
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(look_at):
                        await self._wake.wait()
        except BaseException as error:
            # No commit will follow: every caller that waits for one has to be told, or the process would never end.
            self._broken = self._broken or StoreError(f"the writer has ended ({type(error).__name__})")
            self._waiting.fail(self._broken)
            raise

    async def step(self) -> bool:
        """Commit one batch of what waits; False if nothing waits."""
        if not self._waiting:
            return False
        if self._last_size > 1:
            await self._gather()
        batch = self._waiting.take()
        self._last_size = len(batch)
        await self._commit(batch)
        return True

    async def _gather(self) -> None:
        """Let the event loop finish what it is doing, so that the jobs that this produces are in the same commit.

        A commit costs about as much as 20 messages, so under load few big ones leave more of the processor than many small ones.
        """
        loop, waiting = asyncio.get_running_loop(), self._waiting
        until, quiet, before = loop.time() + GATHER_SECONDS, 0, 0
        while quiet < _QUIET_TURNS and loop.time() < until:
            quiet, before = (quiet + 1 if len(waiting) == before else 0), len(waiting)
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Let `run` end once nothing waits any more."""
        self._finishing = True
        self._wake.set()

    def refuse(self) -> None:
        """Take nothing any more, and fail what still waits."""
        self._broken = self._broken or StoreError("the gateway is stopping")
        self._waiting.fail(self._broken)

    @abstractmethod
    async def _look(self) -> None:
        """Look at what may have happened beside the commits. Raises StoreFailed or StoreCorrupt if nothing can be trusted now."""

    @abstractmethod
    def _nothing(self) -> Work:
        """Return a work that changes nothing: a commit that holds only this still forgets the steps whose lines are written."""

    @abstractmethod
    async def _transact(self, batch: _Jobs, logged_to: int) -> CommittedJobs:
        """Commit a batch, and write its audit lines as far as they can be written now.

        Args:
            logged_to: forget the steps up to this mark, because the log has their lines; 0 if it has no more than before.
        """

    @abstractmethod
    async def _after(self) -> str | None:
        """Do what follows a commit, after its callers were told. Returns why that failed, if it may succeed the next time."""

    async def _commit(self, batch: _Jobs) -> None:
        """Commit a batch and tell its callers. Raises what ends the store."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        logged_to = self._logged_to()
        try:
            committed = await self._transact(batch, logged_to if logged_to > self._forgotten_to else 0)
        except (StoreFailed, StoreCorrupt) as error:
            self._broken, self.trouble = error, str(error)
            batch.fail(error)
            raise
        except asyncio.CancelledError:
            batch.fail(StoreError("the writer was stopped before it could tell whether this was committed"))
            raise
        except GatewayError as error:
            self.trouble = str(error)
            batch.fail(error)
        except Exception as error:
            # A bug in one job must not fail its neighbours: run each job once more, alone.
            if len(batch) == 1:
                batch.fail(error)
            else:
                await self._commit_each(batch)
        else:
            self.on_commit(len(batch), loop.time() - started)
            self._audit.add(committed.unwritten)
            self._waiting.put_back(batch.tell(committed.accepted, committed.done))
            self._audit.mark(committed.mark)
            self._forgotten_to = logged_to
            self.trouble = await self._after()

    def _add(self, work: Work, told: Callable[[Any], None] | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            future.set_exception(self._broken)
        else:
            self._waiting.works.append((work, Done(future, told)))
            self._wake.set()
        return future

    def _logged_to(self) -> int:
        return self._audit.written_to if self.may_forget else 0

    async def _commit_each(self, batch: _Jobs) -> None:
        singles = deque(batch.singles())
        try:
            while singles:
                await self._commit(singles.popleft())
        except BaseException as fatal:
            for single in singles:
                single.fail(fatal if isinstance(fatal, StoreError) else StoreError("the writer has ended"))
            raise
