"""The conversation with a mail server, command by command, and the connections that wait for the next mail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import cast

import aiosmtplib

from gateway.sinks.base import Deadline

_IDLE_SECONDS = 30.0
"""Seconds that a connection waits for the next mail; servers wait for at least 5 minutes (RFC 5321, section 4.5.3.2.7)."""
_NOOP_SECONDS = 3.0
"""Seconds that a connection has to show that it still works; then another one is opened."""


class Idle:
    """Connections that have carried a mail and wait for the next one; at most as many as mails were sent at once."""

    def __init__(self, seconds: float = _IDLE_SECONDS, answer: float = _NOOP_SECONDS) -> None:
        """
        Args:
            seconds: how long an unused connection is kept.
            answer: seconds that a connection has to show that it still works.
        """
        self._seconds = seconds
        self._answer = answer
        self._kept: dict[aiosmtplib.SMTP, asyncio.TimerHandle] = {}
        self._closed = False

    async def take(self, deadline: Deadline) -> aiosmtplib.SMTP | None:
        """Return a connection that answers, or None. It was only sent NOOP, so that a mail over it has not been sent before."""
        while self._kept:
            client, timer = self._kept.popitem()
            timer.cancel()
            try:
                async with asyncio.timeout(deadline.spare(self._answer)):
                    await client.noop()
                if has_unread(client):
                    raise aiosmtplib.SMTPServerDisconnected("it sent an answer that was not asked for")
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
            leave(client)
        else:
            self._kept[client] = asyncio.get_running_loop().call_later(self._seconds, self._drop, client)

    def close(self) -> None:
        self._closed = True
        for client in list(self._kept):
            self._drop(client)

    def _drop(self, client: aiosmtplib.SMTP) -> None:
        self._kept.pop(client).cancel()
        leave(client)


def leave(client: aiosmtplib.SMTP) -> None:
    """Say goodbye (RFC 5321, section 4.1.1.10) without waiting for the answer, which changes nothing."""
    if client.transport is not None and not client.transport.is_closing():
        cast(asyncio.WriteTransport, client.transport).write(
            b"QUIT\r\n"
        )  # uvloop's transports do not derive from asyncio's classes
    client.close()


async def name_recipients(
    client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], options: Sequence[str], encoding: str
) -> dict[str, aiosmtplib.SMTPResponse]:
    """Name the sender and the recipients of a mail. Return the answer for each recipient that was refused."""
    await client.mail(sender, options=options, encoding=encoding)
    refused = {}
    for recipient in recipients:
        try:
            await client.rcpt(recipient, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            refused[recipient] = aiosmtplib.SMTPResponse(error.code, error.message)
    return refused


async def say_content(client: aiosmtplib.SMTP, mail: bytes) -> None:
    """Send the content after DATA (RFC 5321, section 4.1.1.4). Raises SMTPDataError unless the server says that it has the mail.

    A positive answer that arrives before the content belongs to something else.
    """
    said = await client.execute_command(b"DATA")
    if said.code != aiosmtplib.SMTPStatus.start_input:
        raise aiosmtplib.SMTPDataError(said.code, said.message)
    connection = client.protocol
    if connection is None or has_unread(client):
        raise aiosmtplib.SMTPServerDisconnected("it sent an answer that was not asked for")
    connection.write(re.sub(rb"(?m)^\.", b"..", mail) + b".\r\n")
    said = await connection.read_response(timeout=client.timeout)
    if said.code != aiosmtplib.SMTPStatus.completed:
        raise aiosmtplib.SMTPDataError(said.code, said.message)


def has_unread(client: aiosmtplib.SMTP) -> bool:
    """Return True if the server has sent an answer that was not asked for. The next command would take it for its own."""
    return client.protocol is not None and bool(client.protocol._buffer)


async def greet(client: aiosmtplib.SMTP) -> None:
    """Say EHLO, or HELO to a server that knows only the older command."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        await client.helo()
