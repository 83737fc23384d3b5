"""The rules against pages that make a browser call the admin listener. They know no users.

A page in somebody's browser can send requests here, but it cannot choose their Host, their Origin and their Sec-Fetch-Site.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

SAFE_METHODS = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}


def strange_host(request: web.BaseRequest, hosts: Collection[str]) -> str | None:
    """Return why the name by which this listener is called is not its own; None if it is.

    Args:
        hosts: its names beside `localhost`.
    """
    # As a Host, an address was typed by a person: only a name can be made to point here by a stranger (DNS rebinding).
    if _is_ours(_hostname(f"//{request.headers.get('Host', '')}"), hosts, any_address=True):
        return None
    return "the header Host names another server; use localhost, an IP address, or a host of [admin] listen or hosts"


def strange_origin(request: web.BaseRequest, scheme: str, hosts: Collection[str]) -> str | None:
    """Return why a request comes from a page of another server; None if it does not.

    Args:
        scheme: the scheme by which the browser asks this listener.
    """
    origin = request.headers.get("Origin")
    if origin is None or _is_ours(_hostname(origin), hosts, any_address=False) or _is_own(origin, request, scheme):
        return None
    if origin == "null" and _sites(request) == ["same-origin"]:
        return None  # a form of a page with `Referrer-Policy: no-referrer`, such as ours (Fetch, section 3.1)
    return "the header Origin names a page of another server"


def unsafe(request: web.BaseRequest, scheme: str) -> str | None:
    """Return why a request may not change anything; None if it may, or does not ask for that.

    A browser says where a page comes from: to https and localhost by `Sec-Fetch-Site` (Fetch Metadata, section 2.4), elsewhere
    by `Origin` (RFC 6454, section 7). A client that sends neither is not a browser, or it is a form, which cannot send
    `application/json`.
    """
    if request.method in SAFE_METHODS:
        return None
    if sites := _sites(request):
        return None if sites == ["same-origin"] else "Sec-Fetch-Site is not same-origin"
    if origins := request.headers.getall("Origin", ()):
        return None if len(origins) == 1 and _is_own(origins[0], request, scheme) else "Origin is not this listener"
    if "Cookie" in request.headers:
        return "a request with a Cookie needs an Origin"
    kinds = request.headers.getall("Content-Type", ())
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
        return "send the header content-type: application/json"
    return None


def _sites(request: web.BaseRequest) -> list[str]:
    return list(request.headers.getall("Sec-Fetch-Site", ()))


def _is_own(origin: str, request: web.BaseRequest, scheme: str) -> bool:
    """Return True if an origin has the scheme, the host and the port by which this listener is called."""
    own = _origin(f"{scheme}://{request.headers.get('Host', '')}")
    return own is not None and _origin(origin) == own


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of an origin; None for anything else."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username is not None:
            return None
        return parts.scheme, parts.hostname, parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    except ValueError:
        return None


def _is_ours(host: str | None, hosts: Collection[str], *, any_address: bool) -> bool:
    if host is None or host == "localhost" or host in hosts:
        return host is not None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any_address or address.is_loopback


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
