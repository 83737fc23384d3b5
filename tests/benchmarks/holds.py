"""How long each operation holds the writer where much waits: `make bench-large`. A minute; 1 GB in a temporary folder.

Every operation is run as the gateway runs it, slice after slice, each slice in a commit of its own; the longest slice counts. It
is counted in CPU time, so that other work on the host counts little; the time on the clock, with fsync, stands beside it.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from gateway.control import interventions
from gateway.core.records import Step
from gateway.core.selection import Target
from gateway.maintenance import janitor
from gateway.store import turns
from gateway.store.counted import Changes
from gateway.store.sqlite import claims, counting, operations, ordering, purging, sink_rows, unlogged
from gateway.store.sqlite import store as slices
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.migrations import Upgrade, migrate
from gateway.store.sqlite.timeline_row import keep_time
from gateway.store.timeline import Timeline

START_MS = 1_760_000_000_000
_BOUND_MS = 50.0
_SINKS = 200

Slice = Callable[[sqlite3.Connection], bool]
"""A slice of an operation; False at the end."""


def build(path: Path, waiting: int, others: int = 1000) -> sqlite3.Connection:
    """Write the database: `waiting` open deliveries of `erp`, eight to a service request, so many other messages without a route,
    and as many that were delivered to 200 sinks, at two attempts each."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, path, Upgrade())
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")
    _messages(connection, 0, others, "accepted", START_MS - 10_000_000)
    for number in range(_SINKS):
        connection.execute(
            "INSERT INTO deliveries (message, sink, state, attempts, since_ms, ended_ms)"
            " SELECT seq, ?, 'delivered', 2, received_ms, received_ms FROM messages",
            (f"sink-{number:03}",),
        )
    connection.execute(
        "INSERT INTO attempts SELECT message, sink, attempt, since_ms, 7, 'retry', 'dns', NULL, '', '' FROM deliveries,"
        " (SELECT 1 AS attempt UNION SELECT 2)"
    )
    _messages(connection, others, others, "unrouted", START_MS)
    _messages(connection, 2 * others, waiting, "accepted", START_MS)
    connection.execute(
        "INSERT INTO deliveries (message, sink, state, since_ms, due_ms) SELECT seq, 'erp', 'queued', received_ms,"
        " received_ms + (seq * 7919) % 9000000 FROM messages WHERE seq > ?",
        (2 * others,),
    )
    connection.execute("INSERT INTO counters (sink, queued) VALUES ('erp', ?)", (waiting,))
    connection.execute("COMMIT")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return connection


def _messages(connection: sqlite3.Connection, first: int, number: int, status: str, at_ms: int) -> None:
    connection.execute(
        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < :number)"
        " INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, event_type, milestone, sr_uuid, status, body)"
        " SELECT :first + n, printf('%032x', :first + n), 'legitmark', CAST(printf('msg_%d', :first + n) AS BLOB), :at + n,"
        " :at + (n * 7919) % 100000, CAST('state_change' AS BLOB), 'authentic', CAST(printf('sr-%d', n / 8) AS BLOB), :status,"
        " zeroblob(700) FROM n",
        {"first": first, "number": number, "status": status, "at": at_ms},
    )


