"""The signals of this process: the only place that listens to them."""

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
"""128 + SIGINT, as shells have it."""

_ON_SIGNAL = ctypes.CFUNCTYPE(None, ctypes.c_int)
_kept: list[object] = []
"""What C calls for as long as the process lives."""


@contextmanager
def signals_call(stop: Callable[[], None], reload: Callable[[], None], *, last: bool = False) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `stop`, and SIGHUP `reload`, in the running event loop, while this is entered.

    Args:
        last: the process ends after this. Signals are ignored from then on: one more of them must not spoil a clean end.
    """
    loop = asyncio.get_running_loop()
    calls = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    # Not by the loop's own handlers of these: it takes them away by setting the default, and a signal of that instant kills.
    # It still has to listen for one, or asyncio's waits on after a signal; SIGURG does nothing by default (signal(7)).
    loop.add_signal_handler(signal.SIGURG, lambda: None)
    before = {number: _handle(number, partial(loop.call_soon_threadsafe, called)) for number, called in calls.items()}
    try:
        yield
    finally:
        for number in calls:
            signal.signal(number, signal.SIG_IGN if last else before[number])
        loop.remove_signal_handler(signal.SIGURG)


def ignore_reload() -> None:
    """Let SIGHUP end nothing while a start takes its time: the file has just been read, or is about to be."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def end_on_bus_error(line: str, status: int) -> None:
    """Write a line to stderr and end the process at once when a file that it has mapped is cut (SIGBUS).

    A handler of Python's only takes note of the signal, and the same instruction would fail again, for ever. This one is called
    in the thread that met it. SQLite releases the interpreter lock while it works, so that the thread can take it here.

    Args:
        status: the exit code.
    """
    said = f"{line}\n".encode()

    def end(_: int) -> None:
        with suppress(OSError, ValueError):
            if select.select([], [2], [], 0)[1]:  # else nobody reads it, and a write would wait for ever
                os.write(2, said)
        os._exit(status)

    handler = _ON_SIGNAL(end)
    _kept.append(handler)
    listen = ctypes.CDLL(None).signal
    listen.argtypes, listen.restype = (ctypes.c_int, _ON_SIGNAL), ctypes.c_void_p
    listen(signal.SIGBUS, handler)


def end_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, with 130: for a command that only reads, and has nothing to put in order first."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))


def end_as_on_interrupt() -> None:
    """Let a timer that runs out, or a terminal that closes, end a command as Ctrl-C does: what it began is put in order.

    Call it in the event loop where there is one: its own answer to Ctrl-C cancels the main task, where an exception in the middle
    of anything can get lost.
    """
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.SIG_IGN:  # a script runs the command in the background, and ends it by SIGTERM all the same
        interrupted = signal.default_int_handler
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks for
            signal.signal(number, interrupted)


def end_with_input() -> None:
    """Stop this process as SIGTERM does once its standard input ends: whoever started it holds the other end of that pipe."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="input", daemon=True).start()


def _handle(number: signal.Signals, call: Callable[[], object]) -> Any:
    """Let a signal call this; what handled it before. System calls that it interrupts go on (siginterrupt(3))."""
    before = signal.signal(number, lambda *_: call())
    signal.siginterrupt(number, False)
    return before
