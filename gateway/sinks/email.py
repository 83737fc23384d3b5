"""The `email` sink: a plain-text mail by SMTP. Without STARTTLS or TLS only where the operator wrote `security = "none"`."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Literal

import aiosmtplib
from msgspec import field

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.core.values import SecretRef
from gateway.sinks import wording
from gateway.sinks.base import Opening, Outgoing, SinkSettings
from gateway.sinks.guard import BlockedAddress, Guard, parse_network
from gateway.sinks.transport import words

_QUIT_SECONDS = 2.0
"""The mail was taken by then: a server that hangs must not turn that into a second mail."""


class EmailConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="email"):
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: SecretRef | None = None
    sender: str
    recipients: list[str] = field(default_factory=list)
    concurrency: int = 2
    allow_networks: list[str] | None = None


def render(delivery: Outgoing, sender: str, recipients: list[str]) -> EmailMessage:
    """The mail; deterministic, so that a retry after a lost answer is the same mail with the same `Message-ID`."""
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = _plain(wording.headline(delivery))
    mail["Date"] = format_datetime(datetime.fromtimestamp(delivery.received_at, UTC))
    mail["Message-ID"] = f"<{delivery.delivery_id}@{domain_of(sender)}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join([wording.headline(delivery), "", *wording.lines(delivery)]) + "\n", cte="base64")
    return mail


def _plain(text: str) -> str:
    """Without what reads as an encoded word (RFC 2047): decoded and folded anew, it can end the header and start another
    (CVE-2024-6923, in Python before 3.11.10)."""
    return text.replace("=?", "= ?")


def domain_of(sender: str) -> str:
    return parseaddr(sender)[1].partition("@")[2] or "localhost"


class EmailSink:
    def __init__(self, config: EmailConfig, opening: Opening) -> None:
        networks = [parse_network(text) for text in config.allow_networks] if config.allow_networks is not None else None
        self._config = config
        self._guard = Guard(networks)
        self._password = opening.secret(config.password) if config.password else None
        self._tls = ssl.create_default_context() if config.security != "none" else None
        self._local_hostname = domain_of(config.sender)

    async def send(self, delivery: Outgoing) -> Outcome:
        mail = render(delivery, self._config.sender, self._config.recipients)
        try:
            return await self._send(mail)
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
            return failure(error, self._config.host, self._config.port)

    async def aclose(self) -> None:
        """Nothing is kept open between two mails."""

    async def _send(self, mail: EmailMessage) -> Outcome:
        config = self._config
        dialled = await self._guard.dial(config.host, config.port)
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
        try:
            refused, _ = await client.send_message(mail)
        except BaseException:
            client.close()
            raise
        try:
            await client.quit(timeout=_QUIT_SECONDS)
        except (aiosmtplib.SMTPException, OSError):
            client.close()  # the mail was taken: how the conversation ends changes nothing
        if refused:
            codes = ", ".join(sorted({str(code) for code, _ in refused.values()}))
            return Delivered(250, f"{len(refused)} of {len(config.recipients)} recipients were refused: SMTP {codes}")
        return Delivered(250)


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
        case aiosmtplib.SMTPRecipientsRefused():
            codes = [refused.code for refused in error.recipients]
            return _by_code(max(codes) if all(code >= 500 for code in codes) else min(codes), "refused every recipient", place)
        case aiosmtplib.SMTPSenderRefused() | aiosmtplib.SMTPRecipientRefused() | aiosmtplib.SMTPDataError():
            return _by_code(error.code, "answered", place)
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
        case _ if "STARTTLS" in str(error):
            return Retry(Reason.TLS, f"{place} offers no STARTTLS; nothing was sent in clear")
        case _:
            return Retry(Reason.PROTOCOL, f"{place}: the answer is not SMTP")


def _by_code(code: int, said: str, place: str) -> Retry | Reject:
    detail = f"{place} {said}: SMTP {code}"
    return Reject(Reason.SMTP_STATUS, detail, code) if code >= 500 else Retry(Reason.SMTP_STATUS, detail, code)
