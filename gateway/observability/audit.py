"""The audit log: one JSON object per event, with frozen names (docs/reference.md, "Audit log"). The only writer of its file."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, overload

import msgspec
from msgspec import Struct

from gateway.core.audit_event_kinds import AuditEvent, GatewayEvent, MessageEvent
from gateway.core.audit_event_table import AUDIT_EVENTS
from gateway.core.audit_fields import VERSION
from gateway.core.documents import Ids
from gateway.core.errors import StoreError
from gateway.core.records import Message
from gateway.core.seals import with_seal
from gateway.core.values import rfc3339
from gateway.host.append_file import AppendFile, sync_descriptor
from gateway.host.clock import Clock
from gateway.observability.logs import Log
from gateway.observability.unsealed import Seals

_RETRY_SECONDS = 1.0
_FEW = 64
"""Lines that may be hashed while the log is locked: less than 0.1 ms."""


class _MessageFields(Struct, frozen=True, omit_defaults=True):
    """The fields that a line about a message begins with (`MESSAGE_FIELDS`)."""

    message_id: str
    sender_id: str | None = None
    source: str | None = None
    event_type: str | None = None
    milestone: str | None = None
    sr_uuid: str | None = None
    reference_id: str | None = None


_BEGINNING = b'{"v":%d,"time":"' % VERSION
_NAMED = {event: b'","event":"%b"' % event.name.encode() for event in AUDIT_EVENTS.values()}


class AuditLog:
    """Writes the lines of each commit in the thread that commits, and all others, collected, in a thread of its own.

    `run` has to run beside it. While the disk refuses, the lines stay in memory, and `failing` stops ingest and the lanes, so
    that only the lines of the work in progress can gather.
    """

    def __init__(self, path: Path, clock: Clock, log: Log, seals: Seals | None = None) -> None:
        """`seals` collects the lines for the next seal; without it, nobody seals the log."""
        self.path = path
        self.failing = False
        """The disk refused the last write."""
        self._clock = clock
        self._log = log
        self._file = AppendFile(path)
        self._seals = seals
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._waiters: list[Callable[[StoreError | None], None]] = []
        self.written_to = 0
        """The last mark given to `mark` whose lines are in the file."""
        self.taken = 0
        """How many lines this log was given, roughly: it grows with each event, since each has a line."""
        self._mark = 0
        self._writing = False
        self._closed = False
        self._in_file = threading.Lock()
        self._writing_now = False
        """The store's writer is writing lines; only its thread sets this."""
        self._batches = 0
        self._wake = asyncio.Event()
        self._closing = False

    @overload
    def step(self, event: MessageEvent, message: Message | Ids, *, at: float | None = None) -> None: ...

    @overload
    def step(self, event: GatewayEvent, *, at: float | None = None) -> None: ...

    def step(self, event: AuditEvent, message: Message | Ids | None = None, *, at: float | None = None) -> None:
        """Add the line of an event. It is on its way then, and not yet written: see `flush`. It takes the arguments of `line`."""
        self.add([self._line(event, message, at)])

    def line(self, event: MessageEvent, message: Message | Ids, *, at: float | None = None) -> bytes:
        """Return the line of an event about a message, for `write_now` or `add`. Any thread may call this.

        Args:
            message: the message that the event is about; its ids stand at the beginning of the line.
            at: when the event happened (Unix seconds, UTC); None means now.
        """
        return self._line(event, message, at)

    def _line(self, event: AuditEvent, message: Message | Ids | None, at: float | None) -> bytes:
        if (message is not None) is not isinstance(event, MessageEvent):
            raise TypeError(f"{event.name}: only an event about a message takes a message")
        time = rfc3339(self._clock.now() if at is None else at)
        line = _BEGINNING + time.encode() + _NAMED[type(event)]
        if message is not None:
            ids = _MessageFields(
                message.id,
                message.sender_id,
                message.source,
                message.event_type,
                message.milestone,
                message.sr_uuid,
                message.reference_id,
            )
            line += b"," + self._json(ids)[1:-1]
        fields = self._json(event)
        return line + b"}" if fields == b"{}" else line + b"," + fields[1:]

    def _json(self, fields: Struct) -> bytes:
        """Encode fields as an object. A value that JSON cannot hold, such as half of a surrogate pair, is replaced."""
        try:
            return self._encode(fields)
        except Exception:
            values = {name: getattr(fields, name) for name in fields.__struct_fields__}
            return self._encode({name: _writable(value) for name, value in values.items() if value is not None})

    def write_now(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Write the lines of a commit, in the thread of the store's writer. Returns those that could not be written, for `add`.

        Lines that wait, or that the other thread is writing, go first: the lines of later commits have to come after them.
        """
        if not lines:
            return lines
        with self._in_file:
            if self._lines or self._writing or self._closed:
                return lines  # `add` counts them
            self.taken += len(lines)
            self._writing_now = True
            self._batches += 1
            try:
                self._append(lines)
            except OSError:
                return _unwritten(lines, self._file.written)  # the next try of `write` reports the error, if it meets it again
            finally:
                self._writing_now = False
        return ()

    def add(self, lines: Sequence[bytes]) -> None:
        """Take lines that `run` writes as soon as it can. What `write_now` returned must be added before the next commit."""
        if lines:
            self.taken += len(lines)
            self._lines += lines
            self._wake.set()

    def mark(self, mark: int) -> None:
        """Note that the lines of every commit up to a mark are written or added. `written_to` follows when all are written."""
        self._mark = max(self._mark, mark)
        if self.complete:
            self.written_to = self._mark
        else:
            self._wake.set()

    def after(self, told: Callable[[StoreError | None], None]) -> None:
        """Call a function when every line added so far is written, with StoreError if the disk refuses them.

        The function must not raise.
        """
        if self.complete:
            told(None)
        else:
            self._waiters.append(told)
            self._wake.set()

    async def flush(self) -> None:
        """Wait until every line added so far is written. Raises StoreError if the disk refuses them."""
        if not self.complete:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def told(refused: StoreError | None) -> None:
                if waiter.done():
                    return
                if refused is not None:
                    waiter.set_exception(refused)
                else:
                    waiter.set_result(None)

            self.after(told)
            await waiter

    async def run(self) -> None:
        """Write until `finish` is called and no line is left."""
        while not (self._closing and not self._lines):
            await self._wake.wait()
            self._wake.clear()
            if not await self.write():
                if self._closing:
                    return
                await self._clock.wait(asyncio.Event(), _RETRY_SECONDS)
                self._wake.set()

    async def write(self) -> bool:
        """Write the collected lines. Return False if the disk refuses them; they are kept then."""
        lines, waiters, mark = self._lines, self._waiters, self._mark
        self._writing = bool(lines)  # before the lines are taken: the other thread looks at both
        self._lines, self._waiters = [], []
        try:
            if lines:
                self._batches += 1
                await asyncio.get_running_loop().run_in_executor(self._thread, self._append_alone, lines)
        except OSError as error:
            was_failing, self.failing = self.failing, True
            self._lines = _unwritten(lines, self._file.written) + self._lines
            refused = StoreError(f"the audit log can't be written: {error.strerror}")
            for told in waiters:
                told(refused)
            if not was_failing:
                self._log.error("audit.failing", path=str(self.path), error=error.strerror, do="make room or mend the folder")
            return False
        finally:
            self._writing = False
        was_failing, self.failing, self.written_to = self.failing, False, mark
        for told in waiters:
            told(None)
        if was_failing:
            self._log.info("audit.recovered", path=str(self.path))
        return True

    def seal(self, pause: Callable[[], None]) -> bool:
        """Seal the lines that no seal covers yet, and wait until they are on disk. Return False if there are none.

        It blocks, so call it from a thread, and never from two threads at once. `pause` is called while it computes. Raises
        OSError: if the seal could not be written, it is as if it had not been tried.
        """
        seals = self._seals
        if seals is None:
            return False
        self.hash(pause)
        with self._in_file:
            seals.hash(seals.take())
            if not seals.unsealed:
                return False
            line, seal = with_seal(self._line(seals.event(), None, None))
            self._file.append(line + b"\n")
            seals.sealed(seal)
            descriptor = self._file.duplicate()
        try:
            sync_descriptor(descriptor)
        finally:
            os.close(descriptor)
        return True

    def hash(self, pause: Callable[[], None]) -> None:
        """Hash the lines that were written since, all but a few, as `seal` would have to. It computes as `seal` does."""
        while self._seals is not None:
            with self._in_file:
                lines = self._seals.take()
            self._seals.hash(lines, pause)
            if len(lines) <= _FEW:
                return

    def _append_alone(self, lines: Sequence[bytes]) -> None:
        with self._in_file:
            self._append(lines)

    def _append(self, lines: Sequence[bytes]) -> None:
        """Write lines, and give those that are in the file to the seals. The log is locked. Raises OSError."""
        data = b"\n".join(lines) + b"\n"
        try:
            self._file.append(data)
        except OSError:
            if self._seals is not None:
                whole = data[: self._file.written].rfind(b"\n") + 1
                self._seals.wrote(data[:whole].split(b"\n")[:-1])
                if self._file.torn and self._file.written > whole:
                    self._seals.wrote([data[whole : self._file.written]])  # it stays in the file as a line of its own
            raise
        if self._seals is not None:
            self._seals.wrote(lines)

    @property
    def at_work(self) -> int | None:
        """The number of the batch that a thread is writing; None while nothing is written."""
        return self._batches if self._writing or self._writing_now else None

    @property
    def complete(self) -> bool:
        """Every line that was added is written."""
        return not self._lines and not self._writing

    def finish(self) -> None:
        """Let `run` end when everything is written."""
        self._closing = True
        self._wake.set()

    def close(self) -> None:
        """End the thread and close the file. Call it after `run` has ended. A commit that is not over keeps its lines then."""
        self._thread.shutdown()
        with self._in_file:
            self._closed = True
            self._file.close()


def _writable(value: Any) -> Any:
    """Replace what JSON cannot hold: lone surrogates, and numbers beyond 64 bits, which become text."""
    if isinstance(value, (list, tuple)):
        return [_writable(item) for item in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value).encode("utf-8", "replace").decode()


def _unwritten(lines: Sequence[bytes], written: int) -> list[bytes]:
    """Return the lines that are not in the file as a whole.

    Args:
        written: how many bytes of them are in the file.
    """
    for at, line in enumerate(lines):
        written -= len(line) + 1
        if written < 0:
            return list(lines[at:])
    return []
