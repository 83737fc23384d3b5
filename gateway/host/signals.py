"""The signals of this process. Only this module handles them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

_INTERRUPTED = 130
"""128 + SIGINT, the exit code that shells use."""

_ON_SIGNAL = ctypes.CFUNCTYPE(None, ctypes.c_int)
_kept: list[object] = []
"""Callbacks that C code may call until the process ends, so they must not be garbage-collected."""


@contextmanager
def signals_call(stop: Callable[[], None], reload: Callable[[], None], *, last: bool = False) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT, and `reload` on SIGHUP, in the running event loop, until the context is left.

    Args:
        last: The process ends afterwards. Signals are then ignored, so that another one cannot spoil a clean end.
    """
    loop = asyncio.get_running_loop()
    calls = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    # The loop's own handlers are not used for these: it removes them by restoring the default, so a signal at that instant would
    # kill the process. The loop must still handle one signal, or asyncio does not wake up; SIGURG is harmless (signal(7)).
    loop.add_signal_handler(signal.SIGURG, lambda: None)
    _drop_wakeups_beyond_the_buffer()
    before = {number: _handle(number, partial(loop.call_soon_threadsafe, called)) for number, called in calls.items()}
    try:
        yield
    finally:
        for number in calls:
            signal.signal(number, signal.SIG_IGN if last else before[number])
        loop.remove_signal_handler(signal.SIGURG)


@contextmanager
def suspensions_call(before: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Call `before` when Ctrl-Z is about to suspend this process, and `after` when it goes on, until the context is left.

    Both are called in the running event loop. `after` is also called if the process goes on in the background, and again when the
    shell brings it to the foreground.
    """
    loop = asyncio.get_running_loop()

    def suspend() -> None:
        before()
        # Only the default suspends, and it knows when it must not: nothing could resume a process without a shell (POSIX,
        # "orphaned process group").
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        after()

    loop.add_signal_handler(signal.SIGTSTP, suspend)
    loop.add_signal_handler(signal.SIGCONT, after)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGCONT)


def _drop_wakeups_beyond_the_buffer() -> None:
    """Let the interpreter say nothing when signals come faster than the loop reads its wake-ups: one that waits is enough.

    By default it reports that from inside the C handler, and takes a lock for it that the code below may hold: the process then
    hangs for good (`_PyEval_AddPendingCall` in CPython 3.11).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_reload() -> None:
    """Ignore SIGHUP during a start. The configuration is being read anyway, and the default would end the process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def end_on_bus_error(line: str, status: int) -> None:
    """Write a line to stderr and end the process at once when a mapped file is truncated (SIGBUS).

    A signal handler of Python only sets a flag, so the same instruction would fail again without end. This handler is called
    directly, in the thread that failed. SQLite releases the interpreter lock while it works, so the thread can take it here.

    Args:
        status: The exit code.
    """
    said = f"{line}\n".encode()

    def end(_: int) -> None:
        with suppress(OSError, ValueError):
            if select.select([], [2], [], 0)[1]:  # only if a write would not block
                os.write(2, said)
        os._exit(status)

    handler = _ON_SIGNAL(end)
    _kept.append(handler)
    listen = ctypes.CDLL(None).signal
    listen.argtypes, listen.restype = (ctypes.c_int, _ON_SIGNAL), ctypes.c_void_p
    listen(signal.SIGBUS, handler)


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, with exit code 130. Only for a command that reads and has nothing to clean up."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))


def end_as_on_interrupt() -> None:
    """Let SIGTERM (`timeout`) and SIGHUP (a terminal that closes) end a command as Ctrl-C does, so that it cleans up.

    If the command has an event loop, call this inside it: asyncio answers Ctrl-C by cancelling the main task, while an exception
    at an arbitrary point can get lost.
    """
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.SIG_IGN:  # a script runs the command in the background, and still ends it with SIGTERM
        interrupted = signal.default_int_handler
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it on purpose
            signal.signal(number, interrupted)


def end_with_input() -> None:
    """Stop this process, as SIGTERM does, when its standard input ends. The process that started it holds the other end."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="input", daemon=True).start()


def _handle(number: signal.Signals, call: Callable[[], object]) -> Any:
    """Install a signal handler and return the previous one. Interrupted system calls are restarted (siginterrupt(3))."""
    before = signal.signal(number, lambda *_: call())
    signal.siginterrupt(number, False)
    return before
