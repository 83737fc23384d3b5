"""The options of the `http` sink: login, signatures, connections, and the part of an answer that it keeps."""

from __future__ import annotations

import asyncio
import base64
import html
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.host.clock import Clock
from gateway.sinks.http.config import Basic, Format, HttpConfig
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.excerpt import MOST, Excerpts
from gateway.sinks.net.http_client import Transport
from tests.sinks.http_server import Heard, HttpServer, answer, read_request
from tests.sinks.sending import PATIENCE, SECRETS, opened, outgoing, ref, send
from tests.sinks.tcp_server import Server
from tests.support.webhooks import SECRET

NEW_SECRET = "whsec_" + base64.b64encode(b"the new one, of 32 bytes, really").decode()
FORMATS: list[Format] = ["raw", "envelope", "cloudevents"]


async def heard(config: HttpConfig, server: HttpServer, base: Path, **secrets: str) -> Heard:
    async with opened(config, base, Clock(), **secrets) as sink:
        assert await send(sink) == Delivered(200)
    return server.heard[-1]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_the_method_is_the_configured_one(method: str, tmp_path: Path) -> None:
    async with HttpServer() as server:
        request = await heard(HttpConfig(url=server.url, method=method), server, tmp_path)  # type: ignore[arg-type]
    assert request.line == f"{method} /hook HTTP/1.1".encode()
    assert request.body == outgoing().body


@pytest.mark.parametrize("format_", FORMATS)
async def test_two_secrets_sign_side_by_side_and_either_verifies(format_: Format, tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=server.url, secret=[ref("SIGNING"), ref("NEW")], format=format_)
        request = await heard(config, server, tmp_path, NEW=NEW_SECRET)
    signatures = (request.header("webhook-signature") or "").split(" ")
    assert len(set(signatures)) == 2
    headers = {name: value.decode() for name, value in request.headers}
    for secret in (SECRET, NEW_SECRET):
        Webhook(secret).verify(request.body, headers)
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = [Webhook(secret).sign(headers["webhook-id"], at, request.body.decode()) for secret in (SECRET, NEW_SECRET)]
    assert signatures == expected


async def test_a_list_of_one_secret_signs_once(tmp_path: Path) -> None:
    async with HttpServer() as server:
        request = await heard(HttpConfig(url=server.url, secret=[ref("SIGNING")]), server, tmp_path)
    headers = {name: value.decode() for name, value in request.headers}
    assert " " not in headers["webhook-signature"]
    Webhook(SECRET).verify(request.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW_SECRET).verify(request.body, headers)


@pytest.mark.parametrize(("username", "password"), [("gateway", "pass:word"), ("担当", "パスワード"), ("", "x-7Kp9-never")])
async def test_a_basic_login_is_sent_as_its_rfc_says(username: str, password: str, tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=server.url, basic=Basic(username=username, password=ref("PASSWORD")))
        request = await heard(config, server, tmp_path, PASSWORD=password)
    kind, _, login = (request.header("authorization") or "").partition(" ")
    assert kind == "Basic"
    assert base64.b64decode(login).decode("utf-8") == f"{username}:{password}"


# Connections.


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_many_deliveries_use_as_many_connections_as_run_at_once(method: str, tmp_path: Path) -> None:
    async with HttpServer(answer(200, b"ok")) as server:
        config = HttpConfig(url=server.url, concurrency=4, method=method)  # type: ignore[arg-type]
        async with opened(config, tmp_path) as sink:
            outcomes: list[Outcome] = []
            for _ in range(25):  # as a lane does, which has as many slots
                outcomes += await asyncio.gather(*(send(sink) for _ in range(4)))
    assert outcomes == [Delivered(200)] * 100
    assert len(server.heard) == 100
    assert server.connections <= 4


async def test_more_sends_than_connections_wait_for_one(tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url, concurrency=3), tmp_path) as sink:
        assert await asyncio.gather(*(send(sink) for _ in range(60))) == [Delivered(200)] * 60
    assert server.connections <= 3


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("status", [200, 500])
async def test_a_request_whose_kept_connection_is_lost_is_sent_once(method: str, status: int, tmp_path: Path) -> None:
    """Other clients send a PUT again on their own. The other side may have acted on it, so one attempt sends it once."""
    requests = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(answer(status, b"ok"))
        await writer.drain()
        await read_request(reader)
        requests += 1

    async with Server(talk) as server:
        config = HttpConfig(url=server.url, method=method)  # type: ignore[arg-type]
        async with opened(config, tmp_path) as sink:
            await send(sink)
            lost = await send(sink)
            assert isinstance(lost, Retry)
            assert lost.reason is Reason.RESET
    assert (requests, server.connections) == (2, 1)


