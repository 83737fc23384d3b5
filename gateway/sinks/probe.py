"""Opens a sink as a delivery would, and says what it found. Never delivers anything: no webhook, no mail, no line.

http, slack   name -> connection -> TLS; a bot's token: auth.test
email         name -> connection -> greeting, STARTTLS or TLS, login -> QUIT
jsonl         the file, else the folder that it would be made in
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, assert_never

import aiosmtplib
from msgspec import Struct

from gateway.core.urls import UrlError, parse_url
from gateway.host.blocking import run_in_thread
from gateway.host.clock import Clock
from gateway.sinks import EmailConfig, HttpConfig, JsonlConfig, SinkConfig, SlackConfig
from gateway.sinks.base import Opening, SinkSettings
from gateway.sinks.email import sink as email
from gateway.sinks.email.answers import failure, no_utf8
from gateway.sinks.http import sink as http
from gateway.sinks.net.dial import Dialler
from gateway.sinks.net.guard import AddressInfo, BlockedAddress, Guard, words
from gateway.sinks.net.tls import refused
from gateway.sinks.slack import sink as slack

_MOST_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
"""Seconds for the end of a conversation, when the finding is known already."""
_ALERT_SECONDS = 0.25
"""Seconds for the other side to refuse our certificate: in TLS 1.3 our handshake is over by then (RFC 8446, section 4.4.2.4)."""
_DAY = 86400

_CERTIFICATES = {
    9: ("is not valid yet", "compare the clocks of both hosts"),
    10: ("has expired", "it has to be renewed there"),
    62: ("is for another name", "write the name that it is for as the host"),
    64: ("is for another name", "write the name that it is for as the host"),
}
"""What OpenSSL found (`X509_V_ERR_...` in x509_vfy.h), and what to do."""
_STRANGERS = (18, 19, 20, 21)
"""Signed by itself, or by an authority that is not known here."""

_Step = Literal["name", "connection", "TLS", "SMTP"]


class Found(Struct, frozen=True):
    ok: bool
    detail: str
    """Where it connects to, or what failed, on what, and what to do. Never a secret."""
    seconds: float


async def probe(config: SinkConfig, opening: Opening) -> Found:
    """Open a sink, and close it again; takes at most 11 seconds. Raises nothing for what can be expected."""
    match config:
        case HttpConfig():
            try:
                tls = http.tls_context(config, opening)
            except ValueError as error:
                return Found(False, f"{error}", 0.0)
            return await _probe_url(config.url, "url", config, opening.clock, tls)
        case SlackConfig():
            if config.webhook_url is None:
                return await _probe_slack_api(config, opening)
            return await _probe_url(opening.secret(config.webhook_url).reveal(), "webhook_url", config, opening.clock)
        case EmailConfig():
            return await _probe_mail(config, opening)
        case JsonlConfig():
            return await _probe_file(opening.base / config.path, config, opening.clock)
        case _:
            assert_never(config)


def bound(config: SinkSettings) -> float:
    """Seconds until a probe gives up: its sink's own `timeout`, and at most 10; an operator waits for it."""
    return min(config.timeout, _MOST_SECONDS)


