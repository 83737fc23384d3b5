"""Notices that the reader of a pipe has gone, before anything is written to it."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def when_reader_goes(stream: TextIO, gone: Callable[[], None]) -> Iterator[None]:
    """Call `gone` in the running event loop once nobody reads a pipe any more. Files and terminals have no such end.

    epoll(7) reports an error on the writing end then, and asyncio calls readers for it.
    """
    try:
        descriptor = stream.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except (OSError, ValueError):
        is_pipe, descriptor = False, -1
    if not is_pipe:
        yield
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(descriptor)
        gone()

    loop.add_reader(descriptor, ended)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
