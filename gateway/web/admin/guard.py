"""Decides who may ask the admin listener, and which requests may change something. Answers nothing else."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
import struct
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

from gateway.core.secrets import Secret
from gateway.web.responses import json_response

_SAFE_METHODS = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}


class AdminGuard:
    """The rules of the admin listener against strangers, and against pages that make a browser call it.

    A page in somebody's browser can send requests here, but it cannot choose their Host and their Origin.
    """

    def __init__(self, hosts: Collection[str], token: Secret | None) -> None:
        """
        Args:
            hosts: names by which the listener may be called, beside `localhost`.
            token: see `use`.
        """
        self._hosts = {"localhost", *hosts}
        self.use(token)

    def use(self, token: Secret | None) -> None:
        """Ask callers for this bearer token from now on; None asks for none.

        On a unix socket, root and the gateway's own user need no token.
        """
        self._token = token

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Return the answer that refuses a request; None if the request is allowed."""
        if self._has_token(request):
            pass
        elif self._token is not None and not _is_trusted(request):
            headers = {"WWW-Authenticate": "Bearer"}
            return json_response(401, {"error": "unauthorized", "detail": "send the token: Authorization: Bearer ..."}, headers)
        elif not self._is_ours(_hostname(f"//{request.headers.get('Host', '')}"), any_address=True):
            return _forbidden("the header Host names another server; use localhost, an IP address, or a host of [admin] listen")
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_ours(_hostname(origin), any_address=False):
            return _forbidden("the header Origin names a page of another server")
        if (why := _unsafe(request)) is not None:
            return _forbidden(f"this request may not change anything: {why}")
        return None

    def _has_token(self, request: web.BaseRequest) -> bool:
        if self._token is None:
            return False
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {self._token.reveal()}".encode())

    def _is_ours(self, host: str | None, *, any_address: bool) -> bool:
        if host is None or host in self._hosts:
            return host is not None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        # As a Host, an address was typed by a person: only a name can be made to point here by a stranger (DNS rebinding).
        return any_address or address.is_loopback


def _forbidden(detail: str) -> web.Response:
    return json_response(403, {"error": "forbidden", "detail": detail})


def _unsafe(request: web.BaseRequest) -> str | None:
    """Return why a request may not change anything; None if it may.

    A browser says where a page comes from: to https and localhost by `Sec-Fetch-Site` (Fetch Metadata, section 2.4), elsewhere
    by `Origin` (RFC 6454, section 7). A client that sends neither is not a browser, or it is a form, which cannot send
    `application/json`.
    """
    if request.method in _SAFE_METHODS:
        return None
    if sites := request.headers.getall("Sec-Fetch-Site", ()):
        return None if list(sites) == ["same-origin"] else "Sec-Fetch-Site is not same-origin"
    if origins := request.headers.getall("Origin", ()):
        own = _origin(f"{request.scheme}://{request.headers.get('Host', '')}")
        return None if len(origins) == 1 and own is not None and _origin(origins[0]) == own else "Origin is not this listener"
    if "Cookie" in request.headers:
        return "a request with a Cookie needs an Origin"
    kinds = request.headers.getall("Content-Type", ())
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
        return "send the header content-type: application/json"
    return None


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of an origin; None for anything else."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username is not None:
            return None
        return parts.scheme, parts.hostname, parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    except ValueError:
        return None


def _is_trusted(request: web.BaseRequest) -> bool:
    """Return True if the client of a unix socket is root or our own user (SO_PEERCRED, unix(7)).

    They can read the token, and all that it protects, anyway. So a reload by systemd, which has no credentials, needs no token.
    """
    connection = request.transport.get_extra_info("socket") if request.transport is not None else None
    if connection is None or connection.family != socket.AF_UNIX:
        return False
    _, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
    return uid in (0, os.geteuid())


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
