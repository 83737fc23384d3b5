"""The `email` sink: text and HTML by SMTP. Without STARTTLS or TLS only where the operator wrote `security = "none"`."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from hashlib import sha256
from html import escape
from typing import ClassVar, Literal, cast

import aiosmtplib
from msgspec import Struct, field

from gateway.core.mailbox import parse_mailbox
from gateway.core.outcome import Delivered, Outcome, Retry
from gateway.core.secrets import SecretRef
from gateway.core.urls import UrlError, parse_host
from gateway.sinks.base import Deadline, Opening, Outgoing, ReadableSettings
from gateway.sinks.email.answers import failure, no_utf8, verdict
from gateway.sinks.email.headers import address_header, header_lines, id_header, text_header
from gateway.sinks.net.dial import Dialler
from gateway.sinks.net.guard import Guard
from gateway.sinks.net.tls import of_host
from gateway.sinks.text.language import language_of, one_line, tell
from gateway.sinks.text.templates import Template

_IDLE_SECONDS = 30.0
"""Seconds that a connection waits for the next mail; servers wait for at least 5 minutes (RFC 5321, section 4.5.3.2.7)."""
_NOOP_SECONDS = 3.0
"""Seconds that a connection has to show that it still works; after them another is opened."""
_REMEMBERED = 1000
"""Deliveries that some recipients have and others do not."""


class EmailConfig(ReadableSettings, frozen=True, kw_only=True, tag_field="type", tag="email"):
    destination: ClassVar = ("host", "port", "recipients")

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretRef | None = None
    sender: str
    recipients: list[str] = field(default_factory=list)
    concurrency: int = 2
    allow_networks: list[str] | None = None


class Mail(Struct, frozen=True):
    raw: bytes
    """The mail as it is sent, with CRLF; beyond ASCII only in addresses that need SMTPUTF8."""
    failed: str
    """Why the built-in template stands in for the operator's; "" where it does not."""


def template_of(config: EmailConfig) -> Template:
    """Raises TemplateProblem."""
    return Template("email", config.locale or "en", config.template)


def render(delivery: Outgoing, config: EmailConfig, template: Template) -> Mail:
    """The mail; deterministic, so that a retry after a lost answer is the same mail with the same `Message-ID`."""
    language = language_of(config)
    telling = tell(delivery, language, config.link)
    said = template.render(delivery, telling)
    sender = parse_mailbox(config.sender)
    head = [
        address_header("From", [sender]),
        address_header("To", [parse_mailbox(text) for text in config.recipients]),
        text_header("Subject", _plain(one_line(said.parts["subject"].replace("\n", " ")))),
        text_header("Date", format_datetime(datetime.fromtimestamp(delivery.received_at, UTC))),
        id_header("Message-ID", f"<{delivery.delivery_id}@{sender.domain}>"),
    ]
    if telling.sr and not telling.notice:
        # The root is no mail that anybody has; mail programs put what refers to it together all the same (RFC 5256).
        root = f"<{_root(delivery)}@{sender.domain}>"
        head += [id_header("In-Reply-To", root), id_header("References", root)]
    if not sender.domain.startswith("["):  # an address is no name of a list (RFC 2919)
        head.append(id_header("List-Id", f"<{delivery.sink or 'sink'}.legitmark-gateway.{sender.domain}>"))
    head += [text_header("Auto-Submitted", "auto-generated"), text_header("X-Auto-Response-Suppress", "All")]
    text = said.parts["text"]
    # Its own words are what somebody wrote a template for, so the HTML must not say something else.
    page = _page(text, language.locale) if "text" in said.own and "html" not in said.own else said.parts["html"]
    return Mail(header_lines(head) + _body(text, page, language.locale, delivery.delivery_id), said.failed)


def _body(text: str, page: str, locale: str, delivery_id: str) -> bytes:
    """Text and HTML, with the headers that say so; base64, so that no line is long and none begins with a dot."""
    body = EmailMessage(policy=SMTP_POLICY)
    body.set_content(f"{text}\n", cte="base64")
    body.make_alternative(boundary=f"=_{sha256(delivery_id.encode()).hexdigest()[:32]}")
    body.add_alternative(f"{page}\n", subtype="html", cte="base64")
    for part in body.iter_parts():
        del part["MIME-Version"]  # of the whole mail alone (RFC 2045, section 4)
    body["Content-Language"] = locale
    return body.as_bytes()


def _root(delivery: Outgoing) -> str:
    """The same for all that comes of one service request, from one source, to whichever sink."""
    sr = (delivery.event.sr_uuid if delivery.event else None) or ""
    return "sr-" + sha256(f"{delivery.source}\0{sr}".encode("utf-8", "replace")).hexdigest()[:32]


def _page(text: str, locale: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="{locale}">\n<head><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark"></head>\n'
        f'<body style="font-family:sans-serif; white-space:pre-wrap; overflow-wrap:anywhere;">{escape(text)}</body></html>'
    )


