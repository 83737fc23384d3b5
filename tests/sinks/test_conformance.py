"""What every sink promises (`gateway/sinks/base.py`), the same tests for all of them."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from gateway.core.errors import SinkSetupError
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks import SINK_TYPES, open_sink
from gateway.sinks.base import Sink, SinkSettings
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.slack.config import SlackConfig
from tests.sinks.http_server import Heard, HttpServer, after_request, answer
from tests.sinks.left_behind import descriptors, drain, written_to_the_end
from tests.sinks.mail_server import DROP, HANG, RESET, ScriptedSmtp
from tests.sinks.sending import LONG, PATIENCE, SECRETS, SHORT, attempt, opened, opening, outgoing, ref, send
from tests.sinks.tcp_server import Server

TYPES = ["http", "slack", "email", "jsonl"]
SECRET_PATH = "services/T0/B0/hook-5Wd3-never-shown"


def config_for(kind: str, port: int, timeout: Duration = LONG) -> tuple[SinkSettings, str]:
    """A sink with every secret it can have, and the webhook URL of the Slack one."""
    url = f"http://127.0.0.1:{port}/{SECRET_PATH}"
    match kind:
        case "http":
            config: SinkSettings = HttpConfig(
                url=f"http://127.0.0.1:{port}/hook",
                secret=ref("SIGNING"),
                bearer=ref("BEARER"),
                headers={"x-tenant": ref("TENANT")},
                timeout=timeout,
            )
        case "slack":
            config = SlackConfig(webhook_url=ref("HOOK"), timeout=timeout)
        case "email":
            config = EmailConfig(
                host="127.0.0.1",
                port=port,
                security="none",
                username="gateway",
                password=ref("PASSWORD"),
                sender="gateway@example.com",
                recipients=["a@example.com"],
                timeout=timeout,
            )
        case _:
            config = JsonlConfig(path="events.jsonl", timeout=timeout)
    return config, url


LOGIN = b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n"


def hanging(kind: str) -> Server:
    return ScriptedSmtp(EHLO=LOGIN, MAIL=HANG) if kind == "email" else after_request(hang=True)


def taking(kind: str) -> Server:
    return ScriptedSmtp(EHLO=LOGIN) if kind == "email" else HttpServer(answer(200, b"ok"))  # all that Slack says to a webhook


async def settled(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds that needs no waiting, only its turn."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0)
    assert condition()


@pytest.fixture(params=TYPES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def working(kind: str, tmp_path: Path) -> AsyncIterator[tuple[Sink, Server]]:
    async with taking(kind) as server:
        config, url = config_for(kind, server.port)
        async with opened(config, tmp_path, HOOK=url) as sink:
            yield sink, server


def test_every_sink_type_is_under_test() -> None:
    assert sorted(TYPES) == sorted(SINK_TYPES)


def test_opening_a_sink_connects_to_nothing_and_needs_no_loop(kind: str, tmp_path: Path, free_port: Callable[[], int]) -> None:
    config, url = config_for(kind, free_port())
    before = descriptors()
    open_sink(config, opening(tmp_path, HOOK=url))
    assert descriptors() == before


async def test_a_delivery_that_is_taken_is_delivered(working: tuple[Sink, Server]) -> None:
    sink, _ = working
    assert isinstance(await send(sink), Delivered)


async def test_each_sample_is_delivered(payload: bytes, working: tuple[Sink, Server]) -> None:
    sink, _ = working
    assert isinstance(await send(sink, outgoing(payload)), Delivered)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b'{"a":"\\ud800"}', b"{}", b'{"event_type":["x"],"sr_uuid":1}'])
async def test_an_odd_body_is_delivered_too(body: bytes, working: tuple[Sink, Server]) -> None:
    sink, _ = working
    assert isinstance(await send(sink, outgoing(body, content_type=None, sender_id=None)), Delivered)


async def test_sends_at_once_are_all_delivered(working: tuple[Sink, Server]) -> None:
    sink, _ = working
    outcomes = await asyncio.gather(*(send(sink, outgoing(delivery_id=f"d-{number}")) for number in range(20)))
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)


@pytest.mark.parametrize("used", [True, False])
async def test_a_sink_may_be_closed_twice(used: bool, working: tuple[Sink, Server]) -> None:
    sink, _ = working
    if used:
        await send(sink)
    await sink.aclose()
    await sink.aclose()


async def test_a_closed_sink_holds_nothing_open(kind: str, tmp_path: Path) -> None:
    async with taking(kind) as server:
        before = descriptors()
        tasks = asyncio.all_tasks()
        config, url = config_for(kind, server.port)
        async with opened(config, tmp_path, HOOK=url) as sink:
            await send(sink)
        if kind != "jsonl":
            await asyncio.wait_for(server.gone.wait(), PATIENCE)
        await settled(lambda: descriptors() <= before)
        await settled(lambda: asyncio.all_tasks() <= tasks)


class Hung(NamedTuple):
    server: Server
    """Takes requests and mails, and answers none."""
    config: SinkSettings
    url: str
    reader: int
    """The FIFO that the lines go to, full."""


@pytest.fixture
async def hung(kind: str, tmp_path: Path, slow: int) -> AsyncIterator[Hung]:
    """What a sink of each type hangs on."""
    async with hanging(kind) as server:
        yield Hung(server, *config_for(kind, server.port), slow)


async def begun(kind: str, sending: asyncio.Task[Outcome], hung: Hung) -> None:
    """Until the server has a client, and some turns more, so that most of what can be sent is sent."""
    if kind != "jsonl":
        await asyncio.wait_for(hung.server.met.wait(), PATIENCE)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not sending.done()


async def let_go(kind: str, hung: Hung) -> None:
    """Wait until nothing goes on of what was given up: a connection is closed at once, a thread writes its line to the end."""
    if kind == "jsonl":
        (line,) = await drain(hung.reader, 1)
        assert line.endswith(b"}\n")
        await written_to_the_end()
    else:
        await asyncio.wait_for(hung.server.gone.wait(), PATIENCE)


async def test_a_hanging_send_that_is_cancelled_ends_at_once_and_leaves_nothing_behind(
    kind: str, tmp_path: Path, hung: Hung
) -> None:
    before = descriptors()
    tasks = asyncio.all_tasks()
    async with opened(hung.config, tmp_path, HOOK=hung.url) as sink:
        sending = asyncio.create_task(sink.send(outgoing()))
        await begun(kind, sending, hung)
        sending.cancel()
        await settled(sending.cancelled)
    await let_go(kind, hung)
    await settled(lambda: descriptors() <= before)
    await settled(lambda: asyncio.all_tasks() <= tasks)
    gc.collect()
    assert hung.server.connections == (kind != "jsonl")


async def test_a_hanging_send_is_cut_when_the_lane_says_so_and_leaves_nothing_behind(
    kind: str, tmp_path: Path, hung: Hung
) -> None:
    before = descriptors()
    async with opened(hung.config, tmp_path, HOOK=hung.url) as sink:
        with pytest.raises(TimeoutError):
            await attempt(sink, SHORT)
    await let_go(kind, hung)
    await settled(lambda: descriptors() <= before)


async def test_a_sink_that_hangs_may_be_closed_twice_and_is_waited_for_neither_time(
    kind: str, tmp_path: Path, hung: Hung
) -> None:
    async with opened(hung.config, tmp_path, HOOK=hung.url) as sink:
        sending = asyncio.create_task(sink.send(outgoing()))
        await begun(kind, sending, hung)
        sending.cancel()
        for _ in range(2):
            closing = asyncio.create_task(sink.aclose())
            await settled(closing.done)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(sending, PATIENCE)
    await let_go(kind, hung)


@pytest.mark.parametrize("kind", ["http", "slack", "email"])
async def test_a_sink_is_as_good_as_new_after_a_cancelled_send(kind: str, tmp_path: Path, hung: Hung) -> None:
    async with opened(msgspec.structs.replace(hung.config, timeout=SHORT), tmp_path, HOOK=hung.url) as sink:
        for _ in range(3):
            sending = asyncio.create_task(sink.send(outgoing()))
            await begun(kind, sending, hung)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(sending, PATIENCE)
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT


async def test_a_file_is_as_good_as_new_once_a_cancelled_write_has_ended(tmp_path: Path, slow: int) -> None:
    hung = Hung(hanging("jsonl"), JsonlConfig(path="events.jsonl"), "", slow)
    async with opened(hung.config, tmp_path) as sink:
        for _ in range(3):
            sending = asyncio.create_task(sink.send(outgoing(b'{"s":"' + b"x" * 400_000 + b'"}')))
            await begun("jsonl", sending, hung)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(sending, PATIENCE)
            await let_go("jsonl", hung)
        assert await send(sink) == Delivered()


def http_failures() -> dict[str, Callable[[], Server]]:
    return {
        "hang": lambda: after_request(hang=True),
        "drop": after_request,
        "reset": lambda: after_request(reset=True),
        "garbage": lambda: after_request(says=b"\x00garbage\r\n\r\n"),
        "echo": lambda: HttpServer(lambda heard: answer(500, b"\r\n".join([heard.line, *(v for _, v in heard.headers)]))),
        "redirect": lambda: HttpServer(lambda heard: answer(302, location=heard.line.split()[1].decode())),
        "busy": lambda: HttpServer(answer(429, retry_after="7")),
        "unauthorized": lambda: HttpServer(answer(401, www_authenticate="Basic realm=x")),
        "gone": lambda: HttpServer(answer(410)),
    }


FAILURES: dict[str, dict[str, Callable[[], Server]]] = {
    "http": http_failures(),
    "slack": http_failures(),
    "email": {
        "hang": lambda: ScriptedSmtp(EHLO=LOGIN, MAIL=HANG),
        "drop": lambda: ScriptedSmtp(greeting=DROP),
        "reset": lambda: ScriptedSmtp(EHLO=LOGIN, DATA=RESET),
        "garbage": lambda: ScriptedSmtp(greeting=b"\x00garbage\r\n"),
        "wrong password": lambda: ScriptedSmtp(EHLO=LOGIN, AUTH=b"535 5.7.8 no: password-7Kp9-never-shown\r\n"),
        "dropped login": lambda: ScriptedSmtp(EHLO=LOGIN, AUTH=DROP),
        "no login": lambda: ScriptedSmtp(),
        "later": lambda: ScriptedSmtp(EHLO=LOGIN, MAIL=b"451 4.3.0 later\r\n"),
        "never": lambda: ScriptedSmtp(EHLO=LOGIN, end=b"554 5.6.0 never\r\n"),
    },
}
NEVER_SHOWN = [
    *(value for name, value in SECRETS.items() if name != "HOOK"),
    SECRETS["SIGNING"].removeprefix("whsec_"),
    SECRET_PATH,
    "hook-5Wd3",
    base64.b64encode(f"\0gateway\0{SECRETS['PASSWORD']}".encode()).decode(),
    base64.b64encode(SECRETS["PASSWORD"].encode()).decode(),
]


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        for secret in NEVER_SHOWN:
            assert secret not in text


@pytest.mark.parametrize(("kind", "failure"), [(kind, failure) for kind in FAILURES for failure in FAILURES[kind]])
async def test_an_expected_failure_is_one_outcome_of_one_try_that_tells_no_secret(
    kind: str, failure: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with FAILURES[kind][failure]() as server:
        config, url = config_for(kind, server.port, timeout=SHORT)
        async with opened(config, tmp_path, HOOK=url) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry | Defer | Reject)
    assert outcome.detail
    assert outcome.detail.isprintable()
    assert server.connections == 1
    if isinstance(server, HttpServer):
        assert len(server.heard) == 1
    written = capfd.readouterr()
    assert_no_secret(repr(outcome), str(outcome), caplog.text, written.out, written.err, repr(sink))


def smtp_answers() -> Iterator[tuple[str, int, type[Outcome]]]:
    """By verb and code, over every class: before the mail is named (RFC 5321, section 3.3) nothing that is said is about it."""
    right = {"greeting": 220, "EHLO": 250, "AUTH": 235, "MAIL": 250, "RCPT": 250, "DATA": 354, "end": 250}
    for verb, code in right.items():
        yield verb, code, Delivered
        for wrong in (211, 300, 354, 399, 400, 421, 450, 499, 500, 530, 554, 599):
            if wrong != code:
                about_the_mail = verb in ("DATA", "end") and wrong in (554, 599)
                yield verb, wrong, Reject if about_the_mail else Retry
    yield "RCPT", 251, Delivered
    yield "DATA", 250, Retry


@pytest.mark.parametrize(("verb", "code", "expected"), list(smtp_answers()))
async def test_every_class_of_smtp_codes_has_its_outcome_at_every_verb(
    verb: str, code: int, expected: type[Outcome], tmp_path: Path
) -> None:
    said = f"{code} text of the other side\r\n".encode()
    script = {"EHLO": LOGIN, verb: LOGIN if (verb, code) == ("EHLO", 250) else said}
    async with ScriptedSmtp(**script) as server:
        config, _ = config_for("email", server.port)
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert type(outcome) is expected
    assert isinstance(outcome, Delivered) or outcome.reason in (Reason.SMTP_STATUS, Reason.RESET)
    assert "text of the other side" not in outcome.detail
    assert server.connections == 1
    assert sum(line.startswith(b"MAIL") for line in server.lines) <= 1, "nothing is tried again inside"
    assert_no_secret(repr(outcome))


def http_outcome(status: int, *, retry_after: bool) -> type[Outcome]:
    if 200 <= status < 300:
        return Delivered
    return Defer if retry_after and status in (429, 503) else Retry


@pytest.mark.parametrize("retry_after", [False, True])
@pytest.mark.parametrize("kind", ["http", "slack"])
async def test_every_http_status_has_its_outcome(kind: str, retry_after: bool, tmp_path: Path) -> None:
    headers = {"retry_after": "7"} if retry_after else {}
    statuses = [*(status for status in range(100, 600) if status != 101)]
    turn = iter(statuses)

    def reply(_: Heard) -> bytes:
        status = next(turn)
        # 100 to 199 are interim: another answer follows them (RFC 9110, section 15.2), but for 101, which ends HTTP.
        said = b"ok" if status == 200 else b""  # without it Slack has taken nothing
        return answer(status) + answer(500) if status < 200 else answer(status, said, **headers)

    async with HttpServer(reply) as server:
        config, url = config_for(kind, server.port)
        async with opened(config, tmp_path, HOOK=url) as sink:
            for status in statuses:
                outcome = await send(sink)
                expected = http_outcome(status, retry_after=retry_after)
                if kind == "slack" and status != 200 and expected is Delivered:
                    expected = Retry  # an incoming webhook that takes a message answers 200
                assert type(outcome) is expected, status
                assert outcome.status == (500 if status < 200 else status)
                assert_no_secret(repr(outcome))
    assert len(server.heard) == len(statuses), "nothing is tried again inside, nothing is followed"


@pytest.mark.parametrize("kind", ["http", "slack", "email"])
async def test_a_server_that_is_not_there_is_one_outcome_that_tells_no_secret(
    kind: str, tmp_path: Path, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config, url = config_for(kind, free_port())
    async with opened(config, tmp_path, HOOK=url) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECT
    assert_no_secret(repr(outcome), caplog.text)


async def test_a_delivered_outcome_tells_no_secret_either(
    working: tuple[Sink, Server], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    sink, _ = working
    outcome = await send(sink)
    written = capfd.readouterr()
    assert_no_secret(repr(outcome), caplog.text, written.out, written.err)


async def test_a_webhook_url_that_is_none_is_an_outcome_that_tells_no_secret(tmp_path: Path) -> None:
    for url in (f"http://127.0.0.1:99999/{SECRET_PATH}", f"http://[/{SECRET_PATH}", SECRET_PATH, f"http://:80/{SECRET_PATH}"):
        async with opened(SlackConfig(webhook_url=ref("HOOK")), tmp_path, HOOK=url) as sink:
            outcome = await send(sink)
        assert isinstance(outcome, Retry)
        assert_no_secret(repr(outcome))


async def test_a_header_value_of_several_lines_opens_no_sink_and_tells_no_secret(tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=server.url, bearer=ref("BEARER"))
        with pytest.raises(SinkSetupError) as caught:
            async with opened(config, tmp_path, BEARER="bearer-8Hq2\r\nb: never-shown") as sink:
                await send(sink)
        assert server.heard == []
    assert "bearer-8Hq2" not in str(caught.value)
