"""After `kill -9` between any two messages, `gateway sr` says what a ledger says that is built anew from the messages"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.backups import admin
from tests.cli.running import gateway as command
from tests.support.gateway_process import Running, no_traceback
from tests.support.stories import bodies
from tests.support.waiting import until
from tests.support.webhooks import new_id, signed

CONFIG = """
[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[sinks.erp]
type = "jsonl"
path = "erp.jsonl"

[[routes]]
name = "everything"
sinks = ["archive"]

[[routes]]
name = "late"
match = { stale = true }
sinks = ["erp"]
"""
STORIES = {
    "sr-rounds": "P10 R20 M21 P30 R40 M41 P50 A60 U70 C80 D90",
    "sr-changed": "P10 A60 C80 N85",
    "sr-reopened": "P10 A60 C80 P85",
    "sr-cancelled": "P10 I30 X31 E40",
}
FORGET = """
DELETE FROM standings;
DELETE FROM requests;
DELETE FROM loose_references;
UPDATE entries SET request = NULL, before = NULL, facts = NULL;
UPDATE ledger SET live = 0, flushed = 0;
"""


@pytest.mark.parametrize("seed", range(2))
async def test_a_kill_between_any_messages_leaves_the_rows_that_a_rebuild_gives(seed: int, tmp_path: Path) -> None:
    order = random.Random(seed)
    feed = [json.dumps(body).encode() for name, story in STORIES.items() for body in bodies(story, name)]
    order.shuffle(feed)
    with Running(tmp_path, CONFIG) as running, no_traceback(running):
        for at, body in enumerate(feed, 1):
            headers = signed(body, new_id())
            for _ in range(order.choice((1, 1, 2))):  # some come twice
                assert (await running.post(body, headers)).status == 200
            if order.random() < 0.1:  # a clean stop writes the rows that the next kill finds in the file
                assert await running.stop() == 0
                await asyncio.to_thread(running.start)
            elif order.random() < 0.3 or at == len(feed):
                await running.restart()
        after_kills = await told(running)
        assert {name: one["requests"][0]["events"] for name, one in after_kills.items()} == {
            name: len(story.split()) for name, story in STORIES.items()
        }
        assert await running.stop() == 0
        with closing(sqlite3.connect(running.database)) as database:
            database.executescript(FORGET)
        await asyncio.to_thread(running.start)
        await until(lambda: running.rows("SELECT live FROM ledger") == [(1,)])
        assert await told(running) == after_kills


async def told(running: Running) -> dict[str, dict[str, Any]]:
    """Return what `gateway sr` says of each request, once nothing waits to be delivered."""
    await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(0,)])
    found = {}
    for name in STORIES:
        done = await asyncio.to_thread(command, "sr", name, "--json", "--admin", admin(running), cwd=running.folder)
        assert done.status == 0, done.err
        found[name] = done.document()
    return found
