"""The steps of a probe that sinks share: name, connection, TLS. It says how far the probe came, and what to do if it failed."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.core.proxies import Proxy
from gateway.core.urls import Url, UrlError, parse_url, place_of
from gateway.host.clock import Clock
from gateway.sinks.base import Found
from gateway.sinks.net.address_guard import AddressGuard, AddressInfo, BlockedAddress, words
from gateway.sinks.net.dial import Dialler
from gateway.sinks.net.http_failures import ProxyError
from gateway.sinks.net.proxy import check_target, open_tunnel
from gateway.sinks.net.trust import refused

GOODBYE_SECONDS = 1.0
"""Seconds for the end of a conversation, when the result is known already."""
_ALERT_SECONDS = 0.25
"""Seconds for the other side to refuse our certificate: in TLS 1.3 our handshake is over by then (RFC 8446, section 4.4.2.4)."""
_DAY = 86400

_CERTIFICATES = {
    9: ("is not valid yet", "compare the clocks of both hosts"),
    10: ("has expired", "it has to be renewed there"),
    62: ("is for another name", "write the name that it is for as the host"),
    64: ("is for another name", "write the name that it is for as the host"),
}
"""The errors that OpenSSL finds in a certificate (`X509_V_ERR_...` in x509_vfy.h), and what to do."""
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""The certificate is signed by itself, or by an authority that this host does not trust."""


def _no_explanation(error: Exception) -> str | None:
    """Explain nothing: the sink speaks no protocol of its own on the way."""
    return None


class Way:
    """The way to a host, and how far the probe has come on it, because a timeout by itself says no more than that."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        key: str,
        networks: Sequence[str] | None,
        seconds: float,
        clock: Clock,
        explain: Callable[[Exception], str | None] = _no_explanation,
        late: tuple[str, str] = ("", ""),
    ) -> None:
        """
        Args:
            key: the key of the sink that names the host.
            networks: the value of `allow_networks`.
            seconds: the time of the whole probe.
            explain: puts an error of the sink's own protocol into words; None if it is not one.
            late: what is missing if the time ends during the sink's own protocol, and what to do.
        """
        self.dialler = Dialler(AddressGuard.of(networks))
        self.seconds = seconds
        self.step = "name"
        """The step that is not done yet: name, connection, TLS, or the name of the sink's protocol."""
        self._host = host
        self._port = port
        self._key = key
        self._clock = clock
        self._explain = explain
        self._late_words = late
        self._begun = clock.monotonic()
        self._addresses: list[str] = []

    async def look_up(self) -> list[AddressInfo]:
        """Return the addresses of the host. Raises socket.gaierror or UnicodeError."""
        found = await self.dialler.look_up(self._host, self._port)
        self._addresses = list(dict.fromkeys(info[4][0] for info in found))
        self.step = "connection"
        return found

    def leads_to(self, peer: Sequence[str | int], *rest: str) -> Found:
        """Return a success.

        Args:
            peer: the socket address at the other end.
            rest: what else the probe found there.
        """
        seconds = self._clock.monotonic() - self._begun
        first = f"connects to {place_of(str(peer[0]), peer[1])} in {seconds * 1000:.0f} ms"
        return Found(True, ", ".join([first, *rest]), seconds)

    def ends(self, error: Exception) -> Found:
        """Return the failure that an error means. Raises the error if it is not an expected one."""
        return self.fails(self._why(error))

    def fails(self, why: str) -> Found:
        return Found(False, why, self._clock.monotonic() - self._begun)

    def _why(self, error: Exception) -> str:
        """Return our own words: the text of an error can hold bytes of the other side."""
        place = self._place()
        tls = next((one for one in (error, error.__cause__) if isinstance(one, ssl.SSLError)), None)
        match error:
            case TimeoutError():
                return self._late()
            case socket.gaierror():
                return f"{self._host} has no address ({error.strerror}); check {self._key}, and the DNS of this host"
            case UnicodeError():
                return f"{self._host} is not a valid DNS name; check {self._key}"
            case BlockedAddress():
                return f"{place}: {self._blocked()}"
            case _ if isinstance(tls, ssl.SSLCertVerificationError):
                return f"{place}: {_distrust(tls)}"
            case _ if tls is not None and refused(tls):
                return f"{place}: the other side refused our client certificate, or asks for one; check certificate and key"
            case _ if tls is not None:
                return f"{place}: TLS failed ({tls.reason or 'no reason given'}); is that a port for TLS?"
            case _ if (explained := self._explain(error)) is not None:
                return explained
            case ConnectionResetError() | BrokenPipeError():
                return self.closed()
            case OSError(errno=errno.ECONNREFUSED):
                return f"{place}: {words(error)}; nothing listens there, or a firewall says so: check the port"
            case OSError():
                return f"{place}: {words(error)}; check the route and the firewalls from here to there"
            case _:
                raise error

    def closed(self) -> str:
        return f"{self._place()} closed the connection, before {self.step} was done; look at the log there"

    def _late(self) -> str:
        within = f"within {self.seconds:g} s"
        match self.step:
            case "name":
                return f"{self._host}: DNS gave no answer {within}; check the DNS of this host"
            case "connection":
                return f"{self._place()}: no connection {within}; a firewall that drops packets looks like that"
            case "TLS":
                return f"{self._place()}: no TLS {within}; is that a port for TLS, and does its service respond?"
            case _:
                missing, advice = self._late_words
                return f"{self._place()}: {missing} {within}; {advice}"

    def _blocked(self) -> str:
        if not any(AddressGuard().allows(address) for address in self._addresses):
            return f"no sink may dial a link-local, metadata, multicast or unspecified address; check {self._key}"
        return f"not in allow_networks; add the network there, or check {self._key}"

    def _place(self) -> str:
        """`host:port`, with its addresses if the host is a name."""
        place = place_of(self._host, self._port)
        others = [address for address in self._addresses if address != self._host]
        return f"{place} ({', '.join(others)})" if others else place


