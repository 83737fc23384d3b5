"""Mails of arbitrary events: Python's email package reads each of them, and no tag in the HTML comes from the payload."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from hypothesis import example, given

from gateway.sinks.base import Locale, Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import TEMPLATES, render, template_of
from gateway.sinks.text.language import Language, tell
from gateway.sinks.text.templates import MOST_TEXT, built_in_source, cut
from gateway.sinks.text.wording import LOCALES
from tests.sinks.mails import HEADERS, SENDER, THREADED, page_of, text_of
from tests.sinks.sending import DELIVERY_ID, outgoing
from tests.sinks.strategies import LINK, RECIPIENTS, deliveries

PHOTOS = [{"side": f"Side {number}", "reason": "x" * 500, "message": "、" * 2000} for number in range(100)]


def mail_of(delivery: Outgoing, locale: Locale) -> bytes:
    config = EmailConfig(host="x", sender=SENDER, recipients=RECIPIENTS, locale=locale, link=LINK)
    mail = render(delivery, config, template_of(config))
    assert mail.failed == ""
    return mail.raw


def read(raw: bytes) -> EmailMessage:
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail.defects == []
    return mail


def tags(page: str) -> set[str]:
    """Return each tag, with the names of its attributes."""

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add(" ".join([tag, *(name for name, _ in attrs)]))

        def handle_comment(self, data: str) -> None:
            found.add("comment")

    found: set[str] = set()
    parser = Tags()
    parser.feed(page)
    parser.close()
    return found


@pytest.mark.parametrize("locale", LOCALES)
@given(delivery=deliveries)
@example(
    delivery=outgoing(
        json.dumps({"event_type": "media_rejected", "reference_id": "=?utf-8?q?=0D=0ABcc:_victim@example.com?="}).encode()
    )
)
@example(delivery=outgoing(json.dumps({"event_type": "media_rejected", "reference_id": "、" * 1500}).encode()))
@example(delivery=outgoing(json.dumps({"event_type": "media_rejected", "sr_uuid": "&" * 100_000, "sides": PHOTOS}).encode()))
@example(delivery=outgoing(b'{"event_type":"<!--","sr_uuid":"<script>","reference_id":"<img src=x onerror=y>"}'))
@example(delivery=outgoing(b"[]"))
def test_a_mail_of_any_event_is_read_as_it_was_meant(locale: Locale, delivery: Outgoing) -> None:
    raw = mail_of(delivery, locale)
    assert raw.isascii()
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r"), "each line ends in CRLF (RFC 5321, section 2.3.8)"
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    mail = read(raw)
    assert sorted(mail.keys()) in (HEADERS, sorted(set(HEADERS) - THREADED))
    assert mail["Message-ID"] == f"<{DELIVERY_ID}@example.com>"
    assert mail["Content-Language"] == locale
    assert [address.addr_spec for address in mail["To"].addresses] == ["care@example.com", "ops@example.com"]
    assert "\n" not in mail["Subject"]
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text, page = text_of(mail), page_of(mail)
    telling = tell(delivery, Language(locale), LINK)
    assert text.split("\n")[0] == f"{telling.emoji} {cut(telling.headline, 500)}"
    assert delivery.message_id in text, "it is what one looks the message up by, so it is never cut"
    assert delivery.message_id in page
    assert len(text.encode()) <= MOST_TEXT + 1
    assert all(character.isprintable() or character in "\n\u3000\u200c\u200d" for character in text + page)
    assert tags(page) <= tags(built_in_source(TEMPLATES, locale))
    assert raw == mail_of(delivery, locale), "a retry is the same mail"


@pytest.mark.parametrize("locale", LOCALES)
def test_photos_that_have_no_room_are_counted(locale: Locale) -> None:
    mail = read(mail_of(outgoing(json.dumps({"event_type": "media_rejected", "sides": PHOTOS}).encode()), locale))
    shown = text_of(mail).count("- Side ")
    assert 1 <= shown < 100
    assert f"{100 - shown} more" in text_of(mail) or f"ほか {100 - shown} 件" in text_of(mail)
    assert page_of(mail).count("Side ") == shown


def test_a_quarantined_message_has_words_for_people_too() -> None:
    mail = read(mail_of(outgoing(b'["<!here>"]'), "en"))
    assert mail["Subject"] == "A message that could not be read"
    assert "References" not in mail


def test_a_sender_at_an_ip_address_gets_no_list_id() -> None:
    config = EmailConfig(host="x", sender="gateway@[127.0.0.1]", recipients=RECIPIENTS)
    mail = read(render(outgoing(), config, template_of(config)).raw)
    assert mail["List-Id"] is None
    assert mail["From"] is not None
