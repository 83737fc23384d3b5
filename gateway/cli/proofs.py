"""Puts a file of evidence together: facts from the running gateway, lines and seals from the audit log on this host."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct

from gateway import __version__
from gateway.cli.client import Client, segment
from gateway.cli.errors import UsageError
from gateway.cli.log_files import whole_log
from gateway.core.errors import BackupExists, StoreError, StoreFailed
from gateway.core.evidence_file import (
    AttemptRecord,
    DeliveryRecord,
    LineRecord,
    MessageRecord,
    Prover,
    Record,
    RecordWriter,
    RulesRecord,
    SealRecord,
    about,
)
from gateway.core.instants import parse_instant
from gateway.core.seals import is_seal, read_seal
from gateway.host.clock import Clock
from gateway.host.new_file import give_name

MOST_MESSAGES = 1000
"""Messages in one file. Their ids stay in memory while the log is read."""
_PAGE = 200
_SLACK = 3600.0
"""Seconds by which a file of the log may have been written last before the first message came: clocks and copies differ."""


class Exported(Struct, frozen=True):
    """A file of evidence that was written."""

    file: str
    messages: int
    lines: int
    proven: int
    """Lines under a seal."""
    seals: int
    head: str | None
    """The last seal in the file; None if there is none."""


async def export(asked: str, file: Path, log: Path, client: Client, clock: Clock) -> Exported:
    """Write the evidence about every message that an id stands for; the file appears only when it is complete.

    Raises UsageError if there is no such message, or too many, BackupExists if there is such a file, and StoreFailed if a file
    cannot be read or written.
    """
    if file.exists():
        raise BackupExists(f"{file} exists, and evidence is never overwritten: name another file")
    ids, since = await _messages(client, asked)
    head = await client.post("/api/seal", {})  # before the facts are read: each of them has its line in the log then
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".evidence-", suffix=".new")  # for its owner alone
    except OSError as error:
        raise StoreFailed(f"{file}: {error.strerror}") from None
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            done = await _write(asked, ids, since, int(head["number"] or 0), file, log, out, client, clock)
            out.flush()
            os.fsync(descriptor)
        give_name(new, file)
    except FileExistsError:
        raise BackupExists(f"{file} exists, and evidence is never overwritten: name another file") from None
    except OSError as error:
        raise StoreFailed(f"{error.filename or file}: {error.strerror}") from None
    finally:
        new.unlink(missing_ok=True)
    return done


async def _messages(client: Client, asked: str) -> tuple[list[str], float]:
    """Return the ids of the messages, oldest first, and the instant at which the first one came."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await client.get("/api/messages", {"id": asked, "after": after, "limit": _PAGE})
        found += page["messages"]
        after = page["after"]
        if len(found) > MOST_MESSAGES:
            raise UsageError(f'"{asked}" stands for more than {MOST_MESSAGES} messages: name fewer, by their message ids')
        if after is None:
            break
    if not found:
        raise UsageError(f'no message has the id "{asked}"')
    return [str(one["message_id"]) for one in found], parse_instant(found[0]["time"])


async def _write(
    asked: str,
    ids: list[str],
    since: float,
    head: int,
    file: Path,
    log: Path,
    out: BinaryIO,
    client: Client,
    clock: Clock,
) -> Exported:
    writer = RecordWriter()
    out.write(writer.encoded(about(asked, now=clock.now(), version=__version__)))
    rules: set[int] = set()
    for message_id in ids:
        async for record in _facts(client, message_id):
            if isinstance(record, RulesRecord):
                if record.number in rules:
                    continue
                rules.add(record.number)
            out.write(writer.encoded(record))
    lines = proven = seals = 0
    last = None
    for read in proofs(log, ids, since - _SLACK, head):
        out.write(writer.encoded(read))
        if isinstance(read, LineRecord):
            lines, proven = lines + 1, proven + (read.seal is not None)
        else:
            seal = read_seal(read.line.encode())
            seals, last = seals + 1, seal.seal if seal is not None else last
    out.write(writer.end())
    return Exported(str(file), len(ids), lines, proven, seals, last)


async def _facts(client: Client, message_id: str) -> AsyncIterator[Record]:
    """Yield the records about one message that the running gateway has the facts for."""
    found = await client.get(f"/api/messages/{segment(message_id)}/evidence")
    if found["rules"] is not None:
        yield msgspec.convert(found["rules"], RulesRecord)
    yield msgspec.convert(found["message"], MessageRecord)
    for one in found["deliveries"]:
        delivery = msgspec.convert(one, DeliveryRecord)
        yield delivery
        after: int | None = 0
        while after is not None:
            path = f"/api/messages/{segment(message_id)}/attempts/{segment(delivery.sink)}"
            page = await client.get(path, {"after": after, "limit": _PAGE})
            for attempt in page["attempts"]:
                yield msgspec.convert({**attempt, "delivery_id": delivery.delivery_id}, AttemptRecord)
            after = page["after"]


def proofs(log: Path, ids: list[str], since: float, head: int) -> Iterator[LineRecord | SealRecord]:
    """Yield the lines of the log about some messages, and every seal from the first of them to the seal of that number.

    Args:
        since: files that were last written before that instant are not read (Unix seconds, UTC).
        head: 0 if there is no seal, and then the log is read to its end.
    """
    prover = Prover(ids)
    with ExitStack() as files:
        found = whole_log(log, files, since)
        if not found:
            raise StoreError(f"{log} does not exist on this host, or was written before the message came")
        for number, file in enumerate(found, 1):
            for line in log_lines(file, grows=number == len(found)):
                yield from prover.add(line)
                if is_seal(line) and (seal := read_seal(line)) is not None and seal.number == head:
                    return
        yield from prover.rest()


def log_lines(file: BinaryIO, *, grows: bool) -> Iterator[bytes]:
    """Yield the lines of a file without their line breaks.

    Args:
        grows: the file may be written to meanwhile, so that a line without its line break is not complete.
    """
    for raw in file:
        if raw.endswith(b"\n"):
            yield raw[:-1]
        elif not grows:
            yield raw


def opened(path: Path, files: ExitStack) -> BinaryIO:
    """Open a file of the log, compressed or not. Raises UsageError if there is none."""
    try:
        if not path.is_file():
            raise UsageError(f"{path} does not exist, or is not a file")
        return files.enter_context(cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb"))
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror or error}") from None
