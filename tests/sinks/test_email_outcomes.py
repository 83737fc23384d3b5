"""The outcomes of the `email` sink for every answer of an SMTP server, and for no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.sink import Taken
from tests.sinks.conftest import Certificates
from tests.sinks.mail_server import DROP, HANG, RESET, MailServer, ScriptedSmtp
from tests.sinks.sending import LONG, SHORT, attempt, opened, outgoing, ref, send
from tests.sinks.tcp_server import Server

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


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
@pytest.mark.parametrize("code", [530, 535, 550, 553, 554])
async def test_a_5xx_to_sender_or_all_recipients_opens_the_breaker(verb: str, code: int, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: line(code)}), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.sink_wide, "every mail has this sender and these recipients"
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, code)
    assert "check" in outcome.detail
    assert "text of the other side" not in outcome.detail


@pytest.mark.parametrize("said", [b"530 5.7.0 log in\r\n", b"538 5.7.11 encrypt\r\n", b"550 5.7.60 not as that sender\r\n"])
async def test_a_refusal_of_the_account_after_the_content_opens_the_breaker(said: bytes, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(end=said), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.sink_wide


_THE_SINK = [
    "5.1.1",
    "5.1.8",
    "5.2.1",
    "5.2.2",
    "5.3.2",
    "5.4.1",
    "5.4.5",
    "5.5.1",
    "5.6.7",
    "5.7.20",
    "5.7.26",
    "5.7.501",
    "5.7.708",
]
_THE_MAIL = ["5.0.0", "5.2.0", "5.2.3", "5.3.4", "5.6.0", "5.6.2", "5.7.0", "5.7.1", "5.7.7"]


@pytest.mark.parametrize("enhanced", [*_THE_SINK, *_THE_MAIL])
@pytest.mark.parametrize("verb", ["DATA", "end"])
async def test_an_enhanced_code_tells_whether_a_refusal_is_about_every_mail(verb: str, enhanced: str, tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: f"550 {enhanced} no\r\n".encode()}), tmp_path)
    if enhanced in _THE_MAIL:
        assert isinstance(outcome, Reject)
    else:
        assert isinstance(outcome, Retry) and outcome.sink_wide and "check" in outcome.detail


@pytest.mark.parametrize(
    ("verb", "said", "kind"),
    [
        ("MAIL", 530, Retry),
        ("MAIL", 552, Reject),
        ("RCPT", 550, Retry),
        ("DATA", 554, Reject),
        ("end", 554, Reject),
        ("end", 451, Retry),
    ],
)
async def test_a_refusal_counts_even_if_the_server_is_silent_after_it(
    verb: str, said: int, kind: type[Outcome], tmp_path: Path
) -> None:
    outcome = await outcome_of(ScriptedSmtp(**{verb: f"{said} no\r\n".encode(), "RSET": HANG, "QUIT": HANG}), tmp_path, SHORT)
    assert isinstance(outcome, kind) and isinstance(outcome, Retry | Reject)
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, said)


async def test_a_positive_answer_before_the_content_is_not_an_answer_to_it(tmp_path: Path) -> None:
    outcome = await outcome_of(ScriptedSmtp(DATA=b"354 go on\r\n250 taken\r\n"), tmp_path)
    assert isinstance(outcome, Retry)


@pytest.mark.parametrize("said", [b"552 5.3.4 too big\r\n", b"523 too big\r\n", b"552 size exceeds the maximum\r\n"])
@pytest.mark.parametrize("verb", ["MAIL", "end"])
async def test_a_mail_that_is_too_big_is_rejected_alone(verb: str, said: bytes, tmp_path: Path) -> None:
    assert isinstance(await outcome_of(ScriptedSmtp(**{verb: said}), tmp_path), Reject)


@pytest.mark.parametrize("verb", ["DATA", "end"])
@pytest.mark.parametrize("code", NEVER)
async def test_a_5xx_answer_to_the_content_is_final(verb: str, code: int, tmp_path: Path) -> None:
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


async def test_a_server_without_login_gets_no_mail_if_a_login_is_configured(tmp_path: Path) -> None:
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
    assert "b@example.com (SMTP 550)" in outcome.detail
    assert "nobody" not in outcome.detail
    assert server.envelopes == [("gateway@example.com", ["a@example.com"])]
    assert server.sessions == 1


@pytest.mark.parametrize(
    ("codes", "kind", "status"), [((550, 553), Retry, 553), ((450, 550), Retry, 450), ((550, 451), Retry, 451)]
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


def to(*names: str) -> tuple[str, list[str]]:
    return "gateway@example.com", [f"{name}@example.com" for name in names]


async def test_a_recipient_refused_for_now_gets_the_mail_later_and_the_others_get_no_second_one(tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, recipients=["a@example.com", "B <b@example.com>", "c@example.com"])
    async with MailServer() as server, opened(msgspec.structs.replace(config, port=server.port), tmp_path) as sink:
        server.refuse = {"b@example.com": "450 4.2.1 later", "c@example.com": "452 4.2.2 full"}
        first = await send(sink, outgoing(attempt=1))
        server.refuse = {"c@example.com": "452 4.2.2 full"}
        second = await send(sink, outgoing(attempt=2))
        third = await send(sink, outgoing(attempt=3))
        server.refuse = {}
        fourth = await send(sink, outgoing(attempt=4))
    assert isinstance(first, Retry)
    assert (first.reason, first.status) == (Reason.SMTP_STATUS, 450)
    assert "2 of 3 recipients: b@example.com (SMTP 450), c@example.com (SMTP 452)" in first.detail
    for outcome in (second, third):
        assert isinstance(outcome, Retry)
        assert "1 of 3 recipients: c@example.com (SMTP 452)" in outcome.detail
    assert fourth == Delivered(250)
    assert server.envelopes == [to("a"), to("b"), to("c")]
    assert len(set(server.mails)) == 1, "one mail, that names all its recipients"


async def test_a_recipient_refused_for_good_after_others_have_it_is_delivered_and_named(tmp_path: Path) -> None:
    async with MailServer() as server, opened(msgspec.structs.replace(CONFIG, port=server.port), tmp_path) as sink:
        server.refuse = {"b@example.com": "450 4.2.1 later"}
        assert isinstance(await send(sink), Retry)
        server.refuse = {"b@example.com": "550 5.1.1 never"}
        outcome = await send(sink)
    assert isinstance(outcome, Delivered)
    assert "1 of 2 recipients: b@example.com (SMTP 550)" in outcome.detail
    assert server.envelopes == [to("a")]


async def test_of_two_refused_recipients_the_one_refused_for_now_is_tried_again(tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, recipients=["a@example.com", "b@example.com", "c@example.com"])
    async with MailServer() as server, opened(msgspec.structs.replace(config, port=server.port), tmp_path) as sink:
        server.refuse = {"b@example.com": "550 5.1.1 never", "c@example.com": "450 4.2.1 later"}
        first = await send(sink)
        del server.refuse["c@example.com"]
        second = await send(sink)
    assert isinstance(first, Retry)
    assert first.status == 450
    assert isinstance(second, Delivered)
    assert "1 of 3 recipients: b@example.com (SMTP 550)" in second.detail
    assert server.envelopes == [to("a"), to("c")]


async def test_a_recipient_of_one_mail_still_gets_the_next_mail(tmp_path: Path) -> None:
    async with MailServer() as server, opened(msgspec.structs.replace(CONFIG, port=server.port), tmp_path) as sink:
        server.refuse = {"b@example.com": "450 4.2.1 later"}
        await send(sink, outgoing(delivery_id="d-1"))
        server.refuse = {}
        assert await send(sink, outgoing(delivery_id="d-2")) == Delivered(250)
        assert await send(sink, outgoing(delivery_id="d-1")) == Delivered(250)
    assert server.envelopes == [to("a"), to("a", "b"), to("b")]


async def test_a_replay_of_a_delivered_mail_goes_to_every_recipient(tmp_path: Path) -> None:
    async with MailServer() as server, opened(msgspec.structs.replace(CONFIG, port=server.port), tmp_path) as sink:
        server.refuse = {"b@example.com": "450 4.2.1 later"}
        await send(sink)
        server.refuse = {}
        assert await send(sink) == Delivered(250)
        assert await send(sink) == Delivered(250)
    assert server.envelopes == [to("a"), to("b"), to("a", "b")]


async def test_a_refused_recipient_who_is_named_twice_does_not_have_the_mail(tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, recipients=["a@example.com", "A <a@example.com>"])
    async with MailServer() as server, opened(msgspec.structs.replace(config, port=server.port), tmp_path) as sink:
        server.refuse = {"a@example.com": "550 5.1.1 never"}
        assert isinstance(await send(sink), Retry)
        server.refuse = {}
        assert await send(sink) == Delivered(250)
    assert server.envelopes == [to("a")]


async def test_many_refused_recipients_make_no_endless_detail(tmp_path: Path) -> None:
    recipients = [f"r{number}@example.com" for number in range(50)]
    config = msgspec.structs.replace(CONFIG, recipients=recipients)
    async with MailServer() as server, opened(msgspec.structs.replace(config, port=server.port), tmp_path) as sink:
        server.refuse = dict.fromkeys(recipients[1:], "450 4.2.1 later")
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.detail.endswith("r5@example.com (SMTP 450) (+44 more)")


def test_the_memory_of_recipients_is_bounded_and_drops_the_oldest_first() -> None:
    taken = Taken(most=3)
    for name in ("d-1", "d-2", "d-3"):
        taken.add(name, ["a"])
    taken.add("d-1", ["b"])
    taken.add("d-4", ["a"])
    assert [taken.of(name) for name in ("d-1", "d-2", "d-3", "d-4")] == [{"a", "b"}, set(), {"a"}, {"a"}]
    taken.forget("d-3")
    taken.forget("d-3")
    assert taken.of("d-3") == set()


async def test_a_mail_that_was_taken_when_a_later_attempt_was_cut_is_not_sent_again(tmp_path: Path) -> None:
    async with MailServer() as server, opened(msgspec.structs.replace(CONFIG, port=server.port), tmp_path) as sink:
        server.refuse = {"b@example.com": "450 4.2.1 later"}
        assert isinstance(await send(sink), Retry)
        sending = asyncio.create_task(sink.send(outgoing(attempt=2)))
        await asyncio.sleep(0)  # it has begun, and has no answer yet
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        server.refuse = {}
        assert await send(sink, outgoing(attempt=3)) == Delivered(250)
    assert server.envelopes == [to("a"), to("b")]


@pytest.mark.parametrize("timeout", ["500ms", "1s", "2s"])
async def test_a_goodbye_that_hangs_does_not_use_up_the_time_of_the_attempt(timeout: str, tmp_path: Path) -> None:
    async with ScriptedSmtp(QUIT=HANG) as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, timeout=Duration(timeout))
        async with opened(config, tmp_path) as sink:
            assert await attempt(sink, config.timeout) == Delivered(250)
    assert len(server.mails) == 1


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
async def test_a_failed_goodbye_changes_nothing(how: bytes, tmp_path: Path) -> None:
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


async def test_a_port_without_a_listener_is_a_failed_connect(tmp_path: Path, free_port: Callable[[], int]) -> None:
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
    ("sender", "recipient"), [("gérant@example.com", "a@example.com"), ("gateway@example.com", "担当@example.com")]
)
async def test_a_server_without_smtputf8_gets_no_address_that_needs_it(sender: str, recipient: str, tmp_path: Path) -> None:
    async with ScriptedSmtp() as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, sender=sender, recipients=[recipient])
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.sink_wide
    assert "SMTPUTF8" in outcome.detail
    assert server.mails == []


async def test_a_domain_beyond_ascii_is_sent_as_punycode_to_any_server(tmp_path: Path) -> None:
    async with MailServer() as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, sender="gateway@bücher.example", recipients=["a@例え.jp"])
        async with opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(250)
    assert server.envelopes == [("gateway@xn--bcher-kva.example", ["a@xn--r8jz45g.jp"])]
    assert b"@xn--bcher-kva.example>\r\n" in server.mails[0]


async def test_a_server_with_smtputf8_gets_an_address_as_it_is_written(tmp_path: Path) -> None:
    async with MailServer() as server:
        server.utf8 = True
        config = msgspec.structs.replace(CONFIG, port=server.port, recipients=["担当@bücher.example", "a@example.com"])
        async with opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(250)
    assert server.envelopes == [("gateway@example.com", ["担当@xn--bcher-kva.example", "a@example.com"])]


async def test_a_name_with_a_comma_is_one_sender_and_one_recipient(tmp_path: Path) -> None:
    async with MailServer() as server:
        config = msgspec.structs.replace(
            CONFIG, port=server.port, sender="Legitmark, Inc. <gateway@example.com>", recipients=["Doe, Jane <jane@example.com>"]
        )
        async with opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(250)
    assert server.envelopes == [("gateway@example.com", ["jane@example.com"])]
    assert b'From: "Legitmark, Inc." <gateway@example.com>\r\nTo: "Doe, Jane" <jane@example.com>\r\n' in server.mails[0]
