"""Picks the lines about some messages out of the audit log, with the seals that prove them. Keeps the hashes of one seal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.core.errors import StoreError, StoreFailed
from gateway.core.evidence_file import LineRecord, SealRecord
from gateway.core.instants import parse_instant
from gateway.core.log_prover import LogProver
from gateway.observability.audit_files import Skipped, log_lines, whole_log

SLACK_SECONDS = 3600.0
"""Seconds by which a file of the log may have been written last before the first message came: clocks and copies differ."""
_BLOCK_LINES = 200
_FIRST_LINES = 100
"""Lines in which the first instant of a log is looked for: a crash or a full disk can leave lines that are torn."""


class _Timed(Struct):
    time: str


def proofs(
    log: Path,
    message_ids: Collection[str],
    since: float,
    head: int,
    *,
    skipped: Skipped,
    pause: Callable[[], None] = lambda: None,
) -> Generator[list[LineRecord | SealRecord], None, None]:
    """Yield the lines about some messages, and every seal from the first of them to the seal of that number, block by block.

    A block stands for 200 lines of the log, and is mostly empty: the caller can stop there. Raises StoreError if there is
    no log, and StoreFailed if it cannot be read.

    Args:
        since: the instant at which the first message came (Unix seconds, UTC). Files that are older are not read.
        head: 0 if there is no seal, and then the log is read to its end.
        skipped: is told which files are not read.
        pause: is called often, so that other threads go first.
    """
    prover = LogProver(message_ids, head, pause)
    with ExitStack() as files:
        try:
            found = whole_log(log, files, skipped, since - SLACK_SECONDS)
        except OSError as error:
            raise StoreFailed(f"{log}: {error.strerror}") from None
        if not found:
            raise StoreError(f"{log} does not exist on this host, or was written before the message came")
        for number, file in enumerate(found, 1):
            lines = log_lines(file, grows=number == len(found))
            while block := list(islice(lines, _BLOCK_LINES)):
                pause()
                yield list(prover.add(block))
                if prover.ended:
                    return
        yield list(prover.rest())


def begins_at(log: Path, since: float, *, skipped: Skipped) -> float | None:
    """Return the instant of the first line that the log has since an instant, give or take an hour; None if it has none.

    Both are Unix seconds, UTC. Raises StoreFailed if the log cannot be read.
    """
    with ExitStack() as files:
        try:
            found = whole_log(log, files, skipped, since - SLACK_SECONDS)
        except OSError as error:
            raise StoreFailed(f"{log}: {error.strerror}") from None
        for file in found:
            for line in islice(log_lines(file, grows=True), _FIRST_LINES):
                try:
                    return parse_instant(msgspec.json.decode(line, type=_Timed).time)
                except (ValueError, RecursionError):
                    continue
    return None
