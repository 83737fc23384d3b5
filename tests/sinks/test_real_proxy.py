"""Sinks behind a proxy that many run: tinyproxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.core.outcome import Delivered, Reason, Retry
from gateway.host.clock import Clock
from gateway.sinks.http.config import HttpConfig
from tests.sinks.conftest import Certificates
from tests.sinks.http_server import HttpServer
from tests.sinks.sending import PATIENCE, opened, outgoing, probe, ref, send
from tests.support.tinyproxy import PASSWORD, proxy_url, tinyproxy


@pytest.fixture(name="tinyproxy")
def running_tinyproxy(request: pytest.FixtureRequest, free_port: Callable[[], int]) -> Iterator[int]:
    """The port of a proxy with a login. A parameter of the fixture is a line of its configuration."""
    port = free_port()
    with tinyproxy(port, getattr(request, "param", "")):
        yield port


def config(url: str) -> HttpConfig:
    return HttpConfig(url=url, proxy=ref("PROXY"))


def login(port: int, password: str = PASSWORD) -> dict[str, str]:
    return {"PROXY": proxy_url(port, password)}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_events_go_through_tinyproxy_and_its_login_does_not(
    tls: bool, tinyproxy: int, certificates: Certificates, tmp_path: Path
) -> None:
    async with HttpServer(tls=certificates("good") if tls else None) as server:
        async with opened(config(server.url), tmp_path, **login(tinyproxy)) as sink:
            for attempt in range(1, 4):
                assert await send(sink, outgoing(attempt=attempt)) == Delivered(200)
        async with asyncio.timeout(PATIENCE):
            assert (await probe(config(server.url), tmp_path, Clock(), **login(tinyproxy))).ok
    assert [(request.header("x-gateway-attempt"), request.body) for request in server.heard] == [
        (str(attempt), outgoing().body) for attempt in range(1, 4)
    ]
    assert not any(name.startswith("proxy-auth") for request in server.heard for name, _ in request.headers)


async def test_a_missing_and_a_wrong_login_open_the_breaker(tinyproxy: int, tmp_path: Path) -> None:
    """Tinyproxy answers 401 to a wrong login."""
    settings, wrong = config("https://127.0.0.1:1/hook"), login(tinyproxy, "another-6Tz1-never-shown")
    for secrets, said in ((wrong, "refuses the login in the key proxy (HTTP 401"), ({}, "asks for a login; write it into")):
        if not secrets:
            settings = HttpConfig(url=settings.url, proxy=f"http://127.0.0.1:{tinyproxy}")
        async with opened(settings, tmp_path, **secrets) as sink:
            outcome = await send(sink)
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.sink_wide) == (Reason.REJECTED, True)
        assert said in outcome.detail


async def test_a_request_without_tls_and_without_a_login_opens_the_breaker(tinyproxy: int, tmp_path: Path) -> None:
    async with opened(HttpConfig(url="http://127.0.0.1:1/", proxy=f"http://127.0.0.1:{tinyproxy}"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.sink_wide) == (Reason.REJECTED, True)
    assert "asks for a login" in outcome.detail


@pytest.mark.parametrize("tinyproxy", ["ConnectPort 1"], indirect=True)
async def test_a_port_that_tinyproxy_does_not_allow_is_named(tinyproxy: int, tmp_path: Path) -> None:
    async with opened(config("https://127.0.0.1:2/hook"), tmp_path, **login(tinyproxy)) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.sink_wide) == (Reason.REJECTED, True)
    assert "refuses a tunnel to 127.0.0.1:2 (HTTP 403 Forbidden); allow it there" in outcome.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_tinyproxy_does_not_reach_is_a_retry(
    scheme: str, tinyproxy: int, free_port: Callable[[], int], tmp_path: Path
) -> None:
    async with opened(config(f"{scheme}://127.0.0.1:{free_port()}/hook"), tmp_path, **login(tinyproxy)) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.sink_wide) == (Reason.CONNECT if scheme == "https" else Reason.HTTP_STATUS, False)
    assert "HTTP 500" in outcome.detail
