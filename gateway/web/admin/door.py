"""The rule of the admin listener for requests that change something: no page of a browser may make them, but our own."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

_SAFE = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}


def closed_to(request: web.BaseRequest) -> str | None:
    """Return why a request may not change anything; None if it may.

    A browser says where a page comes from: by `Sec-Fetch-Site` (Fetch Metadata, section 2.4) to https and localhost, else by
    `Origin` (RFC 6454, section 7). Whoever sends neither is no browser, or a form that can't say `application/json`.
    """
    if request.method in _SAFE:
        return None
    if sites := request.headers.getall("Sec-Fetch-Site", ()):
        return None if list(sites) == ["same-origin"] else "Sec-Fetch-Site is not same-origin"
    if origins := request.headers.getall("Origin", ()):
        own = _origin(f"{request.scheme}://{request.headers.get('Host', '')}")
        return None if len(origins) == 1 and own is not None and _origin(origins[0]) == own else "this Origin is another one"
    if "Cookie" in request.headers:
        return "a request without Origin has no cookie"
    kinds = request.headers.getall("Content-Type", ())
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
        return "send the header content-type: application/json"
    return None


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username is not None:
            return None
        return parts.scheme, parts.hostname, parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    except ValueError:
        return None
