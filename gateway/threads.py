"""Blocking calls in threads that nobody has to wait for, not even the end of the process.

The loop's own pool is shared: a few names that DNS does not answer for, or one file on a network disk that hangs, would take
its threads, and every other sink would wait for them (promise 5).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

_T = TypeVar("_T")


async def detached(function: Callable[[], _T], name: str) -> _T:
    """Run a blocking function in a thread of its own. Cancelling the await does not stop the function."""
    return await started(function, name)


@contextmanager
def politely(seconds: float = 0.0001) -> Iterator[None]:
    """Let a thread that computes give way to the loop within about `seconds`, in place of Python's 5 ms.

    The loop has to get the interpreter back after each wait for input, several times for one delivery: by 5 ms each time,
    one busy thread slows every delivery tenfold.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Pauses:
    """Rests of a thread that computes, a few times as long as its work between them: what the loop has to do goes first.

    To be called often. A delivery that arrives meanwhile is held up by one piece of that work at most, or by none.
    """

    work = 0.0005
    """Seconds of work in one go."""
    rest = 0.002
    """Seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self._never = threading.Event()

    def __call__(self) -> None:
        if self._monotonic() - self._since >= self.work:
            self._never.wait(self.rest)
            self._since = self._monotonic()


def started(function: Callable[[], _T], name: str) -> asyncio.Future[_T]:
    """Begin a blocking function in a thread of its own.

    The future is done when the function has ended; where an await of it may be cancelled, shield it. It is no task, so the end
    of the loop does not cancel it, and nobody has to look at its error.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    future.add_done_callback(_seen)

    def run() -> None:
        failed: BaseException
        try:
            result = function()
        except BaseException as error:  # whatever it is, it belongs to who awaits
            failed = error
            if isinstance(error, StopIteration):  # a future takes none, and would never be done
                failed = RuntimeError("a blocking function raised StopIteration")
                failed.__cause__ = error
            _deliver(loop, future, lambda waiting: waiting.set_exception(failed))
        else:
            _deliver(loop, future, lambda waiting: waiting.set_result(result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _deliver(loop: asyncio.AbstractEventLoop, future: asyncio.Future[_T], settle: Callable[[asyncio.Future[_T]], None]) -> None:
    def in_loop() -> None:
        if not future.done():
            settle(future)

    with suppress(RuntimeError):  # the loop has ended meanwhile, and with it whoever waited
        loop.call_soon_threadsafe(in_loop)


def _seen(future: asyncio.Future[Any]) -> None:
    """Else asyncio complains, with a traceback, of the error of a call that was given up."""
    if not future.cancelled():
        future.exception()