class _Way:
    """The way to a host, and how far the probe has come on it: a time-out says no more than that."""

    def __init__(self, host: str, port: int, key: str, config: HttpConfig | SlackConfig | EmailConfig, clock: Clock) -> None:
        self.dialler = Dialler(Guard.of(config.allow_networks))
        self.seconds = bound(config)
        self.step: _Step = "name"
        self._host = host
        self._port = port
        self._key = key
        self._clock = clock
        self._begun = clock.monotonic()
        self._addresses: list[str] = []

    async def look_up(self) -> list[AddressInfo]:
        """Raises socket.gaierror or UnicodeError."""
        found = await self.dialler.look_up(self._host, self._port)
        self._addresses = list(dict.fromkeys(info[4][0] for info in found))
        self.step = "connection"
        return found

    def leads_to(self, peer: Sequence[str | int], *rest: str) -> Found:
        """Args: peer: the socket address at the other end; rest: what else was found there."""
        seconds = self._clock.monotonic() - self._begun
        first = f"connects to {_joined(str(peer[0]), peer[1])} in {seconds * 1000:.0f} ms"
        return Found(True, ", ".join([first, *rest]), seconds)

    def ends(self, error: Exception) -> Found:
        return self.fails(self._why(error))

    def fails(self, why: str) -> Found:
        return Found(False, why, self._clock.monotonic() - self._begun)

    def _why(self, error: Exception) -> str:
        """Details are ours: an error's own text can hold bytes of the other side."""
        place = self._place()
        tls = next((one for one in (error, error.__cause__) if isinstance(one, ssl.SSLError)), None)
        match error:
            case TimeoutError():
                return self._late()
            case socket.gaierror():
                return f"{self._host} has no address ({error.strerror}); check {self._key}, and the DNS of this host"
            case UnicodeError():
                return f"{self._host} is no name that DNS could have; check {self._key}"
            case BlockedAddress():
                return f"{place}: {self._blocked()}"
            case _ if isinstance(tls, ssl.SSLCertVerificationError):
                return f"{place}: {_distrust(tls)}"
            case _ if tls is not None and refused(tls):
                return f"{place}: the other side refused our client certificate, or asks for one; check certificate and key"
            case _ if tls is not None:
                return f"{place}: TLS failed ({tls.reason or 'no reason given'}); is that a port for TLS?"
            case aiosmtplib.SMTPResponseException():
                return failure(error, self._host, self._port).detail
            case ConnectionResetError() | BrokenPipeError() | aiosmtplib.SMTPServerDisconnected() | aiosmtplib.SMTPConnectError():
                return f"{place} closed the connection, before {self.step} was done; look at the log there"
            case aiosmtplib.SMTPException():
                return failure(error, self._host, self._port).detail
            case OSError(errno=errno.ECONNREFUSED):
                return f"{place}: {words(error)}; nothing listens there, or a firewall says so: check the port"
            case OSError():
                return f"{place}: {words(error)}; check the route and the firewalls from here to there"
            case _:
                raise error

    def _late(self) -> str:
        within = f"within {self.seconds:g} s"
        match self.step:
            case "name":
                return f"{self._host}: DNS gave no answer {within}; check the DNS of this host"
            case "connection":
                return f"{self._place()}: no connection {within}; a firewall that drops packets looks like that"
            case "TLS":
                return f"{self._place()}: no TLS {within}; is that a port for TLS, and does its service respond?"
            case "SMTP":
                return f'{self._place()}: no SMTP up to the login {within}; port 465 wants security = "tls", 587 "starttls"'

    def _blocked(self) -> str:
        if not any(Guard().allows(address) for address in self._addresses):
            return f"no sink may dial a link-local, metadata, multicast or unspecified address; check {self._key}"
        return f"not in allow_networks; add the network there, or check {self._key}"

    def _place(self) -> str:
        """`host:port`, and its addresses where the host is a name."""
        place = _joined(self._host, self._port)
        others = [address for address in self._addresses if address != self._host]
        return f"{place} ({', '.join(others)})" if others else place


async def _probe_url(
    text: str, key: str, config: HttpConfig | SlackConfig, clock: Clock, tls: ssl.SSLContext | None = None
) -> Found:
    try:
        url = parse_url(text)
    except UrlError as error:
        return Found(False, f"{key} {error}", 0.0)
    way = _Way(url.host, url.port, key, config, clock)
    try:
        async with asyncio.timeout(way.seconds):
            found = await way.look_up()
            dialled = await way.dialler.connect(found)
            if url.scheme == "http":
                with dialled:
                    return way.leads_to(dialled.getpeername(), "without TLS")
            way.step = "TLS"
            reader, writer = await asyncio.open_connection(
                sock=dialled,
                ssl=tls or ssl.create_default_context(),
                server_hostname=url.host.rstrip("."),
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
    except (OSError, UnicodeError) as error:
        return way.ends(error)
    try:
        said = _tls_words(writer.get_extra_info("ssl_object"), clock)
        result = way.leads_to(writer.get_extra_info("peername"), *said)
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), _ALERT_SECONDS)
        return result
    except OSError as error:
        return way.ends(error)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _probe_slack_api(config: SlackConfig, opening: Opening) -> Found:
    """The way to the API, and whether it takes the token."""
    found = await _probe_url(config.api, "api", config, opening.clock)
    if not found.ok:
        return found
    begun, sink = opening.clock.monotonic(), slack.SlackSink(config, opening)
    try:
        async with asyncio.timeout(max(bound(config) - found.seconds, 1.0)):
            taken, said = await sink.check_token()
    except TimeoutError:
        taken, said = False, "auth.test: no answer in time"
    finally:
        await sink.aclose()
    seconds = found.seconds + opening.clock.monotonic() - begun
    return Found(taken, f"{found.detail}, {said}" if taken else said, seconds)