async def probe_url(
    text: str,
    *,
    key: str,
    networks: Sequence[str] | None,
    seconds: float,
    clock: Clock,
    tls: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
) -> Found:
    """Connect to the host of a URL, with TLS for `https`, and send nothing to it.

    Args:
        key: the key of the sink that holds the URL.
        networks: the value of `allow_networks`.
        seconds: the time of the whole probe.
        tls: None trusts the authorities of this host.
        proxy: the way there: by a tunnel for `https`. A request for `http` would already be a delivery, so the probe of such a
            URL ends at the proxy.
    """
    try:
        url = parse_url(text)
    except UrlError as error:
        return Found(False, f"{key} {error}", 0.0)
    way = Way(url.host, url.port, key=key, networks=networks, seconds=seconds, clock=clock)
    reached, led = way, list[str]()
    try:
        if proxy is not None:
            check_target(url.host)
            reached, led = _way_to_proxy(proxy, url, networks, seconds, clock), [f"the proxy for {url.place}"]
        async with asyncio.timeout(seconds):
            dialled = await reached.dialler.connect(await reached.look_up())
            if url.scheme == "http":
                with dialled:
                    return reached.leads_to(dialled.getpeername(), *led, "without TLS")
            if proxy is not None:
                reached.step = "tunnel"
                await open_tunnel(dialled, proxy, url.host, url.port)
                reached = way
            way.step = "TLS"
            reader, writer = await asyncio.open_connection(
                sock=dialled,
                ssl=tls or ssl.create_default_context(),
                server_hostname=url.host.rstrip("."),
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
    except (OSError, UnicodeError) as error:
        return reached.ends(error)
    try:
        said = tls_words(writer.get_extra_info("ssl_object"), clock)
        result = way.leads_to(writer.get_extra_info("peername"), *led, *said)
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), _ALERT_SECONDS)
        return result
    except OSError as error:
        return way.ends(error)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _way_to_proxy(proxy: Proxy, url: Url, networks: Sequence[str] | None, seconds: float, clock: Clock) -> Way:
    def explain(error: Exception) -> str | None:
        return error.outcome.detail if isinstance(error, ProxyError) else None

    late = f"no tunnel to {url.place}", "does the proxy reach it?"
    return Way(proxy.host, proxy.port, key="proxy", networks=networks, seconds=seconds, clock=clock, explain=explain, late=late)


def tls_words(connection: ssl.SSLObject, clock: Clock) -> list[str]:
    """Describe a TLS connection: its version, and how long the certificate of the other side is valid."""
    certificate = connection.getpeercert() or {}
    days = int(ssl.cert_time_to_seconds(str(certificate["notAfter"])) - clock.now()) // _DAY
    version = (connection.version() or "TLS").replace("TLSv", "TLS ")
    return [version, f"certificate valid for {days} {'day' if days == 1 else 'days'}"]


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        advice = "add it to the authorities of this host, or name it in SSL_CERT_FILE"
        return f"the certificate was issued by an authority that this host does not trust; {advice}"
    said, advice = _CERTIFICATES.get(error.verify_code, (f"was refused ({error.verify_message})", "look at it there"))
    return f"the certificate {said}; {advice}"
