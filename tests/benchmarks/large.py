"""How long people's questions take at 1,000,000 messages: `make bench-large`. Three minutes; 2 GB in a temporary folder.

Each question is asked as the gateway asks it, page after page; what holds the reader is one page, so the longest one counts.
It is counted in CPU time, so that other work on the host counts little; on a quiet host that is the time on the clock.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.core.selection import Selection, Target
from gateway.store.counted import Changes
from gateway.store.sqlite import connection as opening
from gateway.store.sqlite import filling, named_messages, queries
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.migrations import Upgrade, migrate
from gateway.store.sqlite.overlay import Rows
from gateway.store.sqlite.overview import overview

SINKS = ("archive", "chat", "erp")
START_MS = 1_760_000_000_000
STEP_MS = 1000
_BOUND_MS = 50.0
_STATES = tuple(
    f"""'{{"primary":"{primary}","supplement":"{supplement}"}}'"""
    for primary, supplement in (
        ("QC", "PENDING"),
        ("QC", "APPROVED"),
        ("UNDERWAY", "ASSIGNED"),
        ("COMPLETE", "APPROVED"),
        ("COMPLETE", "COMPLETE"),
    )
)
_BODY = '{"event_type":"state_change","state":%s,"timestamp":"%s","note":"%-580s"}'
"""700 bytes; the ids stand in the columns."""
_LIMIT = 200

NOTHING_IN_MEMORY = Rows({}, True, 0)
"""The ledger of a gateway that has just started."""

Ask = Callable[[sqlite3.Connection, Any], tuple[int, Any]]
"""A page: its place, its number of rows, and the place of the next page, or None after the last one."""


def build(path: Path, messages: int) -> None:
    """Write the database: each message is owed to three sinks. A thousandth is dead, the newest hundredth queued, and a fourth
    sink has ten deliveries in all.

    A fifth as many service requests go through five states. Each 97th of them stays in its first one.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, path, Upgrade())
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(
            "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < :most)"
            " INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, event_type, milestone, sr_uuid,"
            " reference_id, status, body) SELECT n, printf('%032x', n), 'legitmark', CAST(printf('msg_%d', n) AS BLOB),"
            " :start + n * :step, :start + n * :step, CAST('state_change' AS BLOB), 'authentic',"
            " CAST(printf('sr-%d', (n * 7919) % (:most / 5 + 1)) AS BLOB), CAST(printf('BAG-%d', n % (:most / 5 + 1)) AS BLOB),"
            " CASE WHEN n % 5000 = 7 THEN 'quarantined' WHEN n % 2000 = 3 THEN 'unrouted' ELSE 'accepted' END,"
            f" CAST(printf('{_BODY}', CASE WHEN n % (:most / 5 + 1) % 97 = 5 THEN {_STATES[0]} ELSE CASE n / (:most / 5 + 1)"
            f" {' '.join(f'WHEN {number} THEN {state}' for number, state in enumerate(_STATES))} END END,"
            " strftime('%Y-%m-%dT%H:%M:%SZ', (:start + n * :step) / 1000, 'unixepoch'), '') AS BLOB) FROM n",
            {"most": messages, "start": START_MS, "step": STEP_MS},
        )
        for sink in SINKS:
            _deliver(connection, messages, sink, "1")
        _deliver(connection, messages, "rare", f"seq % {messages // 10} = 0")
        connection.execute(
            "INSERT OR REPLACE INTO counters (sink, queued, delivered, dead, discarded) SELECT sink, sum(state = 'queued'),"
            " sum(state = 'delivered'), sum(state = 'dead'), sum(state = 'discarded') FROM deliveries GROUP BY sink"
        )
        connection.execute("UPDATE ledger SET live = 0")
        connection.execute("COMMIT")
        fill(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def fill(connection: sqlite3.Connection) -> Ledger:
    """Take all messages into the ledger, as a gateway does after an upgrade."""
    ledger, complete = Ledger(), False
    filling.reopen(connection, ledger)
    while not complete:
        ledger.begin()
        connection.execute("BEGIN")
        complete = filling.fill_slice(connection, Changes(), ledger=ledger, seconds=time.monotonic)
        ledger.flush_some(connection)
        connection.execute("COMMIT")
        ledger.committed()
    ledger.flush_all(connection)
    return ledger


def _deliver(connection: sqlite3.Connection, messages: int, sink: str, condition: str) -> None:
    connection.execute(
        "INSERT INTO deliveries (message, sink, state, attempts, since_ms, due_ms, ended_ms)"
        " SELECT seq, :sink, state, 1, received_ms, CASE state WHEN 'queued' THEN received_ms + (seq * 7919) % 9000000 END,"
        " CASE WHEN state <> 'queued' THEN received_ms END FROM (SELECT seq, received_ms, CASE WHEN seq > :newest THEN 'queued'"
        " WHEN seq % 1000 = 11 THEN 'dead' WHEN seq % 3000 = 13 THEN 'discarded' ELSE 'delivered' END AS state"
        f" FROM messages WHERE status = 'accepted' AND {condition})",
        {"sink": sink, "newest": messages - messages // 100},
    )


def questions(messages: int) -> Iterator[tuple[str, Ask, Any]]:
    """The text of a question, how it is asked, and where its first page begins."""

    def at(part: float) -> float:
        return (START_MS + int(messages * part) * STEP_MS) / 1000

    windows = {
        "": Selection(),
        " --since (the last hour)": Selection(since=at(1) - 3600),
        " --since (a tenth back)": Selection(since=at(0.9)),
        " --until (a tenth in)": Selection(until=at(0.1)),
        " --since --until (an hour in the middle)": Selection(since=at(0.5), until=at(0.5) + 3600),
        " --since (nothing)": Selection(since=at(2)),
        " --until (nothing)": Selection(until=1.0),
    }
    for said, window in windows.items():
        for status in (None, "unrouted", "quarantined", "accepted"):
            chosen = Selection(status=status, since=window.since, until=window.until)
            yield f"messages{'' if status is None else f' --status {status}'}{said}", _messages(chosen), 0
        for state in (None, "queued", "delivered", "dead", "discarded"):
            for sink in (None, "erp", "rare", "nobody"):
                chosen = Selection(state=state, sink=sink, since=window.since, until=window.until)
                parts = [f" --{name} {value}" for name, value in (("state", state), ("sink", sink)) if value is not None]
                yield f"deliveries{''.join(parts)}{said}", _deliveries(chosen), Target(0, "")
    for text in (f"{messages // 2:032x}", f"msg_{messages // 2}", "sr-77", "BAG-77", "BAG-none"):
        yield f"show {text}", _named(named_messages.exactly, text), 0
    for text in ("msg_99", "msg_", "0", "sr-1", "none"):
        yield f"show {text} (a beginning)", _named(named_messages.begun, text), 0
    yield "status", lambda connection, _: (len(overview(connection).counts), None), 0
    yield "backtest", _routing, 0


def _messages(selection: Selection) -> Ask:
    def ask(connection: sqlite3.Connection, after: Any) -> tuple[int, Any]:
        page, go_on = queries.messages(connection, selection, None, after, _LIMIT)
        return len(page), go_on

    return ask


def _deliveries(selection: Selection) -> Ask:
    def ask(connection: sqlite3.Connection, after: Any) -> tuple[int, Any]:
        page, go_on = queries.deliveries(connection, selection, None, after, _LIMIT)
        return len(page), go_on

    return ask


def _named(look: Callable[..., named_messages.Found], text: str) -> Ask:
    def ask(connection: sqlite3.Connection, after: Any) -> tuple[int, Any]:
        seqs, go_on = look(connection, text, after, NOTHING_IN_MEMORY)
        return len(seqs), go_on

    return ask


def _routing(connection: sqlite3.Connection, after: Any) -> tuple[int, Any]:
    page = queries.received_since(connection, 0.0, after, 100, 1024 * 1024)
    return len(page.messages), page.go_on_after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="for all questions together")
    parser.add_argument("--folder", type=Path, help="keep the database here, and take the one that is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        path = (given.folder or Path(made)) / "gateway.db"
        begun = time.monotonic()
        if not path.exists():
            build(path, given.messages)
        print(f"{given.messages:,} messages, {path.stat().st_size / 1e9:.1f} GB, built in {time.monotonic() - begun:.0f} s")
        print("ms: the first page, the first 100 rows, the longest page; the pages (+: there are more), the question")
        asked = list(questions(given.messages))
        until = time.monotonic() + given.seconds
        with closing(opening.connect_reader(path)) as reader:
            longest = max(_time(reader, *one, (until - time.monotonic()) / (len(asked) - at)) for at, one in enumerate(asked))
    print(f"the longest page of all: {longest:.1f} ms (bound: {_BOUND_MS:.0f})")
    return 0 if longest < _BOUND_MS else 1


def _time(reader: sqlite3.Connection, said: str, ask: Ask, begin: Any, seconds: float) -> float:
    """Print how long a question takes; the milliseconds of its longest page."""
    pages, rows, after, begun = [], 0, begin, time.perf_counter()
    whole: float | None = None
    while after is not None and time.perf_counter() - begun < seconds:
        at = time.thread_time()
        found, after = ask(reader, after)
        pages.append((time.thread_time() - at) * 1000)
        rows += found
        if whole is None and (rows >= 100 or after is None):
            whole = sum(pages)
    shown = "-" if whole is None else f"{whole:.1f}"
    print(f"{pages[0]:8.1f} {shown:>8} {max(pages):8.1f} {len(pages):6}{'+' if after is not None else ' '} {said}", flush=True)
    return max(pages)


if __name__ == "__main__":
    sys.exit(main())
