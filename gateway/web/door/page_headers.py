"""The headers that tell browsers what a page, and any other answer of the admin listener, may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
ANSWER_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""The headers of every answer that does not say something else."""
_OF_A_PAGE = {
    **ANSWER_HEADERS,
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_OF_A_PAGE_IN_CLEAR = {name: value for name, value in _OF_A_PAGE.items() if name != "Cross-Origin-Opener-Policy"} | {
    "Referrer-Policy": "same-origin"
}


def page_headers(*, trustworthy: bool = True) -> Mapping[str, str]:
    """Return the headers of a page: no script, style or picture from elsewhere, no frame around it, and no copy of it kept.

    Args:
        trustworthy: the browser asks by https or on its own host (Secure Contexts, section 3.1). Elsewhere it ignores an opener
            policy and complains about it; and it sends no `Sec-Fetch-Site`, so that only `Origin` says where a form comes from,
            which `no-referrer` would make `null` (Fetch, section 3.1). To other sites, no page sends a referrer either way.
    """
    return _OF_A_PAGE if trustworthy else _OF_A_PAGE_IN_CLEAR


def add_headers(answer: web.StreamResponse, request: web.BaseRequest, scheme: str) -> None:
    """Add to an answer what it does not have yet: a page gets the headers of a page, any other answer those of every answer.

    Args:
        scheme: the scheme by which the browser asks.
    """
    if answer.prepared:
        return
    is_page = answer.content_type == "text/html" or 300 <= answer.status < 400
    added = page_headers(trustworthy=scheme == "https" or _is_local(request)) if is_page else ANSWER_HEADERS
    for name, value in added.items():
        answer.headers.setdefault(name, value)


def _is_local(request: web.BaseRequest) -> bool:
    """Return True if the browser asks on its own host, by the name that it uses."""
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