# What is kept of an answer.


async def said(body: bytes, base: Path, status: int = 500, **more: str) -> str:
    async with HttpServer(answer(status, body, **more)) as server, opened(everything(server), base) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry | Defer | Reject)
    assert outcome.answer.isprintable()
    assert len(outcome.answer) <= MOST
    assert outcome.answer not in outcome.detail or not outcome.answer
    return outcome.answer


def everything(server: Server) -> HttpConfig:
    """A sink with each secret that it can have beside a bearer."""
    return HttpConfig(
        url=server.url,
        secret=[ref("SIGNING"), ref("SIGNING")],
        basic=Basic(username="gateway", password=ref("PASSWORD")),
        headers={"x-tenant": ref("TENANT"), "x-shop": "acme-shop-of-tokyo"},
        reject_on=[410],
    )


@pytest.mark.parametrize(("status", "more"), [(500, {}), (302, {}), (410, {}), (429, {"retry_after": "7"}), (404, {})])
async def test_the_beginning_of_a_failing_answer_is_kept(status: int, more: dict[str, str], tmp_path: Path) -> None:
    assert await said(b'{"error": "no such item"}', tmp_path, status, **more) == '{"error": "no such item"}'


async def test_a_good_answer_is_not_kept(tmp_path: Path) -> None:
    async with HttpServer(answer(200, b"fine")) as server, opened(everything(server), tmp_path) as sink:
        assert await send(sink) == Delivered(200, "")


async def test_an_answer_is_kept_on_one_line_without_terminal_controls(tmp_path: Path) -> None:
    assert await said("a\r\n\t b\x1b[31m\x00\u202e\u2028  表示\xff".encode() + b"\xff", tmp_path) == "a b [31m 表示ÿ\ufffd"


async def test_a_long_answer_is_cut(tmp_path: Path) -> None:
    assert await said("表".encode() * 100_000, tmp_path) == "表" * (MOST - 1) + "…"


TENANT, PASSWORD = SECRETS["TENANT"], SECRETS["PASSWORD"]
LOGIN = base64.b64encode(f"gateway:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        TENANT,
        f"x-tenant: {TENANT}\n",
        PASSWORD,
        LOGIN,
        f"Basic {LOGIN}",
        SECRET,
        SECRET.removeprefix("whsec_"),
        TENANT.upper(),
        "\n".join(LOGIN[at : at + 7] for at in range(0, len(LOGIN), 7)),
        TENANT[:12],
        TENANT[-12:],
        " " * 1000 + TENANT,
        "." * (MOST - 10) + TENANT,
        json.dumps({"headers": {"x-tenant": TENANT}}),
    ],
)
async def test_an_answer_that_repeats_a_secret_is_not_kept(text: str, tmp_path: Path) -> None:
    assert await said(text.encode(), tmp_path) == "(it repeats a secret, and is not shown)"


async def test_an_echo_of_the_whole_request_is_not_kept(tmp_path: Path) -> None:
    def echo(request: Heard) -> bytes:
        return answer(500, b"\r\n".join([request.line, *(b"%s: %b" % (k.encode(), v) for k, v in request.headers), request.body]))

    async with HttpServer(echo) as server, opened(everything(server), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    for secret in (TENANT, PASSWORD, LOGIN, SECRET.removeprefix("whsec_")):
        assert secret[:8] not in outcome.answer


def test_a_header_that_is_no_secret_may_be_repeated() -> None:
    assert (
        Excerpts(["tenant-41xZ"]).of(b"unknown shop acme-shop-of-tokyo, tenant 41")
        == "unknown shop acme-shop-of-tokyo, tenant 41"
    )


def test_an_answer_that_repeats_a_whole_short_secret_is_hidden() -> None:
    assert Excerpts(["abc"]).of(b"x abc y").startswith("(it repeats")
    assert Excerpts(["abc", ""]).of(b"x ab y") == "x ab y"


def as_code_points(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


@pytest.mark.parametrize("escape", [html.escape, quote, json.dumps, as_code_points])
def test_a_secret_that_an_error_page_escapes_is_seen(escape: Callable[[str], str]) -> None:
    secret = "p&s<w\"o'r/d>\\"
    assert Excerpts([secret]).of(f"no such key: {escape(secret)}".encode()).startswith("(it repeats")


async def test_a_transport_that_does_not_know_the_secrets_keeps_no_answer() -> None:
    async with HttpServer(answer(500, b"what may be a secret")) as server:
        transport = Transport(AddressGuard(), concurrency=1, timeout=PATIENCE)
        found = await transport.post(server.url, b"", {})
        await transport.aclose()
    assert not isinstance(found, Retry)
    assert found.excerpt == ""
    assert found.body == b"what may be a secret"
