"""Acts in a browser, as it sends them: forms, each done once, by users who may, and audited under their names."""

from __future__ import annotations

import asyncio
import html
import http.client
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from tests.support.browser_forms import SECRETS, TOKENS, USERS, Browser
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, new_id, signed

REFUSES: tuple[int, dict[str, str]] = (500, {})


class World(NamedTuple):
    running: Running
    receiver: Receiver
    browser: Browser

    def user(self, name: str) -> Browser:
        return Browser(self.running, name)

    async def dead(self, number: int, **values: Any) -> list[str]:
        """Let deliveries to the ERP die, and return the ids of their messages."""
        self.receiver.always = REFUSES
        ids = [await self.came(**values) for _ in range(number)]
        await until(lambda: {line["message_id"] for line in self.running.audit("delivery.dead")} >= set(ids))
        self.receiver.always = (200, {})
        return ids

    async def came(self, **values: Any) -> str:
        """Send a webhook, and return the id of its message."""
        body = event(values.pop("sr", new_id()), **values)
        answer = await self.running.post(body, signed(body, new_id()))
        return str(answer.json()["id"])


@pytest.fixture
def world(tmp_path: Any) -> Iterator[World]:
    with Receiver() as receiver:
        toml = USERS + http_sink(receiver, more='retry = ["0s"]\nbreaker = { failures = 1000 }')
        desk = '[sinks.desk]\ntype = "jsonl"\npath = "desk.jsonl"\n'
        with Running(tmp_path, toml + desk + route("erp"), SECRETS) as running, no_traceback(running):
            yield World(running, receiver, Browser(running, "operate"))


@pytest.fixture
async def one_dead(world: World) -> AsyncIterator[str]:
    (found,) = await world.dead(1)
    yield found


async def test_a_replay_counts_first_then_changes_once_however_often_the_form_is_sent(world: World, one_dead: str) -> None:
    fields = world.browser.form(f"/act?do=replay&id={one_dead}&sink=erp")
    assert fields["count"] == "1" and world.running.audit("delivery.replayed") == []
    answers = await asyncio.gather(*(asyncio.to_thread(world.browser.send, fields) for _ in range(2)))
    assert {answer.status for answer in answers} == {303} and len({answer.location for answer in answers}) == 1
    (line,) = world.running.audit("delivery.replayed")
    assert (line["actor"], line["message_id"], line["sink"]) == ("operate", one_dead, "erp")
    await until(lambda: world.running.audit("delivery.delivered", message_id=one_dead))
    job = world.browser.json(answers[0].location.replace("/acts", "/acts.json"))["job"]
    assert (job["changed"], job["failed"], job["actor"]) == (1, None, "operate")


async def test_two_pages_of_the_same_act_are_two_acts_and_the_second_finds_nothing_left(world: World, one_dead: str) -> None:
    path = f"/act?do=replay&id={one_dead}&sink=erp"
    first, second = world.browser.form(path), world.browser.form(path)
    assert first["token"] != second["token"]
    for fields in (first, second):
        assert world.browser.send(fields).status == 303
    assert len(world.running.audit("delivery.replayed")) == 1


async def test_a_group_of_dead_deliveries_is_replayed_and_no_other(world: World) -> None:
    alike = await world.dead(2)
    world.receiver.always = (409, {})
    (other,) = [await world.came()]
    await until(lambda: world.running.audit("delivery.dead", message_id=other))
    world.receiver.always = (200, {})
    groups = world.browser.json("/dead.json")["groups"]
    assert [(group["status"], group["deliveries"], group["requests"]) for group in groups] == [(500, 2, 2), (409, 1, 1)]
    newest = [[one["message_id"] for one in group["newest"]] for group in groups]
    assert newest == [alike[::-1], [other]]
    fields = world.browser.form(f"/act?do=replay&sink=erp&group={groups[0]['group']}")
    assert fields["count"] == "2" and world.browser.send(fields).status == 303
    await until(lambda: len(world.running.audit("delivery.delivered")) == 2)
    assert {line["message_id"] for line in world.running.audit("delivery.replayed")} == set(alike)


async def test_a_delivery_that_dies_after_it_was_counted_is_not_part_of_the_group(world: World, one_dead: str) -> None:
    (group,) = world.browser.json("/dead.json")["groups"]
    fields = world.browser.form(f"/act?do=replay&sink=erp&group={group['group']}")
    (later,) = await world.dead(1)
    assert world.browser.send(fields).status == 303
    assert [line["message_id"] for line in world.running.audit("delivery.replayed")] == [one_dead] != [later]


async def test_a_discard_ends_nothing_unless_its_number_is_typed(world: World, one_dead: str) -> None:
    fields = world.browser.form(f"/act?do=discard&id={one_dead}&sink=erp")
    for typed in ({}, {"typed": "2"}, {"typed": "all"}):
        assert world.browser.send({**fields, **typed}).status == 400
    assert world.running.audit("delivery.discarded") == []
    assert world.browser.send({**fields, "typed": "1"}).status == 303
    (line,) = world.running.audit("delivery.discarded")
    assert line["actor"] == "operate"


