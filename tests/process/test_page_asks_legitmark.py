"""The button that asks Legitmark's API, on a real gateway: by the rules of the door, under the name of who pressed it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.browser_forms import SECRETS, USERS, Browser
from tests.support.fake_legitmark import KEY, NO_KEY, FakeLegitmark, found
from tests.support.gateway_process import Running, no_traceback
from tests.support.served_legitmark import served_legitmark
from tests.support.waiting import until
from tests.support.webhooks import event

SR = "b16c763b-1723-455d-ba29-164418044886"
AT, LATER = "2026-03-01T22:05:59.000Z", "2026-03-02T22:05:59.000Z"
ARCHIVED = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n[[routes]]\nsinks = ["archive"]\n'


class World(NamedTuple):
    running: Running
    api: FakeLegitmark
    browser: Browser

    @property
    def inquiry(self) -> Any:
        return self.browser.json(f"/sr/{SR}.json")["inquiry"]

    @property
    def acts(self) -> Any:
        return self.browser.json("/acts.json")["acts"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with served_legitmark() as api:
        table = f'[reconcile]\nurl = "{api.url}"\napi_key = {{ env = "API_KEY" }}\n'
        with Running(tmp_path, USERS + table + ARCHIVED, SECRETS | {"API_KEY": KEY}) as running, no_traceback(running):
            await running.post(event(SR, state={"primary": "QC", "supplement": "PENDING"}, timestamp=AT))
            api.says(SR, found(SR, "QC", "PENDING", AT))
            yield World(running, api, Browser(running, "operate"))


async def test_the_button_asks_once_however_often_its_form_is_sent(world: World) -> None:
    fields = world.browser.form(f"/sr/{SR}")
    answers = await asyncio.gather(*(asyncio.to_thread(world.browser.send, fields) for _ in range(3)))
    assert {(answer.status, answer.location) for answer in answers} == {(303, f"/sr/{SR}")}
    assert world.inquiry["standing"] == "same" and world.api.order == [SR]
    assert "agrees with what the gateway knows" in world.browser.get(f"/sr/{SR}").text
    await until(lambda: [act["outcome"] for act in world.acts] == ["same"])
    (line,) = world.running.audit("reconcile.finished")
    assert (line["sr_uuid"], line["actor"]) == (SR, "operate")


async def test_what_takes_longer_goes_on_when_nobody_looks_and_its_end_is_listed_after_a_kill(world: World) -> None:
    world.api.says(SR, found(SR, "COMPLETE", "APPROVED", LATER))  # it is asked for again after a minute
    assert world.browser.send(world.browser.form(f"/sr/{SR}")).location == f"/sr/{SR}"
    assert (world.inquiry["standing"], world.inquiry["state"]) == ("confirming", "COMPLETE/APPROVED")
    await until(lambda: [(act["outcome"], act["under_way"]) for act in world.acts] == [(None, True)])
    await world.running.restart()
    assert world.inquiry is None
    assert [(act["act"], act["actor"], act["under_way"]) for act in world.acts] == [("ask", "operate", False)]
    assert "no answer before the gateway stopped" in world.browser.get("/acts").text


async def test_a_refused_key_is_told_and_a_person_may_try_again(world: World) -> None:
    world.api.says(SR, NO_KEY, found(SR, "QC", "PENDING", AT))
    for standing in ("refused", "same"):
        assert world.browser.send(world.browser.form(f"/sr/{SR}")).status == 303
        assert world.inquiry["standing"] == standing
    assert KEY not in world.running.stderr() + world.browser.get(f"/sr/{SR}").text


@pytest.mark.parametrize("name", ["support", "read"])
async def test_who_may_not_act_sees_no_button_and_is_refused(world: World, name: str) -> None:
    fields, user = world.browser.form(f"/sr/{SR}"), Browser(world.running, name)
    shown = user.get(f"/sr/{SR}")
    assert shown.status == 200 and 'action="/act' not in shown.text and 'action="/act' in world.browser.get(f"/sr/{SR}").text
    assert user.get(f"/act?do=ask&id={SR}").status == user.send(fields).status == 403
    assert world.api.asked == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_a_form_of_another_page_asks_nothing(world: World, site: str) -> None:
    assert world.browser.send(world.browser.form(f"/sr/{SR}"), site=site).status == 403
    assert world.api.asked == []


async def test_a_reload_without_the_table_takes_the_button_away(world: World) -> None:
    fields = world.browser.form(f"/sr/{SR}")
    world.running.write_config(USERS + ARCHIVED)
    answer = await asyncio.to_thread(world.browser.reload)
    assert answer.status == 200
    assert 'value="ask"' not in world.browser.get(f"/sr/{SR}").text
    assert world.browser.send(fields).status == 400
    assert world.api.asked == []
