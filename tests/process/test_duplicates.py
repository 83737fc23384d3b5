"""A duplicate makes no second delivery, however it arrives, and is answered 200 (docs/design.md, "Promises", 4)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import PAYLOADS, event, new_id, signed


class World(NamedTuple):
    running: Running
    receiver: Receiver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Receiver() as receiver:
        toml = http_sink(receiver) + route("erp")
        with Running(tmp_path_factory.mktemp("duplicates"), toml) as running:
            yield World(running, receiver)


@pytest.fixture(autouse=True)
def unharmed(world: World) -> Iterator[None]:
    with no_traceback(world.running):
        yield


async def drained(world: World) -> None:
    """Wait until every delivery has been made."""
    await until(lambda: world.running.rows("SELECT count(*) FROM deliveries WHERE state <> 'delivered'") == [(0,)])


def statuses(answers: list[Answer]) -> Counter[tuple[int, str]]:
    return Counter(answer.outcome for answer in answers)


async def test_a_message_that_arrives_three_times_at_once_is_delivered_once(world: World) -> None:
    bodies = {new_id(): event() for _ in range(30)}
    answers = await asyncio.gather(
        *(world.running.post(body, signed(body, sender_id)) for _ in range(3) for sender_id, body in bodies.items())
    )
    assert statuses(answers) == {(200, "accepted"): 30, (200, "duplicate"): 60}
    assert len({answer.json()["id"] for answer in answers}) == 30
    await drained(world)
    assert [len(world.receiver.of(body)) for body in bodies.values()] == [1] * 30
    for sender_id in bodies:
        lines = world.running.audit(sender_id=sender_id)
        assert Counter(line["event"] for line in lines) == {
            "message.accepted": 1,
            "message.duplicate": 2,
            "delivery.delivered": 1,
        }
        assert len({line["message_id"] for line in lines}) == 1


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_message_that_arrives_again_after_a_restart_is_delivered_once(world: World, end: str) -> None:
    bodies = {new_id(): event() for _ in range(5)}
    first = [await world.running.post(body, signed(body, sender_id)) for sender_id, body in bodies.items()]
    await drained(world)
    if end == "stop":
        assert await world.running.stop() == 0
        await asyncio.to_thread(world.running.start)
    else:
        await world.running.restart()
    again = [await world.running.post(body, signed(body, sender_id)) for sender_id, body in bodies.items()]
    assert statuses(first) == {(200, "accepted"): 5} and statuses(again) == {(200, "duplicate"): 5}
    assert [answer.json()["id"] for answer in first] == [answer.json()["id"] for answer in again]
    await drained(world)
    assert [len(world.receiver.of(body)) for body in bodies.values()] == [1] * 5


async def test_a_known_sender_id_with_another_body_is_a_conflicting_duplicate(world: World) -> None:
    sender_id, body, other = new_id(), event(), event()
    first = await world.running.post(body, signed(body, sender_id))
    second = await world.running.post(other, signed(other, sender_id))
    third = await world.running.post(other, signed(other, sender_id))
    assert [answer.outcome[1] for answer in (first, second, third)] == ["accepted", "duplicate", "duplicate"]
    assert second.json()["id"] == first.json()["id"]
    lines = world.running.audit("message.duplicate", sender_id=sender_id)
    assert [(line["reason"], line["conflict"]) for line in lines] == [("message_id", True)] * 2
    await drained(world)
    assert len(world.receiver.of(body)) == 1 and world.receiver.of(other) == []
    kept = world.running.rows("SELECT body FROM conflicts WHERE sender_id = ?", sender_id.encode())
    assert kept == [(other,)]
    metrics = (await world.running.admin("/metrics")).body.decode()
    assert 'legitmark_gateway_conflicts_total{source="legitmark"} 2.0' in metrics


async def test_a_known_identity_under_another_sender_id_is_a_duplicate(world: World) -> None:
    body = event()
    spaced = json.dumps(json.loads(body), indent=1).encode()
    first, again = await world.running.post(body), await world.running.post(body)
    conflict = await world.running.post(spaced)
    assert [answer.outcome[1] for answer in (first, again, conflict)] == ["accepted", "duplicate", "duplicate"]
    assert first.json()["id"] == again.json()["id"] == conflict.json()["id"]
    plain, differing = world.running.audit("message.duplicate", message_id=first.json()["id"])
    assert (plain["reason"], plain.get("conflict")) == ("identity", None)
    assert (differing["reason"], differing["conflict"]) == ("identity", True)
    assert plain["sender_id"] != differing["sender_id"]
    await drained(world)
    assert len(world.receiver.of(body)) == 1 and world.receiver.of(spaced) == []


async def test_an_event_that_arrives_at_once_under_many_sender_ids_is_delivered_once(world: World) -> None:
    body = event()
    answers = await asyncio.gather(*(world.running.post(body) for _ in range(20)))
    assert statuses(answers) == {(200, "accepted"): 1, (200, "duplicate"): 19}
    assert len({answer.json()["id"] for answer in answers}) == 1
    await drained(world)
    assert len(world.receiver.of(body)) == 1


async def test_both_families_of_headers_name_one_message(world: World) -> None:
    sender_id, body = new_id(), event()
    first = await world.running.post(body, signed(body, sender_id, family="svix"))
    again = await world.running.post(body, signed(body, sender_id, family="webhook"))
    assert (first.outcome[1], again.outcome[1]) == ("accepted", "duplicate")


async def test_a_second_round_of_quality_control_is_not_a_duplicate(world: World) -> None:
    """The sender's published keys, taken literally, would drop the second round, and the customer would never hear of it."""

    def body(time_of_day: str, **fields: object) -> bytes:
        return event("sr-rounds", timestamp=f"2026-03-01T{time_of_day}Z", **fields)

    bodies = []
    for hour in (10, 12):
        bodies.append(body(f"{hour}:00:00", state={"primary": "QC", "supplement": "PENDING"}))
        bodies.append(body(f"{hour}:01:00", state={"primary": "QC", "supplement": "REJECTED"}))
        bodies.append(body(f"{hour}:01:30", event_type="media_rejected", sides=[{"side": "Front"}]))
    answers = [await world.running.post(one) for one in bodies]
    assert statuses(answers) == {(200, "accepted"): 6}
    await drained(world)
    assert [len(world.receiver.of(one)) for one in bodies] == [1] * 6


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ({"state": {"primary": "DRAFT", "supplement": None}}, {"state": {"primary": "DRAFT"}}, "duplicate"),
        ({"timestamp": "2026-03-01T22:06:01Z"}, {"timestamp": "2026-03-01T22:06:01.000Z"}, "accepted"),
        ({"sr_uuid": "sr-A"}, {"sr_uuid": "sr-a"}, "accepted"),
        ({"timestamp": None}, {"timestamp": None}, "accepted"),
        ({"sr_uuid": None}, {"sr_uuid": None}, "accepted"),
        ({"event_type": "tea_served", "sr_uuid": "tea"}, {"event_type": "tea_served", "sr_uuid": "tea"}, "accepted"),
        ({"sr_uuid": "one", "event_type": "media_rejected"}, {"sr_uuid": "one", "event_type": "invalidate_sr"}, "accepted"),
        ({"sr_uuid": "ref", "reference_id": "A"}, {"sr_uuid": "ref", "reference_id": "B"}, "duplicate"),
    ],
    ids=["null is absent", "texts as they stand", "case", "no timestamp", "no sr_uuid", "no identity", "type", "reference_id"],
)
async def test_identity_fields_are_compared_without_conversion(
    world: World, request: pytest.FixtureRequest, first: dict[str, object], second: dict[str, object], outcome: str
) -> None:
    name = f"sr-{request.node.name}"
    bodies = [event(**{"sr_uuid": name, **fields}) for fields in (first, second)]  # type: ignore[arg-type]
    answers = [await world.running.post(body) for body in bodies]
    assert [answer.outcome[1] for answer in answers] == ["accepted", outcome]


async def test_a_quarantined_message_that_is_sent_again_is_a_duplicate(world: World) -> None:
    sender_id, body = new_id(), b"[]"
    first, again = [await world.running.post(body, signed(body, sender_id)) for _ in range(2)]
    other = await world.running.post(body)
    assert [answer.outcome[1] for answer in (first, again, other)] == ["quarantined", "duplicate", "quarantined"]
    assert first.json()["id"] == again.json()["id"]


async def test_every_sample_sent_three_times_arrives_once(world: World) -> None:
    bodies = [path.read_bytes() for path in sorted(PAYLOADS.glob("*.json"))]
    ids = [new_id() for _ in bodies]
    for _ in range(3):
        await asyncio.gather(*(world.running.post(body, signed(body, at)) for at, body in zip(ids, bodies, strict=True)))
    await drained(world)
    assert [len(world.receiver.of(body)) for body in bodies] == [1] * len(bodies)