async def test_late_deliveries_are_counted_and_left_out_if_the_form_says_so(world: World) -> None:
    sr, times = new_id(), ["2026-03-05T10:30:00Z", "2026-03-05T10:40:00Z", "2026-03-05T10:50:00Z"]
    pending, approved = {"primary": "QC", "supplement": "PENDING"}, {"primary": "QC", "supplement": "APPROVED"}
    await world.dead(1, sr=sr, state=pending, timestamp=times[0])
    newer = await world.came(sr=sr, state=approved, timestamp=times[1])
    await until(lambda: world.running.audit("delivery.delivered", message_id=newer))
    (fresh,) = await world.dead(1)
    path = "/act?do=replay&sink=erp&state=dead"
    assert world.browser.json(path.replace("/act?", "/act.json?"))["counted"] == {"deliveries": 2, "late": 1, "complete": True}
    fields = world.browser.form(path)
    assert fields["skip_late"] == "true" and world.browser.send(fields).status == 303
    assert [line["message_id"] for line in world.running.audit("delivery.replayed")] == [fresh]


async def test_an_act_by_a_beginning_names_the_requests_that_it_stands_for_and_counts_the_others(world: World) -> None:
    uuids = [f"4711abcd-0000-4000-8000-00000000000{number}" for number in range(7)]
    for number, sr in enumerate(uuids):
        await world.came(sr=sr, reference_id=f"ITEM-{number}")
    await until(lambda: len(world.running.audit("delivery.delivered")) == len(uuids))
    path = "/act?do=replay&id=4711abcd&delivered=true"
    named = world.browser.json(path.replace("/act?", "/act.json?"))["named"]
    assert [one["sr_uuid"] for one in named["requests"]] == uuids[:5]
    assert (named["more"], named["loose"], named["complete"]) == (2, 0, True)
    shown = world.browser.get(path).text
    assert "The name stands for 7 service requests:" in shown and "and 2 more" in shown and "ITEM-4" in shown
    assert "ITEM-5" not in shown and world.running.audit("delivery.replayed") == []
    assert "The name stands for 1 service request:" in world.browser.get("/act?do=replay&id=item-3&delivered=true").text


async def test_pause_and_resume_act_once_and_lead_back_to_the_sink(world: World) -> None:
    fields = world.browser.form("/sinks/erp")
    assert fields["do"] == "pause"
    answers = await asyncio.gather(*(asyncio.to_thread(world.browser.send, fields) for _ in range(2)))
    assert {(answer.status, answer.location) for answer in answers} == {(303, "/sinks/erp")}
    await until(lambda: [line["actor"] for line in world.running.audit("sink.paused")] == ["operate"])
    assert world.browser.json("/sinks/erp.json")["sink"]["state"] == "paused"
    resume = world.browser.form("/sinks/erp")
    assert resume["do"] == "resume" and world.browser.send(resume).status == 303
    await until(lambda: [line["actor"] for line in world.running.audit("sink.resumed")] == ["operate"])
    assert [act["act"] for act in world.browser.json("/acts.json")["acts"]] == ["resume", "pause"]


async def test_a_drill_shows_what_the_sink_answered(world: World) -> None:
    world.receiver.always = REFUSES
    location = world.browser.send({**world.browser.form("/act?do=drill&sink=erp"), "event": "authentic"}).location
    (drilled,) = world.browser.json(location.replace("/acts", "/acts.json"))["job"]["drilled"]
    assert (drilled["sink"], drilled["outcome"], drilled["status"]) == ("erp", "retry", 500)
    await until(lambda: world.running.audit("sink.drilled"))
    (line,) = world.running.audit("sink.drilled")
    assert (line["actor"], line["status"]) == ("operate", 500)


async def test_a_sample_comes_in_signed_is_routed_and_is_plainly_a_test(world: World) -> None:
    location = world.browser.send({**world.browser.form("/act?do=sample"), "event": "counterfeit"}).location
    message_id = world.browser.json(location.replace("/acts", "/acts.json"))["job"]["message_id"]
    message = world.browser.json(f"/messages/{message_id}.json")["message"]
    assert message["reference_id"] == "TEST-ITEM-1042" and message["milestone"] == "counterfeit" and message["signed"]
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id))
    await until(lambda: world.running.audit("message.sampled"))
    (line,) = world.running.audit("message.sampled")
    assert (line["actor"], line["source"], line["message_id"]) == ("operate", "legitmark", message_id)


async def test_routing_again_makes_the_deliveries_that_the_rules_of_today_name(world: World) -> None:
    message_id = await world.came()
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id))
    fields = world.browser.form(f"/act?do=replay&id={message_id}&to=desk")
    assert fields["count"] == "1" and world.browser.send(fields).status == 303
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id, sink="desk"))
    assert "<form" not in world.browser.get(f"/act?do=reroute&id={message_id}").text.partition("<main")[2].partition("</main>")[0]


