"""The audit log: one JSON object per step, names frozen by docs/reference.md, "Audit log". Its writer, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.core.documents import Ids
from gateway.core.errors import StoreError
from gateway.core.records import Message
from gateway.core.values import Actor, rfc3339
from gateway.host.append_file import AppendFile
from gateway.host.clock import Clock
from gateway.observability.logs import Log

_T = TypeVar("_T")
_RETRY_SECONDS = 1.0


class Line(Struct, omit_defaults=True, kw_only=True):
    """One line. Fields that do not apply are left out; the order here is the order in the file."""

    v: int
    time: str
    event: str
    message_id: str | None = None
    sender_id: str | None = None
    source: str | None = None
    event_type: str | None = None
    milestone: str | None = None
    sr_uuid: str | None = None
    reference_id: str | None = None
    routes: Sequence[str] | None = None
    sinks: Sequence[str] | None = None
    sink: str | None = None
    delivery_id: str | None = None
    attempt: int | None = None
    status: int | None = None
    duration_ms: int | None = None
    reason: str | None = None
    detail: str | None = None
    conflict: bool | None = None
    count: int | None = None
    sender_ids: Sequence[str] | None = None
    more_sender_ids: int | None = None
    addresses: Sequence[str] | None = None
    more_addresses: int | None = None
    next_attempt_at: str | None = None
    actor: str | None = None
    claimed: str | None = None


class AuditLog:
    """Collects lines and writes what has gathered in one `write`, from a thread of its own.

    `run` has to run beside it. While the disk refuses, the lines stay in memory: `failing` is a closed gate for the intake
    and the lanes, so there are never more than those of the work in progress.
    """

    def __init__(self, path: Path, clock: Clock, log: Log) -> None:
        self.path = path
        self.failing = False
        self._clock = clock
        self._log = log
        self._file = AppendFile(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._waiters: list[tuple[asyncio.Future[Any], object]] = []
        self.written_to = 0
        """The last mark that `mark` was given, of those whose lines are in the file."""
        self._mark = 0
        self._writing = False
        self._batches = 0
        self._wake = asyncio.Event()
        self._closing = False

    def step(self, event: str, message: Message | Ids | None = None, *, at: float | None = None, **fields: object) -> None:
        """Add a line about a step; `message` fills in its ids. It is on its way, not written: see `flush`.

        Args:
            at: when the step happened (Unix seconds, UTC); None: now.
        """
        time = rfc3339(self._clock.now() if at is None else at)
        if isinstance(actor := fields.get("actor"), Actor):
            fields |= {"actor": str(actor), "claimed": actor.claimed}
        if message is None:
            line = Line(v=1, time=time, event=event, **fields)  # type: ignore[arg-type]
        else:
            line = Line(
                v=1,
                time=time,
                event=event,
                message_id=message.id,
                sender_id=message.sender_id,
                source=message.source,
                event_type=message.event_type,
                milestone=message.milestone,
                sr_uuid=message.sr_uuid,
                reference_id=message.reference_id,
                **fields,  # type: ignore[arg-type]
            )
        self._lines.append(self._encoded(line))
        self._wake.set()

    def _encoded(self, line: Line) -> bytes:
        """A line as JSON. A value that JSON cannot hold (half of a surrogate pair, say) is replaced, never a reason to fail."""
        try:
            return self._encode(line)
        except Exception:
            values = {name: _writable(getattr(line, name)) for name in line.__struct_fields__}
            return self._encode(Line(**values))

    def mark(self, mark: int) -> None:
        """Say that the lines of every commit up to a mark have been added: `written_to` follows once they are written."""
        self._mark = max(self._mark, mark)

    def after(self, waiter: asyncio.Future[_T], result: _T) -> None:
        """Give a future its result once every line added so far is written, or StoreError where the disk refuses them now."""
        self._waiters.append((waiter, result))
        self._wake.set()

    async def flush(self) -> None:
        """Wait until every line added so far is written. Raises StoreError where the disk refuses them now."""
        if self._lines or self._writing:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.after(waiter, None)
            await waiter

    async def run(self) -> None:
        """Write until `finish`, then what is left."""
        while not (self._closing and not self._lines):
            await self._wake.wait()
            self._wake.clear()
            if not await self.write():
                if self._closing:
                    return
                await self._clock.wait(asyncio.Event(), _RETRY_SECONDS)
                self._wake.set()

    async def write(self) -> bool:
        """Write what has gathered; False where the disk refused it. The lines are kept then."""
        lines, waiters, mark = self._lines, self._waiters, self._mark
        self._lines, self._waiters = [], []
        try:
            if lines:
                self._writing = True
                self._batches += 1
                data = b"\n".join(lines) + b"\n"
                await asyncio.get_running_loop().run_in_executor(self._thread, self._file.append, data)
        except OSError as error:
            was_failing, self.failing = self.failing, True
            self._lines = _unwritten(lines, self._file.written) + self._lines
            refused = StoreError(f"the audit log can't be written: {error.strerror}")
            for waiter, _ in waiters:
                if not waiter.done():
                    waiter.set_exception(refused)
            if not was_failing:
                self._log.error("audit.failing", path=str(self.path), error=error.strerror, do="make room or mend the folder")
            return False
        finally:
            self._writing = False
        was_failing, self.failing, self.written_to = self.failing, False, mark
        for waiter, result in waiters:
            if not waiter.done():
                waiter.set_result(result)
        if was_failing:
            self._log.info("audit.recovered", path=str(self.path))
        return True

    @property
    def at_work(self) -> int | None:
        """Which batch its thread is writing now, by a number; None: none."""
        return self._batches if self._writing else None

    @property
    def complete(self) -> bool:
        """Everything that was added is written."""
        return not self._lines and not self._writing

    def finish(self) -> None:
        """Let `run` end once everything is written."""
        self._closing = True
        self._wake.set()

    def close(self) -> None:
        self._thread.shutdown()
        self._file.close()


def _writable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_writable(item) for item in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value).encode("utf-8", "replace").decode()


def _unwritten(lines: list[bytes], written: int) -> list[bytes]:
    """Those of these lines that are not in the file as a whole, of which so many bytes are."""
    for at, line in enumerate(lines):
        written -= len(line) + 1
        if written < 0:
            return lines[at:]
    return []


class LastLine(Struct, frozen=True):
    """Where a log ends: the last message that it speaks of as new, or else the instant of its oldest line read."""

    message_id: str | None
    time: str | None


def recent_lines(path: Path, tail: int = 4 * 1024 * 1024) -> list[Line]:
    """The last lines of the log, and of the file that it was rotated into last.

    Args:
        tail: bytes read of each at most.
    """
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    newest = sorted(rotated, key=lambda other: other.stat().st_mtime)[-1:]
    found = []
    for raw in (raw for file in (*newest, path) for raw in _tail_lines(file, tail)):
        with suppress(ValueError, RecursionError):
            found.append(msgspec.json.decode(raw, type=Line))
    return found


def last_line(path: Path, tail: int = 4 * 1024 * 1024) -> LastLine:
    """Read back from the end of the log, and of those rotated before where it says nothing.

    Args:
        tail: bytes read of each at most.
    """
    oldest: str | None = None
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    for candidate in (path, *sorted(rotated, key=lambda other: other.stat().st_mtime, reverse=True)[:3]):
        for raw in reversed(_tail_lines(candidate, tail)):
            try:
                line = msgspec.json.decode(raw, type=Line)
            except (ValueError, RecursionError):
                continue
            oldest = line.time
            if line.event in ("message.accepted", "message.quarantined"):
                return LastLine(line.message_id, line.time)
    if oldest is None and rotated:  # all of them compressed, say: the newest one ends when it was last written
        oldest = rfc3339(max(other.stat().st_mtime for other in rotated))
    return LastLine(None, oldest)


def _tail_lines(path: Path, tail: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail))
            return file.read(tail).splitlines()
    except FileNotFoundError:
        return []
