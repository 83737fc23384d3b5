"""The pages of a real gateway about what it was sent: search, lists that go on, stories, and the same as JSON."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from gateway.core.values import rfc3339
from tests.support.configurations import GOOD_AND_DEAD
from tests.support.gateway_process import Running, no_traceback
from tests.support.stories import BEGINNING, bodies
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, signed

SR = "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718"
"""The service request of a whole story: `ITEM-1042`."""
RULES = (
    '[[routes]]\nname = "verdicts"\nmatch = { milestone = ["authentic", "counterfeit"] }\nsinks = ["erp"]\n'
    '[[routes]]\nname = "all"\nsinks = ["archive"]\n'
)
MANY = 120
"""Further requests, so that a list has three pages."""


class Said(NamedTuple):
    status: int
    location: str
    text: str


class World(NamedTuple):
    running: Running
    message_id: str
    """The last message of the story."""

    def get(self, path: str, accept: str = "text/html") -> Said:
        address = self.running.addresses["admin"]
        assert isinstance(address, tuple)
        with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
            connection.request("GET", path, headers={"Accept": accept, "Accept-Language": "en"})
            answer = connection.getresponse()
            return Said(answer.status, answer.getheader("Location", ""), answer.read().decode())

    def json(self, path: str) -> Any:
        said = self.get(path, "application/json")
        assert said.status == 200, said
        return json.loads(said.text)


async def fill(running: Running) -> str:
    for number, body in enumerate(bodies("P10 R20 M21 P30 C80 A60")):
        raw = json.dumps(body).encode()
        for _ in range(2 if number == 4 else 1):
            await running.post(raw, signed(raw, f"sender-{number}"))
    for number in range(MANY):
        uuid = f"{number:08x}-0000-4000-8000-000000000000"
        raw = event(uuid, reference_id=f"MANY-{number}", timestamp=rfc3339(BEGINNING + number))
        await running.post(raw, signed(raw))
    await until(lambda: running.audit("delivery.dead"))
    message_id: str = running.audit("message.accepted")[4]["message_id"]
    return message_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Running(tmp_path_factory.mktemp("views"), GOOD_AND_DEAD + RULES) as running, no_traceback(running):
        yield World(running, asyncio.run(fill(running)))


@pytest.mark.parametrize("name", ["ITEM-1042", "item-1042", SR, SR[:6], f"  {SR} "])
def test_a_name_of_one_request_leads_to_its_page(world: World, name: str) -> None:
    assert world.get(f"/find?q={quote(name)}")[:2] == (303, f"/sr/{SR}")
    assert world.get(f"/find?lang=ja&q={quote(name)}")[:2] == (303, f"/sr/{SR}?lang=ja")


def test_the_id_of_a_message_leads_to_its_row_in_the_story(world: World) -> None:
    for name in (world.message_id, "sender-4"):
        assert world.get(f"/find?q={name}")[:2] == (303, f"/sr/{SR}#{world.message_id}")


def test_the_beginning_of_several_names_leads_to_a_list(world: World) -> None:
    said = world.get("/find?q=0000000")
    assert said.status == 200 and "stands for several service requests" in said.text
    found = world.json("/find.json?q=0000000")["found"]["requests"]
    assert len(found) == 16 and all(f'href="/sr/{one["sr_uuid"]}"' in said.text for one in found)


def test_a_search_that_finds_nothing_says_how_far_back_it_looked_and_what_is_alike(world: World) -> None:
    said = world.get("/find?q=ITEM-1043")
    assert said.status == 200 and "The database goes back to" in said.text
    assert 'href="/find?q=ITEM-1042"' in said.text
    assert world.json("/find.json?q=ITEM-1043")["found"]["nearest"] == ["ITEM-1042"]


def test_a_list_goes_on_from_page_to_page_and_shows_each_request_once(world: World) -> None:
    path, seen = "/sr", []
    for _ in range(10):
        text = world.get(path).text
        seen += re.findall(r'<tr data-row data-key="legitmark (\S+)"', text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        if following is None:
            break
        path = unescape(following[1])
    assert len(seen) == len(set(seen)) == MANY + 1
    assert 'rel="first"' in text and "That is all." in text


def test_a_filter_stays_while_a_list_goes_on(world: World) -> None:
    text = world.get("/sr?state=qc_approved&since=2020-01-01T00:00:00Z").text
    assert '<option value="qc_approved" selected>' in text and "since 2020-01-01T00:00:00Z</option>" in text
    assert world.json("/sr.json?state=authentic")["requests"][0]["sr_uuid"] == SR
    assert len(world.json("/sr.json?state=authentic")["requests"]) == 1
    assert world.json("/sr.json?flag=ended_twice")["requests"] == []


def test_a_story_tells_what_happened_in_its_order_and_what_became_of_it(world: World) -> None:
    text = world.get(f"/sr/{SR}").text
    rows = re.findall(r'<tr data-row data-key="\w+" id="\w+">(.*?)</tr>', text, re.DOTALL)
    words = [re.sub(r"<[^>]+>", " ", row) for row in rows]
    told = ["photos in review", "photos failed", "new photos needed", "photos in review", "photos passed", "authentic"]
    assert [next(one for one in told if one in said) for said in words] == told
    assert "LATE" in words[4] and "1 repeat" in words[5]
    assert "before QC&#x2f;APPROVED, which came later" in words[5]
    assert "dead since" in words[5] and "1 attempt" in words[5]
    assert "“verdicts” (gateway.toml:" in words[0]
    assert "wants milestone authentic | counterfeit; it is qc_pending" in words[0]


def test_a_story_says_why_in_japanese_too(world: World) -> None:
    text = world.get(f"/sr/{SR}?lang=ja").text
    assert "milestone が authentic | counterfeit の場合だけ。実際は qc_pending" in text
    assert "wants" not in text


def test_a_page_and_its_twin_show_the_same_story(world: World) -> None:
    twin, api = world.json(f"/sr/{SR}.json"), world.json(f"/api/srs/{SR}")
    assert twin["request"] == api["requests"][0]
    assert twin["story"] == api["story"]


def test_a_name_that_is_not_the_whole_uuid_leads_to_the_search(world: World) -> None:
    assert world.get("/sr/ITEM-1042")[:2] == (303, "/find?q=ITEM-1042")
    assert world.get("/sr/nobody").status == 404


def test_the_overview_says_what_needs_a_person_in_the_words_of_the_command(world: World) -> None:
    said, status = unescape(world.get("/").text), world.json("/api/status")
    assert [one["reason"] for one in status["attention"]] == ["dead"]
    detail = status["attention"][0]["detail"]
    assert re.fullmatch(r"[0-9]+ deliver(y is|ies are) dead \(the newest: .+\): look why, then replay or discard", detail)
    assert f"<b>erp</b> {detail}" in said
    assert world.json("/overview.json")["status"]["attention"] == status["attention"]


def test_a_group_of_dead_deliveries_leads_to_its_newest_requests(world: World) -> None:
    (group,) = world.json("/dead.json")["groups"]
    assert group["newest"] == [{"message_id": world.message_id, "sr_uuid": SR, "reference_id": "ITEM-1042"}]
    assert f'<a href="/sr/{SR}">ITEM-1042</a>' in world.get("/dead").text
