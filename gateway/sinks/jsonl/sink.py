"""The `jsonl` sink: it appends one line of JSON per delivery to a file.

A line is delivered when all of its bytes are in a file that still has a name, or have gone to the reader of a pipe.
Delivery is at least once: a write that was given up (at its `timeout`, or at a stop) may still succeed, and the next attempt
writes its line again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.host.append_file import AppendFile
from gateway.host.blocking import start_in_thread
from gateway.sinks.base import Opening, Outgoing
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.text import envelope


def render(delivery: Outgoing) -> bytes:
    """Return one line. A JSON body stands in it unchanged, with its numbers, its order of keys and its duplicate keys."""
    return envelope.envelope(delivery) + b"\n"


class JsonlSink:
    def __init__(self, config: JsonlConfig, opening: Opening) -> None:
        self._file = AppendFile(opening.base / config.path)
        self._fsync = config.fsync
        self._turn = asyncio.Lock()
        self._waiting: dict[asyncio.Future[Outcome], bytes] = {}
        """Lines that no write has taken yet, in order."""
        self._write: asyncio.Future[list[Outcome]] | None = None
        """The write whose thread has the file now. Two writes at once would mix their lines."""
        self._closed = False

    async def send(self, delivery: Outgoing) -> Outcome:
        """Write the line. If cancelled, it ends at once and leaves the file to the thread, which cannot be stopped."""
        mine: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[mine] = render(delivery)
        try:
            async with self._turn:
                if self._write is not None:
                    said = f"{self._file.path}: an earlier write hangs; no other begins before it ends"
                    return Retry(Reason.UNAVAILABLE, said)
                if not mine.done():  # else the write before it took this line too
                    await asyncio.wait([self._begun(mine)])
                return mine.result()
        finally:
            self._waiting.pop(mine, None)

    async def aclose(self) -> None:
        """Close the file, without waiting for a write. A write that hangs keeps the file until it ends: if its descriptor were
        closed under it, the rest of its line could go into another file that gets the same number."""
        self._closed = True
        if self._write is None:
            self._file.close()

    def _begun(self, first: asyncio.Future[Outcome]) -> asyncio.Future[list[Outcome]]:
        """Begin a write of one line; `batch` also takes every line that waits."""
        taken = list(self._waiting) if self._fsync == "batch" else [first]
        lines = [self._waiting.pop(one) for one in taken]
        self._write = start_in_thread(partial(self._append, lines), "jsonl")
        self._write.add_done_callback(partial(self._ended, taken))
        return self._write

    def _append(self, lines: Sequence[bytes]) -> list[Outcome]:
        """Write the lines, in a thread: one write for each, all to one file, then one wait for the disk."""
        written = 0
        failed = Retry(Reason.UNAVAILABLE)
        try:
            for line in lines:
                self._file.append(line, follow=not written)
                written += 1
        except OSError as error:
            failed = Retry(Reason.UNAVAILABLE, f"{self._file.path}: {error.strerror}")
        try:
            if written and not self._file.is_there():
                written, failed = 0, Retry(Reason.UNAVAILABLE, f"{self._file.path}: was removed while it was written to")
            if written and self._fsync != "never":
                self._file.sync()
        except OSError as error:
            written, failed = 0, Retry(Reason.UNAVAILABLE, f"{self._file.path}: not on the disk: {error.strerror}")
        return [Delivered() if number < written else failed for number in range(len(lines))]

    def _ended(self, taken: Sequence[asyncio.Future[Outcome]], write: asyncio.Future[list[Outcome]]) -> None:
        self._write = None
        if self._closed:
            self._file.close()
        if (bug := write.exception()) is not None:
            for one in taken:
                one.set_exception(bug)
                one.exception()  # mark it as seen: asyncio warns of an error that a cancelled send never looks at
        else:
            for one, outcome in zip(taken, write.result(), strict=True):
                one.set_result(outcome)
