"""The meaning of a connection's error for a delivery, in our own words: the text of an error can hold bytes of the other side."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus

from gateway.core.outcome import Reason, Retry
from gateway.core.proxies import Proxy
from gateway.sinks.net.address_guard import BlockedAddress, words
from gateway.sinks.net.http_answer import NotHttpError
from gateway.sinks.net.trust import refused

_CLIENT_CERTIFICATE = "the other side refused our client certificate, or asks for one; see certificate"


class ProxyError(OSError):
    """The proxy leads to no connection. `outcome` says why."""

    def __init__(self, outcome: Retry) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


def unreached(error: OSError | UnicodeError, host: str, port: int, proxy: Proxy | None = None) -> Retry:
    """Return why there is no connection to a host, or through a proxy to it."""
    match error:
        case ProxyError():
            return error.outcome
        case BlockedAddress():
            detail = "the address is one that this sink may not dial; see allow_networks"
            return Retry(Reason.BLOCKED, detail, sink_wide=True)
        case TimeoutError():
            way = "no answer" if proxy is None else f"no connection through the proxy {proxy.place}"
            return Retry(Reason.TIMEOUT, f"{way} in time")
        case UnicodeError():
            return Retry(Reason.DNS, "the host in the URL is not a valid DNS name")
        case socket.gaierror():
            return Retry(Reason.DNS, f"{host} has no address")
        case ssl.SSLCertVerificationError():
            detail = f"the certificate of {host} was refused: {error.verify_message or 'not valid for this host'}"
            return Retry(Reason.TLS, detail)
        case _ if any(refused(one) for one in _causes(error)):
            return Retry(Reason.TLS, _CLIENT_CERTIFICATE)
        case ssl.SSLError():
            return Retry(Reason.TLS, f"TLS with {host} failed")
        case _:
            return Retry(Reason.CONNECT, f"{host}:{port}: {words(error)}")


def failure(error: NotHttpError | OSError) -> Retry:
    """Return why no answer came over a connection."""
    match error:
        case NotHttpError():
            return Retry(Reason.PROTOCOL, "the answer is not HTTP")
        case _ if any(refused(one) for one in _causes(error)):
            return Retry(Reason.TLS, _CLIENT_CERTIFICATE)
        case _:
            return Retry(Reason.RESET, "the connection was closed before an answer")


def status_text(status: int) -> str:
    """Return a status with its standard phrase, such as `HTTP 404 Not Found`."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
