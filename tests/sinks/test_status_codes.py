"""Every class of status codes of SMTP and HTTP has its outcome, and secrets that cannot be sent open no sink."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import SinkSetupError
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.slack.config import SlackConfig
from tests.sinks.http_server import Heard, HttpServer, answer
from tests.sinks.mail_server import ScriptedSmtp
from tests.sinks.sending import opened, ref, send
from tests.sinks.subjects import LOGIN, SECRET_PATH, SUBJECTS, assert_no_secret


def smtp_answers() -> Iterator[tuple[str, int, type[Outcome]]]:
    """Yield verb, code and outcome, for every class of codes. Until DATA (RFC 5321, section 3.3), no answer is about the mail."""
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
    async with ScriptedSmtp(**script) as server, SUBJECTS["email"].opened(server.port, tmp_path) as sink:
        outcome = await send(sink)
    assert type(outcome) is expected
    assert isinstance(outcome, Delivered) or outcome.reason in (Reason.SMTP_STATUS, Reason.RESET)
    assert "text of the other side" not in outcome.detail
    assert server.connections == 1
    assert sum(line.startswith(b"MAIL") for line in server.lines) <= 1, "the sink itself tries nothing again"
    assert_no_secret(repr(outcome))


def http_outcome(status: int, *, retry_after: bool) -> type[Outcome]:
    if 200 <= status < 300:
        return Delivered
    return Defer if retry_after and status in (429, 503) else Retry


@pytest.mark.parametrize("retry_after", [False, True])
@pytest.mark.parametrize("kind", [name for name, subject in SUBJECTS.items() if subject.speaks_http])
async def test_every_http_status_has_its_outcome(kind: str, retry_after: bool, tmp_path: Path) -> None:
    headers = {"retry_after": "7"} if retry_after else {}
    statuses = [*(status for status in range(100, 600) if status != 101)]
    turn = iter(statuses)

    def reply(_: Heard) -> bytes:
        status = next(turn)
        # 100 to 199 are interim: another answer follows them (RFC 9110, section 15.2), except 101, which ends HTTP.
        said = b"ok" if status == 200 else b""  # without it Slack has taken nothing
        return answer(status) + answer(500) if status < 200 else answer(status, said, **headers)

    async with HttpServer(reply) as server, SUBJECTS[kind].opened(server.port, tmp_path) as sink:
        for status in statuses:
            outcome = await send(sink)
            expected = http_outcome(status, retry_after=retry_after)
            if kind == "slack" and status != 200 and expected is Delivered:
                expected = Retry  # an incoming webhook that takes a message answers 200
            assert type(outcome) is expected, status
            assert outcome.status == (500 if status < 200 else status)
            assert_no_secret(repr(outcome))
    assert len(server.heard) == len(statuses), "the sink itself tries nothing again and follows no redirect"


async def test_a_text_that_is_no_url_in_place_of_a_webhook_url_is_an_outcome_that_tells_no_secret(tmp_path: Path) -> None:
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
