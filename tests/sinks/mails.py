"""The parts of a mail that tests look at, and the sink that sends it."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

from gateway.sinks.email.config import EmailConfig

SENDER = "Legitmark gateway <gateway@example.com>"
HEADERS = [
    "Auto-Submitted",
    "Content-Language",
    "Content-Type",
    "Date",
    "From",
    "In-Reply-To",
    "List-Id",
    "MIME-Version",
    "Message-ID",
    "References",
    "Subject",
    "To",
    "X-Auto-Response-Suppress",
]
THREADED = {"In-Reply-To", "References"}
"""The headers of a mail about a service request."""
CONFIG = EmailConfig(host="127.0.0.1", security="none", sender=SENDER, recipients=["care@example.com", "Ops <ops@example.com>"])


def read(raw: bytes) -> EmailMessage:
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail.defects == []
    named = set(mail.keys()) & THREADED
    assert named in (set(), THREADED)
    assert sorted(mail.keys()) == sorted(set(HEADERS) - (THREADED - named)), "each header once, and no other"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    return mail


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def page_of(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")
