"""Blocking calls in daemon threads, which the process does not wait for when it ends.

The event loop's own thread pool is shared. A few DNS queries without an answer, or one file on a network disk that hangs,
would occupy its threads, and every other sink would have to wait for them (docs/design.md, promise 5).
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
    """Run a blocking function in a new thread and wait for its result. Cancelling the await does not stop the function."""
    return await start_in_thread(function, name)


@contextmanager
def short_turns(seconds: float = 0.0001) -> Iterator[None]:
    """Make a computing thread hand the interpreter to the event loop within about `seconds`, instead of Python's 5 ms.

    The event loop has to get the interpreter back after each wait for input, several times per delivery. If each time took
    5 ms, one busy thread would make every delivery ten times slower.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Pauses:
    """Pauses in the work of a computing thread, a few times longer than the work between them, so that the event loop goes first.

    Call it often. A delivery that arrives during the work waits for one piece of it at most.
    """

    work = 0.0005
    """Seconds of work between two pauses."""
    rest = 0.002
    """Seconds of one pause."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self._never = threading.Event()

    def __call__(self) -> None:
        if self._monotonic() - self._since >= self.work:
            self._never.wait(self.rest)
            self._since = self._monotonic()


def start_in_thread(function: Callable[[], _T], name: str) -> asyncio.Future[_T]:
    """Start a blocking function in a new thread.

    The future is done when the function has ended. Shield it if an await of it may be cancelled. It is not a task, so the end of
    the event loop does not cancel it, and its error need not be retrieved.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    future.add_done_callback(_seen)

    def run() -> None:
        failed: BaseException
        try:
            result = function()
        except BaseException as error:  # the caller that awaits handles every kind of error
            failed = error
            if isinstance(error, StopIteration):  # a future refuses this error, and would never be done
                failed = RuntimeError("a blocking function raised StopIteration")
                failed.__cause__ = error
            _deliver(loop, future, lambda waiting: waiting.set_exception(failed))
        else:
            _deliver(loop, future, lambda waiting: waiting.set_result(result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


class Worker(Executor):
    """One thread that runs functions in turn. The process can end without it, even in the middle of a function."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, function: Callable[..., _T], /, *args: Any, **options: Any) -> Future[_T]:
        """Queue a function. Raises RuntimeError after `shutdown`, or if the thread cannot be started."""
        if self._closed:
            raise RuntimeError(f"the thread {self._name} was shut down and accepts no more work")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        future: Future[_T] = Future()
        self._queue.put((future, partial(function, *args, **options)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more functions. Those already submitted still run; `wait` waits for them."""
        self._closed = True
        self._queue.put(None)
        if wait and self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            _settle(*item)
            del item  # free its memory while the thread waits


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

    with suppress(RuntimeError):  # the loop has ended, and the task that waited with it
        loop.call_soon_threadsafe(in_loop)


def _seen(future: asyncio.Future[Any]) -> None:
    """Mark the error of an abandoned call as retrieved. Otherwise asyncio logs it with a traceback."""
    if not future.cancelled():
        future.exception()
