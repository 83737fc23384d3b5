"""Work that reads the whole file for minutes, on a read-only connection and in a thread of its own, beside the traffic."""

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
"""Seconds between two tries to interrupt a statement: an interrupt that comes before the statement does nothing."""
_PATIENCE = 2.0
"""Seconds that an interrupted work has to clean up. After that nobody waits for it any longer."""


class LongReadThread(Generic[_T]):
    """A function that begins at once in a thread of its own. The owner calls `end`, whatever happens meanwhile."""

    def __init__(self, path: Path, function: Look[_T], *, at_rest: bool = False) -> None:
        """
        Args:
            at_rest: no process writes to the file.
        """
        self._path = path
        self._at_rest = at_rest
        self._function = function
        self._connection: sqlite3.Connection | None = None
        self.ended: asyncio.Future[_T] = start_in_thread(self._run, "aside")
        """The result, or what the function raised. Shield it: the function does not stop if an await of it is cancelled."""

    async def end(self) -> None:
        """Interrupt the function if it still runs, and wait a moment until it has cleaned up."""
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