async def test_who_may_not_act_sees_no_button_and_is_refused(world: World, one_dead: str) -> None:
    fields = world.browser.form(f"/act?do=replay&id={one_dead}&sink=erp")
    for name in ("support", "read"):
        user = world.user(name)
        for path in (f"/messages/{one_dead}", "/dead", "/sinks/erp"):
            shown = user.get(path)
            assert shown.status == 200 and not re.search(r'(action|href)="/act["?]', html.unescape(shown.text)), (name, path)
        assert user.get("/act?do=replay&sink=erp").status == 403
        assert user.send(fields).status == 403
    assert world.running.audit("delivery.replayed") == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_a_form_of_another_page_changes_nothing(world: World, one_dead: str, site: str) -> None:
    fields = world.browser.form(f"/act?do=replay&id={one_dead}&sink=erp")
    assert world.browser.send(fields, site=site).status == 403
    assert world.running.audit("delivery.replayed") == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"do": "explode", "token": "x"}, 400),
        ({"do": "pause", "sink": "erp"}, 400),
        ({"do": "pause", "sink": "nobody", "token": "x"}, 404),
        ({"do": "replay", "token": "x"}, 400),
        ({"do": "replay", "group": "x", "token": "x"}, 400),
        ({"do": "replay", "sink": "erp", "group": "x", "token": "x"}, 400),
        ({"do": "replay", "sink": "erp", "color": "red", "token": "x"}, 400),
        ({"do": "discard", "sink": "erp", "state": "dead", "token": "x", "count": "0"}, 400),
    ],
)
async def test_a_form_that_asks_for_the_impossible_is_answered_with_a_page_that_says_so(
    world: World, fields: dict[str, str], status: int
) -> None:
    said = world.browser.send(fields)
    assert said.status == status and "<h1>" in said.text
    assert world.running.audit(actor="operate") == []


async def test_an_event_is_tried_on_the_rules_and_nothing_is_sent_or_kept(world: World) -> None:
    event_text = '{"event_type": "state_change", "state": {"primary": "COMPLETE", "supplement": "APPROVED"}, "note": "<b>"}'
    said = world.user("read").send({"event": event_text}, "/rules")
    assert said.status == 200 and "→ erp" in said.text and "&lt;b&gt;" in said.text and '<b>"' not in said.text
    assert 'role="alert"' in world.user("read").send({"event": "no JSON"}, "/rules").text
    assert world.user("support").send({"event": event_text}, "/rules").status == 403
    assert world.browser.json("/messages.json")["messages"] == [] and world.receiver.requests == []


async def test_messages_are_listed_from_the_newest_on_page_by_page_and_by_their_filters(world: World) -> None:
    ids = [await world.came() for _ in range(55)]
    first = world.browser.json("/messages.json")
    second = world.browser.json(f"/messages.json?before={first['before']}")
    assert [one["message_id"] for one in [*first["messages"], *second["messages"]]] == ids[::-1]
    assert second["before"] is None
    for query, number in (
        ("status=unrouted", 0),
        ("source=legitmark", 50),
        ("source=gateway", 0),
        ("since=1h", 50),
        ("until=1h", 0),
    ):
        assert len(world.browser.json(f"/messages.json?{query}")["messages"]) == number, query
    assert [one["message_id"] for one in world.browser.json(f"/messages.json?id={ids[3]}")["messages"]] == [ids[3]]


async def test_the_body_is_a_download_as_it_came_and_no_part_of_it_reaches_support(world: World) -> None:
    body = b'{"event_type":"state_change",  "sr_uuid":"u","n":1.50,"note":"canary \xe2\x80\xae"}'
    message_id = (await world.running.post(body, signed(body, new_id()))).json()["id"]
    raw = world.user("read").get(f"/messages/{message_id}?raw=true")
    assert raw.status == 200 and raw.text.encode() == body
    shown = world.user("read").get(f"/messages/{message_id}").text
    assert '"n": 1.50' in html.unescape(shown) and "⟦U+202E⟧" in shown and "\u202e" not in shown
    assert world.user("support").get(f"/messages/{message_id}?raw=true").status == 403
    for path in (f"/messages/{message_id}", f"/messages/{message_id}.json"):
        said = world.user("support").get(path)
        assert said.status == 200 and "canary" not in said.text


async def test_a_program_probes_and_samples_by_the_api_under_its_own_name(world: World) -> None:
    address = world.running.addresses["admin"]
    assert isinstance(address, tuple)

    def ask(user: str, path: str, body: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKENS[user]}", "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    assert await asyncio.to_thread(ask, "operate", "/api/sinks/erp/probe", "{}") == (200, {"sink": "erp", "changed": False})
    status, said = await asyncio.to_thread(ask, "operate", "/api/sample", '{"event": "authentic", "actor": "a script"}')
    assert (status, said["status"]) == (200, "accepted")
    await until(
        lambda: world.running.audit("message.sampled", message_id=said["message_id"], actor="operate", claimed="a script")
    )
    for path, body, wanted in (
        ("/api/sample", '{"event": "nothing"}', 400),
        ("/api/sample", '{"source": "nobody"}', 404),
        ("/api/sinks/nobody/probe", "{}", 404),
    ):
        assert (await asyncio.to_thread(ask, "operate", path, body))[0] == wanted
        assert (await asyncio.to_thread(ask, "read", path, body))[0] == 403
