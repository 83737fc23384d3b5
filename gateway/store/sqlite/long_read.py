"""Work that reads the whole file, for minutes: on a read-only connection and in a thread of its own, beside the traffic."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Generic, TypeVar

from gateway.host.blocking import start_in_thread
from gateway.store.sqlite.connection import connect_reader
from gateway.store.sqlite.sqlite_errors import translated

_T = TypeVar("_T")
Look = Callable[[sqlite3.Connection], _T]
_INTERRUPT_SECONDS = 0.05
"""Between two tries to interrupt a statement: one that comes before the statement does nothing."""
_PATIENCE = 2.0
"""Seconds for what was interrupted to clean up. It waits for a disk then, and neither a person nor a stop waits with it."""


class Aside(Generic[_T]):
    """Begins at once; whoever builds it calls `end`, whatever happens meanwhile."""

    def __init__(self, path: Path, function: Look[_T], *, at_rest: bool = False) -> None:
        """`at_rest`: no process has the file open for writing."""
        self._path = path
        self._at_rest = at_rest
        self._function = function
        self._connection: sqlite3.Connection | None = None
        self.ended: asyncio.Future[_T] = start_in_thread(self._run, "aside")
        """Its result, or what it raised; to be shielded, since it does not stop where an await of it is cancelled."""

    async def end(self) -> None:
        """Interrupt what is still running, and wait until it has put things in order."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE
        while not self.ended.done() and loop.time() < give_up:
            if self._connection is not None:
                with suppress(sqlite3.ProgrammingError):  # closed already
                    self._connection.interrupt()
            await asyncio.wait((self.ended,), timeout=_INTERRUPT_SECONDS)

    def _run(self) -> _T:
        try:
            with closing(connect_reader(self._path, at_rest=self._at_rest)) as self._connection:
                return self._function(self._connection)
        except sqlite3.DatabaseError as error:
            raise translated(error) from error