def _plain(text: str) -> str:
    """Without what reads as an encoded word (RFC 2047): decoded and folded anew, it can end the header and start another
    (CVE-2024-6923, in Python before 3.11.10)."""
    return text.replace("=?", "= ?")


def _host(text: str) -> str:
    """The host to dial. `check` refuses what is none; a sink that is opened without it gets the resolver's own answer."""
    try:
        return parse_host(text)
    except UrlError:
        return text


class Taken:
    """Who took which mail while others were refused for now: they get no second one.

    In memory alone, and the oldest are forgotten first: who is forgotten gets the same mail again, by its `Message-ID` too.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._by_delivery: dict[str, frozenset[str]] = {}

    def of(self, delivery_id: str) -> frozenset[str]:
        return self._by_delivery.get(delivery_id, frozenset())

    def add(self, delivery_id: str, recipients: Iterable[str]) -> None:
        self._by_delivery[delivery_id] = self._by_delivery.pop(delivery_id, frozenset()).union(recipients)
        if len(self._by_delivery) > self._most:
            del self._by_delivery[next(iter(self._by_delivery))]

    def forget(self, delivery_id: str) -> None:
        """It ended: a replay is for everybody."""
        self._by_delivery.pop(delivery_id, None)


class EmailSink:
    def __init__(self, config: EmailConfig, opening: Opening) -> None:
        self._config = config
        self._template = template_of(config)
        self._dialler = Dialler(Guard.of(config.allow_networks))
        self._password = opening.secret(config.password) if config.password else None
        self._tls = of_host() if config.security != "none" else None
        self.host = _host(config.host)
        self.place = f"[{self.host}]:{config.port}" if ":" in self.host else f"{self.host}:{config.port}"
        self._sender = parse_mailbox(config.sender)
        self._recipients = [parse_mailbox(text) for text in config.recipients]
        self._taken = Taken()
        self._idle = Idle()

    async def send(self, delivery: Outgoing) -> Outcome:
        """Send the mail to whoever has not got it by an earlier attempt."""
        config, deadline = self._config, Deadline(self._config.timeout)
        mail = render(delivery, config, self._template)
        everybody = list(dict.fromkeys(recipient.address for recipient in self._recipients))
        has_it = self._taken.of(delivery.delivery_id)
        owed = [recipient for recipient in everybody if recipient not in has_it]
        refused: Mapping[str, aiosmtplib.SMTPResponse] = {}
        if owed or not has_it:
            try:
                client = await self._idle.take(deadline)
                if client is not None:
                    try:
                        refused = await self._hand_over(client, mail.raw, owed, delivery.delivery_id)
                    except aiosmtplib.SMTPSenderRefused:
                        client = None  # the host may want no more mails in one conversation; nothing of this one was said yet
                if client is None:
                    client = await self.converse(await self._dialler.dial(self.host, config.port))
                    if lacking := self.lacks_utf8(client):
                        _leave(client)
                        return no_utf8(lacking, self.place)
                    refused = await self._hand_over(client, mail.raw, owed, delivery.delivery_id)
            except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
                return failure(error, self.host, config.port)
        outcome = verdict(refused, len(everybody), self.place)
        if not isinstance(outcome, Retry):
            self._taken.forget(delivery.delivery_id)
        if mail.failed and isinstance(outcome, Delivered):
            said = f"the built-in template stood in for {mail.failed}"
            return Delivered(outcome.status, f"{outcome.detail}; {said}" if outcome.detail else said)
        return outcome

    async def aclose(self) -> None:
        self._idle.close()

    def lacks_utf8(self, client: aiosmtplib.SMTP) -> list[str]:
        """The addresses of this sink that the other side of a conversation can't take: it offers no SMTPUTF8."""
        if client.supports_extension("smtputf8"):
            return []
        return [mailbox.address for mailbox in (self._sender, *self._recipients) if mailbox.needs_utf8]

    async def converse(self, dialled: socket.socket) -> aiosmtplib.SMTP:
        """Begin a conversation, up to the login, on a connection that it takes over. Raises what `failure` has words for."""
        config = self._config
        try:
            client = aiosmtplib.SMTP(
                hostname=self.host.rstrip("."),  # the name that the certificate is for: a dot at its end is for DNS alone
                sock=dialled,
                timeout=config.timeout,
                use_tls=config.security == "tls",
                start_tls=config.security == "starttls",  # True insists; None would go on in clear where it was stripped
                tls_context=self._tls,
                username=config.username,
                password=self._password.reveal() if self._password else None,
                local_hostname=self._sender.domain,  # else aiosmtplib asks DNS for it, and blocks the loop meanwhile
            )
        except BaseException:
            dialled.close()
            raise
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:  # else it has been said before the login
                await _greet(client)
        except BaseException:
            # Ended, and not closed: a TLS transport may still hold the descriptor, and would close another's later.
            with suppress(OSError):
                dialled.shutdown(socket.SHUT_RDWR)
            raise
        return client

    async def _hand_over(
        self, client: aiosmtplib.SMTP, mail: bytes, owed: Sequence[str], delivery_id: str
    ) -> Mapping[str, aiosmtplib.SMTPResponse]:
        """Send one mail; the answers for the recipients that were refused, who may be all of them."""
        # Beyond ASCII are only the addresses in its head, and only where the server offered SMTPUTF8.
        encoding = "ascii" if mail.isascii() else "utf-8"
        options = [] if mail.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        options += [f"SIZE={len(mail)}"] if client.supports_extension("size") else []
        try:
            refused = await _name(client, self._sender.address, owed, options, encoding)
            if len(refused) < len(owed):
                await _say_content(client, mail)
        except BaseException:
            # No RSET: it could change nothing, and a server that does not answer it would overrule what it has said.
            client.close()
            raise
        if len(refused) == len(owed):
            _leave(client)
            return refused
        # At once: whatever cuts the attempt from here on, they have it.
        self._taken.add(delivery_id, set(owed) - refused.keys())
        self._idle.keep(client)
        return refused


