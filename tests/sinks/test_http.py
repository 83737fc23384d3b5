"""The bytes that the `http` sink sends (docs/reference.md, "What a sink receives")."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from gateway.core.errors import SinkSetupError
from gateway.core.events import Event, decode
from gateway.core.lateness import OnStale
from gateway.core.ledger import Facts
from gateway.core.outcome import Delivered, Reason, Retry
from gateway.host.clock import Clock
from gateway.sinks import open_sink
from gateway.sinks.base import Deadline
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.http_client import Answer, Transport
from tests.sinks.conftest import Certificates
from tests.sinks.http_server import Heard, HttpServer, after_request, answer, read_request
from tests.sinks.sending import DELIVERY_ID, LONG, MESSAGE_ID, PATIENCE, SECRETS, opened, opening, outgoing, ref, send
from tests.sinks.tcp_server import Server
from tests.support.webhooks import SECRET

OURS = {
    "host",
    "user-agent",
    "accept",
    "content-length",
    "content-type",
    "webhook-id",
    "idempotency-key",
    "webhook-timestamp",
    "webhook-signature",
    "x-gateway-message-id",
    "x-gateway-sender-id",
    "x-gateway-attempt",
    "x-gateway-milestone",
}
HOSTILE = [
    b"",
    b"\x00",
    b"\xff\xfe\x00garbage\x80",
    b"not json",
    b"[1, 2]",
    b'{"a":"\\ud800"}',
    b"\xef\xbb\xbf{}",
    b"GET / HTTP/1.1\r\n\r\n",
    b"0\r\n\r\n",
    bytes(range(256)) * 1024,
]


async def test_each_sample_arrives_byte_for_byte_and_signed(payload: bytes, tmp_path: Path) -> None:
    event = decode(payload)
    assert isinstance(event, Event)
    async with HttpServer() as server, opened(HttpConfig(url=server.url, secret=ref("SIGNING")), tmp_path, Clock()) as sink:
        assert await send(sink, outgoing(payload)) == Delivered(200)
    (heard,) = server.heard
    assert heard.line == b"POST /hook HTTP/1.1"
    assert heard.body == payload
    assert heard.header("content-type") == "application/json"
    assert heard.header("webhook-id") == heard.header("idempotency-key") == DELIVERY_ID
    assert heard.header("x-gateway-message-id") == MESSAGE_ID
    assert heard.header("x-gateway-sender-id") == "msg_2f9b"
    assert heard.header("x-gateway-attempt") == "1"
    assert heard.header("x-gateway-milestone") == event.milestone.value
    assert Webhook(SECRET).verify(heard.body, {name: value.decode() for name, value in heard.headers}) == json.loads(payload)
    assert {name for name, _ in heard.headers} <= OURS


@pytest.mark.parametrize("body", HOSTILE, ids=[repr(body[:12]) for body in HOSTILE])
async def test_a_quarantined_body_arrives_byte_for_byte_too(body: bytes, tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url, secret=ref("SIGNING")), tmp_path) as sink:
        assert await send(sink, outgoing(body)) == Delivered(200)
    assert [heard.body for heard in server.heard] == [body]
    assert server.heard[0].header("x-gateway-milestone") == outgoing(body).milestone


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.binary(max_size=2048), max_size=8))
async def test_any_bytes_arrive_byte_for_byte(bodies: list[bytes], tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        for body in bodies:
            assert await send(sink, outgoing(body)) == Delivered(200)
    assert [heard.body for heard in server.heard] == bodies


async def test_a_body_beyond_a_mebibyte_arrives_whole(tmp_path: Path) -> None:
    body = b'{"a":"' + b"x" * 3_000_000 + b'"}'
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        assert await send(sink, outgoing(body)) == Delivered(200)
    assert server.heard[0].body == body


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "text/plain", "Application/JSON;x=\xe9", "x"]
)
async def test_the_content_type_is_passed_on_as_it_came(content_type: str, tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        await send(sink, outgoing(content_type=content_type))
    assert server.heard[0].header("content-type") == content_type


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff"])
async def test_no_content_type_is_added_if_none_came(body: bytes, tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        await send(sink, outgoing(body, content_type=None))
    assert server.heard[0].header("content-type") is None


async def test_a_message_without_a_sender_id_goes_without_that_header(tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        await send(sink, outgoing(sender_id=None))
    assert server.heard[0].header("x-gateway-sender-id") is None


@pytest.mark.parametrize(
    ("facts", "on_stale", "said"),
    [
        (None, None, (None, None)),
        (Facts(round=2), None, ("2", None)),
        (Facts(round=0), "annotate", ("0", None)),
        (Facts(round=1, stale=True), None, ("1", "true")),
        (Facts(round=1, stale=True), "annotate", ("1", "true")),
        (Facts(round=1, stale=True), "suppress", ("1", "true")),
        (Facts(round=1, stale=True), "deliver", ("1", None)),
    ],
)
async def test_headers_say_the_round_and_that_the_event_is_late(
    facts: Facts | None, on_stale: OnStale | None, said: tuple[str | None, str | None], tmp_path: Path
) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url, on_stale=on_stale), tmp_path) as sink:
        await send(sink, outgoing(facts=facts))
    (heard,) = server.heard
    assert (heard.header("x-gateway-round"), heard.header("x-gateway-stale")) == said


async def test_a_sink_without_a_secret_does_not_sign(tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        await send(sink)
    (heard,) = server.heard
    assert heard.header("webhook-signature") is None
    assert heard.header("webhook-timestamp") is None
    assert heard.header("webhook-id") == DELIVERY_ID


async def test_each_attempt_is_signed_afresh_under_one_key(tmp_path: Path) -> None:
    clock = Clock()
    async with HttpServer() as server, opened(HttpConfig(url=server.url, secret=ref("SIGNING")), tmp_path, clock) as sink:
        for attempt in (1, 2, 17):
            await send(sink, outgoing(attempt=attempt))
    assert [heard.header("x-gateway-attempt") for heard in server.heard] == ["1", "2", "17"]
    assert {heard.header("webhook-id") for heard in server.heard} == {DELIVERY_ID}
    for heard in server.heard:
        Webhook(SECRET).verify(heard.body, {name: value.decode() for name, value in heard.headers})


async def test_configured_headers_and_the_bearer_are_sent(tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=server.url, bearer=ref("BEARER"), headers={"x-tenant": ref("TENANT"), "X-Plain": "acme"})
        async with opened(config, tmp_path) as sink:
            await send(sink)
    (heard,) = server.heard
    assert heard.header("authorization") == f"Bearer {SECRETS['BEARER']}"
    assert heard.header("x-tenant") == SECRETS["TENANT"]
    assert heard.header("x-plain") == "acme"


async def test_a_request_does_not_ask_for_compression(tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        await send(sink)
    assert server.heard[0].header("accept-encoding") is None


async def test_no_cookie_is_kept_between_requests(tmp_path: Path) -> None:
    # By name, since a cookie jar takes none from a literal address.
    async with (
        HttpServer(answer(set_cookie="session=abc; Path=/")) as server,
        opened(HttpConfig(url=f"http://localhost:{server.port}/"), tmp_path) as sink,
    ):
        await send(sink)
        await send(sink)
    assert [heard.header("cookie") for heard in server.heard] == [None, None]


async def test_no_proxy_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with HttpServer() as proxy, HttpServer() as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with opened(HttpConfig(url=server.url), tmp_path) as sink:
            assert await send(sink) == Delivered(200)
    assert proxy.connections == 0
    assert server.connections == 1


async def test_no_login_is_taken_from_a_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with HttpServer() as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        await send(sink)
    assert server.heard[0].header("authorization") is None


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async with HttpServer(answer(200, b"ok")) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        for _ in range(5):
            assert await send(sink) == Delivered(200)
    assert server.connections == 1


async def test_a_certificate_of_a_trusted_authority_is_accepted(tmp_path: Path, certificates: Certificates) -> None:
    async with HttpServer(tls=certificates("good")) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        assert await send(sink) == Delivered(200)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(b"\0" * 1_000_000)
    async with HttpServer(answer(200, packed, content_encoding="gzip")) as server:
        transport = Transport(AddressGuard(), concurrency=1, timeout=PATIENCE)
        said = await transport.post(server.url, b"", {})
        await transport.aclose()
    assert isinstance(said, Answer)
    assert said.body == packed


async def test_an_answer_that_lies_about_its_compression_is_still_delivered(tmp_path: Path) -> None:
    async with (
        HttpServer(answer(200, b"no gzip", content_encoding="gzip")) as server,
        opened(HttpConfig(url=server.url), tmp_path) as sink,
    ):
        assert await send(sink) == Delivered(200)


async def test_ten_megabytes_of_answer_are_read_up_to_the_limit_only() -> None:
    async with HttpServer(answer(200, b"x" * 10_000_000)) as server:
        transport = Transport(AddressGuard(), concurrency=1, timeout=PATIENCE)
        said = await transport.post(server.url, b"", {})
        again = await transport.post(server.url, b"", {})
        await transport.aclose()
    assert isinstance(said, Answer)
    assert len(said.body) == 16 * 1024
    assert isinstance(again, Answer)
    assert again.status == 200
    assert server.connections == 2, "the rest of the first answer was waited for"


async def test_a_request_ends_with_the_attempt_that_it_is_a_part_of() -> None:
    async with after_request(hang=True) as server:
        transport = Transport(AddressGuard(), concurrency=1, timeout=LONG)
        async with asyncio.timeout(PATIENCE):
            said = await transport.post(server.url, b"", {}, Deadline(0.3))
        await transport.aclose()
    assert said == Retry(Reason.TIMEOUT, "no answer in time")


async def test_an_endless_answer_delays_nothing(tmp_path: Path) -> None:
    written = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(answer(200, content_length=str(10**12)))
        while written < 200_000_000:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with Server(talk) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        assert await send(sink) == Delivered(200)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
    assert written < 20_000_000


@pytest.mark.parametrize(
    "secret", ["hunter2-hunter2", "v1,whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_C2FVsBQIhrsc", "whsec_\xe9-never"]
)
def test_a_malformed_signing_secret_is_refused_without_being_shown(secret: str, tmp_path: Path) -> None:
    with pytest.raises(SinkSetupError) as refused:
        open_sink(HttpConfig(url="http://127.0.0.1/", secret=ref("SIGNING")), opening(tmp_path, SIGNING=secret))
    assert secret not in str(refused.value)
    assert "[sinks.erp]" in str(refused.value)


def test_a_request_that_was_heard_shows_each_header_once() -> None:
    """The tests above rely on this: a header that is sent twice must not pass for one."""
    with pytest.raises(AssertionError):
        Heard(b"", [("a", b"1"), ("a", b"1")], b"").header("a")
