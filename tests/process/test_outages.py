"""The breaker and the pause of a sink in a real gateway."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.http_server import Heard, HttpServer, answer
from tests.support.configurations import http_sink, route
from tests.support.exchange import exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

# --- the breaker

BREAKER = 'concurrency = 1\nretry = ["0s", "50ms", "50ms", "50ms"]\nbreaker = { failures = 3, probe = "100ms" }'
"""The schedule is so short that, without a breaker, every delivery would be dead after a moment of trouble."""
DOWN = (500, dict[str, str]())
UP = (200, dict[str, str]())


async def act(running: Running, sink: str, what: str, actor: str = "x") -> dict[str, Any]:
    """Pause or resume a sink through the admin listener."""
    body = json.dumps({"actor": actor}).encode()
    raw = request_bytes(body, [("Content-Type", "application/json")], path=f"/api/sinks/{sink}/{what}")
    said = await exchange(running.addresses["admin"], raw)
    assert said.status == 200, said
    return said.json()


async def waiting(running: Running, number: int, sink: str = "erp") -> list[bytes]:
    """Post so many events while the sink is paused, so that all of them wait before the first attempt is made."""
    await act(running, sink, "pause")
    bodies = [event() for _ in range(number)]
    for body in bodies:
        assert (await running.post(body)).outcome == (200, "accepted")
    await act(running, sink, "resume")
    return bodies


async def breaker_gate(running: Running) -> bool:
    metrics = (await running.admin("/metrics")).body.decode()
    return 'legitmark_gateway_gate_closed{gate="breaker",sink="erp"} 1.0' in metrics


def log_lines(running: Running, name: str) -> int:
    return sum(f'"event": "{name}"' in line for line in running.stderr().splitlines())


SPENT = "SELECT sum(attempts), sum(retries), count(*) FILTER (WHERE state = 'queued'), count(*) FROM deliveries"


async def test_a_sink_that_is_down_all_night_costs_no_attempt_and_then_gets_the_oldest_first(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.always = DOWN
        with Running(tmp_path, http_sink(receiver, more=BREAKER) + route("erp")) as running, no_traceback(running):
            bodies = await waiting(running, 40)
            await until(lambda: len(receiver.requests) >= 3 + 4)
            await until(lambda: running.rows(SPENT)[0][0] == len(receiver.requests))  # no probe is in flight
            assert running.rows(SPENT)[0][1:] == (3, 40, 40)  # the three that opened it; the probes cost nothing
            assert len(receiver.requests) < 12
            assert await breaker_gate(running)
            assert len(running.audit("sink.opened", sink="erp")) == 1
            assert not running.audit("sink.closed") and not running.audit("delivery.dead")

            receiver.always = UP
            await until(lambda: len(running.audit("delivery.delivered")) == 40)
            untouched = [body for body in bodies if len(receiver.of(body)) == 1]  # while it was down, no probe took them
            assert len(untouched) > 25
            assert [request.body for request in receiver.requests if request.body in untouched] == untouched
            assert len(running.audit("sink.opened")) == len(running.audit("sink.closed")) == 1
            await until(lambda: log_lines(running, "sink.closed") == 1)  # a thread writes the log
            assert log_lines(running, "sink.opened") == 1
            assert not await breaker_gate(running)
            assert running.rows(SPENT)[0][1:] == (3, 0, 40)


async def test_each_change_of_the_breaker_is_reported_once(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, more=BREAKER) + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            for night in range(1, 4):
                receiver.always = DOWN
                await waiting(running, 6)
                await until(lambda night=night: len(running.audit("sink.opened")) == night)  # type: ignore[misc]
                receiver.always = UP
                await until(lambda night=night: len(running.audit("delivery.delivered")) == 6 * night)  # type: ignore[misc]
                changes = [line["event"] for line in running.audit() if line["event"] in ("sink.opened", "sink.closed")]
                assert changes == ["sink.opened", "sink.closed"] * night
                await until(lambda night=night: log_lines(running, "sink.closed") == night)  # type: ignore[misc]
                assert log_lines(running, "sink.opened") == night


async def test_an_open_breaker_survives_a_crash_and_only_its_probe_is_sent(tmp_path: Path) -> None:
    more = BREAKER.replace("100ms", "200ms")
    with Receiver() as receiver:
        receiver.always = DOWN
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running, no_traceback(running):
            await waiting(running, 20)
            await until(lambda: len(receiver.requests) >= 3 + 1)
            await running.restart()
            assert await breaker_gate(running)
            before = len(receiver.requests)
            await until(lambda: len(receiver.requests) >= before + 2)
            await until(lambda: len(running.audit("delivery.retrying")) >= before + 2)
            probes = receiver.requests[before:]
            assert probes[1].at - probes[0].at > 0.2  # one at a time, with a wait that is at least the configured one
            assert running.rows(SPENT)[0][1:] == (3, 20, 20)
            assert len(running.audit("sink.opened")) == 1 and not running.audit("sink.closed")
            receiver.always = UP
            await until(lambda: len(running.audit("delivery.delivered")) == 20)
            assert len(running.audit("sink.opened")) == len(running.audit("sink.closed")) == 1
            assert not running.audit("delivery.dead")


@pytest.mark.parametrize("poisoned", [1, 2, 4])
async def test_poisoned_messages_cannot_keep_the_breaker_open_for_the_others(tmp_path: Path, poisoned: int) -> None:
    """They come first and open the breaker by themselves. A probe that always took the oldest delivery would take them."""

    def reply(heard: Heard) -> bytes:
        return answer(500 if b"poison" in heard.body else 200)

    more = 'concurrency = 1\nretry = ["0s", "1ms", "1ms", "1ms", "1ms"]\nbreaker = { failures = 3, probe = "100ms" }'
    async with HttpServer(reply) as server:
        toml = f'[sinks.erp]\ntype = "http"\non_stale = "annotate"\nurl = "{server.url}"\n{more}\n' + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            for at in range(poisoned):
                await running.post(event(f"poison-{at}"))
            await until(lambda: running.audit("sink.opened"))
            await until(lambda: len(running.audit("delivery.retrying")) >= 3 + 2)
            bodies = [event() for _ in range(20)]
            for body in bodies:
                await running.post(body)
            await until(lambda: len(running.audit("delivery.delivered")) == 20)
            assert not [line for line in running.audit("delivery.dead") if line["reason"] != "attempts_exhausted"]
            heard = Counter(one.body for one in server.heard)
            assert [heard[body] for body in bodies] == [1] * 20


# --- pause and resume


async def test_a_paused_sink_gets_nothing_before_it_is_resumed_even_after_a_crash(tmp_path: Path) -> None:
    with Receiver() as receiver, Receiver() as other:
        toml = http_sink(receiver) + http_sink(other, "other") + route("erp", "other")
        with Running(tmp_path, toml) as running, no_traceback(running):

            async def post(number: int, so_far: int) -> None:
                """When the other sink has all of them, the paused one would have them, too, if it were not paused."""
                for _ in range(number):
                    await running.post(event())
                await until(lambda: len(running.audit("delivery.delivered", sink="other")) == so_far)

            assert (await act(running, "erp", "pause", "ada"))["changed"] is True
            assert (await act(running, "erp", "pause", "bob"))["changed"] is False
            await post(5, 5)
            assert not receiver.requests
            await running.restart()
            await post(5, 10)
            assert not receiver.requests
            metrics = (await running.admin("/metrics")).body.decode()
            assert 'legitmark_gateway_gate_closed{gate="paused",sink="erp"} 1.0' in metrics
            assert running.rows("SELECT state, sum(attempts), count(*) FROM deliveries WHERE sink = 'erp' GROUP BY 1") == [
                ("queued", 0, 10)
            ]
            assert (await act(running, "erp", "resume", "eve"))["changed"] is True
            await until(lambda: len(running.audit("delivery.delivered", sink="erp")) == 10)
            assert len(receiver.requests) == 10
            acts = [
                (line["event"], line["claimed"]) for line in running.audit() if line["event"] in ("sink.paused", "sink.resumed")
            ]
            assert acts == [("sink.paused", "ada"), ("sink.resumed", "eve")]


async def test_give_up_after_runs_through_a_pause(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, more='give_up_after = "3s"') + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            await act(running, "erp", "pause")
            for _ in range(3):
                await running.post(event())
            await until(lambda: len(running.audit("delivery.dead", sink="erp")) == 3)
            ended = [(line["reason"], line.get("attempt")) for line in running.audit("delivery.dead")]
            assert ended == [("expired", None)] * 3
            await act(running, "erp", "resume")
            await running.post(event())
            await until(lambda: running.audit("delivery.delivered"))
            assert len(receiver.requests) == 1


async def test_give_up_after_runs_through_an_open_breaker(tmp_path: Path) -> None:
    more = 'concurrency = 1\ngive_up_after = "3s"\nretry = ["0s", "1h"]\nbreaker = { failures = 1, probe = "1h" }'
    with Receiver() as receiver:
        receiver.always = DOWN
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running, no_traceback(running):
            await waiting(running, 5)
            await until(lambda: len(running.audit("delivery.dead", sink="erp")) == 5)
            assert {line["reason"] for line in running.audit("delivery.dead")} == {"expired"}
            assert len(receiver.requests) == 1
