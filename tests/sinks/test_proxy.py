"""Sinks behind an HTTP proxy: what the proxy gets, what the server behind it gets, and what the proxy's refusals mean."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import SinkSetupError
from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.sinks import open_sink
from gateway.sinks.base import Found
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.slack.config import SlackConfig
from tests.sinks.conftest import Certificates
from tests.sinks.http_server import HttpServer, answer
from tests.sinks.left_behind import connections_to
from tests.sinks.proxy_server import ProxyServer
from tests.sinks.sending import LONG, PATIENCE, SHORT, opened, opening, outgoing, probe, ref, send
from tests.sinks.subjects import SECRET_PATH

LOGIN = "gateway:p@ss/w:ord-3Jc8-never-shown"
URL_LOGIN = "gateway:p%40ss%2Fw%3Aord-3Jc8-never-shown"
ENCODED = base64.b64encode(LOGIN.encode()).decode()


def config(url: str, proxy: ProxyServer | int, **more: Any) -> HttpConfig:
    port = proxy if isinstance(proxy, int) else proxy.port
    return HttpConfig(**{"url": url, "proxy": f"http://127.0.0.1:{port}", "timeout": LONG, **more})


def login(proxy: ProxyServer, text: str = URL_LOGIN) -> dict[str, str]:
    """The secrets of a sink whose key `proxy` names `PROXY`."""
    return {"PROXY": f"http://{text}@127.0.0.1:{proxy.port}"}


async def sent(settings: HttpConfig, base: Path, **secrets: str) -> Outcome:
    async with opened(settings, base, **secrets) as sink:
        return await send(sink)


async def probed(settings: HttpConfig | SlackConfig, base: Path, **secrets: str) -> Found:
    async with asyncio.timeout(PATIENCE):
        return await probe(settings, base, Clock(), **secrets)


def assert_refused(outcome: Outcome, reason: Reason, said: str, *, sink_wide: bool) -> None:
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.sink_wide, outcome.status) == (reason, sink_wide, None)
    assert said in outcome.detail


# Requests.


async def test_a_request_with_tls_goes_through_a_tunnel_that_is_kept(certificates: Certificates, tmp_path: Path) -> None:
    async with HttpServer(tls=certificates("good")) as server, ProxyServer() as proxy:
        async with opened(config(server.url, proxy), tmp_path) as sink:
            for attempt in range(1, 4):
                assert await send(sink, outgoing(attempt=attempt)) == Delivered(200)
        assert not connections_to(proxy.port)
    assert [request.line for request in proxy.heard] == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode()]
    assert [request.line for request in server.heard] == [b"POST /hook HTTP/1.1"] * 3
    assert (proxy.connections, server.connections) == (1, 1)


async def test_a_request_without_tls_names_the_whole_url_to_the_proxy(tmp_path: Path) -> None:
    async with HttpServer() as server, ProxyServer() as proxy, opened(config(f"{server.url}?a=%2F", proxy), tmp_path) as sink:
        assert [await send(sink) for _ in range(3)] == [Delivered(200)] * 3
    assert {request.line for request in proxy.heard} == {f"POST {server.url}?a=%2F HTTP/1.1".encode()}
    assert {request.header("host") for request in proxy.heard} == {f"127.0.0.1:{server.port}"}
    assert [(request.line, request.body) for request in server.heard] == [(b"POST /hook?a=%2F HTTP/1.1", outgoing().body)] * 3
    assert proxy.connections == 3, "some proxies would pass a second request on with its login"
    assert not connections_to(proxy.port)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_the_login_is_for_the_proxy_alone(tls: bool, certificates: Certificates, tmp_path: Path) -> None:
    async with HttpServer(tls=certificates("good") if tls else None) as server, ProxyServer(LOGIN) as proxy:
        settings = HttpConfig(url=server.url, proxy=ref("PROXY"))
        async with opened(settings, tmp_path, **login(proxy)) as sink:
            assert [await send(sink) for _ in range(2)] == [Delivered(200)] * 2
    assert {request.header("proxy-authorization") for request in proxy.heard} == {f"Basic {ENCODED}"}
    assert len(server.heard) == 2
    for request in server.heard:
        assert not any(name.startswith("proxy-") or ENCODED.encode() in value for name, value in request.headers)


async def test_slack_is_reached_through_a_proxy(certificates: Certificates, tmp_path: Path) -> None:
    async with HttpServer(answer(200, b"ok"), certificates("good")) as server, ProxyServer(LOGIN) as proxy:
        settings = SlackConfig(webhook_url=ref("HOOK"), proxy=ref("PROXY"))
        async with opened(settings, tmp_path, HOOK=f"{server.url}/{SECRET_PATH}", **login(proxy)) as sink:
            assert await send(sink) == Delivered(200)
    assert proxy.heard[0].line.startswith(b"CONNECT ")


async def test_the_certificate_of_the_server_is_verified_through_a_tunnel(certificates: Certificates, tmp_path: Path) -> None:
    async with HttpServer(tls=certificates("wrong host")) as server, ProxyServer() as proxy:
        outcome = await sent(config(server.url, proxy), tmp_path)
    assert_refused(outcome, Reason.TLS, "the certificate of 127.0.0.1 was refused", sink_wide=False)
    assert server.heard == []


async def test_the_proxy_resolves_the_name_of_the_server(certificates: Certificates, tmp_path: Path) -> None:
    def refuse(request: object) -> bytes:
        return answer(502)

    async with ProxyServer(refuse=refuse) as proxy:
        outcome = await sent(config("https://erp.internal.invalid/hook", proxy), tmp_path)
    assert_refused(outcome, Reason.CONNECT, "did not reach erp.internal.invalid:443 (HTTP 502 Bad Gateway)", sink_wide=False)
    assert proxy.heard[0].line == b"CONNECT erp.internal.invalid:443 HTTP/1.1"


async def test_an_ipv6_address_is_asked_for_in_brackets(tmp_path: Path) -> None:
    async with ProxyServer(refuse=lambda request: answer(403)) as proxy:
        outcome = await sent(config("https://[2001:db8::1]/hook", proxy), tmp_path)
    assert_refused(outcome, Reason.REJECTED, "refuses a tunnel to [2001:db8::1]:443", sink_wide=True)
    assert proxy.heard[0].line == b"CONNECT [2001:db8::1]:443 HTTP/1.1"


# The address guard.


async def test_the_guard_decides_about_the_address_of_the_proxy(tmp_path: Path) -> None:
    async with ProxyServer() as proxy:
        outcome = await sent(config("https://erp.test/", proxy, allow_networks=["192.0.2.0/24"]), tmp_path)
    assert_refused(outcome, Reason.BLOCKED, "the proxy: the address is one that this sink may not dial", sink_wide=True)
    assert proxy.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::ffff:169.254.169.254]"])
async def test_no_proxy_is_asked_for_an_address_that_no_sink_may_dial(scheme: str, host: str, tmp_path: Path) -> None:
    async with ProxyServer() as proxy:
        settings = config(f"{scheme}://{host}/latest/", proxy)
        outcome, found = await sent(settings, tmp_path), await probed(settings, tmp_path)
    assert_refused(outcome, Reason.BLOCKED, "may not dial", sink_wide=True)
    assert not found.ok
    assert "check url" in found.detail
    assert proxy.connections == 0


# Refusals.

REFUSALS: dict[str, tuple[bytes, Reason, bool, str]] = {
    "login missing": (answer(407, proxy_authenticate="Basic realm=x"), Reason.REJECTED, True, "asks for a login; write it into"),
    "not allowed": (answer(403), Reason.REJECTED, True, "refuses a tunnel to 127.0.0.1:1 (HTTP 403 Forbidden); allow it there"),
    "no method": (answer(405), Reason.REJECTED, True, "HTTP 405 Method Not Allowed"),
    "redirect": (answer(302, location="http://x/"), Reason.REJECTED, True, "HTTP 302 Found"),
    "upgrade": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Reason.REJECTED, True, "HTTP 101"),
    "unreachable": (answer(502), Reason.CONNECT, False, "did not reach 127.0.0.1:1 (HTTP 502 Bad Gateway)"),
    "busy": (answer(503, retry_after="7"), Reason.CONNECT, False, "HTTP 503 Service Unavailable"),
    "odd status": (answer(799), Reason.CONNECT, False, "HTTP 799"),
    "old": (b"HTTP/1.0 403 Filtered\n\n", Reason.REJECTED, True, "HTTP 403"),
    "half a head": (b"HTTP/1.1 403 Forbidden\r\nx: y", Reason.REJECTED, True, "HTTP 403"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.PROTOCOL, True, "does not speak HTTP"),
    "endless head": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, Reason.PROTOCOL, True, "sent bytes before TLS began"),
    "bytes behind": (b"HTTP/1.1 200 OK\r\n\r\nhello", Reason.PROTOCOL, True, "sent bytes before TLS began"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_each_refusal_of_a_proxy_has_its_outcome_and_its_text(name: str, tmp_path: Path) -> None:
    says, reason, sink_wide, said = REFUSALS[name]
    async with ProxyServer(refuse=lambda request: says) as proxy:
        settings = config("https://127.0.0.1:1/hook", proxy)
        outcome, found = await sent(settings, tmp_path), await probed(settings, tmp_path)
        assert not connections_to(proxy.port)
    assert_refused(outcome, reason, said, sink_wide=sink_wide)
    assert outcome.detail.startswith(f"the proxy 127.0.0.1:{proxy.port} ")
    assert (found.ok, found.detail) == (False, outcome.detail)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_refused_login_opens_the_breaker_and_shows_nothing_of_it(
    tls: bool, certificates: Certificates, tmp_path: Path
) -> None:
    async with HttpServer(tls=certificates("good") if tls else None) as server, ProxyServer("another:one") as proxy:
        outcome = await sent(HttpConfig(url=server.url, proxy=ref("PROXY")), tmp_path, **login(proxy))
    assert_refused(
        outcome, Reason.REJECTED, "refuses the login in the key proxy (HTTP 407 Proxy Authentication Required)", sink_wide=True
    )
    assert isinstance(outcome, Retry)
    assert "never-shown" not in outcome.detail + outcome.answer
    assert server.heard == []


async def test_an_answer_of_a_proxy_that_repeats_its_login_is_not_shown(tmp_path: Path) -> None:
    def echo(request: Any) -> bytes:
        return answer(502, b"no way for " + request.header("proxy-authorization").encode())

    async with ProxyServer(refuse=echo) as proxy:
        outcome = await sent(HttpConfig(url="http://erp.test/hook", proxy=ref("PROXY")), tmp_path, **login(proxy))
    assert isinstance(outcome, Retry)
    assert (outcome.status, outcome.answer) == (502, "(it repeats a secret, and is not shown)")


async def test_a_407_that_is_not_the_proxys_is_an_answer_like_any_other(certificates: Certificates, tmp_path: Path) -> None:
    async with HttpServer(answer(407), certificates("good")) as server, ProxyServer() as proxy:
        for outcome in (await sent(config(server.url, proxy), tmp_path), await sent(HttpConfig(url=server.url), tmp_path)):
            assert isinstance(outcome, Retry)
            assert (outcome.reason, outcome.status, outcome.sink_wide) == (Reason.HTTP_STATUS, 407, False)


async def test_a_proxy_that_says_nothing_is_a_timeout(tmp_path: Path) -> None:
    async with ProxyServer(refuse=lambda request: b"") as proxy:
        settings = config("https://erp.test/hook", proxy, timeout=SHORT)
        outcome, found = await sent(settings, tmp_path), await probed(settings, tmp_path)
        await asyncio.wait_for(proxy.gone.wait(), PATIENCE)
    assert_refused(outcome, Reason.TIMEOUT, "in time", sink_wide=False)
    assert found.detail == f"127.0.0.1:{proxy.port}: no tunnel to erp.test:443 within 1 s; does the proxy reach it?"


async def test_a_proxy_that_hangs_up_is_a_reset(tmp_path: Path) -> None:
    class Closing(ProxyServer):
        async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n")

    async with Closing() as proxy:
        outcome = await sent(config("https://erp.test/hook", proxy), tmp_path)
    assert_refused(outcome, Reason.RESET, "closed the connection before its answer", sink_wide=False)


async def test_a_proxy_that_cannot_be_reached_is_named(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    for url in ("https://erp.test/hook", "http://erp.test/hook"):
        outcome = await sent(config(url, port), tmp_path)
        assert_refused(outcome, Reason.CONNECT, f"the proxy: 127.0.0.1:{port}: Connection refused", sink_wide=False)
    found = await probed(config("https://erp.test/hook", port), tmp_path)
    assert found.detail.startswith(f"127.0.0.1:{port}: Connection refused; ")


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_an_answer_to_connect_may_come_in_pieces_and_with_a_length(
    size: int, certificates: Certificates, tmp_path: Path
) -> None:
    """A length in it means nothing (RFC 9110, section 9.3.6); old proxies speak HTTP/1.0."""
    said = b"HTTP/1.0 200 Connection established\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"

    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    async with HttpServer(tls=certificates("good")) as server, ProxyServer(established=pieces) as proxy:
        assert await sent(config(server.url, proxy), tmp_path) == Delivered(200)


# The probe.


@pytest.mark.parametrize("secret", [False, True])
async def test_a_probe_of_a_url_with_tls_opens_a_tunnel_and_sends_nothing_through_it(
    secret: bool, certificates: Certificates, tmp_path: Path
) -> None:
    async with HttpServer(tls=certificates("good")) as server, ProxyServer(LOGIN if secret else None) as proxy:
        settings = HttpConfig(url=server.url, proxy=ref("PROXY") if secret else f"http://{proxy.address}")
        found = await probed(settings, tmp_path, **login(proxy))
    assert found.ok
    assert f"connects to {proxy.address} in " in found.detail
    assert f", the proxy for 127.0.0.1:{server.port}, TLS 1.3, certificate valid for " in found.detail
    assert server.heard == []


async def test_a_probe_of_a_url_without_tls_ends_at_the_proxy(tmp_path: Path) -> None:
    async with HttpServer() as server, ProxyServer() as proxy:
        found = await probed(config(server.url, proxy), tmp_path)
    assert found.ok
    assert found.detail.endswith(f", the proxy for 127.0.0.1:{server.port}, without TLS")
    assert (proxy.heard, server.connections) == ([], 0)


async def test_a_probe_through_a_proxy_reports_the_certificate_of_the_server(certificates: Certificates, tmp_path: Path) -> None:
    async with HttpServer(tls=certificates("expired")) as server, ProxyServer() as proxy:
        found = await probed(config(server.url, proxy), tmp_path)
    assert found.detail == f"127.0.0.1:{server.port}: the certificate has expired; it has to be renewed there"


async def test_a_probe_of_slack_goes_through_the_proxy(certificates: Certificates, tmp_path: Path) -> None:
    said = answer(200, b'{"ok": true, "team": "Acme", "user": "gateway"}')
    async with HttpServer(said, certificates("good")) as server, ProxyServer() as proxy:
        url = f"https://127.0.0.1:{server.port}"
        settings = SlackConfig(
            token=ref("BEARER"), channel="C0123", api=url, proxy=f"http://{proxy.address}", timeout=Duration("5s")
        )
        found = await probed(settings, tmp_path)
        assert found.ok
        assert "token accepted as gateway of Acme" in found.detail
        assert [request.line for request in server.heard] == [b"POST /auth.test HTTP/1.1"]
        found = await probed(
            SlackConfig(webhook_url=ref("HOOK"), proxy=f"http://{proxy.address}"), tmp_path, HOOK=f"{url}/{SECRET_PATH}"
        )
        assert found.ok
    assert len(proxy.heard) == 3


# The key.


@pytest.mark.parametrize(
    "kind", [HttpConfig(url="https://erp.test/", proxy=ref("PROXY")), SlackConfig(webhook_url=ref("HOOK"), proxy=ref("PROXY"))]
)
async def test_an_unusable_secret_is_reported_when_the_sink_is_opened_and_probed(
    kind: HttpConfig | SlackConfig, tmp_path: Path
) -> None:
    secret = "http://gateway:100%-5Kq2-never-shown@proxy.test"
    with pytest.raises(SinkSetupError) as setup:
        open_sink(kind, opening(tmp_path, PROXY=secret))
    found = await probed(kind, tmp_path, PROXY=secret)
    assert not found.ok
    for text in (str(setup.value), found.detail):
        assert "proxy has an @, but no user name and password that a URL can hold before it" in text
        assert "never" not in text