class Idle:
    """Connections that a mail has gone over, for the next one; at most as many as mails were sent at once."""

    def __init__(self, seconds: float = _IDLE_SECONDS, answer: float = _NOOP_SECONDS) -> None:
        """Args: seconds: how long one is kept that nobody uses; answer: seconds that it has to show that it is still there."""
        self._seconds = seconds
        self._answer = answer
        self._kept: dict[aiosmtplib.SMTP, asyncio.TimerHandle] = {}
        self._closed = False

    async def take(self, deadline: Deadline) -> aiosmtplib.SMTP | None:
        """One that answers, or None. A mail that is sent over it has not been sent before: nothing but NOOP was said."""
        while self._kept:
            client, timer = self._kept.popitem()
            timer.cancel()
            try:
                async with asyncio.timeout(deadline.spare(self._answer)):
                    await client.noop()
                if has_unread(client):
                    raise aiosmtplib.SMTPServerDisconnected("it said more than it was asked for")
            except (aiosmtplib.SMTPException, OSError):
                client.close()
            except BaseException:
                client.close()
                raise
            else:
                return client
        return None

    def keep(self, client: aiosmtplib.SMTP) -> None:
        if self._closed or not client.is_connected or has_unread(client):
            _leave(client)
        else:
            self._kept[client] = asyncio.get_running_loop().call_later(self._seconds, self._drop, client)

    def close(self) -> None:
        self._closed = True
        for client in list(self._kept):
            self._drop(client)

    def _drop(self, client: aiosmtplib.SMTP) -> None:
        self._kept.pop(client).cancel()
        _leave(client)


def _leave(client: aiosmtplib.SMTP) -> None:
    """Say goodbye (RFC 5321, section 4.1.1.10), and don't wait for the answer: it changes nothing."""
    if client.transport is not None and not client.transport.is_closing():
        cast(asyncio.WriteTransport, client.transport).write(b"QUIT\r\n")  # uvloop's transports are none of asyncio's classes
    client.close()


async def _name(
    client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], options: Sequence[str], encoding: str
) -> dict[str, aiosmtplib.SMTPResponse]:
    """Name the sender and the recipients of a mail; the answers for the recipients that were refused."""
    await client.mail(sender, options=options, encoding=encoding)
    refused = {}
    for recipient in recipients:
        try:
            await client.rcpt(recipient, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            refused[recipient] = aiosmtplib.SMTPResponse(error.code, error.message)
    return refused


async def _say_content(client: aiosmtplib.SMTP, mail: bytes) -> None:
    """Send what follows DATA (RFC 5321, section 4.1.1.4). Raises SMTPDataError unless the server says that it has the mail.

    A yes that is there before the content belongs to something else.
    """
    said = await client.execute_command(b"DATA")
    if said.code != aiosmtplib.SMTPStatus.start_input:
        raise aiosmtplib.SMTPDataError(said.code, said.message)
    connection = client.protocol
    if connection is None or has_unread(client):
        raise aiosmtplib.SMTPServerDisconnected("it said more than it was asked for")
    connection.write(re.sub(rb"(?m)^\.", b"..", mail) + b".\r\n")
    said = await connection.read_response(timeout=client.timeout)
    if said.code != aiosmtplib.SMTPStatus.completed:
        raise aiosmtplib.SMTPDataError(said.code, said.message)


def has_unread(client: aiosmtplib.SMTP) -> bool:
    """Return whether the server has said more than it was asked for: the next command would get that for its answer."""
    return client.protocol is not None and bool(client.protocol._buffer)


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:  # a host that knows only the old word takes mail all the same
        await client.helo()
