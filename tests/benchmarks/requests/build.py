"""Writes the large store by SQL, as gateways would have filled it in 90 days, and keeps it for the next run.

Each step of the store has ten messages, of ten requests that are at ten places of their courses. So the messages of a request
lie as far apart as they came. The requests that were under way when the store begins have lost their first messages to a purge.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.core.events import Event, decode
from gateway.core.judge import judge
from gateway.core.ledger import ServiceRequest, encode_facts, encode_request
from gateway.core.packed_rows import pack_request
from gateway.core.rules_then import RouteThen, RulesThen
from gateway.core.values import rfc3339
from gateway.store.hot_rows import Standing
from gateway.store.sqlite import request_rows
from gateway.store.sqlite.migrations import Upgrade, migrate, scripts
from tests.benchmarks.requests import courses
from tests.benchmarks.requests.courses import EVENTS, KINDS, REFERENCE, STAMP, UUID

DAYS: Final = 90
CROWDED: Final = 300
"""Messages of the request that has the most."""
TOLD: Final = ("archive", "erp")
"""The sinks that are told of everything; `desk` is told of verdicts."""
SINKS: Final = (*TOLD, "desk")
_BYTES_OF_MESSAGE: Final = 1500
"""Disk that a message takes with all that belongs to it, at most."""
_STEPS_AT_ONCE: Final = 10_000
_FILE = "gateway.db"
_STAMP = "built.json"
_UUID = (
    "printf('%08x-%04x-4%03x-8%03x-%012x', ({0} * 2654435761) & 0xffffffff, ({0} * 40503) & 0xffff, ({0} * 2749) & 0xfff,"
    " ({0} * 1597) & 0xfff, ({0} * 11400714819) & 0xffffffffffff)"
)
"""The uuid of a request, in SQL, by its number. Uuids lie in no order."""
_REFERENCE = (
    "CASE WHEN {0} % 20000 = 7 THEN 'n/a' WHEN {0} % 1000 = 500 THEN printf('Bag-%06d', {0} / 4000)"
    " ELSE printf('ITEM-%07d', {0}) END"
)
"""The reference id of a request: one of a thousand is that of four requests, and one of 20,000 is no reference id at all."""
_OF_MADE = "message BETWEEN (SELECT min(seq) FROM made) AND (SELECT max(seq) FROM made)"


class Built(Struct, frozen=True):
    """A store, and what a run has to know to ask about it."""

    folder: Path
    requests: int
    """The number of the last one, which has CROWDED messages."""
    messages: int
    """Those of the others."""
    begins_ms: int
    ends_ms: int
    seconds: float
    """How long it took to write."""

    @property
    def database(self) -> Path:
        return self.folder / _FILE


def build(folder: Path, steps: int, schema: int | None = None) -> Built:
    """Return the store with so many steps, which has ten times as many messages. Write it unless it is there.

    Args:
        schema: the schema of an earlier version that knew no ledger; None: that of this version.
    Raises OSError if the disk has too little room.
    """
    made_by = scripts()[:schema]
    stamp, digest = folder / _STAMP, hashlib.sha256("".join(made_by).encode()).hexdigest()
    if stamp.exists() and (kept := json.loads(stamp.read_bytes())).pop("schema") == digest and kept["messages"] == steps * EVENTS:
        return msgspec.convert({**kept, "folder": folder}, Built, dec_hook=lambda _, path: Path(path))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    needed = steps * EVENTS * _BYTES_OF_MESSAGE
    if shutil.disk_usage(folder).free < 2 * needed:
        raise OSError(f"{folder} needs {2 * needed / 1e9:.0f} GB of free disk: give --steps a smaller number")
    begun = time.monotonic()
    with closing(sqlite3.connect(folder / _FILE, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, folder / _FILE, Upgrade(scripts=made_by))
        connection.execute("PRAGMA journal_mode = OFF")  # a build that breaks off leaves no stamp, and begins anew
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        built = _Writer(connection, steps, with_ledger=schema is None).write(folder)
        connection.execute("PRAGMA journal_mode = WAL")
    built = msgspec.structs.replace(built, seconds=time.monotonic() - begun)
    stamp.write_text(json.dumps({**msgspec.to_builtins(built, enc_hook=str), "schema": digest}), encoding="utf-8")
    return built


class _Writer:
    def __init__(self, connection: sqlite3.Connection, steps: int, *, with_ledger: bool) -> None:
        self._connection = connection
        self._with_ledger = with_ledger
        self._steps = steps
        self._lags = courses.lags(steps)
        self._step_ms = DAYS * 86_400_000 // steps
        self._courses = courses.judged(steps, self._step_ms)
        self._first = self._lags[-1] + 1
        """The first step. A request's first message comes in the step of its number."""
        self._last = self._lags[-1] + steps
        self._begins_ms = int(time.time() * 1000) - (self._last + 1) * self._step_ms

    def write(self, folder: Path) -> Built:
        self._write_courses()
        self._connection.execute("DROP INDEX messages_by_identity")  # made in one go at the end: identities come in no order
        for first in range(self._first, self._last + 1, _STEPS_AT_ONCE):
            self._connection.execute("BEGIN")
            self._make(first, min(first + _STEPS_AT_ONCE, self._last + 1) - 1)
            self._write_messages()
            self._write_deliveries()
            if self._with_ledger:
                self._write_entries()
            self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")
        if self._with_ledger:
            self._write_requests()
            self._write_crowded()
            self._finish_ledger()
        self._finish()
        self._connection.execute("COMMIT")
        self._connection.execute(
            "CREATE UNIQUE INDEX messages_by_identity ON messages (identity, source, forgotten) WHERE identity IS NOT NULL"
        )
        (newest,) = self._connection.execute("SELECT received_ms FROM messages ORDER BY seq DESC LIMIT 1").fetchone()
        oldest = self._begins_ms + self._first * self._step_ms
        return Built(folder, self._last + 1, self._steps * EVENTS, oldest, newest, 0.0)

    def _write_courses(self) -> None:
        self._connection.execute(
            "CREATE TEMP TABLE course (kind, place, lag, offset_ms, event_type, milestone, facts, body, identity, behind_ms,"
            " PRIMARY KEY (place, kind)) WITHOUT ROWID"
        )
        for kind, course in enumerate(self._courses):
            for place, one in enumerate(course.messages):
                offset = courses.offset_ms(place, self._step_ms)
                self._connection.execute(
                    "INSERT INTO course VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(kind, place, self._lags[place], offset, one.event_type.encode(), str(one.milestone), one.facts),
                        *(_in_sql(one.body), _in_sql(one.identity), one.behind_ms),
                    ),
                )

    def _make(self, first: int, last: int) -> None:
        """Make what the messages of some steps have in common, in the temporary table `made`."""
        before = " ".join(
            f"WHEN {place} THEN (number + {self._lags[place - 1] - 1}) * {EVENTS} + {place}" for place in range(1, EVENTS)
        )
        self._connection.execute("DROP TABLE IF EXISTS temp.made")
        self._connection.execute(
            "CREATE TEMP TABLE made AS WITH RECURSIVE"
            " steps (step) AS (VALUES (?1) UNION ALL SELECT step + 1 FROM steps WHERE step < ?2),"
            " places (place, lag) AS (SELECT DISTINCT place, lag FROM course),"
            " numbers AS (SELECT step, place, step - lag AS number FROM steps CROSS JOIN places)"
            f" SELECT (step - 1) * {EVENTS} + n.place + 1 AS seq, number, n.place AS place,"
            " ?3 + step * ?4 + offset_ms AS received_ms, behind_ms, event_type, milestone, facts, body, identity,"
            f" {_UUID.format('number')} AS uuid, {_REFERENCE.format('number')} AS reference, CASE n.place {before} END AS before"
            f" FROM numbers n CROSS JOIN course c ON c.place = n.place AND c.kind = number % {KINDS} ORDER BY seq",
            (first, last, self._begins_ms, self._step_ms),
        )

    def _write_messages(self) -> None:
        stamp = "strftime('%Y-%m-%dT%H:%M:%fZ', (received_ms - behind_ms) / 1000.0, 'unixepoch')"
        self._connection.execute(
            "INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, content_type, identity, event_type,"
            " milestone, sr_uuid, reference_id, status, duplicates, body)"
            " SELECT seq, printf('%012x7%03x8%015x', received_ms, place, seq * 2654435761), 'legitmark',"
            " CAST(printf('msg_%08x%019x', received_ms / 1000, (seq * 2654435761) & 0xffffffffffff) AS BLOB),"
            " received_ms, received_ms - behind_ms, CAST('application/json' AS BLOB),"
            f" CAST(printf(identity, uuid, {stamp}) AS BLOB), event_type, milestone, CAST(uuid AS BLOB),"
            " CAST(reference AS BLOB), CASE milestone WHEN 'draft' THEN 'unrouted' ELSE 'accepted' END, seq % 50 = 3,"
            f" CAST(printf(body, uuid, reference, {stamp}) AS BLOB) FROM made"
        )

    def _write_deliveries(self) -> None:
        """Write deliveries, and the last attempt at each."""
        queued = (self._last - max(1, self._steps // 500)) * EVENTS
        state = (
            f"CASE WHEN column1 = 'erp' AND seq > {queued} THEN 'queued' WHEN column1 = 'erp' AND number % 1000 = 11 THEN 'dead'"
            " WHEN number % 3000 = 13 THEN 'discarded' ELSE 'delivered' END"
        )
        sinks = ", ".join(f"('{sink}')" for sink in sorted(SINKS))
        self._connection.execute(
            "INSERT INTO deliveries (message, sink, state, attempts, since_ms, due_ms, ended_ms, reason)"
            " SELECT seq, sink, state, CASE state WHEN 'queued' THEN 0 WHEN 'dead' THEN 3 ELSE 1 END, received_ms,"
            " CASE state WHEN 'queued' THEN received_ms END, CASE WHEN state <> 'queued' THEN received_ms + 40 END,"
            " CASE state WHEN 'dead' THEN 'rejected' END"
            f" FROM (SELECT seq, column1 AS sink, received_ms, {state} AS state FROM made CROSS JOIN (VALUES {sinks})"
            " WHERE milestone <> 'draft' AND (column1 <> 'desk' OR milestone IN ('authentic', 'counterfeit'))"
            " ORDER BY seq, column1)"
        )
        self._connection.execute(
            "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, reason, status, detail, answer)"
            " SELECT message, sink, attempts, since_ms + 5, 12, CASE state WHEN 'dead' THEN 'reject' ELSE 'delivered' END,"
            " reason, CASE state WHEN 'dead' THEN 422 ELSE 200 END, CASE state WHEN 'dead' THEN 'HTTP 422' ELSE '' END,"
            " CASE state WHEN 'dead' THEN '{\"error\":\"OrderNotFound\"}' ELSE '' END"
            f" FROM deliveries WHERE {_OF_MADE} AND attempts > 0"
        )

    def _write_entries(self) -> None:
        """Write what the ledger keeps beside the messages, and what people did."""
        self._connection.execute(
            # The timestamp, and the base64 of a signature, which has 44 characters (store/sqlite/kept_traces.py).
            "INSERT INTO entries SELECT seq, number, before, facts, 1, 1,"
            " CAST(received_ms / 1000 || ' v1,' || printf('%043x=', seq * 2654435761) AS BLOB)"
            " FROM made"
        )
        self._connection.execute("INSERT INTO repeats SELECT seq, 1, received_ms + 5000, NULL FROM made WHERE seq % 50 = 3")
        self._connection.execute(
            "INSERT INTO loose_references SELECT seq, CAST(printf('other-%07d', number) AS BLOB) FROM made"
            f" WHERE place = {EVENTS - 1} AND number % 500 = 13"
        )
        self._connection.execute(
            "INSERT INTO acts (message, sink, at_ms, actor, act, was, becomes) SELECT message, sink, ended_ms, 'ann', 'discard',"
            f" 'dead', 'discarded' FROM deliveries WHERE {_OF_MADE} AND state = 'discarded'"
        )

    def _write_requests(self) -> None:
        """Write the rows of the requests, each after the last of its messages."""
        self._connection.executemany(
            "INSERT INTO requests (number, source, sr_uuid, reference_id, reference)"
            f" SELECT ?1, 'legitmark', CAST({_UUID.format('?1')} AS BLOB), CAST(ref AS BLOB), CAST(lower(ref) AS BLOB)"
            f" FROM (SELECT {_REFERENCE.format('?1')} AS ref)",
            ((number,) for number in range(1, self._last + 1)),
        )
        self._connection.executemany(
            "INSERT INTO standings (request, last, milestone, entered_ms, flags, row) VALUES (?, ?, ?, ?, ?, ?)", self._rows()
        )

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for number in range(1, self._last + 1):
            come = sum(number + lag <= self._last for lag in self._lags)
            row = self._courses[number % KINDS].rows[come - 1]
            moved = courses.at(row, self._begins_ms + number * self._step_ms)
            last = (number + self._lags[come - 1] - 1) * EVENTS + come
            kept = Standing(number, last, encode_request(moved), None, own=False, filed=False)
            yield number, last, *kept.columns, pack_request(moved)

    def _write_crowded(self) -> None:
        """Write a request with CROWDED messages, the newest of all."""
        number, seq = self._last + 1, self._last * EVENTS
        uuid, reference = f"{number:08x}-0000-4000-8000-00000000c0de", "ITEM-CROWDED"
        row: ServiceRequest | None = None
        before: int | None = None
        for made in range(CROWDED):
            seq += 1
            received = self._begins_ms + (self._last + 1) * self._step_ms + made
            text = json.dumps(
                courses.body(("pending", "rejected", "media")[made % 3], round_=made // 3 + 1), separators=(",", ":")
            )
            stamp = rfc3339(received / 1000)
            raw = text.replace(UUID, uuid).replace(REFERENCE, reference).replace(STAMP, stamp).encode()
            event = decode(raw)
            assert isinstance(event, Event) and event.event_type is not None
            facts, row = judge(row, event, received / 1000)
            self._connection.execute(
                "INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, content_type, event_type, milestone,"
                " sr_uuid, reference_id, status, body) VALUES (?, ?, 'legitmark', ?, ?, ?, x'61', ?, ?, ?, ?, 'accepted', ?)",
                (
                    *(seq, f"{received:012x}7fff{seq:016x}", f"msg_crowded{made:04}".encode(), received, received),
                    *(event.event_type.encode(), str(event.milestone), uuid.encode(), reference.encode(), raw),
                ),
            )
            self._connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, 1, NULL, NULL)", (seq, number, before, encode_facts(facts))
            )
            for sink in TOLD:
                self._connection.execute(
                    "INSERT INTO deliveries (message, sink, state, attempts, since_ms, ended_ms)"
                    " VALUES (?, ?, 'delivered', 1, ?, ?)",
                    (seq, sink, received, received),
                )
                self._connection.execute(
                    "INSERT INTO attempts (message, sink, attempt, started_ms, duration_ms, outcome, status)"
                    " VALUES (?, ?, 1, ?, 9, 'delivered', 200)",
                    (seq, sink, received),
                )
            before = seq
        assert row is not None
        standing = Standing(number, seq, encode_request(row), reference, own=False, filed=False)
        request_rows.write(self._connection, [(("legitmark", uuid), standing)])

    def _finish(self) -> None:
        """Write what a gateway keeps beside: its counters, and the sink that is paused."""
        self._connection.execute(
            "INSERT OR REPLACE INTO counters (sink, queued, delivered, dead, discarded) SELECT sink, sum(state = 'queued'),"
            " sum(state = 'delivered'), sum(state = 'dead'), sum(state = 'discarded') FROM deliveries GROUP BY sink"
        )
        self._connection.execute(
            "INSERT INTO sinks (sink, paused_ms, paused_by) VALUES ('erp', ?, 'benchmark')", (self._begins_ms,)
        )

    def _finish_ledger(self) -> None:
        """Write how far the ledger has got, the rules of then, and the timers of a watch rule, few of which were told of."""
        self._connection.execute("INSERT INTO signing_keys VALUES (1, 'env LEGITMARK')")
        self._connection.execute("UPDATE ledger SET live = 1, flushed = (SELECT max(seq) FROM messages)")
        self._connection.execute(
            "INSERT INTO arrivals SELECT seq >> 15, min(received_ms), max(received_ms) FROM messages"
            " WHERE seq >> 15 < (SELECT max(seq) + 1 FROM messages) >> 15 GROUP BY 1"
        )
        verdicts = ({"milestone": ["authentic", "counterfeit"]},)
        rules = RulesThen(
            routes=(
                RouteThen(name="everything", sinks=TOLD, place="gateway.toml:30"),
                RouteThen(name="verdicts", sinks=("desk",), match=verdicts, place="gateway.toml:34"),
            )
        ).encode()
        self._connection.execute(
            "INSERT INTO rules (number, sha256, since_ms, snapshot) VALUES (1, ?, ?, ?)",
            (hashlib.sha256(rules).digest(), self._begins_ms, rules),
        )
        self._connection.execute(
            "INSERT INTO watch_timers SELECT source, sr_uuid, 'slow', reference_id, CAST('QC/REJECTED' AS BLOB), entered_ms,"
            " entered_ms, CASE WHEN number % 320 = 15 THEN entered_ms END FROM requests JOIN standings ON request = number"
            " WHERE number % 16 = 15"
        )


def _in_sql(text: str) -> str:
    """Return a text as a format of SQL's printf whose arguments are the uuid, the reference id and the instant."""
    return text.replace("%", "%%").replace(UUID, "%s").replace(REFERENCE, "%s").replace(STAMP, "%s")
