"""Ends what takes too long. One timer serves all waits of one place: a timer for each adds 7 % to the cost of a delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

_T = TypeVar("_T")


class Deadlines:
    """The deadlines of the tasks that are waiting in `keep`."""

    def __init__(self) -> None:
        self._ends: dict[asyncio.Task[Any], float] = {}
        """When the time of each task is over, by the clock of the event loop."""
        self._late: set[asyncio.Task[Any]] = set()
        """The tasks that were cancelled because their time was over."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        """When the timer fires: at the first end or before it. It may fire once more after the last task has ended."""

    async def keep(self, work: Awaitable[_T], end: float) -> _T:
        """Await some work in the current task, which awaits nothing else here meanwhile.

        Raises TimeoutError at `end`, in the loop's time; the work is cancelled then.
        """
        task = asyncio.current_task()
        assert task is not None and task not in self._ends
        cancelled_before = task.cancelling()
        self._ends[task] = end
        if self._timer is None or end < self._timer_at:
            self._set_timer(end)
        try:
            return await work
        except asyncio.CancelledError as error:
            # A task that is cut at the same moment stays cut, as with asyncio.timeout.
            if task in self._late and task.cancelling() == cancelled_before + 1:
                raise TimeoutError from error
            raise
        finally:
            del self._ends[task]
            if task in self._late:
                self._late.remove(task)
                task.uncancel()

    def _set_timer(self, end: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = asyncio.get_running_loop().call_at(end, self._look), end

    def _look(self) -> None:
        """Cancel the tasks whose time is over, and look again at the next end."""
        self._timer, now = None, asyncio.get_running_loop().time()
        for task, end in self._ends.items():
            if end <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        if left := [end for task, end in self._ends.items() if task not in self._late]:
            self._set_timer(min(left))
