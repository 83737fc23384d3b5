"""An act that takes long goes on when the page that began it is closed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import expect

from tests.browser.stories import act, origin_of
from tests.browser.visiting import Visiting
from tests.store.kit import fill
from tests.support.configurations import route
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until, until_answer

DEAD = 6_000
"""Deliveries: replaying them takes a second or more."""
CONFIG = '[store]\nretention = "3650d"\n[sinks.erp]\ntype = "jsonl"\npath = "out"\n' + route("erp")


@pytest_asyncio.fixture(loop_scope="session")
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway with many dead deliveries to a sink that is paused."""
    database = tmp_path / "gateway.db"
    await fill(database, DEAD)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE deliveries SET state = 'dead', due_ms = NULL, ended_ms = since_ms, reason = 'rejected' WHERE sink = 'erp'"
        )
        connection.execute("UPDATE counters SET queued = 0, dead = ? WHERE sink = 'erp'", (DEAD,))
    line = {"v": 1, "time": "2026-03-01T00:00:00.000Z", "event": "message.accepted", "message_id": f"f{DEAD:031x}"}
    (tmp_path / "audit.jsonl").write_text(json.dumps(line) + "\n")
    with Running(tmp_path, CONFIG) as running, no_traceback(running):
        await act(running, "sinks/erp/pause")
        yield running


async def test_a_long_replay_goes_on_when_its_page_is_closed_and_the_page_of_acts_says_so(
    running: Running, visiting: Visiting
) -> None:
    async def acts() -> Any:
        return (await running.admin("/acts.json")).json()

    visit = await visiting.begin(origin_of(running))
    await visit.to("/act?do=replay&sink=erp&state=dead")
    async with visit.page.expect_request("**/act"):
        await visit.page.locator("form.confirm button").click(no_wait_after=True)
    await until(lambda: running.audit("delivery.replayed"))
    await visit.context.close()
    (job,) = (await acts())["under_way"]
    assert job["changed"] < DEAD, "it has not ended when the page is closed"
    await until_answer(acts, lambda found: not found["under_way"])
    other = await visiting.begin(origin_of(running))
    await other.to(f"/acts?job={job['id']}")
    await expect(other.page.locator(".job")).to_contain_text("6,000 deliveries are queued again.")
