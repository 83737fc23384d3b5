"""The `email` sink: text and HTML by SMTP. It sends in clear text only if the operator wrote `security = "none"`."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import aiosmtplib

from gateway.core.mailbox import parse_mailbox
from gateway.core.outcome import Delivered, Outcome, Retry
from gateway.core.urls import UrlError, parse_host
from gateway.sinks.base import Deadline, Opening, Outgoing
from gateway.sinks.email.answers import failure, no_utf8, verdict
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render, template_of
from gateway.sinks.email.smtp import Idle, greet, leave, name_recipients, say_content
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.dial import Dialler
from gateway.sinks.net.trust import of_host

_REMEMBERED = 1000
"""The most deliveries that some recipients have and others do not."""


def _host(text: str) -> str:
    """Return the host to dial. `check` refuses a text that is not a host; without it, the resolver gives its own answer."""
    try:
        return parse_host(text)
    except UrlError:
        return text


class Taken:
    """The recipients who took a mail while others were refused for now: they get no second one.

    It is kept only in memory, and the oldest entries are dropped first. A recipient whose entry is gone gets the same mail again,
    with the same `Message-ID`.
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
        """Drop a delivery that has ended, because a replay is for every recipient."""
        self._by_delivery.pop(delivery_id, None)


class EmailSink:
    def __init__(self, config: EmailConfig, opening: Opening, idle: Idle | None = None) -> None:
        """
        Args:
            idle: keeps connections between mails; None makes one with the usual times.
        """
        self._config = config
        self._template = template_of(config)
        self._dialler = Dialler(AddressGuard.of(config.allow_networks))
        self._password = opening.secret(config.password) if config.password else None
        self._tls = of_host() if config.security != "none" else None
        self.host = _host(config.host)
        self.place = f"[{self.host}]:{config.port}" if ":" in self.host else f"{self.host}:{config.port}"
        self._sender = parse_mailbox(config.sender)
        self._recipients = [parse_mailbox(text) for text in config.recipients]
        self._taken = Taken()
        self._idle = idle or Idle()

    async def send(self, delivery: Outgoing) -> Outcome:
        """Send the mail to each recipient who did not get it in an earlier attempt."""
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
                        client = None  # the host may accept no more mails in this conversation; nothing of this mail was sent yet
                if client is None:
                    client = await self.converse(await self._dialler.dial(self.host, config.port))
                    if lacking := self.lacks_utf8(client):
                        leave(client)
                        return no_utf8(lacking, self.place)
                    refused = await self._hand_over(client, mail.raw, owed, delivery.delivery_id)
            except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
                return failure(error, self.host, config.port)
        outcome = verdict(refused, len(everybody), self.place)
        if not isinstance(outcome, Retry):
            self._taken.forget(delivery.delivery_id)
        if mail.failed and isinstance(outcome, Delivered):
            said = f"the built-in template was used in place of {mail.failed}"
            return Delivered(outcome.status, f"{outcome.detail}; {said}" if outcome.detail else said)
        return outcome

    async def aclose(self) -> None:
        self._idle.close()

    def lacks_utf8(self, client: aiosmtplib.SMTP) -> list[str]:
        """Return the addresses of this sink that the server cannot take because it offers no SMTPUTF8."""
        if client.supports_extension("smtputf8"):
            return []
        return [mailbox.address for mailbox in (self._sender, *self._recipients) if mailbox.needs_utf8]

    async def converse(self, dialled: socket.socket) -> aiosmtplib.SMTP:
        """Begin a conversation, up to the login, on a socket that it takes over. Raises the errors that `failure` explains."""
        config = self._config
        try:
            client = aiosmtplib.SMTP(
                hostname=self.host.rstrip("."),  # the name in the certificate: a dot at the end is only for DNS
                sock=dialled,
                timeout=config.timeout,
                use_tls=config.security == "tls",
                start_tls=config.security == "starttls",  # True insists; None would continue in clear text if it was stripped
                tls_context=self._tls,
                username=config.username,
                password=self._password.reveal() if self._password else None,
                local_hostname=self._sender.domain,  # else aiosmtplib asks DNS for it and blocks the loop
            )
        except BaseException:
            dialled.close()
            raise
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:  # else it has been said before the login
                await greet(client)
        except BaseException:
            # Shut down, but not closed: a TLS transport may still hold the descriptor, and would later close a reused number.
            with suppress(OSError):
                dialled.shutdown(socket.SHUT_RDWR)
            raise
        return client

    async def _hand_over(
        self, client: aiosmtplib.SMTP, mail: bytes, owed: Sequence[str], delivery_id: str
    ) -> Mapping[str, aiosmtplib.SMTPResponse]:
        """Send one mail. Return the answer for each recipient that was refused, which may be all of them."""
        # Only addresses in the head can be beyond ASCII, and only if the server offered SMTPUTF8.
        encoding = "ascii" if mail.isascii() else "utf-8"
        options = [] if mail.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        options += [f"SIZE={len(mail)}"] if client.supports_extension("size") else []
        try:
            refused = await name_recipients(client, self._sender.address, owed, options, encoding)
            if len(refused) < len(owed):
                await say_content(client, mail)
        except BaseException:
            # No RSET: it would change nothing, and a server that does not answer it would overrule its earlier answer.
            client.close()
            raise
        if len(refused) == len(owed):
            leave(client)
            return refused
        # Note it at once: if the attempt is cut from here on, these recipients still have the mail.
        self._taken.add(delivery_id, set(owed) - refused.keys())
        self._idle.keep(client)
        return refused
