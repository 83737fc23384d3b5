"""A sink that fails, hangs or asks for time is tried again on its schedule, and no other sink waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

# A sink per behaviour, so that one process does for all tests; each has a receiving end of its own.
SINKS = {
    "twice": 'retry = ["0s", "200ms", "100ms"]',
    "dead": 'retry = ["0s", "50ms", "50ms"]',
    "defers": 'retry = ["0s"]',
    "gone": 'retry = ["0s", "50ms"]\nreject_on = [410]',
    "moved": 'retry = ["0s", "50ms"]',
    "slow": 'retry = ["0s", "50ms"]\ntimeout = "300ms"',
    "hangs": 'timeout = "300s"',
    "well": "",
    "late": 'retry = ["300ms"]',
    "expires": 'retry = ["0s", "150ms", "1h"]\ngive_up_after = "3s"',
}


ATTEMPTS = "SELECT attempt, outcome, a.reason, a.status FROM attempts a JOIN messages ON seq = message WHERE id = ? ORDER BY 1"


class World(NamedTuple):
    running: Running
    receivers: dict[str, Receiver]

    async def post(self, sink: str, number: int = 1) -> list[str]:
        """Post messages for one sink, and return their ids."""
        answers = [await self.running.post(event(f"{sink}-{time.monotonic_ns()}")) for _ in range(number)]
        return [answer.json()["id"] for answer in answers]

    def story(self, message_id: str, sink: str) -> list[tuple[object, ...]]:
        lines = self.running.audit(message_id=message_id, sink=sink)
        fields = ("attempt", "status", "reason")
        return [(line["event"].removeprefix("delivery."), *map(line.get, fields)) for line in lines]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    receivers = {name: Receiver() for name in SINKS}
    try:
        for receiver in receivers.values():
            receiver.__enter__()
        parts = [http_sink(receivers[name], name, more) for name, more in SINKS.items()]
        parts += [
            f'[[routes]]\nsource = "legitmark"\nmatch = {{ sr_uuid = {{ prefix = "{name}-" }} }}\nsinks = ["{name}"]'
            for name in SINKS
        ]
        parts.append('[[routes]]\nmatch = { sr_uuid = { prefix = "hangs-" } }\nsinks = ["well"]')
        with Running(tmp_path_factory.mktemp("retries"), "\n".join(parts)) as running:
            yield World(running, receivers)
    finally:
        for receiver in receivers.values():
            receiver.__exit__()


@pytest.fixture(autouse=True)
def unharmed(world: World) -> Iterator[None]:
    with no_traceback(world.running):
        yield


async def test_a_delivery_that_fails_twice_succeeds_at_the_third_attempt(world: World) -> None:
    receiver = world.receivers["twice"]
    receiver.script.extend([(500, {}), (404, {})])
    (message_id,) = await world.post("twice")
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id))
    assert world.story(message_id, "twice") == [
        ("retrying", 1, 500, "http_status"),
        ("retrying", 2, 404, "http_status"),
        ("delivered", 3, 200, None),
    ]
    first, second, third = receiver.requests
    assert {request.headers["idempotency-key"] for request in receiver.requests} == {f"{message_id}-twice"}
    assert [request.headers["x-gateway-attempt"] for request in receiver.requests] == ["1", "2", "3"]
    assert second.at - first.at > 0.17 and third.at - second.at > 0.08
    # The line is written when the outcome is committed, so on a slow machine less of the wait is left, but never more.
    waits = [
        (datetime.fromisoformat(line["next_attempt_at"]) - datetime.fromisoformat(line["time"])).total_seconds()
        for line in world.running.audit("delivery.retrying", message_id=message_id)
    ]
    assert waits[0] < 0.23 and waits[1] < 0.12  # tests/engine/test_lane_schedule.py holds attempts to the plan
    assert world.running.rows(ATTEMPTS, message_id) == [
        (1, "retry", "http_status", 500),
        (2, "retry", "http_status", 404),
        (3, "delivered", None, 200),
    ]


async def test_at_the_end_of_the_schedule_a_delivery_is_dead_and_kept(world: World) -> None:
    receiver = world.receivers["dead"]
    receiver.always = (500, {})
    (message_id,) = await world.post("dead")
    await until(lambda: world.running.audit("delivery.dead", message_id=message_id))
    assert world.story(message_id, "dead") == [
        ("retrying", 1, 500, "http_status"),
        ("retrying", 2, 500, "http_status"),
        ("dead", 3, 500, "attempts_exhausted"),
    ]
    assert len(receiver.requests) == 3
    row = "SELECT state, attempts, retries, reason FROM deliveries JOIN messages ON seq = message WHERE id = ?"
    assert world.running.rows(row, message_id) == [("dead", 3, 3, "attempts_exhausted")]


@pytest.mark.parametrize(("status", "reason"), [(429, "rate_limited"), (503, "unavailable")])
async def test_retry_after_defers_the_whole_lane_and_costs_no_attempt(world: World, status: int, reason: str) -> None:
    """The schedule of this sink allows a single attempt: if a defer cost one, the delivery would be dead."""
    receiver = world.receivers["defers"]
    receiver.requests.clear()
    receiver.script.append((status, {"Retry-After": "1"}))
    (first,) = await world.post("defers")
    await until(lambda: world.running.audit("delivery.deferred", message_id=first))
    deferred_at = time.monotonic()
    (second,) = await world.post("defers")
    await until(lambda: world.running.audit("delivery.delivered", message_id=second))
    await until(lambda: world.running.audit("delivery.delivered", message_id=first))
    assert world.story(first, "defers") == [("deferred", 1, status, reason), ("delivered", 2, 200, None)]
    assert world.story(second, "defers") == [("delivered", 1, 200, None)]
    assert min(request.at for request in receiver.requests[1:]) - deferred_at > 0.8


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}], ids=str)
async def test_503_without_a_readable_retry_after_is_a_retry(world: World, headers: dict[str, str]) -> None:
    world.receivers["defers"].script.append((503, headers))
    (message_id,) = await world.post("defers")
    await until(lambda: world.running.audit("delivery.dead", message_id=message_id))
    assert world.story(message_id, "defers") == [("dead", 1, 503, "attempts_exhausted")]


async def test_a_status_that_is_final_by_rule_is_dead_at_once(world: World) -> None:
    world.receivers["gone"].always = (410, {})
    (message_id,) = await world.post("gone")
    await until(lambda: world.running.audit("delivery.dead", message_id=message_id))
    assert world.story(message_id, "gone") == [("dead", 1, 410, "rejected")]


async def test_a_redirect_is_a_retry_and_never_followed(world: World) -> None:
    world.receivers["moved"].script.append((307, {"Location": world.receivers["well"].url("/elsewhere")}))
    (message_id,) = await world.post("moved")
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id))
    assert world.story(message_id, "moved") == [("retrying", 1, 307, "http_status"), ("delivered", 2, 200, None)]
    assert not [request for request in world.receivers["well"].requests if request.path == "/elsewhere"]


async def test_a_sink_that_does_not_answer_in_time_is_a_timeout(world: World) -> None:
    receiver = world.receivers["slow"]
    receiver.hold()
    (message_id,) = await world.post("slow")
    await until(lambda: world.running.audit("delivery.dead", message_id=message_id))
    receiver.release()
    assert world.story(message_id, "slow") == [("retrying", 1, None, "timeout"), ("dead", 2, None, "attempts_exhausted")]


async def test_a_schedule_that_begins_with_a_wait_delays_the_first_attempt(world: World) -> None:
    started = time.monotonic()
    (message_id,) = await world.post("late")
    await until(lambda: world.running.audit("delivery.delivered", message_id=message_id))
    assert world.receivers["late"].requests[0].at - started > 0.25


async def test_a_delivery_that_is_not_taken_within_give_up_after_is_dead(world: World) -> None:
    receiver = world.receivers["expires"]
    receiver.always = (500, {})
    (message_id,) = await world.post("expires")
    await until(lambda: world.running.audit("delivery.dead", message_id=message_id))
    assert world.story(message_id, "expires") == [
        ("retrying", 1, 500, "http_status"),
        ("retrying", 2, 500, "http_status"),
        ("dead", None, None, "expired"),
    ]
    assert len(receiver.requests) == 2


async def test_a_hanging_sink_delays_neither_the_answer_nor_another_sink(world: World) -> None:
    hangs, well = world.receivers["hangs"], world.receivers["well"]
    hangs.hold()
    well.requests.clear()
    bodies = [event(f"hangs-{at}") for at in range(60)]
    answers = await asyncio.gather(*(world.running.post(body) for body in bodies))
    assert {answer.outcome for answer in answers} == {(200, "accepted")}
    await until(lambda: len(well.requests) == 60)
    await until(lambda: len(hangs.requests) >= 16)
    assert len(hangs.requests) == 16  # its concurrency, and not one more
    metrics = (await world.running.admin("/metrics")).body.decode()
    assert 'legitmark_gateway_deliveries{sink="hangs",state="queued"} 60.0' in metrics
    assert (await world.running.admin("/-/ready")).status == 200
    hangs.release()
    await until(lambda: len(world.running.audit("delivery.delivered", sink="hangs")) == 60)
    assert len(hangs.requests) == 60


async def test_a_retry_that_waits_survives_a_crash(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, more='retry = ["0s", "1s", "0s"]') + route("erp")
        with Running(tmp_path, toml) as running:
            receiver.script.append((500, {}))
            await running.post(event())
            await until(lambda: running.audit("delivery.retrying"))
            await running.restart()
            await until(lambda: running.audit("delivery.delivered"))
            first, second = receiver.requests
            assert second.at - first.at > 0.85
            assert [request.headers["x-gateway-attempt"] for request in (first, second)] == ["1", "2"]
            assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_a_due_retry_delays_no_other_sink_while_every_slot_is_taken(tmp_path: Path) -> None:
    with Receiver() as receiver, Receiver() as other:
        toml = (
            http_sink(receiver, more='retry = ["0s", "100ms"]\nconcurrency = 1')
            + http_sink(other, "other")
            + route("erp", "other")
        )
        with Running(tmp_path, toml) as running:
            receiver.script.append((500, {}))
            await running.post(event())
            await until(lambda: running.audit("delivery.retrying"))
            receiver.hold()
            await running.post(event())
            await until(lambda: len(receiver.requests) == 2)
            due_at = time.monotonic() + 0.2
            answers = [await running.post(event())]
            while time.monotonic() < due_at:
                answers.append(await running.post(event()))
            assert (await running.admin("/-/healthy")).status == 200
            assert max(answer.seconds for answer in answers) < 10, "a lane that spins would leave the loop no time"
            receiver.release()
            await until(lambda: len(running.audit("delivery.delivered")) == 2 * (len(answers) + 2))


async def test_a_receiver_that_is_down_is_tried_again(tmp_path: Path, free_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{free_port()}/erp"
    retry = 'retry = ["0s", "300ms", "300ms", "300ms", "300ms"]'
    toml = f'[sinks.erp]\ntype = "http"\non_stale = "annotate"\nurl = "{url}"\n{retry}\n' + route("erp")
    with Running(tmp_path, toml) as running:
        answer = await running.post(event())
        assert answer.outcome == (200, "accepted")
        await until(lambda: running.audit("delivery.retrying"))
        (line, *_) = running.audit("delivery.retrying")
        assert line["reason"] == "connect" and "status" not in line
