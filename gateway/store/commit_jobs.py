"""The jobs of one commit and the callers who wait for them. They know nothing of a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from gateway.core.records import NewMessage, Settlement, Stored
from gateway.store.base import Lines, Told, ToldSettled

_T = TypeVar("_T")
MOST_SETTLED = 500
"""Settlements of one commit."""


class Done(NamedTuple):
    """The callers of a work. The callback comes before the future, in the order of the commits."""

    future: asyncio.Future[Any]
    told: Callable[[Any], None] | None


class CommittedJobs(NamedTuple):
    """The result of a commit."""

    accepted: Sequence[Stored]
    """The results of the accepts that it had room for."""
    done: Sequence[Any]
    """The results of all settles, then of the works that it had time for."""
    mark: int
    """The mark of the audit lines; 0 if there are none."""
    unwritten: Sequence[bytes]
    """The lines that could not be written now."""


Work = Callable[..., Any]
"""A change that a verb makes; each engine knows what it is called with."""


class Jobs:
    """The jobs that wait for a commit, each with its caller."""

    def __init__(self) -> None:
        self.accepts: list[tuple[NewMessage, Told, Lines[Stored] | None]] = []
        self.settles: list[tuple[Settlement, ToldSettled, Lines[bool] | None]] = []
        self.works: list[tuple[Work, Done]] = []

    def __len__(self) -> int:
        return len(self.accepts) + len(self.settles) + len(self.works)

    def take(self) -> Self:
        """Take out the first jobs, at most MOST_SETTLED settlements; the others stay."""
        first = type(self)()
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

    def tell(self, accepted: Sequence[Stored], done: Sequence[Any]) -> Self:
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
        left = type(self)()
        left.accepts, left.works = self.accepts[len(accepted) :], self.works[worked:]
        return left

    def put_back(self, left: Jobs) -> None:
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

    def singles(self) -> list[Self]:
        """Return each job in a batch of its own."""
        batches = []
        for kind in ("accepts", "settles", "works"):
            for job in getattr(self, kind):
                batch = type(self)()
                getattr(batch, kind).append(job)
                batches.append(batch)
        return batches


def _tell(told: Callable[[Any], None], result: object) -> None:
    """Tell a caller. The event loop reports a bug in that, and the other callers of the commit are told all the same."""
    try:
        told(result)
    except Exception as bug:
        asyncio.get_running_loop().call_exception_handler({"message": "a bug in what follows a commit", "exception": bug})


def tell(future: asyncio.Future[_T], result: _T | Exception) -> None:
    """Give a caller its result, unless it was cancelled."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