def operations_of(connection: sqlite3.Connection) -> Iterator[tuple[str, Slice]]:
    """Return the name of each operation with its slices, in an order in which each finds its rows."""
    now = START_MS / 1000 + 100
    timeline = Timeline(0, now)
    absent, present = (partial(sink_rows.note_absences, present=names, now=now) for names in ((), ("erp",)))
    yield "a sink leaves", _once(absent)
    yield "a sink returns", _once(present)
    timeline.jump(86_400.0)
    yield "the clock jumps", _once(partial(keep_time, jumped_ms=timeline.jumped_ms, seen=now))
    yield "due times beyond the longest back-off", _clamp(now + 1000)
    yield 'ordering becomes "sr"', _order()
    yield "an ordered claim", _read(partial(claims.claim, sink="erp", now=now, limit=64, busy=(), by_sr=True))
    yield "any claim", _read(partial(claims.claim, sink="erp", now=now, limit=64, busy=()))
    yield "a look for what has expired", _read(partial(claims.expired, sink="erp", before=now, limit=100, busy=()))
    sinks = [f"sink-{number:03}" for number in range(50)]
    unrouted = [Target(seq, sink) for seq in range(1001, 2001) for sink in sinks]
    yield "replay --unrouted to 50 sinks", _act(unrouted, partial(operations.add_or_reopen, states=("dead",)))
    yield "discard", _act([Target(seq, "erp") for seq in range(2001, 22_001)], operations.discard)
    yield (
        "replay",
        _act([Target(seq, "erp") for seq in range(2001, 22_001)], partial(operations.reopen, states=("discarded", "dead"))),
    )
    yield "a purge with 200 sinks", _purge(START_MS / 1000 - 1000)


def _once(work: Callable[..., object]) -> Slice:
    return lambda connection: bool(work(connection, Changes()))


def _read(query: Callable[[sqlite3.Connection], object]) -> Slice:
    def ask(connection: sqlite3.Connection) -> bool:
        connection.execute("COMMIT")  # a claim has its own snapshot
        query(connection)
        connection.execute("BEGIN")
        return False

    return ask


def _clamp(latest: float) -> Slice:
    size = slices._SLICE
    return lambda connection: operations.clamp_due(connection, Changes(), sink="erp", latest=latest, size=size) == size


def _order() -> Slice:
    after: Any = turns.BEGINNING

    def order(connection: sqlite3.Connection) -> bool:
        nonlocal after
        after = ordering.bring_into_order(connection, Changes(), sink="erp", after=after, size=slices._SLICE)
        return after is not None

    return order


def _act(targets: list[Target], change: Callable[..., list[Target]]) -> Slice:
    at = 0

    def act(connection: sqlite3.Connection) -> bool:
        nonlocal at
        changes = Changes()
        changed = change(connection, targets=targets[at : at + interventions.SLICE], now=START_MS / 1000, changes=changes)
        unlogged.note(connection, [Step(one.seq, "delivery.replayed", START_MS, one.sink, actor="ann") for one in changed])
        counting.count(connection, changes)
        at += interventions.SLICE
        return at < len(targets)

    return act


def _purge(before: float) -> Slice:
    after = 0

    def purge(connection: sqlite3.Connection) -> bool:
        nonlocal after
        changes = Changes()
        purging.purge_threads(connection, janitor.PURGED_AT_ONCE, before)
        purged = purging.purge(connection, after, janitor.PURGED_AT_ONCE, before, changes, Ledger())
        counting.count(connection, changes)
        after = purged.last
        return purged.any_old and not purged.at_end

    return purge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=300_000, help="open deliveries")
    given = parser.parse_args()
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder, closing(build(Path(folder) / "gateway.db", given.waiting)) as connection:
        print(f"{given.waiting:,} open deliveries\nms of CPU and on the clock: the longest slice; the slices, the operation")
        for said, one in operations_of(connection):
            longest = max(longest, _time(connection, said, one))
    print(f"the longest hold of all: {longest:.1f} ms (bound: {_BOUND_MS:.0f})")
    return 0 if longest < _BOUND_MS else 1


def _time(connection: sqlite3.Connection, said: str, one: Slice) -> float:
    """Print how long the slices of an operation take; the milliseconds of CPU of the longest one."""
    cpu, clock, go_on = [0.0], [0.0], True
    while go_on:
        spent, at = time.thread_time(), time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        go_on = one(connection)
        connection.execute("COMMIT")
        cpu.append((time.thread_time() - spent) * 1000)
        clock.append((time.perf_counter() - at) * 1000)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    print(f"{max(cpu):8.1f} {max(clock):8.1f} {len(cpu) - 1:6} {said}", flush=True)
    return max(cpu)


if __name__ == "__main__":
    sys.exit(main())
