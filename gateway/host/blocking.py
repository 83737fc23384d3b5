"""Blocking calls in threads that nobody has to wait for, not even the end of the process.

The loop's own pool is shared: a few names that DNS does not answer for, or one file on a network disk that hangs, would take
its threads, and every other sink would wait for them (promise 5).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


async def run_in_thread(function: Callable[[], _T], name: str) -> _T:
    """Run a blocking function in a thread of its own. Cancelling the await does not stop the function."""
    return await start_in_thread(function, name)


@contextmanager
def short_turns(seconds: float = 0.0001) -> Iterator[None]:
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


def start_in_thread(function: Callable[[], _T], name: str) -> asyncio.Future[_T]:
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


class Worker(Executor):
    """One thread that runs functions in turn. The process ends without it, in the middle of a function if need be."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, function: Callable[..., _T], /, *args: Any, **options: Any) -> Future[_T]:
        """Run a function after those submitted before it. Raises RuntimeError after `shutdown`, or if no thread can start."""
        if self._closed:
            raise RuntimeError(f"the thread {self._name} takes nothing more")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        future: Future[_T] = Future()
        self._queue.put((future, partial(function, *args, **options)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what was submitted is still run. `wait` until it has."""
        self._closed = True
        self._queue.put(None)
        if wait and self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            _settle(*item)
            del item  # nothing of it stays while the thread rests


def _settle(future: Future[_T], function: Callable[[], _T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)


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