async def _probe_mail(config: EmailConfig, opening: Opening) -> Found:
    sink = email.EmailSink(config, opening)
    way = _Way(sink.host, config.port, "host", config, opening.clock)
    try:
        async with asyncio.timeout(way.seconds) as limit:
            dialled = await way.dialler.connect(await way.look_up())
            way.step = "SMTP"
            async with _closing(await sink.converse(dialled)) as client:
                if lacking := sink.lacks_utf8(client):
                    return way.fails(no_utf8(lacking, sink.place).detail)
                found = [] if config.security != "starttls" else ["STARTTLS"]
                if (tls := client.get_transport_info("ssl_object")) is not None:
                    found += _tls_words(tls, opening.clock)
                else:
                    found.append("without TLS")
                found.append("no login" if config.username is None else f"login as {config.username} accepted")
                limit.reschedule(None)  # what is left is the goodbye, which has its own
                return way.leads_to(client.get_transport_info("peername"), *found)
    except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
        return way.ends(error)


@asynccontextmanager
async def _closing(client: aiosmtplib.SMTP) -> AsyncIterator[aiosmtplib.SMTP]:
    """Say goodbye where all went well; how a conversation ends changes nothing of what was found."""
    try:
        yield client
        with suppress(aiosmtplib.SMTPException, OSError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await client.quit()
    finally:
        client.close()


async def _probe_file(path: Path, config: JsonlConfig, clock: Clock) -> Found:
    begun = clock.monotonic()
    seconds = bound(config)
    try:
        async with asyncio.timeout(seconds):  # a network disk can hang
            await run_in_thread(lambda: _try_file(path), "probe")
    except TimeoutError:
        return Found(False, f"{path}: the disk gave no answer within {seconds:g} s", clock.monotonic() - begun)
    except OSError as error:
        advice = "make the folder, or check path" if error.errno == errno.ENOENT else "check path, and who may write there"
        return Found(False, f"{error.filename}: {error.strerror}; {advice}", clock.monotonic() - begun)
    return Found(True, f"{path} can be appended to", clock.monotonic() - begun)


def _try_file(path: Path) -> None:
    """Raises OSError where the user who runs this can't append to the file, or make it. Makes and changes nothing."""
    if path.is_file():
        os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))
    elif path.is_dir():
        raise _error(errno.EISDIR, path)
    elif path.exists():  # a pipe, say: its reader would take an open and a close for the end
        if not os.access(path, os.W_OK | os.R_OK):
            raise _error(errno.EACCES, path)
    else:
        try:
            folder = path.resolve().parent  # a link that leads nowhere makes its file where it leads
        except RuntimeError:  # links in a circle
            raise _error(errno.ELOOP, path) from None
        if not folder.is_dir():
            raise _error(errno.ENOTDIR if folder.exists() else errno.ENOENT, folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _error(errno.EACCES, folder)


def _error(code: int, path: Path) -> OSError:
    return OSError(code, os.strerror(code), str(path))


def _tls_words(connection: ssl.SSLObject, clock: Clock) -> list[str]:
    certificate = connection.getpeercert() or {}
    days = int(ssl.cert_time_to_seconds(str(certificate["notAfter"])) - clock.now()) // _DAY
    version = (connection.version() or "TLS").replace("TLSv", "TLS ")
    return [version, f"certificate valid for {days} {'day' if days == 1 else 'days'}"]


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _STRANGERS:
        advice = "add that to the authorities of this host, or name them in SSL_CERT_FILE"
        return f"the certificate is of an authority that this host does not know; {advice}"
    said, advice = _CERTIFICATES.get(error.verify_code, (f"was refused ({error.verify_message})", "look at it there"))
    return f"the certificate {said}; {advice}"


def _joined(host: str, port: str | int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
