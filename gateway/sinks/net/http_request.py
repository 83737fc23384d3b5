"""The head of a request (RFC 9112, section 3): the part that all requests to one URL share is built once. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway import __version__
from gateway.core.proxies import Proxy
from gateway.core.urls import Url
from gateway.sinks.net.http_connection import Origin

_OWN = {"User-Agent": f"legitmark-gateway/{__version__}", "Accept": "*/*"}
"""Fields that a sink may replace."""
_FORBIDDEN = re.compile(r"[\r\n\0]")
"""Characters that would begin another field or another request (RFC 9110, section 5.5)."""


class RequestHeads:
    """The heads of the requests of one sink to one URL."""

    def __init__(self, method: str, url: Url, headers: Mapping[str, str], proxy: Proxy | None = None) -> None:
        """
        Args:
            headers: the fields of every request.
            proxy: the proxy of the sink. A request without TLS names its whole URL to it (RFC 9112, section 3.2.2). Any other is
                in a tunnel, where the proxy does not exist.
        """
        self.origin: Origin = (url.host, url.port, url.scheme == "https")
        self.alone = proxy is not None and url.scheme == "http"
        """True if no other request may follow on the same connection: some proxies would pass the next one on as it is, with
        the login in it (tinyproxy does)."""
        self._bare = method in ("GET", "HEAD")
        """True if a request without a body says nothing of its length (RFC 9110, section 8.6)."""
        target, others = url.target, dict(_OWN)
        if proxy is not None and self.alone:
            target, others["Connection"] = f"{url.origin}{target}", "close"
            if proxy.authorization is not None:
                others["Proxy-Authorization"] = proxy.authorization
        given = {name.lower() for name in headers}
        fields = {"Host": url.authority, **headers} | {name: text for name, text in others.items() if name.lower() not in given}
        self._shared: bytes | None = None
        """The request line and the fields of every request, without the end of the last line; None if they cannot be sent."""
        if not any(map(_FORBIDDEN.search, [*fields, *fields.values()])):
            lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items())]
            self._shared = _bytes("\r\n".join(lines))

    def head(self, length: int, headers: Mapping[str, str]) -> bytes | None:
        """Return a whole head; None if a field holds a line break or a NUL.

        Args:
            length: bytes of the body.
            headers: the fields of this request alone.
        """
        text = "".join([f"\r\n{name}: {text}" for name, text in headers.items()])
        if self._shared is None or not text.count("\r") == text.count("\n") == len(headers) or "\0" in text:
            return None
        if self._bare and length == 0:
            return b"%b%b\r\n\r\n" % (self._shared, _bytes(text))
        return b"%b%b\r\nContent-Length: %d\r\n\r\n" % (self._shared, _bytes(text), length)


def _bytes(text: str) -> bytes:
    """Encode fields. The content type is passed on as it came: our server decoded it with surrogates."""
    return text.encode("utf-8", "surrogateescape")
