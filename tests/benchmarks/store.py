"""The costs of the store: CPU per message, per settlement and per commit, and the time of a whole turn.

`python -m tests.benchmarks.store`; five seconds and some megabytes of temporary files. CPU is that of the writer's own work,
without fsync, so that other work on the host counts little. A turn goes from the inbox through the commit and the audit log to
the answer, for one message, and for each of 64 that come together. With TMPDIR on a tmpfs, where fsync costs nothing, a turn
shows what the gateway adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog

from gateway.core.events import Event, event_of
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Attempt, Message, NewMessage, Settlement, Stored
from gateway.core.retry import RetryPolicy, Transition
from gateway.core.routing import Decision, Router
from gateway.core.values import rfc3339
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox, Rules
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.sqlite.batch import Batch
from gateway.store.sqlite.connection import open_writer
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.store import SqliteStore

SIZES = (1, 16, 64, 256)
SINKS = ("archive", "erp", "fraud_desk")
RETENTION = 90 * 86_400.0
_START = 1_760_000_000.0
_DELIVERED = Transition(state="delivered")
_TO_ALL = Decision(sinks=SINKS, routes=("verdicts",))


class Messages:
    """Messages as a sender makes them: ids in no order, timestamps that grow."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self._made = 0

    def take(self, number: int) -> list[NewMessage]:
        """Return new messages, each with a delivery to every sink."""
        return [self._new() for _ in range(number)]

    def _new(self) -> NewMessage:
        self._made += 1
        at = _START + self._made / 1000
        sr, sender = (str(uuid.UUID(int=self._chance.getrandbits(128))) for _ in range(2))
        message = Message(
            id=f"{self._made:012x}{self._chance.getrandbits(80):020x}",
            source="legitmark",
            sender_id=f"msg_{sender}",
            received_at=at,
            content_type="application/json",
            body=b"{%700d}" % self._made,
            event_type="state_change",
            milestone="authentic",
            sr_uuid=sr,
            reference_id=f"REF-{self._made}",
        )
        identity = f"state_change {sr} COMPLETE {rfc3339(at)}"
        event = event_of(
            {
                "event_type": "state_change",
                "sr_uuid": sr,
                "reference_id": message.reference_id,
                "timestamp": rfc3339(at),
                "state": {"primary": "COMPLETE", "supplement": "APPROVED"},
            }
        )
        deliveries = tuple((sink, at) for sink in SINKS)
        return NewMessage(message, "accepted", identity, deliveries, event_at=at, event=lambda: event)


