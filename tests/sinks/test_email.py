"""The `email` sink against aiosmtpd: the mail that arrives, the connection it comes over, and a retry that is the same mail."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from gateway.core.outcome import Delivered, Reason, Retry
from gateway.sinks.base import Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render, template_of
from gateway.sinks.http.config import HttpConfig
from tests.sinks.conftest import Certificate, Certificates
from tests.sinks.http_server import HttpServer
from tests.sinks.mail_server import HANG, MailServer, ScriptedSmtp, parsed
from tests.sinks.mails import CONFIG, SENDER, page_of, read, text_of
from tests.sinks.sending import DELIVERY_ID, opened, outgoing, ref, send
from tests.support.webhooks import PAYLOADS


async def deliver(base: Path, *deliveries: Outgoing, config: EmailConfig = CONFIG) -> MailServer:
    async with MailServer() as server, opened(msgspec.structs.replace(config, port=server.port), base) as sink:
        for delivery in deliveries:
            assert await send(sink, delivery) == Delivered(250)
    return server


async def test_each_sample_becomes_one_mail(payload: bytes, tmp_path: Path) -> None:
    server = await deliver(tmp_path, outgoing(payload))
    (raw,) = server.mails
    assert server.envelopes == [("gateway@example.com", ["care@example.com", "ops@example.com"])]
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998, "RFC 5322, section 2.1.1"
    mail = read(raw)
    assert mail["From"] == SENDER
    assert [address.addr_spec for address in mail["To"].addresses] == ["care@example.com", "ops@example.com"]
    assert mail["Message-ID"] == f"<{DELIVERY_ID}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.isoformat() == "2026-02-25T06:13:20+00:00"
    event = json.loads(payload)
    assert (event["reference_id"] or event["sr_uuid"][:8]) in mail["Subject"]
    for name in ("sr_uuid", "reference_id"):
        assert event[name] is None or event[name] in text_of(mail)
        assert event[name] is None or event[name] in page_of(mail)


async def test_a_japanese_subject_and_body_can_be_read(tmp_path: Path) -> None:
    server = await deliver(tmp_path, outgoing((PAYLOADS / "media_rejected.ja.json").read_bytes()))
    mail = read(server.mails[0])
    assert mail["Subject"] == "Legitmark: バッグ-0042 (c3a8e0f4)"
    assert {part.get_content_charset() for part in mail.iter_parts()} == {"utf-8"}
    assert (
        "- Front: ピントが合っていません\n  正面の縫い目が読み取れません。カメラを固定して、もう一度撮影してください。\n"
        in text_of(mail)
    )


@pytest.mark.parametrize(
    "reference", ["日本語" * 40, "👜" * 200, "word " * 150, "x" * 900, "é" * 77 + " " + "ü" * 77, "a\u3000b"]
)
async def test_a_long_or_foreign_subject_arrives_as_it_was(reference: str, tmp_path: Path) -> None:
    body = json.dumps({"event_type": "media_rejected", "reference_id": reference}).encode()
    server = await deliver(tmp_path, outgoing(body))
    mail = read(server.mails[0])
    subject = mail["Subject"].strip()
    assert f"Legitmark: {reference}".startswith(subject)
    assert len(subject) >= min(len(reference.strip()), 500)


async def test_two_attempts_send_the_same_bytes(tmp_path: Path) -> None:
    server = await deliver(tmp_path, outgoing(attempt=1), outgoing(attempt=2))
    assert server.mails[0] == server.mails[1]


async def test_another_delivery_of_the_same_event_is_another_mail(tmp_path: Path) -> None:
    server = await deliver(tmp_path, outgoing(), outgoing(delivery_id=DELIVERY_ID + "2"))
    first, second = map(read, server.mails)
    assert first["Message-ID"] != second["Message-ID"]
    assert first["Subject"] == second["Subject"]


async def test_long_ids_stay_in_one_piece(tmp_path: Path) -> None:
    delivery = outgoing(delivery_id="0" * 32 + "-" + "s" * 48)
    config = msgspec.structs.replace(CONFIG, sender=f"gateway@{'sub.' * 20}example.com")
    server = await deliver(tmp_path, delivery, config=config)
    assert f"Message-ID: <{delivery.delivery_id}@{'sub.' * 20}example.com>\r\n".encode() in server.mails[0]
    assert re.search(rb"\r\nIn-Reply-To: (<sr-[0-9a-f]{32}@(sub\.){20}example\.com>)\r\nReferences: \1\r\n", server.mails[0])
    assert f"\r\nList-Id: <{'0' * 32}-{'s' * 48}.legitmark-gateway.{'sub.' * 20}example.com>\r\n".encode() in server.mails[0]


async def test_many_recipients_with_names_are_all_named(tmp_path: Path) -> None:
    recipients = [f"窓口 {number} <desk{number}@example.com>" for number in range(30)]
    config = msgspec.structs.replace(CONFIG, recipients=recipients, sender="レジットマーク <gateway@example.com>")
    server = await deliver(tmp_path, outgoing(), config=config)
    assert server.envelopes == [("gateway@example.com", [f"desk{number}@example.com" for number in range(30)])]
    mail = read(server.mails[0])
    assert [str(address) for address in mail["To"].addresses] == recipients
    assert str(mail["From"]) == "レジットマーク <gateway@example.com>"


INJECTIONS = [
    "x\r\nBcc: victim@example.com",
    "x\nBcc: victim@example.com",
    "x\rBcc: victim@example.com",
    "x\r\n\r\nsecond body",
    "x\r\n.\r\nMAIL FROM:<a@example.com>",
    "x\u2028Bcc: victim@example.com",
    "x\u0085Bcc: victim@example.com",
    "x\x0b\x0c\x1c\x1d\x1e\x00Bcc: victim@example.com",
    "=?utf-8?q?x=0D=0ABcc:_victim@example.com?=",
    "=?utf-8?b?eA0KQmNjOiB2aWN0aW1AZXhhbXBsZS5jb20=?=",
    "=?us-ascii?q?x=0ABcc:_victim@example.com=0A=0Abody?= " + "y" * 120,
    "=?utf-8?q?=0D=0A.=0D=0A?=",
]


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
@pytest.mark.parametrize("field", ["reference_id", "sr_uuid", "event_type", "timestamp", "reason"])
async def test_no_text_of_a_payload_starts_a_header_a_body_or_a_command(field: str, text: str, tmp_path: Path) -> None:
    body: dict[str, object] = {"event_type": "media_rejected", "sides": [{"side": "Front", "reason": text}]}
    server = await deliver(tmp_path, outgoing(json.dumps(body | ({field: text} if field != "reason" else {})).encode()))
    (raw,) = server.mails
    mail = read(raw)
    assert server.envelopes == [("gateway@example.com", ["care@example.com", "ops@example.com"])]
    assert b"\nBcc" not in raw
    assert "\nBcc" not in text_of(mail)
    assert "\nBcc" not in page_of(mail)
    head = raw.split(b"\r\n\r\n")[0]
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert b"\r" not in head.replace(b"\r\n", b"")


async def test_a_mail_goes_out_under_starttls(tmp_path: Path, certificates: Certificates) -> None:
    server = MailServer(starttls=certificates("good"))
    async with server, opened(msgspec.structs.replace(CONFIG, port=server.port, security="starttls"), tmp_path) as sink:
        assert await send(sink) == Delivered(250)
    assert server.encrypted == [True]


async def test_a_mail_goes_out_under_implicit_tls(tmp_path: Path, certificates: Certificates) -> None:
    async with MailServer(tls=certificates("good")) as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, security="tls", host="localhost")
        async with opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(250)
    assert server.encrypted == [True]


async def test_the_configured_login_is_used(tmp_path: Path, certificates: Certificates) -> None:
    async with MailServer(starttls=certificates("good"), login=True) as server:
        config = msgspec.structs.replace(
            CONFIG, port=server.port, security="starttls", username="gateway", password=ref("PASSWORD")
        )
        async with opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(250)
    assert server.logins == [True]
    assert server.encrypted == [True]


async def test_a_wrong_password_loses_no_mail(tmp_path: Path, certificates: Certificates) -> None:
    async with MailServer(starttls=certificates("good"), login=True) as server:
        config = msgspec.structs.replace(
            CONFIG, port=server.port, security="starttls", username="gateway", password=ref("PASSWORD")
        )
        async with opened(config, tmp_path, PASSWORD="stale-password-x1") as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, 535)
    assert "stale-password-x1" not in repr(outcome)
    assert server.mails == []


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
async def test_a_refused_login_leaves_no_socket_that_disturbs_another_connection(
    security: Literal["starttls", "tls", "none"], tmp_path: Path, certificates: Certificates
) -> None:
    """A descriptor that is closed under its transport is still in the selector when the next socket gets its number."""
    context = certificates("good")
    servers = {"starttls": {"starttls": context}, "tls": {"tls": context}, "none": {}}
    async with MailServer(**servers[security], login=True) as server:
        config = msgspec.structs.replace(
            CONFIG, port=server.port, security=security, username="gateway", password=ref("PASSWORD")
        )
        async with opened(config, tmp_path, PASSWORD="stale-password-x1") as sink:
            refused = [await send(sink) for _ in range(4)]
        async with HttpServer() as http, opened(HttpConfig(url=http.url), tmp_path) as other:
            assert await send(other) == Delivered(200)
        gc.collect()  # an unclosed transport would warn now
    assert [(outcome.reason, outcome.status) for outcome in refused if isinstance(outcome, Retry)] == [
        (Reason.SMTP_STATUS, 535)
    ] * 4


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("kind", ["expired", "untrusted", "wrong host"])
async def test_a_server_with_an_invalid_certificate_gets_no_mail(
    kind: Certificate, security: str, tmp_path: Path, certificates: Certificates
) -> None:
    context = certificates(kind)
    async with MailServer(**({"tls": context} if security == "tls" else {"starttls": context}), login=True) as server:
        config = msgspec.structs.replace(
            CONFIG, port=server.port, security=security, username="gateway", password=ref("PASSWORD")
        )
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TLS
    assert server.mails == []
    assert server.logins == []


async def test_nothing_is_sent_in_clear_text_if_starttls_was_stripped(tmp_path: Path) -> None:
    async with ScriptedSmtp(EHLO=b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n") as server:
        config = msgspec.structs.replace(
            CONFIG, port=server.port, security="starttls", username="gateway", password=ref("PASSWORD")
        )
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TLS
    assert server.connections == 1
    assert {line.split()[0].upper() for line in server.lines} <= {b"EHLO", b"HELO", b"STARTTLS", b"QUIT"}
    assert server.mails == []


@pytest.mark.parametrize("said", [b"454 4.7.0 not now\r\n", b"501 5.5.4 no\r\n", b"220"])
async def test_nothing_is_sent_in_clear_text_if_starttls_was_refused(said: bytes, tmp_path: Path) -> None:
    async with ScriptedSmtp(EHLO=b"250-mail.test\r\n250 STARTTLS\r\n", STARTTLS=said + b"\r\n" * (said == b"220")) as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, security="starttls", timeout=type(CONFIG.timeout)("1s"))
        async with opened(config, tmp_path) as sink:
            outcome = await send(sink)
    assert isinstance(outcome, Retry), "a refused STARTTLS says nothing about the mail"
    assert server.mails == []
    assert not any(line.upper().startswith((b"MAIL", b"AUTH")) for line in server.lines)


async def test_a_server_that_hangs_after_it_took_the_mail_does_not_get_it_twice(tmp_path: Path) -> None:
    """The lane gives an attempt `timeout` seconds as a whole, and an answer to QUIT that never comes must not use them up."""
    async with ScriptedSmtp(QUIT=HANG) as server:
        config = msgspec.structs.replace(CONFIG, port=server.port, timeout=type(CONFIG.timeout)("4s"))
        async with opened(config, tmp_path) as sink:
            async with asyncio.timeout(config.timeout):
                outcome = await sink.send(outgoing())
    assert isinstance(outcome, Delivered)
    assert len(server.mails) == 1


def test_a_rendered_mail_names_only_the_configured_people() -> None:
    config = msgspec.structs.replace(CONFIG, recipients=["a@example.com"])
    mail = parsed(render(outgoing(), config, template_of(config)).raw)
    assert (mail["Cc"], mail["Bcc"], mail["Reply-To"]) == (None, None, None)
