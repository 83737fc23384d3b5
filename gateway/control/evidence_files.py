"""Files of evidence for people who ask the running gateway: made piece by piece while they are sent, and kept nowhere.

The log is read in a thread, with pauses, so that ingest does not notice. A piece takes at most a quarter of a second, and nothing
goes on between two pieces, so the work ends with the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

from gateway import __version__
from gateway.control.ids import seqs_of
from gateway.core.errors import StoreError, StoreFailed
from gateway.core.evidence_file import (
    MOST_MESSAGES,
    EvidenceMessage,
    Record,
    attempt_record,
    delivery_record,
    message_record,
    rules_record,
)
from gateway.core.evidence_writer import EvidenceWriter
from gateway.host.blocking import Pauses, Worker
from gateway.host.clock import Clock
from gateway.observability.log_proofs import SLACK_SECONDS, begins_at, proofs
from gateway.observability.logs import Log
from gateway.observability.unsealed import SealHead
from gateway.store.people import Proving

MOST_AT_ONCE: Final = 2
_PIECE_BYTES = 64 * 1024
"""Bytes that are enough for a piece. A message with its body is one piece, however large it is."""
_PIECE_SECONDS = 0.25
_ATTEMPTS = 200
_T = TypeVar("_T")

WhyNone = Literal["no_messages", "too_many_messages", "no_log", "log_gone", "log_unreadable", "evidence_busy"]
"""The reasons why there is no file: nothing is kept; more than `MOST_MESSAGES`; the log is not a file; its files of that time are
gone; it cannot be read; `MOST_AT_ONCE` are being made."""


class NoEvidence(Exception):
    """There is no file of evidence now."""

    def __init__(self, why: WhyNone, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}" if detail else why)
        self.why: WhyNone = why
        self.detail = detail


class EvidenceExport:
    """One file that is being made. Close it in any case."""

    def __init__(
        self,
        asked: str,
        seqs: Sequence[int],
        head: SealHead,
        *,
        store: Proving,
        path: Path,
        worker: Worker,
        closed: Callable[[], None],
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            head: the last seal of the log; the file goes up to it.
            path: the audit log.
            worker: the thread of this file.
            closed: is called once.
        """
        self._asked = asked
        self._seqs = seqs
        self._head = head
        self._store = store
        self._path = path
        self._worker = worker
        self._closed: Callable[[], None] | None = closed
        self._clock = clock
        self._log = log
        self._writer = EvidenceWriter()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the file. A piece may be empty: the log is being read, and the caller can stop. Raises StoreError."""
        ids: list[str] = []
        since = self._clock.now()
        yield self._writer.begin(self._asked, now=self._clock.now(), version=__version__)
        for seq in self._seqs:
            if (found := await self._store.evidence(seq)) is None:
                continue  # purged meanwhile
            ids.append(found.message.id)
            since = min(since, found.message.received_at)
            async for records in self._facts(seq, found):
                yield await self._in_thread(partial(self._encoded, records))
        pause = Pauses(self._clock.monotonic)
        blocks = proofs(self._path, ids, since, self._head.number, skipped=self._skipped, pause=pause)
        try:
            while (piece := await self._in_thread(partial(self._next_piece, blocks))) is not None:
                yield piece
        except StoreError as error:
            self._log.warning("evidence.broken_off", asked=self._asked, error=str(error), do="see that the audit log can be read")
            raise
        finally:
            self._worker.submit(blocks.close)  # in the thread that may still be reading
        yield self._writer.end()

    def close(self) -> None:
        """End the work, and let another file be made. It may be called twice."""
        if self._closed is not None:
            self._worker.shutdown(wait=False)
            self._closed()
            self._closed = None

    async def _facts(self, seq: int, found: EvidenceMessage) -> AsyncIterator[list[Record]]:
        """Yield the records about one message, without the lines of the log."""
        rules = rules_record(found)
        yield [*([rules] if rules is not None else ()), message_record(found)]
        for delivery in found.deliveries:
            record = delivery_record(found.message.id, delivery)
            yield [record]
            after: int | None = 0
            while after is not None:
                page, after = await self._store.attempts(seq, delivery.sink, after, _ATTEMPTS)
                yield [attempt_record(record.delivery_id, one) for one in page]

    def _next_piece(self, blocks: Iterator[Sequence[Record]]) -> bytes | None:
        """Read on in the log; None at its end."""
        piece, end = bytearray(), self._clock.monotonic() + _PIECE_SECONDS
        while len(piece) < _PIECE_BYTES and self._clock.monotonic() < end:
            block = next(blocks, None)
            if block is None:
                return bytes(piece) or None
            piece += self._encoded(block)
        return bytes(piece)

    def _encoded(self, records: Sequence[Record]) -> bytes:
        return b"".join(map(self._writer.encoded, records))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _skipped(self, file: str, why: str) -> None:
        self._log.warning("evidence.file_skipped", asked=self._asked, file=file, reason=why)


class EvidenceFiles:
    """Begins files of evidence."""

    def __init__(self, *, store: Proving, seal: Callable[[], Awaitable[SealHead]], path: Path, clock: Clock, log: Log) -> None:
        """
        Args:
            seal: seals at once what no seal of the audit log covers yet.
            path: the audit log.
        """
        self._store = store
        self._seal = seal
        self._path = path
        self._clock = clock
        self._log = log
        self._under_way = 0

    async def begin(self, asked: str) -> EvidenceExport:
        """Begin the file about every message that an id stands for. Raises NoEvidence, or StoreError if the database fails."""
        if self._under_way >= MOST_AT_ONCE:
            raise NoEvidence("evidence_busy", str(MOST_AT_ONCE))
        self._under_way += 1
        worker = Worker("evidence")
        try:
            seqs, head = await self._messages(asked, worker)
        except BaseException:
            worker.shutdown(wait=False)
            self._close()
            raise
        return EvidenceExport(
            asked,
            seqs,
            head,
            store=self._store,
            path=self._path,
            worker=worker,
            closed=self._close,
            clock=self._clock,
            log=self._log,
        )

    async def _messages(self, asked: str, worker: Worker) -> tuple[Sequence[int], SealHead]:
        """Return the messages, and the seal that covers all that the log has of them now."""
        seqs = await seqs_of(self._store, asked, 0, MOST_MESSAGES + 1) or []
        if len(seqs) > MOST_MESSAGES:
            raise NoEvidence("too_many_messages", f"{MOST_MESSAGES:,}")
        ends = [
            one.message.received_at for seq in {*seqs[:1], *seqs[-1:]} if (one := await self._store.evidence(seq)) is not None
        ]
        if not ends:
            raise NoEvidence("no_messages")
        head = await self._seal()  # before the facts are read: each of them has its line in the log then
        look = partial(begins_at, self._path, min(ends), skipped=lambda file, why: None)
        try:
            begins = await asyncio.get_running_loop().run_in_executor(worker, look)
        except StoreFailed as error:
            raise NoEvidence("log_unreadable", str(error)) from None
        if begins is None:
            raise NoEvidence("no_log")
        if begins > max(ends) + SLACK_SECONDS:
            raise NoEvidence("log_gone")
        return seqs, head

    def _close(self) -> None:
        self._under_way -= 1
