"""An older database whose messages are read into the ledger: through kills, beside new messages, and with its progress shown."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.core.events import Event, decode
from tests.cli.backups import admin
from tests.cli.running import gateway as command
from tests.store import writing
from tests.support.gateway_process import Running, no_traceback
from tests.support.stories import BEGINNING, bodies
from tests.support.waiting import until
from tests.support.webhooks import new_id, signed

CONFIG = """
[store]
retention = "3650d"

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
name = "nothing"
match = { reference_id = "nothing" }
sinks = ["archive"]
"""
MESSAGES = 10_000
STORY = "P10 R20 M21 P30 R40 M41 P50 A60 U70 C80 N85 X90 I95"
SCHEMA_3 = Path(__file__).parent.parent / "store" / "written" / "0003.sql"
KILLS = 5
FORGET = """
DELETE FROM standings;
DELETE FROM requests;
DELETE FROM loose_references;
UPDATE entries SET request = NULL, before = NULL, facts = NULL;
UPDATE ledger SET live = 0, flushed = 0;
"""


def older(path: Path) -> None:
    """Write a database of schema 3 with 10,000 messages of some 1,500 requests, whose events come in any order."""
    writing.load(SCHEMA_3, path)
    feed = [body for number in range(MESSAGES) for body in bodies(STORY, f"sr-{number // 9}")[number % 13 : number % 13 + 1]]
    random.Random(3).shuffle(feed)
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(
            "INSERT INTO messages (id, source, sender_id, received_ms, event_ms, event_type, milestone, sr_uuid, reference_id,"
            " status, body) VALUES (?, 'legitmark', ?, ?, ?, ?, ?, ?, ?, 'unrouted', ?)",
            [row(number, json.dumps(body).encode()) for number, body in enumerate(feed)],
        )


def row(number: int, body: bytes) -> tuple[object, ...]:
    event = decode(body)
    assert isinstance(event, Event) and event.event_type and event.sr_uuid and event.reference_id
    arrived_ms, happened_ms = round(BEGINNING * 1000) + 200_000 + number, round((event.instant() or 0.0) * 1000)
    ids = [text.encode() for text in (event.sr_uuid, event.reference_id)]
    kind = (event.event_type.encode(), event.milestone.value)
    return f"{number:032x}", b"old_%d" % number, arrived_ms, happened_ms, *kind, *ids, body


def taken(running: Running) -> int:
    """Read how many messages are in the rows of the file or in the entries."""
    return int(running.rows("SELECT count(*) FROM entries WHERE request IS NOT NULL")[0][0])


def ledger(running: Running) -> list[list[tuple[Any, ...]]]:
    """Read everything that the ledger of a stopped gateway knows, without the numbers that it gave."""
    return [
        running.rows(
            "SELECT source, sr_uuid, reference_id, last, milestone, entered_ms, flags, row"
            " FROM requests JOIN standings ON request = number ORDER BY source, sr_uuid"
        ),
        running.rows("SELECT message, before, facts FROM entries ORDER BY message"),
        running.rows("SELECT * FROM loose_references ORDER BY message"),
        running.rows("SELECT live, flushed FROM ledger"),
    ]


async def test_kills_while_ten_thousand_messages_are_read_in_leave_the_rows_that_a_rebuild_gives(tmp_path: Path) -> None:
    order = random.Random(4)
    older(tmp_path / "gateway.db")
    with Running(tmp_path, CONFIG) as running, no_traceback(running, alive=False):
        for kill in range(KILLS):
            goal = (kill + 1) * MESSAGES // (KILLS + 1) + order.randrange(500)
            await until(lambda goal=goal: taken(running) >= goal)  # type: ignore[misc]
            for body in bodies("A60 U70", f"sr-{kill}"):  # new messages of requests that are known already or not yet
                assert (await running.post(json.dumps(body).encode(), signed(json.dumps(body).encode(), new_id()))).status == 200
            await running.restart()
        said = await asyncio.to_thread(command, "status", "--admin", admin(running), cwd=running.folder)
        assert "reads in older messages: " in said.out and "new messages have no facts" in said.out, said.out
        told = await asyncio.to_thread(command, "sr", "sr-0", "--admin", admin(running), cwd=running.folder)
        assert "messages of an earlier version are still being read into the ledger" in told.err
        await until(lambda: running.rows("SELECT live FROM ledger") == [(1,)])
        assert await running.stop() == 0
        after_kills = ledger(running)
        with closing(sqlite3.connect(running.database)) as database:
            database.executescript(FORGET)
        await asyncio.to_thread(running.start)
        await until(lambda: running.rows("SELECT live FROM ledger") == [(1,)])
        said = await asyncio.to_thread(command, "status", "--admin", admin(running), cwd=running.folder)
        assert "reads in older messages" not in said.out
        assert await running.stop() == 0
        assert ledger(running) == after_kills
        assert len(after_kills[1]) >= MESSAGES + 2 * KILLS
