"""The text of a mail: its head, its plain text and its HTML. Knows no connection."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from hashlib import sha256
from html import escape

from msgspec import Struct

from gateway.core.mailbox import parse_mailbox
from gateway.sinks.base import Outgoing
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.headers import address_header, header_lines, id_header, text_header
from gateway.sinks.text.language import language_of, one_line, tell
from gateway.sinks.text.templates import Template, TemplateKind

TEMPLATES = TemplateKind(
    package="gateway.sinks.email",
    file="mail.jinja",
    parts=(("subject", "none"), ("text", "none"), ("html", "html")),
)


class Mail(Struct, frozen=True):
    raw: bytes
    """The mail as it is sent, with CRLF; beyond ASCII only in addresses that need SMTPUTF8."""
    failed: str
    """Why the built-in template replaces the operator's; "" if it does not."""


def template_of(config: EmailConfig) -> Template:
    """Raises TemplateProblem."""
    return Template(TEMPLATES, config.locale or "en", config.template)


def render(delivery: Outgoing, config: EmailConfig, template: Template) -> Mail:
    """Write the mail. It is the same for each attempt, so that a retry after a lost answer has the same `Message-ID`."""
    language = language_of(config)
    telling = tell(delivery, language, config.link, marks_late=config.marks_late)
    said = template.render(delivery, telling)
    sender = parse_mailbox(config.sender)
    head = [
        address_header("From", [sender]),
        address_header("To", [parse_mailbox(text) for text in config.recipients]),
        text_header("Subject", _plain(one_line(said.parts["subject"].replace("\n", " ")))),
        text_header("Date", format_datetime(datetime.fromtimestamp(delivery.message.received_at, UTC))),
        id_header("Message-ID", f"<{delivery.delivery_id}@{sender.domain}>"),
    ]
    if telling.sr and not telling.notice:
        # Nobody has a mail with the id of the root. Mail programs still group the mails that refer to it (RFC 5256).
        root = f"<{_root(delivery)}@{sender.domain}>"
        head += [id_header("In-Reply-To", root), id_header("References", root)]
    if not sender.domain.startswith("["):  # an address is no name of a list (RFC 2919)
        head.append(id_header("List-Id", f"<{delivery.sink or 'sink'}.legitmark-gateway.{sender.domain}>"))
    head += [text_header("Auto-Submitted", "auto-generated"), text_header("X-Auto-Response-Suppress", "All")]
    text = said.parts["text"]
    # A template that writes only the text must not come with an HTML part that says something else.
    page = _page(text, language.locale) if "text" in said.own and "html" not in said.own else said.parts["html"]
    return Mail(header_lines(head) + _body(text, page, language.locale, delivery.delivery_id), said.failed)


def _body(text: str, page: str, locale: str, delivery_id: str) -> bytes:
    """Return text and HTML with their headers, in base64, so that no line is long and none begins with a dot."""
    body = EmailMessage(policy=SMTP_POLICY)
    body.set_content(f"{text}\n", cte="base64")
    body.make_alternative(boundary=f"=_{sha256(delivery_id.encode()).hexdigest()[:32]}")
    body.add_alternative(f"{page}\n", subtype="html", cte="base64")
    for part in body.iter_parts():
        del part["MIME-Version"]  # only the whole mail has this header (RFC 2045, section 4)
    body["Content-Language"] = locale
    return body.as_bytes()


def _root(delivery: Outgoing) -> str:
    """Return the same id for all events of one service request from one source, in every sink."""
    sr = (delivery.event.sr_uuid if delivery.event else None) or ""
    return "sr-" + sha256(f"{delivery.source}\0{sr}".encode("utf-8", "replace")).hexdigest()[:32]


def _page(text: str, locale: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{locale}">\n<head><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark"></head>\n'
        f'<body style="font-family:sans-serif; white-space:pre-wrap; overflow-wrap:anywhere;">{escape(text)}</body></html>'
    )


def _plain(text: str) -> str:
    """Break up everything that reads as an encoded word (RFC 2047). If a mail program decodes and folds it again, it can end the
    header and begin another (CVE-2024-6923, in Python before 3.11.10)."""
    return text.replace("=?", "= ?")
