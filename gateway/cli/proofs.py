"""Puts a file of evidence together: facts from the running gateway, lines and seals from the audit log on this host."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct

from gateway import __version__
from gateway.cli.client import Client, segment
from gateway.cli.errors import UsageError
from gateway.cli.log_files import say_skipped
from gateway.core.errors import BackupExists, StoreFailed
from gateway.core.evidence_file import MOST_MESSAGES, AttemptRecord, DeliveryRecord, MessageRecord, Record, RulesRecord
from gateway.core.evidence_writer import EvidenceWriter
from gateway.core.instants import parse_instant
from gateway.host.clock import Clock
from gateway.host.new_file import give_name
from gateway.observability.log_proofs import proofs

_PAGE = 200


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
    writer = EvidenceWriter()
    out.write(writer.begin(asked, now=clock.now(), version=__version__))
    for message_id in ids:
        async for record in _facts(client, message_id):
            out.write(writer.encoded(record))
    for block in proofs(log, ids, since, head, skipped=say_skipped):
        out.writelines(map(writer.encoded, block))
    out.write(writer.end())
    return Exported(str(file), writer.messages, writer.lines, writer.proven, writer.seals, writer.head)


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


def opened(path: Path, files: ExitStack) -> BinaryIO:
    """Open a file of the log, compressed or not. Raises UsageError if there is none."""
    try:
        if not path.is_file():
            raise UsageError(f"{path} does not exist, or is not a file")
        return files.enter_context(cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb"))
    except OSError as error:
        raise StoreFailed(f"{path}: {error.strerror or error}") from None
