"""The admin API of a real gateway refuses senseless requests and strangers; a replay and a pause through it take effect."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, signed


def ask(
    gateway: Running, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    address = gateway.addresses["admin"]
    assert isinstance(address, tuple)
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One gateway for all questions that leave it as it is."""
    with Receiver() as receiver, Running(tmp_path_factory.mktemp("api"), http_sink(receiver) + route("erp")) as running:
        yield running


_HUGE = "9" * 30


@pytest.mark.parametrize(
    "path",
    [
        "/api/deliveries?state=lost",
        "/api/deliveries?limit=many",
        "/api/deliveries?after=x",
        "/api/deliveries?since=yesterday",
        "/api/deliveries?since=nan",
        "/api/deliveries?since=inf",
        "/api/deliveries?since=1e300",
        f"/api/deliveries?after={_HUGE}.erp",
        f"/api/messages?after={_HUGE}",
        "/api/messages?until=1e17",
        "/api/messages?status=new",
        "/api/messages?limit=1.5",
    ],
)
def test_a_senseless_query_is_answered_400(gateway: Running, path: str) -> None:
    status, answer = ask(gateway, "GET", path)
    assert (status, answer["error"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b"{}",
        b'{"selection": 1}',
        b'{"selection": {"state": "lost"}}',
        b'{"selection": {"who": "x"}}',
        b'{"selection": {}, "dry_run": "yes"}',
        b'{"selection": {}, "more": 1}',
        b'{"selection": {"since": 1e300}, "dry_run": true}',
        b'{"selection": {}, "dry_run": true, "after": {"seq": ' + _HUGE.encode() + b', "sink": ""}}',
        b'{"selection": {}, "dry_run": true, "after": {"seq": 9223372036854775808, "sink": ""}}',
        b"[" * 60_000,
        b" " * 70_000,
    ],
)
@pytest.mark.parametrize("act", ["replay", "discard"])
def test_a_senseless_act_is_answered_400(gateway: Running, act: str, body: bytes) -> None:
    status, answer = ask(gateway, "POST", f"/api/{act}", body)
    assert (status, answer["error"]) == (400, "bad_request")


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_a_sink_that_does_not_exist_can_be_neither_paused_nor_resumed(gateway: Running, act: str) -> None:
    status, answer = ask(gateway, "POST", f"/api/sinks/nowhere/{act}", b"{}")
    assert (status, answer["error"]) == (404, "not_found") and "nowhere" in answer["detail"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/"), ("GET", "/api/replay"), ("POST", "/api/messages"), ("DELETE", "/api/deliveries")]
)
def test_another_path_or_method_of_the_api_is_refused(gateway: Running, method: str, path: str) -> None:
    assert ask(gateway, method, path)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8081"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://192.0.2.1"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/messages"), ("POST", "/api/discard"), ("POST", "/api/sinks/erp/pause")]
)
def test_a_stranger_s_page_can_neither_read_nor_act(gateway: Running, method: str, path: str, headers: dict[str, str]) -> None:
    body = b'{"selection": {}}' if method == "POST" else None
    assert ask(gateway, method, path, body, headers)[0] == 403
    assert ask(gateway, "GET", "/api/sinks")[1]["sinks"][0]["paused_by"] is None


@pytest.mark.parametrize("sender", ["po/2026/17", "a?b#c", "a%2Fb", "注文-1", "a b+c", "..."])
async def test_an_id_of_any_characters_is_found_through_the_api(gateway: Running, sender: str) -> None:
    assert (await gateway.post(body := event(f"sr-{sender}"), signed(body))).status == 200
    status, answer = ask(gateway, "GET", f"/api/messages/{quote(f'sr-{sender}', safe='')}")
    assert status == 200 and [message["sr_uuid"] for message in answer["messages"]] == [f"sr-{sender}"]


async def test_a_dead_delivery_is_replayed_through_the_api_under_the_same_key(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.append((500, {}))
        with Running(tmp_path, http_sink(receiver, more='retry = ["0s"]') + route("erp")) as running:
            body = event("sr-1")
            assert (await running.post(body)).status == 200
            await until(lambda: running.audit("delivery.dead"))
            act = json.dumps({"selection": {"id": "sr-1"}, "actor": "ann"}).encode()
            status, answer = await asyncio.to_thread(ask, running, "POST", "/api/replay", act)
            assert (status, answer["changed"], answer["after"]) == (200, 1, None)
            await until(lambda: running.audit("delivery.delivered"))
            first, second = receiver.of(body)
            keys = [name for name in first.headers if "idempotency" in name or name.endswith("-id")]
            assert keys and all(first.headers[name] == second.headers[name] for name in keys)
            (line,) = running.audit("delivery.replayed")
            assert (line["actor"], line["claimed"], line["sink"]) == ("admin", "ann", "erp")


async def test_a_pause_through_the_api_holds_across_a_kill_and_is_lifted_again(tmp_path: Path) -> None:
    with Receiver() as receiver, Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        status, answer = await asyncio.to_thread(ask, running, "POST", "/api/sinks/erp/pause", b'{"actor": "ann"}')
        assert (status, answer) == (200, {"sink": "erp", "paused": True, "changed": True})
        assert (await running.post(event("sr-1"))).status == 200
        await running.restart()
        (sink,) = (await asyncio.to_thread(ask, running, "GET", "/api/sinks"))[1]["sinks"]
        assert sink["paused_by"] == "admin" and sink["queued"] == 1 and receiver.requests == []
        await asyncio.to_thread(ask, running, "POST", "/api/sinks/erp/resume", b'{"actor": "bob"}')
        await until(lambda: len(receiver.requests) == 1)
        assert [line["claimed"] for line in running.audit() if line["event"].startswith("sink.")] == ["ann", "bob"]
