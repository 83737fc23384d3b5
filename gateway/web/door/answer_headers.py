"""Gives every answer of the admin listener the headers that tell a browser what it may do with it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from gateway.web.pages.page_headers import PAGE_HEADERS

_OF_OTHERS = {name: PAGE_HEADERS[name] for name in ("Cache-Control", "X-Content-Type-Options", "Cross-Origin-Resource-Policy")}
"""The headers of answers to programs: no copy is kept, it is what its type says, and no other site embeds it."""


def add_headers(answer: web.StreamResponse, request: web.BaseRequest, scheme: str) -> None:
    """Add to an answer what it does not have yet: a page gets the headers of a page, any other answer those of every answer.

    In clear, and not on its own host, a browser ignores an opener policy and complains about it (Secure Contexts, section 3.1).
    It sends no `Sec-Fetch-Site` there, so only `Origin` says where a form comes from, and `no-referrer` would make it `null`
    (Fetch, section 3.1). `same-origin` tells other sites as little.

    Args:
        scheme: the scheme by which the browser asks.
    """
    if answer.prepared:
        return
    is_page = answer.content_type == "text/html" or 300 <= answer.status < 400
    for name, value in (PAGE_HEADERS if is_page else _OF_OTHERS).items():
        answer.headers.setdefault(name, value)
    if is_page and scheme != "https" and not _is_local(request):
        answer.headers["Referrer-Policy"] = "same-origin"
        answer.headers.popall("Cross-Origin-Opener-Policy", None)


def _is_local(request: web.BaseRequest) -> bool:
    """Return True if the browser asks on its own host, by the name that it uses."""
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
