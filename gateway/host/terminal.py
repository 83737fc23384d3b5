"""The keys of a terminal: read one by one while a program runs, and the terminal given back as it was, however that ends."""

from __future__ import annotations

import asyncio
import os
import re
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from gateway.host.signals import suspensions_call

_LOCAL, _SPECIAL = 3, 6
"""Places of the local modes and of the special characters in the attributes of a terminal (termios(3))."""
_LOOK_SECONDS = 0.5
"""Seconds between two looks at who has the terminal, while this process is in the background."""
_KEY = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|[\x00-\x7f]|[\xc2-\xf4][\x80-\xbf]+")
"""An escape sequence (ECMA-48), a character of ASCII, or one of UTF-8."""
_NAMES = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b[F": "end", b"\x1bOF": "end"}


@contextmanager
def keys_of(stream: TextIO, pressed: Callable[[str], None]) -> Iterator[bool]:
    """Call `pressed` with each key until the context is left; yield False if the stream is no terminal.

    It needs a running event loop. Keys are characters, or `up`, `down` and `end`. Ctrl-C and Ctrl-Z stay signals. While the
    process is suspended or in the background, the terminal is the shell's, and no key is read.
    """
    keys = _Keys(stream, pressed) if _is_terminal(stream) else None
    if keys is None:
        yield False
        return
    with suspensions_call(keys.leave, keys.enter):
        keys.enter()
        try:
            yield True
        finally:
            keys.leave()


class _Keys:
    """The terminal of a process that reads keys while it is in the foreground."""

    def __init__(self, stream: TextIO, pressed: Callable[[str], None]) -> None:
        self._fd = stream.fileno()
        self._pressed = pressed
        self._before: list[Any] | None = None
        """The attributes of the terminal while they are changed; None while they are as they were."""
        self._later: asyncio.TimerHandle | None = None

    def enter(self) -> None:
        """Read keys from now on, or as soon as the terminal belongs to the process group of this process again."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._before is not None:
            return
        if not self._in_foreground():
            # A shell does not tell a job that runs in the background when it brings it to the foreground.
            self._later = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self.enter)
            return
        try:
            self._before = termios.tcgetattr(self._fd)
            changed = termios.tcgetattr(self._fd)
            changed[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
            special = changed[_SPECIAL]
            special[termios.VMIN], special[termios.VTIME] = 1, 0
            special[termios.VQUIT] = b"\0"  # a core dump would leave the terminal like this
            termios.tcsetattr(self._fd, termios.TCSANOW, changed)
        except termios.error:
            self._before = None
            return
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def leave(self) -> None:
        """Give the terminal back as it was; may be called again."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._before is None:
            return
        before, self._before = self._before, None
        asyncio.get_running_loop().remove_reader(self._fd)
        if self._in_foreground():  # otherwise it is not ours to change, and the attempt would stop this process (SIGTTOU)
            with suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        if not data:  # the terminal has gone
            asyncio.get_running_loop().remove_reader(self._fd)
            return
        for key in _KEY.findall(data):
            self._pressed(_NAMES.get(key) or key.decode(errors="replace"))

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False
