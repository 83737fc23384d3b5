"""The admin listener serves health and metrics to this host, and refuses strangers."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway import SERVER
from tests.support.configurations import http_sink, route
from tests.support.exchange import exchange
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.scraping import samples
from tests.support.starting import start_another
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed

TOKEN = "a-token-of-the-operator"
PAGES = ["/-/healthy", "/-/ready", "/metrics"]


class World(NamedTuple):
    running: Running
    receiver: Receiver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Receiver() as receiver:
        toml = http_sink(receiver, more='retry = ["0s"]') + http_sink(receiver, "down", 'retry = ["0s"]') + route("erp", "down")
        with Running(tmp_path_factory.mktemp("admin"), toml) as running:
            yield World(running, receiver)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that asks for a token, as it must if it does not listen on this host alone."""
    toml = '[admin]\nlisten = ["127.0.0.1:0"]\ntoken = { env = "ADMIN_TOKEN" }\n'
    with Running(tmp_path_factory.mktemp("guarded"), toml, {"ADMIN_TOKEN": TOKEN}) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(world: World, guarded: Running) -> Iterator[None]:
    with no_traceback(world.running), no_traceback(guarded):
        yield


async def test_a_gateway_says_that_it_is_healthy_and_ready(world: World) -> None:
    healthy, ready = await world.running.admin("/-/healthy"), await world.running.admin("/-/ready")
    assert (healthy.status, healthy.json()) == (200, {"status": "healthy"})
    assert (ready.status, ready.json()) == (200, {"status": "ready"})


async def test_a_sink_that_is_down_does_not_make_the_gateway_unready(world: World) -> None:
    world.receiver.always = (500, {})
    await world.running.post(event())
    await until(lambda: len(world.running.audit("delivery.dead")) >= 2)
    world.receiver.always = (200, {})
    assert (await world.running.admin("/-/ready")).status == 200


async def test_the_metrics_count_messages_refusals_and_deliveries(world: World) -> None:
    before = await samples(world.running)
    body, sender_id = event(), new_id()
    await world.running.post(body, signed(body, sender_id))
    await world.running.post(body, signed(body, sender_id))
    await world.running.post(b'{"event_type":"tea_served"}')
    await world.running.post(b"[]")
    await world.running.post(body, [])
    await world.running.post(body, signed(body), path="/nowhere")
    await until(lambda: len(world.running.audit("delivery.delivered")) >= 4)
    after = await samples(world.running)

    def grown(name: str, **labels: str) -> float:
        key = (f"legitmark_gateway_{name}", tuple(sorted(labels.items())))
        return after[key] - before.get(key, 0.0)

    assert grown("messages_total", source="legitmark", event_type="state_change", result="accepted") == 1
    assert grown("messages_total", source="legitmark", event_type="state_change", result="duplicate") == 1
    assert grown("messages_total", source="legitmark", event_type="other", result="accepted") == 1
    assert grown("messages_total", source="legitmark", event_type="other", result="quarantined") == 1
    assert grown("rejections_total", source="legitmark", reason="missing_signature") == 1
    assert grown("rejections_total", source="", reason="not_found") == 1
    assert grown("attempts_total", sink="erp", outcome="delivered", reason="") == 2
    assert grown("deliveries", sink="erp", state="delivered") == 2
    assert grown("deliveries", sink="erp", state="queued") == 0
    assert grown("ack_seconds_count", source="legitmark") == 4


async def test_every_metric_has_our_prefix_and_labels_from_closed_lists(world: World) -> None:
    for at in range(30):
        await world.running.post(event(event_type=f"type_{at}"))
        await world.running.post(b"{}", [("svix-id", f"forged_{at}")], path=f"/path_{at}")
    found = await samples(world.running)
    text = str(found)
    assert all(name.startswith("legitmark_gateway_") for name, _ in found)
    assert "type_" not in text.replace("event_type", "") and "path_" not in text and "forged" not in text
    assert {dict(labels)["event_type"] for _, labels in found if "event_type" in dict(labels)} <= {
        "state_change",
        "media_rejected",
        "invalidate_sr",
        "other",
    }


