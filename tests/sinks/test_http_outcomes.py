"""The outcomes of the `http` sink for every answer, and for no answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks.http.config import Format, HttpConfig
from gateway.sinks.net.http_client import seconds_after
from tests.fakes import START
from tests.sinks.conftest import Certificate, Certificates
from tests.sinks.http_server import HttpServer, after_request, answer, read_request
from tests.sinks.sending import LONG, PATIENCE, SHORT, attempt, opened, send
from tests.sinks.tcp_server import Server

FORMATS: list[Format] = ["raw", "envelope", "cloudevents"]
FINAL = range(200, 600)
"""100 to 199 are interim: another answer follows them (RFC 9110, section 15.2), except 101, which ends HTTP."""


async def outcome_of(reply: bytes, base: Path, reject_on: list[int] | None = None) -> Outcome:
    async with HttpServer(reply) as server, opened(HttpConfig(url=server.url, reject_on=reject_on or []), base) as sink:
        outcome = await send(sink)
    assert len(server.heard) == 1, "nothing is tried again inside, nothing is followed"
    return outcome


@pytest.mark.parametrize("format_", FORMATS)
async def test_every_status_has_its_outcome(format_: Format, tmp_path: Path) -> None:
    statuses = iter(FINAL)
    async with (
        HttpServer(lambda _: answer(next(statuses))) as server,
        opened(HttpConfig(url=server.url, format=format_), tmp_path) as sink,
    ):
        for status in FINAL:
            outcome = await send(sink)
            if 200 <= status < 300:
                assert outcome == Delivered(status)
            else:
                assert isinstance(outcome, Retry), status
                assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, status)
                assert str(status) in outcome.detail
                assert "Whatever" not in outcome.detail, "the other side's text is not ours to log"
    assert len(server.heard) == len(FINAL)


@pytest.mark.parametrize(
    ("url", "networks"),
    [("http://127.0.0.1:1/", ["10.0.0.0/8"]), ("http://169.254.169.254/", None), ("http://127.0.0.1 /", None)],
)
async def test_a_destination_that_no_message_could_reach_opens_the_breaker(
    url: str, networks: list[str] | None, tmp_path: Path
) -> None:
    async with opened(HttpConfig(url=url, allow_networks=networks), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry) and outcome.sink_wide


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_answer_after_any_interim_status_decides(format_: Format, tmp_path: Path) -> None:
    interim = [status for status in range(100, 200) if status != 101]
    statuses = iter(interim)
    async with (
        HttpServer(lambda _: answer(next(statuses)) + answer(500)) as server,
        opened(HttpConfig(url=server.url, format=format_, reject_on=[500]), tmp_path) as sink,
    ):
        for status in interim:
            outcome = await send(sink)
            assert isinstance(outcome, Reject), status
            assert outcome.status == 500
    assert len(server.heard) == len(interim)


async def test_an_unrequested_change_of_protocols_is_a_retry(tmp_path: Path) -> None:
    outcome = await outcome_of(answer(101, upgrade="x", connection="upgrade"), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, 101)


async def test_every_status_in_reject_on_is_final(tmp_path: Path) -> None:
    rejected = range(300, 600)
    statuses = iter(rejected)
    async with (
        HttpServer(lambda _: answer(next(statuses))) as server,
        opened(HttpConfig(url=server.url, reject_on=list(rejected)), tmp_path) as sink,
    ):
        for status in rejected:
            outcome = await send(sink)
            assert isinstance(outcome, Reject)
            assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, status)


@pytest.mark.parametrize("interim", [100, 102, 103, 199])
async def test_an_interim_answer_is_not_the_answer(interim: int, tmp_path: Path) -> None:
    early = answer(interim, link="</style.css>")
    assert await outcome_of(early + answer(204), tmp_path) == Delivered(204)
    refused = await outcome_of(early + answer(500), tmp_path)
    assert isinstance(refused, Retry)
    assert refused.status == 500
    async with after_request(says=early) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        cut = await send(sink)
    assert isinstance(cut, Retry)
    assert cut.reason is Reason.RESET


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int, tmp_path: Path) -> None:
    async with HttpServer() as elsewhere:
        outcome = await outcome_of(answer(status, location=elsewhere.url), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, status)
    assert elsewhere.connections == 0


READABLE = [
    ("0", 0.0),
    ("1", 1.0),
    ("120", 120.0),
    ("86400", 86400.0),
    (formatdate(START + 90, usegmt=True), 90.0),
    (formatdate(START - 90, usegmt=True), 0.0),
]
UNREADABLE = ["soon", "-1", "1.5", "1e3", "0x10", "", "٣", "NaN", "inf", "1 2", "Wed, 99 Foo 2026 99:99:99 GMT", "=?utf-8?q?1?="]


@pytest.mark.parametrize(("status", "reason"), [(429, Reason.RATE_LIMITED), (503, Reason.UNAVAILABLE)])
@pytest.mark.parametrize(("value", "seconds"), READABLE)
async def test_a_busy_server_with_retry_after_defers(
    status: int, reason: Reason, value: str, seconds: float, tmp_path: Path
) -> None:
    outcome = await outcome_of(answer(status, retry_after=value), tmp_path)
    assert isinstance(outcome, Defer)
    assert (outcome.reason, outcome.after, outcome.status) == (reason, seconds, status)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", [None, *UNREADABLE])
async def test_a_busy_server_without_retry_after_costs_an_attempt(status: int, value: str | None, tmp_path: Path) -> None:
    outcome = await outcome_of(answer(status, **({} if value is None else {"retry_after": value})), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.HTTP_STATUS, status)


@pytest.mark.parametrize("status", [301, 400, 408, 500, 502, 504])
async def test_retry_after_is_ignored_with_any_other_status(status: int, tmp_path: Path) -> None:
    assert isinstance(await outcome_of(answer(status, retry_after="5"), tmp_path), Retry)


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", str(request.param))
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_all_three_forms_of_an_http_date_are_utc(date: str, time_zone: None) -> None:
    """RFC 9110, section 5.6.7: a recipient must accept all three, and take the third one for UTC."""
    assert seconds_after(date, 784_111_777.0 - 100) == 100.0


@given(st.one_of(st.text(max_size=60), st.text("0123456789 :,+-GMTSunNov", max_size=60)), st.floats(0, 4e9))
def test_any_text_in_retry_after_is_a_wait_or_nothing(value: str, now: float) -> None:
    seconds = seconds_after(value, now)
    assert seconds is None or seconds >= 0


async def failure_of(server: Server, base: Path, timeout: Duration = LONG) -> Retry:
    async with server, opened(HttpConfig(url=server.url, timeout=timeout), base) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.status is None
    assert server.connections <= 1, "nothing is tried again inside"
    return outcome


async def test_no_status_in_time_is_a_timeout(tmp_path: Path) -> None:
    assert (await failure_of(after_request(hang=True), tmp_path, SHORT)).reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 200 O", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"HTTP/1.1 103 Early Hints\r\nlink"]
)
async def test_half_a_status_line_and_then_silence_is_a_timeout(says: bytes, tmp_path: Path) -> None:
    assert (await failure_of(after_request(says=says, hang=True), tmp_path, SHORT)).reason is Reason.TIMEOUT


@pytest.mark.parametrize("hang", [False, True])
@pytest.mark.parametrize("timeout", [SHORT, LONG])
async def test_a_status_line_decides_even_if_the_rest_of_its_head_does_not_come(
    hang: bool, timeout: Duration, tmp_path: Path
) -> None:
    async with (
        after_request(says=b"HTTP/1.1 200 OK\r\ncontent-le", hang=hang) as server,
        opened(HttpConfig(url=server.url, timeout=timeout), tmp_path) as sink,
    ):
        assert await send(sink) == Delivered(200)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)


@pytest.mark.parametrize("timeout", [SHORT, LONG])
async def test_a_slow_body_after_a_good_status_is_delivered(timeout: Duration, tmp_path: Path) -> None:
    async with (
        after_request(says=answer(200, b"some", content_length="100"), hang=True) as server,
        opened(HttpConfig(url=server.url, timeout=timeout), tmp_path) as sink,
    ):
        assert await send(sink) == Delivered(200)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)


@pytest.mark.parametrize("status", [200, 202, 299])
@pytest.mark.parametrize("timeout", ["600ms", "1s", "2s"])
async def test_a_good_status_whose_body_does_not_come_is_delivered_before_the_lane_cuts_it(
    timeout: str, status: int, tmp_path: Path
) -> None:
    async with after_request(says=answer(status, content_length="100"), hang=True) as server:
        config = HttpConfig(url=server.url, timeout=Duration(timeout))
        async with opened(config, tmp_path) as sink:
            assert await attempt(sink, config.timeout) == Delivered(status)
    assert server.connections == 1


@pytest.mark.parametrize("late", [0.5, 0.9])
async def test_a_good_status_that_comes_late_is_delivered_whether_or_not_its_body_comes(late: float, tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(late)
        writer.write(answer(200, content_length="100"))
        await reader.read()

    async with Server(talk) as server:
        config = HttpConfig(url=server.url, timeout=Duration("1s"))
        async with opened(config, tmp_path) as sink:
            assert await attempt(sink, config.timeout) == Delivered(200)


async def test_a_busy_server_whose_body_does_not_come_is_heard_before_the_lane_cuts_it(tmp_path: Path) -> None:
    async with after_request(says=answer(429, retry_after="7", content_length="100"), hang=True) as server:
        config = HttpConfig(url=server.url, timeout=Duration("1s"))
        async with opened(config, tmp_path) as sink:
            outcome = await attempt(sink, config.timeout)
    assert isinstance(outcome, Defer)
    assert outcome.after == 7.0


@pytest.mark.parametrize(
    "says",
    [
        answer(200, b"some", content_length="100"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
    ],
)
async def test_a_body_cut_short_after_a_good_status_is_delivered(says: bytes, tmp_path: Path) -> None:
    async with after_request(says=says) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        outcome = await send(sink)
    assert outcome == Delivered(200)


async def test_a_port_without_a_listener_is_a_failed_connect(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with opened(HttpConfig(url=f"http://127.0.0.1:{free_port()}/"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECT
    assert "refused" in outcome.detail


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_closed_before_an_answer_is_a_reset(reset: bool, tmp_path: Path) -> None:
    assert (await failure_of(after_request(reset=reset), tmp_path)).reason is Reason.RESET


async def test_a_connection_closed_within_the_status_line_is_a_reset(tmp_path: Path) -> None:
    assert (await failure_of(after_request(says=b"HTTP/1.1 200 O"), tmp_path)).reason is Reason.RESET


GARBAGE = [
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    b"220 mail.test ESMTP\r\n",
    b"\x15\x03\x01\x00\x02\x02\x50",
    b"\x00\xff" * 64 + b"\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    b"x" * 100_000,
]


@pytest.mark.parametrize("says", GARBAGE, ids=[repr(says[:24]) for says in GARBAGE])
async def test_an_answer_that_is_not_http_is_a_breach_of_protocol(says: bytes, tmp_path: Path) -> None:
    outcome = await failure_of(after_request(says=says, hang=True), tmp_path)
    assert outcome.reason is Reason.PROTOCOL
    assert "OpenSSH" not in outcome.detail


async def test_a_name_without_an_address_is_a_dns_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")  # where no resolver answers at all
    async with opened(HttpConfig(url="http://nowhere.invalid/"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.DNS
    assert "nowhere.invalid" in outcome.detail


@pytest.mark.parametrize("host", ["erp..internal", "x" * 70 + ".internal"])
async def test_a_name_that_can_have_no_address_is_a_dns_failure(host: str, tmp_path: Path) -> None:
    async with opened(HttpConfig(url=f"http://{host}/"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.DNS


@pytest.mark.parametrize("kind", ["expired", "untrusted", "wrong host"])
async def test_an_invalid_certificate_is_a_tls_failure(kind: Certificate, tmp_path: Path, certificates: Certificates) -> None:
    async with HttpServer(tls=certificates(kind)) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TLS
    assert server.heard == []


async def test_a_server_that_does_not_speak_tls_is_a_tls_failure(tmp_path: Path, certificates: Certificates) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with Server(talk) as server, opened(HttpConfig(url=f"https://127.0.0.1:{server.port}/"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TLS


async def test_a_tls_handshake_that_hangs_is_a_timeout(tmp_path: Path, certificates: Certificates) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    async with Server(talk) as server:
        config = HttpConfig(url=f"https://127.0.0.1:{server.port}/", timeout=SHORT)
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT


async def test_cookies_and_odd_headers_of_an_answer_are_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await outcome_of(answer(500, b"peer-text", set_cookie="=\x01peer-text; ;;=", x_odd="peer-text"), tmp_path)
    assert "peer-text" not in caplog.text
