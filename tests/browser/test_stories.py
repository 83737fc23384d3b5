"""The gateways of these tests are what the tests of pages rely on: each page has something to show, of every kind."""

from __future__ import annotations

from gateway.cli.demo.story import BAG
from tests.browser.hostile import HOSTILE
from tests.browser.stories import Told, deliveries
from tests.support.gateway_process import Running


async def test_the_story_has_deliveries_and_messages_of_every_kind(told: Told) -> None:
    found = [one for state in ("delivered", "dead", "queued", "discarded") for one in await deliveries(told.running, state=state)]
    assert {one["sink"] for one in found if one["state"] == "dead"} == {"warehouse"}
    assert {one["sink"] for one in found if one["state"] == "queued"} >= {"desk", "loyalty"}
    assert {one["state"] for one in found} == {"delivered", "dead", "queued", "discarded"}
    for status in ("quarantined", "unrouted"):
        assert (await told.running.admin(f"/api/messages?status={status}")).json()["messages"] != [], status
    assert told.hostile.keys() == HOSTILE.keys()
    assert told.caught.keys() >= {told.message, *told.hostile.values()}


async def test_the_story_has_late_and_repeated_events_and_the_sinks_in_every_state(told: Told) -> None:
    answer = (await told.running.admin(f"/api/srs/{told.bag}")).json()
    assert answer["requests"][0]["reference_id"] == BAG
    events = answer["story"]["events"]
    assert any(one["duplicates"] for one in events) and any(one.get("facts", {}).get("stale") for one in events)
    status = (await told.running.admin("/api/status")).json()
    assert {"ok", "paused", "breaker_open"} <= {sink["state"] for sink in status["sinks"]}
    assert {"dead", "breaker"} <= {one["reason"] for one in status["attention"]}


async def test_the_failing_gateway_answers_that_its_store_fails(failing: Running) -> None:
    answer = await failing.admin("/api/messages")
    assert (answer.status, answer.json()["error"]) == (503, "store_unavailable")
    assert (await failing.admin("/-/ready")).status == 503
    assert failing.alive
