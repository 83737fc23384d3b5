"""A reload leaves deliveries in flight, timers, breakers and pauses alone, and keeps what is owed to a sink that is gone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.reloading import accepted, reloaded, run, sink
from tests.support.waiting import until
from tests.support.webhooks import event, signed


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as other:
        yield other


def states(running: Running) -> list[tuple[str, str, int]]:
    return running.rows("SELECT sink, state, attempts FROM deliveries ORDER BY message, sink")


async def held(running: Running) -> list[object]:
    """The value of `held` for the only delivery: in the list of deliveries, in the story of its message, and at its sink."""
    (delivery,) = (await running.admin("/api/deliveries")).json()["deliveries"]
    (story,) = (await running.admin(f"/api/messages/{delivery['message_id']}")).json()["messages"]
    documents = [delivery, *story["deliveries"], await sink(running, delivery["sink"])]
    return [document.get("held") for document in documents]


async def test_an_attempt_in_flight_ends_at_the_old_address_and_the_next_uses_the_new_one(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        receiver.hold()
        first = await accepted(running)
        await until(lambda: receiver.requests)
        await reloaded(running, http_sink(other) + route("erp"))
        second = await accepted(running)
        await until(lambda: other.requests)
        receiver.release()
        await until(lambda: states(running) == [("erp", "delivered", 1)] * 2)
        assert [request.body for request in receiver.requests] == [first]
        assert [request.body for request in other.requests] == [second]


async def test_a_later_attempt_is_made_at_its_planned_time_and_at_the_new_address(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    more = 'retry = ["0s", "4s"]\nbreaker = { failures = 9 }'
    with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running:
        receiver.always = (500, {})
        await accepted(running)
        await until(lambda: states(running) == [("erp", "queued", 1)])
        due = running.rows("SELECT due_ms FROM deliveries")
        await reloaded(running, http_sink(other, more='timeout = "5s"\n' + more) + route("erp"))
        assert running.rows("SELECT due_ms FROM deliveries") == due
        await until(lambda: states(running) == [("erp", "delivered", 2)])
        assert other.requests[0].at - receiver.requests[0].at >= 3.5
        assert [request.headers["x-gateway-attempt"] for request in other.requests] == ["2"]


async def test_timers_an_open_breaker_and_a_pause_survive_a_change_and_a_removal_of_their_sink(
    tmp_path: Path, receiver: Receiver
) -> None:
    more = 'retry = ["0s", "1h"]\nbreaker = { failures = 2, probe = "1h" }\n'
    crm = http_sink(receiver, "crm")
    with Running(tmp_path, http_sink(receiver, more=more) + crm + route("erp")) as running:
        receiver.always = (500, {})
        for _ in range(2):
            await accepted(running)
        await until(lambda: states(running) == [("erp", "queued", 1)] * 2 and running.audit("sink.opened"))
        assert (await run(running, "pause", "crm")).status == 0
        due = running.rows("SELECT message, due_ms FROM deliveries")
        before = [await sink(running, name) for name in ("erp", "crm")]
        assert before[0]["breaker"] == "open" and before[1]["paused_by"]
        changed = http_sink(receiver, more=more + 'timeout = "5s"') + http_sink(receiver, "crm", "concurrency = 2")
        for toml in (changed + route("erp"), http_sink(receiver, "lone") + route("lone"), changed + route("erp")):
            await reloaded(running, toml)
        assert [await sink(running, name) for name in ("erp", "crm")] == before
        assert running.rows("SELECT message, due_ms FROM deliveries") == due
        gates = (await running.admin("/metrics")).body.decode()
        assert 'gate_closed{gate="breaker",sink="erp"} 1.0' in gates
        assert 'gate_closed{gate="paused",sink="crm"} 1.0' in gates
        await accepted(running)
        assert len(receiver.requests) == 2, "the breaker is open still"


async def test_deliveries_to_a_removed_sink_are_held_without_ageing_until_its_name_is_back(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    more = 'retry = ["0s", "4s"]\nbreaker = { failures = 9 }\ngive_up_after = "5s"'
    without = http_sink(other, "crm") + route("crm")
    with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running:
        receiver.always = (500, {})
        await accepted(running)
        await until(lambda: states(running) == [("erp", "queued", 1)])
        left = time.monotonic()
        said = await reloaded(running, without)
        assert {"kind": "removed", "place": "[sinks.erp]"}.items() <= said["changes"][0].items()
        assert await held(running) == ["no such sink"] * 3
        assert 'gate_closed{gate="paused",sink="erp"}' not in (await running.admin("/metrics")).body.decode()
        listed = await run(running, "deliveries")
        assert "held: no such sink" in listed.out
        await until(lambda: time.monotonic() > left + 5.5)  # past its time to be given up
        assert states(running) == [("erp", "queued", 1)] and len(receiver.requests) == 1
        await reloaded(running, http_sink(other, more=more) + route("erp"))
        await until(lambda: states(running) == [("erp", "delivered", 2)])
        assert await held(running) == [None] * 3


@pytest.mark.parametrize("answer", [200, 500])
async def test_a_sink_that_is_back_during_an_attempt_is_sent_nothing_twice(
    answer: int, tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    more = 'retry = ["0s", "100ms"]\nbreaker = { failures = 9 }'
    with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running:
        receiver.hold()
        first = await accepted(running)
        await until(lambda: receiver.requests)
        await reloaded(running, http_sink(other, "crm") + route("crm"))
        await reloaded(running, http_sink(other, more=more) + route("erp"))
        second = await accepted(running)
        await until(lambda: other.of(second))  # it need not wait for the other one
        assert not other.of(first)
        receiver.always = (answer, {})
        receiver.release()
        attempts = 1 if answer == 200 else 2
        await until(lambda: states(running) == [("erp", "delivered", attempts), ("erp", "delivered", 1)])
        assert (len(receiver.requests), len(other.of(first)), len(other.of(second))) == (1, attempts - 1, 1)


async def test_waiting_deliveries_are_put_in_order_when_ordering_is_switched_on(tmp_path: Path, receiver: Receiver) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        assert (await run(running, "pause", "erp")).status == 0
        bodies = [event("sr-1", timestamp=f"2026-03-01T22:0{minute}:00.000Z") for minute in (5, 3, 1, 4)]
        for body in bodies[:3]:
            await accepted(running, body)
        await reloaded(running, http_sink(receiver, more='ordering = "sr"') + route("erp"))
        await accepted(running, bodies[3])
        assert (await run(running, "resume", "erp")).status == 0
        await until(lambda: len(receiver.requests) == 4)
        assert [request.body for request in receiver.requests] == [bodies[at] for at in (2, 1, 3, 0)]


# --- under load

RELOADS = 200
SENDERS = 8


class Sender:
    """Posts one message after the other, and notes when it sent each body."""

    def __init__(self, running: Running) -> None:
        self.sent: dict[bytes, float] = {}
        self.answers: list[Answer] = []
        self.stopped = False
        self._running = running

    async def run(self) -> None:
        while not self.stopped:
            body = event()
            self.sent[body] = time.monotonic()
            self.answers.append(await self._running.post(body, signed(body)))


async def test_two_hundred_reloads_under_load_neither_lose_nor_repeat_a_delivery(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """Two configurations alternate: one sink has another address and timeout, the routes differ, a sink comes and goes.

    tests/process/test_reload_at_scale.py measures that reloads do not slow deliveries down.
    """
    one = http_sink(receiver) + http_sink(receiver, "crm") + route("erp") + route("crm")
    two = http_sink(other, more='timeout = "5s"\nconcurrency = 8') + route("erp", more='name = "all"')
    with Running(tmp_path, one) as running:
        senders = [Sender(running) for _ in range(SENDERS)]
        working = [asyncio.create_task(sender.run()) for sender in senders]
        try:
            for number in range(RELOADS):
                await reloaded(running, one if number % 2 else two)
        finally:
            for sender in senders:
                sender.stopped = True
            await asyncio.gather(*working)

        answers = [answer for sender in senders for answer in sender.answers]
        assert {answer.outcome for answer in answers} == {(200, "accepted")}
        owed = Counter(f"{line['message_id']}-{name}" for line in running.audit("message.accepted") for name in line["sinks"])
        assert len(running.audit("message.accepted")) == len(answers) and set(owed.values()) == {1}
        assert any(key.endswith("-crm") for key in owed)
        await until(lambda: running.rows("SELECT 1 FROM deliveries WHERE state = 'queued' LIMIT 1") == [])
        requests = [*receiver.requests, *other.requests]
        assert Counter(request.headers["idempotency-key"] for request in requests) == owed, "none lost, none twice"
        assert running.rows("SELECT DISTINCT state, attempts FROM deliveries") == [("delivered", 1)]
        assert len(running.audit("config.reloaded")) == RELOADS
        assert "invariant" not in running.stderr() and "Traceback" not in running.stderr()

        sent = {body: at for sender in senders for body, at in sender.sent.items()}
        took = [request.at - sent[request.body] for request in requests if request.path == "/erp"]
        assert max(took) < 20, "no delivery waited for a timer to run anew, or for a timeout of 30 seconds"