async def test_an_unknown_path_is_answered_404_in_json(world: World) -> None:
    for path in ("/-/", "/metrics/", "/api/", "/webhooks/legitmark", "/-/ready/x", "/..%2f"):
        answer = await world.running.admin(path)
        assert answer.outcome == (404, "not_found")


@pytest.mark.parametrize("page", [*PAGES, "/nowhere", "/api/status", "/api/nowhere"])
async def test_every_answer_names_this_gateway_as_the_server_and_no_library(world: World, page: str) -> None:
    answer = await world.running.admin(page)
    assert [value for name, value in answer.headers if name == "server"] == [SERVER]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_health_and_metrics_are_read_only(world: World, page: str, method: str) -> None:
    answer = await world.running.admin(page, method=method)
    assert answer.outcome == (405, "method_not_allowed") and "GET" in (answer.header("allow") or "")


@pytest.mark.parametrize("page", [*PAGES, "/nowhere"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "@127.0.0.1.x"]
)
async def test_a_foreign_host_is_refused(world: World, page: str, host: str) -> None:
    """A stranger's name can be made to point here (DNS rebinding); the name itself can't be hidden."""
    answer = await world.running.admin(page, host=host)
    assert answer.status in ((400, 403) if host in ("", "[") else (403,))
    assert b"ready" not in answer.body and b"legitmark_gateway" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8081", "localhost", "localhost:8081", "LOCALHOST", "[::1]:8081"])
async def test_the_names_of_the_listener_itself_are_accepted_as_host(world: World, host: str) -> None:
    assert (await world.running.admin("/-/ready", host=host)).status == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.example", 403),
        ("https://evil.example:443", 403),
        ("http://93.184.216.34", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://127.0.0.1:8081", 200),
        ("http://localhost", 200),
    ],
)
async def test_a_foreign_origin_is_refused(world: World, origin: str, status: int) -> None:
    assert (await world.running.admin("/-/healthy", [("Origin", origin)])).status == status


@pytest.mark.parametrize("page", [*PAGES, "/nowhere"])
@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \udcff"],
    ids=["none", "empty", "bare", "basic", "no token", "wrong", "longer", "shorter", "not UTF-8"],
)
async def test_without_the_token_every_request_is_refused(guarded: Running, page: str, given: str | None) -> None:
    answer = await guarded.admin(page, [("Authorization", given)] if given is not None else [])
    assert answer.outcome == (401, "unauthorized")
    assert (answer.header("www-authenticate") or "").startswith("Bearer")


async def test_with_the_token_every_request_is_answered(guarded: Running) -> None:
    for page in PAGES:
        assert (await guarded.admin(page, [("Authorization", f"Bearer {TOKEN}")])).status == 200
    foreign = [("Authorization", f"Bearer {TOKEN}"), ("Origin", "http://evil.example")]
    assert (await guarded.admin("/metrics", foreign)).status == 403


async def test_an_admin_listener_that_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    running = Running(tmp_path, '[admin]\nlisten = ["0.0.0.0:0"]\n')
    end = await asyncio.to_thread(start_another, running.config, running.secrets)
    assert end.returncode == 78 and "[admin] token" in end.stderr


async def test_the_unix_socket_is_for_owner_and_group_and_survives_a_crash(tmp_path: Path) -> None:
    with Running(tmp_path, '[admin]\nlisten = ["unix:admin.sock"]\n') as running:
        path = tmp_path / "admin.sock"
        for _ in range(2):
            assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o660
            raw = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            assert (await exchange(path, raw)).json() == {"status": "ready"}
            await running.restart()
        assert await running.stop() == 0


async def test_each_listener_answers_only_its_own_paths(world: World) -> None:
    body = event()
    raw = await world.running.admin("/webhooks/legitmark", signed(body), method="POST")
    assert raw.outcome == (404, "not_found")
    for page in PAGES:
        assert (await world.running.send(f"GET {page} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())).outcome == (
            404,
            "not_found",
        )
