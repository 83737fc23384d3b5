"""Begins a conversation with the mail server of an `email` sink: greeting, STARTTLS or TLS, login, QUIT. Sends no mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiosmtplib

from gateway.sinks.base import Found, Opening
from gateway.sinks.email.answers import failure, no_utf8
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.sink import EmailSink
from gateway.sinks.net.probe import GOODBYE_SECONDS, Way, tls_words

_LATE = ("no SMTP up to the login", 'port 465 wants security = "tls", 587 "starttls"')


async def probe(config: EmailConfig, opening: Opening) -> Found:
    sink = EmailSink(config, opening)

    def explain(error: Exception) -> str | None:
        match error:
            case aiosmtplib.SMTPResponseException():  # first, because some of them are connect errors too
                return failure(error, sink.host, config.port).detail
            case aiosmtplib.SMTPServerDisconnected() | aiosmtplib.SMTPConnectError():
                return way.closed()
            case aiosmtplib.SMTPException():
                return failure(error, sink.host, config.port).detail
            case _:
                return None

    way = Way(
        sink.host,
        config.port,
        key="host",
        networks=config.allow_networks,
        seconds=config.probe_seconds,
        clock=opening.clock,
        explain=explain,
        late=_LATE,
    )
    try:
        async with asyncio.timeout(way.seconds) as limit:
            dialled = await way.dialler.connect(await way.look_up())
            way.step = "SMTP"
            async with _closing(await sink.converse(dialled)) as client:
                if lacking := sink.lacks_utf8(client):
                    return way.fails(no_utf8(lacking, sink.place).detail)
                found = [] if config.security != "starttls" else ["STARTTLS"]
                if (tls := client.get_transport_info("ssl_object")) is not None:
                    found += tls_words(tls, opening.clock)
                else:
                    found.append("without TLS")
                found.append("no login" if config.username is None else f"login as {config.username} accepted")
                limit.reschedule(None)  # only the goodbye is left, which has a time of its own
                return way.leads_to(client.get_transport_info("peername"), *found)
    except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
        return way.ends(error)


@asynccontextmanager
async def _closing(client: aiosmtplib.SMTP) -> AsyncIterator[aiosmtplib.SMTP]:
    """Say goodbye if all went well. The end of a conversation does not change the result."""
    try:
        yield client
        with suppress(aiosmtplib.SMTPException, OSError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await client.quit()
    finally:
        client.close()
