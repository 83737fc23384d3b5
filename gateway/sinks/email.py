"""The `email` sink: a plain-text mail by SMTP. Without STARTTLS or TLS only where the operator wrote `security = "none"`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
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
from gateway.sinks.base import Deadline, Opening, Outgoing, SinkSettings
from gateway.sinks.guard import BlockedAddress, Guard, words

_QUIT_SECONDS = 2.0
"""At most, and less where the attempt ends before. The mail was taken by then: a server that hangs must not turn that into a
second mail."""
_REMEMBERED = 1000
"""Deliveries that some recipients have and others do not."""
_NAMED = 5
"""Refused recipients in one detail."""


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
        self._guard = Guard.of(config.allow_networks)
        self._password = opening.secret(config.password) if config.password else None
        self._tls = ssl.create_default_context() if config.security != "none" else None
        self._local_hostname = domain_of(config.sender)
        self._taken = Taken()

    async def send(self, delivery: Outgoing) -> Outcome:
        """Send the mail to whoever has not got it by an earlier attempt."""
        config, deadline = self._config, Deadline(self._config.timeout)
        mail = render(delivery, config.sender, config.recipients)
        everybody = list(dict.fromkeys(address.addr_spec for address in mail["To"].addresses))
        has_it = self._taken.of(delivery.delivery_id)
        owed = [recipient for recipient in everybody if recipient not in has_it]
        refused: Mapping[str, int] = {}
        if owed or not has_it:
            try:
                client = await self.converse(await self._guard.dial(config.host, config.port))
                refused = await self._hand_over(client, mail, owed, delivery.delivery_id, deadline)
            except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
                return failure(error, config.host, config.port)
        outcome = verdict(refused, len(everybody), f"{config.host}:{config.port}")
        if not isinstance(outcome, Retry):
            self._taken.forget(delivery.delivery_id)
        return outcome

    async def aclose(self) -> None:
        """Nothing is kept open between two mails."""

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
        self, client: aiosmtplib.SMTP, mail: EmailMessage, owed: Sequence[str], delivery_id: str, deadline: Deadline
    ) -> Mapping[str, int]:
        """Send one mail and close the connection; the codes of the recipients that were refused, who may be all of them."""
        try:
            answers, _ = await client.send_message(mail, recipients=owed)
        except aiosmtplib.SMTPRecipientsRefused as error:
            client.close()
            return {refused.recipient: refused.code for refused in error.recipients}
        except BaseException:
            client.close()
            raise
        # At once: whatever cuts the attempt from here on, they have it.
        self._taken.add(delivery_id, set(owed) - answers.keys())
        try:
            async with asyncio.timeout(deadline.spare(_QUIT_SECONDS)):
                await client.quit()
        except (aiosmtplib.SMTPException, OSError):
            pass  # the mail was taken: how the conversation ends changes nothing
        finally:
            client.close()
        return {recipient: answer.code for recipient, answer in answers.items()}


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