class Work:
    """Commits of one connection, as the writer makes them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._messages = Messages()
        self._owed: list[tuple[int, str]] = []
        self._mark = 0
        self._ledger = Ledger()

    def accept(self, number: int) -> float:
        """Commit new messages. Returns the seconds of CPU."""
        batch = Batch()
        batch.accepts = [(new, _ignore, None) for new in self._messages.take(number)]
        seconds, stored = self._commit(batch)
        self._owed += [(one.seq, sink) for one in stored if isinstance(one, Accepted) for sink in SINKS]
        return seconds

    def settle(self, number: int) -> float:
        """Commit the outcomes of deliveries. Returns the seconds of CPU."""
        while len(self._owed) < number:
            self.accept(256)
        owed, self._owed = self._owed[:number], self._owed[number:]
        batch = Batch()
        attempt = Attempt(number=1, started_at=_START, duration_ms=7, outcome=Delivered(200))
        batch.settles = [(Settlement(seq, sink, _DELIVERED, _START + 1, attempt), lambda _: None, None) for seq, sink in owed]
        return self._commit(batch)[0]

    def nothing(self, _: int) -> float:
        """Commit nothing but a change of one row."""
        begun = time.thread_time()
        for statement in ("BEGIN IMMEDIATE", "UPDATE timeline SET seen_ms = seen_ms + 1", "COMMIT"):
            self._connection.execute(statement)
        return time.thread_time() - begun

    def _commit(self, batch: Batch) -> tuple[float, list[Stored]]:
        begun = time.thread_time()
        stored, _, mark = batch.commit(self._connection, RETENTION, self._mark, time.monotonic, self._ledger)
        seconds = time.thread_time() - begun
        self._mark = mark
        return seconds, stored

    def checkpoint(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _event(new: NewMessage) -> Event | None:
    return new.event() if new.event is not None else None


def _ignore(stored: Stored | Exception) -> None:
    pass


async def cpu(folder: Path, seconds: float) -> dict[str, float]:
    """Measure the microseconds of CPU, in alternating slices; the median of each kind and size."""
    writer = await opened(folder / "cpu.db")
    found = defaultdict[str, list[float]](list)
    with closing(writer) as connection:
        work = Work(connection)
        kinds: list[tuple[str, Callable[[int], float], int]] = [("commit", work.nothing, 1)]
        kinds += [("accept", work.accept, size) for size in SIZES] + [("settle", work.settle, size) for size in SIZES]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name, one, size in kinds:
                for _ in range(max(1, 32 // size)):
                    found[f"{name} {size}"].append(one(size) / size * 1e6)
            work.checkpoint()
    return {name: statistics.median(times) for name, times in found.items()}


async def opened(path: Path) -> sqlite3.Connection:
    """Bring the schema up, and return a connection of this thread that is set as the writer's."""
    writer = await open_writer(path)
    pragmas = {name: await writer.run(_asking(name)) for name in ("foreign_keys", "ignore_check_constraints")}
    await writer.close()
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")
    return connection


def _asking(pragma: str) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


async def turns(folder: Path, seconds: float) -> dict[str, float]:
    """Measure whole turns, from the inbox to the answer, beside a plain commit of SQLite on the same disk.

    Returns medians in microseconds: on the clock, and of CPU of the process, for each message of a turn.
    """
    clock, log = Clock(), structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    audit = AuditLog(folder / "audit.jsonl", clock, log)
    store = await SqliteStore.open(folder / "turns.db", RETENTION, audit=audit)
    beside = [asyncio.create_task(store.run(), name="store"), asyncio.create_task(audit.run(), name="audit")]
    await store.end_catch_up()
    rules = Rules(Router(()), dict.fromkeys(SINKS, RetryPolicy()))
    inbox = Inbox(store=store, audit=audit, rules=rules, offer=lambda owed, due: None, metrics=Metrics(), clock=clock, log=log)
    messages, found = Messages(), defaultdict[str, list[float]](list)

    async def turn(number: int) -> None:
        taken = messages.take(number)
        begun, spent = time.perf_counter(), time.process_time()
        await asyncio.gather(*(inbox.put(new.message, _event(new), decision=_TO_ALL, identity=new.identity) for new in taken))
        found[f"turn of {number}"].append((time.perf_counter() - begun) / number * 1e6)
        found[f"turn of {number}, CPU"].append((time.process_time() - spent) / number * 1e6)

    with closing(sqlite3.connect(folder / "plain.db", isolation_level=None)) as plain:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE rows (body BLOB)"):
            plain.execute(statement).fetchall()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _ in range(16):
                begun = time.perf_counter()
                plain.execute("INSERT INTO rows VALUES (?)", (b"x" * 700,))
                found["plain commit"].append((time.perf_counter() - begun) * 1e6)
                await turn(1)
            await turn(64)
    store.finish()
    audit.finish()
    await asyncio.gather(*beside)
    await store.close()
    audit.close()
    return {name: statistics.median(times) for name, times in found.items()}


async def measured(folder: Path, seconds: float) -> dict[str, float]:
    """Measure everything, each half for so many seconds; medians in microseconds."""
    return await cpu(folder, seconds) | await turns(folder, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of measuring")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(Path(folder), given.seconds / 2))
    if given.json:
        print(json.dumps(found))
    else:
        for name, microseconds in found.items():
            print(f"{name:16} {microseconds:8.1f} microseconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
