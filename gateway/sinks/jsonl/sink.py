"""The `jsonl` sink: one line of JSON per delivery, appended to a file.

A line is delivered when all of its bytes are in a file that still has a name, or in the hands of a pipe's reader.
At least once: a write that was given up (its `timeout`, a stop) may still succeed, and the next attempt writes its line again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.host.append_file import AppendFile
from gateway.host.blocking import start_in_thread
from gateway.sinks.base import Opening, Outgoing, SinkSettings
from gateway.sinks.text import envelope


class JsonlConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="jsonl"):
    destination: ClassVar = ("path",)

    path: str
    fsync: Literal["never", "batch", "always"] = "batch"
    """When a line counts as delivered: once the system has it, once the disk has it and what waited with it, or it alone."""
    concurrency: int = 1


def render(delivery: Outgoing) -> bytes:
    """One line. A body that is JSON stands in it unchanged: numbers, the order of keys and doubled keys too."""
    return envelope.envelope(delivery) + b"\n"


class JsonlSink:
    def __init__(self, config: JsonlConfig, opening: Opening) -> None:
        self._file = AppendFile(opening.base / config.path)
        self._fsync = config.fsync
        self._turn = asyncio.Lock()
        self._waiting: dict[asyncio.Future[Outcome], bytes] = {}
        """Lines that no write has taken yet, in their order."""
        self._write: asyncio.Future[list[Outcome]] | None = None
        """While its thread has the file: two writes at once would mix their lines."""
        self._closed = False

    async def send(self, delivery: Outgoing) -> Outcome:
        """Write the line. Cancelled, it ends at once, and leaves the file to the thread, which nobody can stop."""
        mine: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[mine] = render(delivery)
        try:
            async with self._turn:
                if self._write is not None:
                    said = f"{self._file.path}: an earlier write hangs; until it ends, no other is begun"
                    return Retry(Reason.UNAVAILABLE, said)
                if not mine.done():  # else the write before has taken it along
                    await asyncio.wait([self._begun(mine)])
                return mine.result()
        finally:
            self._waiting.pop(mine, None)

    async def aclose(self) -> None:
        """Waits for no write: one that hangs keeps the file until it ends. Its descriptor must not be closed under it, else the
        rest of its line could go into whatever file gets that number."""
        self._closed = True
        if self._write is None:
            self._file.close()

    def _begun(self, first: asyncio.Future[Outcome]) -> asyncio.Future[list[Outcome]]:
        """A write of a line, and for `batch` of all that wait beside it."""
        taken = list(self._waiting) if self._fsync == "batch" else [first]
        lines = [self._waiting.pop(one) for one in taken]
        self._write = start_in_thread(partial(self._append, lines), "jsonl")
        self._write.add_done_callback(partial(self._ended, taken))
        return self._write

    def _append(self, lines: Sequence[bytes]) -> list[Outcome]:
        """Write the lines, in a thread: each by one write, all to one file, and one wait for the disk behind them."""
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
                one.exception()  # asyncio complains of an error that nobody looks at, and a send may have been cancelled
        else:
            for one, outcome in zip(taken, write.result(), strict=True):
                one.set_result(outcome)
