"""The `email` sink: text and HTML by SMTP. Without STARTTLS or TLS only where the operator wrote `security = "none"`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.headerregistry import HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from html import escape
from typing import Literal

import aiosmtplib
from msgspec import Struct, field

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import SecretRef
from gateway.sinks.base import Deadline, Opening, Outgoing, ReadableSettings
from gateway.sinks.dial import Dialler
from gateway.sinks.guard import BlockedAddress, Guard, words
from gateway.sinks.language import language_of, one_line, tell
from gateway.sinks.templates import Template

_HEADERS = HeaderRegistry()
for _name in ("in-reply-to", "references", "list-id"):
    _HEADERS.map_to_type(_name, MessageIDHeader)  # type: ignore[arg-type]  # typeshed knows it for no header
_POLICY = SMTP_POLICY.clone(header_factory=_HEADERS)
"""With ids that stay in one piece, however long the domain is: else they would be folded, as encoded words."""

_IDLE_SECONDS = 30.0
"""For which a connection waits for the next mail; servers wait for at least 5 minutes (RFC 5321, section 4.5.3.2.7)."""
_NOOP_SECONDS = 3.0
"""For a connection to show that it is still one; else another is opened."""
_REMEMBERED = 1000
"""Deliveries that some recipients have and others do not."""
_NAMED = 5
"""Refused recipients in one detail."""


class EmailConfig(ReadableSettings, frozen=True, kw_only=True, tag_field="type", tag="email"):
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
    message: EmailMessage
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
    domain = domain_of(config.sender)
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = config.sender
    mail["To"] = ", ".join(config.recipients)
    mail["Subject"] = _plain(one_line(said.parts["subject"].replace("\n", " ")))
    mail["Date"] = format_datetime(datetime.fromtimestamp(delivery.received_at, UTC))
    mail["Message-ID"] = f"<{delivery.delivery_id}@{domain}>"
    if telling.sr and not telling.notice:
        # The root is no mail that anybody has; mail programs put what refers to it together all the same (RFC 5256).
        mail["In-Reply-To"] = mail["References"] = f"<{_root(delivery)}@{domain}>"
    if not domain.startswith("["):  # an address is no name of a list (RFC 2919)
        mail["List-Id"] = f"<{delivery.sink or 'sink'}.legitmark-gateway.{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    text = said.parts["text"]
    mail.set_content(f"{text}\n", cte="base64")
    # Its own words are what somebody wrote a template for, so the HTML must not say something else.
    page = _page(text, language.locale) if "text" in said.own and "html" not in said.own else said.parts["html"]
    mail.make_alternative(boundary=f"=_{sha256(delivery.delivery_id.encode()).hexdigest()[:32]}")
    mail.add_alternative(f"{page}\n", subtype="html", cte="base64")
    for part in mail.iter_parts():
        del part["MIME-Version"]  # of the whole mail alone (RFC 2045, section 4)
    mail["Content-Language"] = language.locale
    return Mail(mail, said.failed)


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


def domain_of(sender: str) -> str:
    return parseaddr(sender)[1].partition("@")[2] or "localhost"


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
        self._tls = ssl.create_default_context() if config.security != "none" else None
        self._local_hostname = domain_of(config.sender)
        self._taken = Taken()
        self._idle = Idle()

    async def send(self, delivery: Outgoing) -> Outcome:
        """Send the mail to whoever has not got it by an earlier attempt."""
        config, deadline = self._config, Deadline(self._config.timeout)
        mail = render(delivery, config, self._template)
        everybody = list(dict.fromkeys(address.addr_spec for address in mail.message["To"].addresses))
        has_it = self._taken.of(delivery.delivery_id)
        owed = [recipient for recipient in everybody if recipient not in has_it]
        refused: Mapping[str, int] = {}
        if owed or not has_it:
            try:
                client = await self._idle.take(deadline)
                if client is not None:
                    try:
                        refused = await self._hand_over(client, mail.message, owed, delivery.delivery_id)
                    except aiosmtplib.SMTPSenderRefused:
                        client = None  # the host may want no more mails in one conversation; nothing of this one was said yet
                if client is None:
                    client = await self.converse(await self._dialler.dial(config.host, config.port))
                    refused = await self._hand_over(client, mail.message, owed, delivery.delivery_id)
            except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
                return failure(error, config.host, config.port)
        outcome = verdict(refused, len(everybody), f"{config.host}:{config.port}")
        if not isinstance(outcome, Retry):
            self._taken.forget(delivery.delivery_id)
        if mail.failed and isinstance(outcome, Delivered):
            said = f"the built-in template stood in for {mail.failed}"
            return Delivered(outcome.status, f"{outcome.detail}; {said}" if outcome.detail else said)
        return outcome

    async def aclose(self) -> None:
        self._idle.close()

    async def converse(self, dialled: socket.socket) -> aiosmtplib.SMTP:
        """Begin a conversation, up to the login, on a connection that it takes over. Raises what `failure` has words for."""
        config = self._config
        try:
            client = aiosmtplib.SMTP(
                hostname=config.host,
                sock=dialled,
                timeout=config.timeout,
                use_tls=config.security == "tls",
                start_tls=config.security == "starttls",  # True insists; None would go on in clear where it was stripped
                tls_context=self._tls,
                username=config.username,
                password=self._password.reveal() if self._password else None,
                local_hostname=self._local_hostname,  # else aiosmtplib asks DNS for it, and blocks the loop meanwhile
            )
        except BaseException:
            dialled.close()
            raise
        try:
            await client.connect()
        except BaseException:
            # Ended, and not closed: a TLS transport may still hold the descriptor, and would close another's later.
            with suppress(OSError):
                dialled.shutdown(socket.SHUT_RDWR)
            raise
        return client

    async def _hand_over(
        self, client: aiosmtplib.SMTP, mail: EmailMessage, owed: Sequence[str], delivery_id: str
    ) -> Mapping[str, int]:
        """Send one mail; the codes of the recipients that were refused, who may be all of them."""
        try:
            answers, _ = await client.send_message(mail, recipients=owed)
        except aiosmtplib.SMTPRecipientsRefused as error:
            _leave(client)
            return {refused.recipient: refused.code for refused in error.recipients}
        except BaseException:
            client.close()
            raise
        # At once: whatever cuts the attempt from here on, they have it.
        self._taken.add(delivery_id, set(owed) - answers.keys())
        self._idle.keep(client)
        return {recipient: answer.code for recipient, answer in answers.items()}


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
            except (aiosmtplib.SMTPException, OSError):
                client.close()
            except BaseException:
                client.close()
                raise
            else:
                return client
        return None

    def keep(self, client: aiosmtplib.SMTP) -> None:
        if self._closed or not client.is_connected:
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
    if isinstance(client.transport, asyncio.WriteTransport) and not client.transport.is_closing():
        client.transport.write(b"QUIT\r\n")
    client.close()


def verdict(refused: Mapping[str, int], recipients: int, place: str) -> Outcome:
    """Who was refused for now (4xx) is tried again. Where nobody is, it is delivered if anybody has it.

    Args:
        refused: the code of each recipient that was refused in this attempt; all others have the mail.
        recipients: how many there are in all.
    """
    if not refused:
        return Delivered(250)
    named = ", ".join(f"{recipient} (SMTP {code})" for recipient, code in list(refused.items())[:_NAMED])
    more = f" (+{len(refused) - _NAMED} more)" if len(refused) > _NAMED else ""
    detail = f"{place} refused {len(refused)} of {recipients} recipients: {named}{more}"
    if later := [code for code in refused.values() if code < 500]:
        return Retry(Reason.SMTP_STATUS, detail, min(later))
    if len(refused) < recipients:
        return Delivered(250, detail)
    return Reject(Reason.SMTP_STATUS, detail, max(refused.values()))


def failure(error: aiosmtplib.SMTPException | OSError | UnicodeError, host: str, port: int) -> Retry | Reject:
    """4xx may work later, 5xx about this mail never will. A 5xx about us (greeting, STARTTLS, login) is for an operator to
    mend, so it is tried again: one broken mail host must not end every mail.
    """
    place = f"{host}:{port}"
    match error:
        case BlockedAddress():
            return Retry(Reason.BLOCKED, "the address is one that this sink may not dial; see allow_networks")
        case aiosmtplib.SMTPAuthenticationError():
            return Retry(
                Reason.SMTP_STATUS, f"{place} refused the login: SMTP {error.code}; check username and password", error.code
            )
        case UnicodeError():
            return Retry(Reason.DNS, f"{host} is no name that DNS could have")
        case aiosmtplib.SMTPResponseException(code=-1):
            return Retry(Reason.PROTOCOL, f"{place}: the answer is not SMTP")
        case aiosmtplib.SMTPSenderRefused() | aiosmtplib.SMTPDataError():
            detail = f"{place} answered: SMTP {error.code}"
            kind = Reject if error.code >= 500 else Retry
            return kind(Reason.SMTP_STATUS, detail, error.code)
        case aiosmtplib.SMTPResponseException():
            return Retry(Reason.SMTP_STATUS, f"{place} takes no mail: SMTP {error.code}", error.code)
        case aiosmtplib.SMTPTimeoutError() | TimeoutError():
            return Retry(Reason.TIMEOUT, f"{place}: no answer in time")
        case ssl.SSLError():
            return Retry(Reason.TLS, f"{place}: TLS failed: {error.reason or 'the certificate was refused'}")
        case aiosmtplib.SMTPServerDisconnected() | ConnectionResetError() | BrokenPipeError():
            return Retry(Reason.RESET, f"{place} closed the connection")
        case socket.gaierror():
            return Retry(Reason.DNS, f"{host} has no address")
        case aiosmtplib.SMTPConnectError() | OSError():
            cause = error.__cause__ or error
            if isinstance(cause, ssl.SSLError):
                return Retry(Reason.TLS, f"{place}: TLS failed: {cause.reason or 'the certificate was refused'}")
            return Retry(Reason.CONNECT, f"{place}: {words(cause) if isinstance(cause, OSError) else 'no connection'}")
        case _ if "AUTH extension" in str(error) or "authentication method" in str(error):
            return Retry(Reason.PROTOCOL, f"{place} offers no login; check port and security, or remove username and password")
        case _ if "STARTTLS" in str(error):
            return Retry(Reason.TLS, f"{place} offers no STARTTLS; nothing was sent in clear; check port and security")
        case _:
            return Retry(Reason.PROTOCOL, f"{place}: the answer is not SMTP")
