"""The `email` sink: what its outcome is for every answer of an SMTP server, and for none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks import EmailConfig
from tests.sinks.conftest import Certificates
from tests.sinks.parts import DROP, HANG, LONG, RESET, SHORT, MailServer, ScriptedSmtp, Server, opened, ref, send

CONFIG = EmailConfig(
    host="127.0.0.1", security="none", sender="gateway@example.com", recipients=["a@example.com", "b@example.com"]
)
LATER = [421, 450, 451, 452]
NEVER = [550, 552, 553, 554]
LOGIN = b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n"


async def outcome_of(server: Server, base: Path, timeout: Duration = LONG, login: bool = False) -> Outcome:
    async with server:
        config = msgspec.structs.replace(CONFIG, port=server.port, timeout=timeout)
        if login:
            config = msgspec.structs.replace(config, username="gateway", password=ref("PASSWORD"))
        async with opened(config, base) as sink:
            outcome = await send(sink)
    assert server.connections == 1, "nothing is tried again inside"
    return outcome


def line(code: int) -> bytes:
    return b"%d 0.0.0 text of the other side\r\n" % code


@pytest.mark.parametrize(
    ("verb", "code"),
    [(verb, code) for verb in ("MAIL", "RCPT", "DATA", "end") for code in LATER if (verb, code) != ("RCPT", 421)],
)
async def test_a_4xx_answer_is_a_retry(verb: str, code: int, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: line(code)}), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, code)
    assert "text of the other side" not in outcome.detail


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "end"])
@pytest.mark.parametrize("code", NEVER)
async def test_a_5xx_answer_is_final(verb: str, code: int, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: line(code)}), tmp_path)
    assert isinstance(outcome, Reject)
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, code)
    assert "text of the other side" not in outcome.detail


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "RCPT"])
async def test_a_server_that_says_it_closes_is_a_retry(verb: str, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: line(421)}), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.reason in (Reason.SMTP_STATUS, Reason.RESET), "421 says that the connection ends (RFC 5321, section 3.8)"


@pytest.mark.parametrize("verb", ["greeting", "EHLO"])
async def test_a_5xx_before_the_mail_was_named_says_nothing_about_the_mail(verb: str, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: line(554)}, HELO=line(554)), tmp_path)
    assert isinstance(outcome, Retry)


@pytest.mark.parametrize("code", [454, 530, 534, 535, 538])
async def test_a_refused_login_is_a_retry_and_says_what_to_check(code: int, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(EHLO=LOGIN, AUTH=line(code)), tmp_path, login=True)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, code)
    assert "password" in outcome.detail


async def test_a_server_without_login_gets_no_mail_where_one_is_configured(tmp_path: Path) -> None:
    server = ScriptedSmtp()
    assert isinstance(await outcome_of(server, tmp_path, login=True), Retry)
    assert server.mails == []


async def test_one_refused_recipient_of_two_is_delivered_and_counted(tmp_path: Path) -> None:
    async with MailServer() as server:
        server.refuse = {"b@example.com": "550 5.1.1 nobody of that name b@example.com"}
        async with opened(msgspec.structs.replace(CONFIG, port=server.port), tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Delivered)
    assert "1 of 2" in outcome.detail
    assert "550" in outcome.detail
    assert "nobody" not in outcome.detail
    assert server.envelopes == [("gateway@example.com", ["a@example.com"])]
    assert server.sessions == 1


@pytest.mark.parametrize(
    ("codes", "kind", "status"), [((550, 553), Reject, 553), ((450, 550), Retry, 450), ((550, 451), Retry, 451)]
)
async def test_recipients_who_are_all_refused_are_final_only_if_none_may_work_later(
    codes: tuple[int, int], kind: type[Outcome], status: int, tmp_path: Path
) -> None:
    async with MailServer() as server:
        server.refuse = {"a@example.com": f"{codes[0]} no", "b@example.com": f"{codes[1]} no"}
        async with opened(msgspec.structs.replace(CONFIG, port=server.port), tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, kind)
    assert outcome.status == status
    assert server.mails == []


@pytest.mark.parametrize("how", [DROP, RESET])
@pytest.mark.parametrize("verb", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "end"])
async def test_a_connection_that_drops_is_a_reset(verb: str, how: bytes, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: how}), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.RESET or (verb == "greeting" and outcome.reason is Reason.CONNECT)


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "end"])
async def test_a_server_that_hangs_is_a_timeout(verb: str, tmp_path: Path) -> None:
    server = ScriptedSmtp(**({"EHLO": LOGIN} | {verb: HANG}))
    outcome = await outcome_of(server, tmp_path, SHORT, login=verb == "AUTH")
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT


@pytest.mark.parametrize("how", [DROP, RESET, b"500 what?\r\n", b"nonsense\r\n"])
async def test_how_the_farewell_goes_changes_nothing(how: bytes, tmp_path: Path) -> None:
    server = ScriptedSmtp(QUIT=how)
    assert await outcome_of(server, tmp_path) == Delivered(250)
    assert len(server.mails) == 1


GARBAGE = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\x15\x03\x01\r\n", b"\xff\xfe\r\n", b"\r\n"]


@pytest.mark.parametrize("said", GARBAGE, ids=[repr(said[:16]) for said in GARBAGE])
@pytest.mark.parametrize("verb", ["greeting", "MAIL"])
async def test_an_answer_that_is_not_smtp_is_a_breach_of_protocol(verb: str, said: bytes, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: said}), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.PROTOCOL
    assert "SSH" not in outcome.detail


@pytest.mark.parametrize("said", [b"220 " + b"x" * 1_000_000 + b"\r\n", b"220-x\r\n" * 200_000 + b"220 x\r\n"])
async def test_an_endless_greeting_ends(said: bytes, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(greeting=said), tmp_path, Duration("2s"))
    assert isinstance(outcome, Retry | Delivered)


async def test_a_port_that_nobody_listens_on_is_a_failed_connect(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async with opened(msgspec.structs.replace(CONFIG, port=free_port()), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECT
    assert "refused" in outcome.detail


async def test_a_name_without_an_address_is_a_dns_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")  # where no resolver answers at all
    async with opened(msgspec.structs.replace(CONFIG, host="mail.invalid"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.DNS


@pytest.mark.parametrize("host", ["mail..internal", "x" * 70 + ".internal"])
async def test_a_name_that_can_have_no_address_is_a_dns_failure(host: str, tmp_path: Path) -> None:
    async with opened(msgspec.structs.replace(CONFIG, host=host), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.DNS


async def test_a_server_that_does_not_speak_tls_is_a_tls_failure(tmp_path: Path, certificates: Certificates) -> None:
    async with ScriptedSmtp() as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, security="tls")
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TLS


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_tls_handshake_that_hangs_is_a_timeout(security: str, tmp_path: Path, certificates: Certificates) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if security == "starttls":
            writer.write(b"220 mail.test\r\n")
            await reader.readline()
            writer.write(b"250-mail.test\r\n250 STARTTLS\r\n")
            await reader.readline()
            writer.write(b"220 go on\r\n")
        while await reader.read(4096):
            pass

    async with Server(talk) as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, security=security, timeout=SHORT)
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    ("sender", "recipient"), [("gateway@例え.jp", "a@example.com"), ("gateway@example.com", "担当@example.com")]
)
async def test_an_address_beyond_ascii_is_an_outcome_and_no_exception(sender: str, recipient: str, tmp_path: Path) -> None:
    """`check` lets it pass; a server without SMTPUTF8 can't take it."""
    async with ScriptedSmtp() as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, sender=sender, recipients=[recipient])
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry | Reject)
    assert server.mails == []
