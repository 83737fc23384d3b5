"""Health, readiness, metrics and the API, for this host and those who hold the token."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.control.backup import Upkeep
from gateway.control.drills import Drills
from gateway.control.replay import Operator
from gateway.control.reverify import Reverify
from gateway.control.status import Observer
from gateway.core.errors import ConfigError, GatewayError, StoreError
from gateway.core.secrets import Secret
from gateway.observability.metrics import Metrics
from gateway.web.admin import asked
from gateway.web.admin.api import Api
from gateway.web.admin.door import closed_to
from gateway.web.responses import json_response

_Answer = Callable[[], Awaitable[web.Response]]


class Reload(Protocol):
    async def __call__(self, actor: str, *, file: str | None = None, dry_run: bool = False) -> Struct: ...


class _Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a reload: its parameters say it all."""


class Admin:
    def __init__(
        self,
        *,
        operator: Operator,
        observer: Observer,
        drills: Drills,
        upkeep: Upkeep,
        reverify: Reverify,
        metrics: Metrics,
        reasons: Callable[[], list[str]],
        reload: Reload,
        hosts: Collection[str],
        token: Secret | None,
    ) -> None:
        """`reasons` tells why the gateway is not ready, none: it is; `hosts` are the names it may be called by."""
        self.token = token
        """What callers have to show, but on a unix socket those of root and of our own user; None: nothing."""
        self._reload = reload
        self._observer = observer
        self._api = Api(operator, observer, drills, upkeep, reverify)
        self._metrics = metrics
        self._reasons = reasons
        self._hosts = {"localhost", *hosts}
        self._pages: dict[str, _Answer] = {"/-/healthy": self._healthy, "/-/ready": self._ready, "/metrics": self._scrape}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if request.path.startswith("/api/"):
            return await self._api.handle(request)
        if request.path == "/-/reload":
            if request.method != "POST":
                return json_response(405, {"error": "method_not_allowed", "detail": "POST"}, {"Allow": "POST"})
            return await self._reloaded(request)
        page = self._pages.get(request.path)
        if page is None:
            return json_response(404, {"error": "not_found", "detail": f"there is {', '.join(self._pages)}"})
        if request.method not in ("GET", "HEAD"):
            return json_response(405, {"error": "method_not_allowed", "detail": "GET"}, {"Allow": "GET, HEAD"})
        try:
            asked.query(request)
        except ValueError as error:
            return json_response(400, {"error": "bad_request", "detail": str(error)})
        return await page()

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        """A page in somebody's browser can make it call this listener; it can't choose the Host and Origin it sends."""
        if self._has_token(request):
            pass
        elif self.token is not None and not _is_trusted(request):
            headers = {"WWW-Authenticate": "Bearer"}
            return json_response(401, {"error": "unauthorized", "detail": "send the token: Authorization: Bearer ..."}, headers)
        elif not self._is_ours(_hostname(f"//{request.headers.get('Host', '')}"), any_address=True):
            return json_response(403, {"error": "forbidden", "detail": "this Host is a stranger here"})
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_ours(_hostname(origin), any_address=False):
            return json_response(403, {"error": "forbidden", "detail": "this Origin is a stranger here"})
        if (why := closed_to(request)) is not None:
            return json_response(403, {"error": "forbidden", "detail": f"this may not change anything: {why}"})
        return None

    def _has_token(self, request: web.BaseRequest) -> bool:
        if self.token is None:
            return False
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {self.token.reveal()}".encode())

    def _is_ours(self, host: str | None, *, any_address: bool) -> bool:
        if host is None or host in self._hosts:
            return host is not None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        # As a Host, an address was typed by a person: only a name can be made to point here by a stranger (DNS rebinding).
        return any_address or address.is_loopback

    async def _healthy(self) -> web.Response:
        return json_response(200, {"status": "healthy"})

    async def _ready(self) -> web.Response:
        reasons = self._reasons()
        if reasons:
            return json_response(503, {"status": "not ready", "reasons": reasons})
        return json_response(200, {"status": "ready"})

    async def _reloaded(self, request: web.BaseRequest) -> web.Response:
        """Reload, or with `?dry_run=1` say what that would change; 422 with the problems where the file is bad."""
        try:
            given = asked.query(request, "actor", "file", "dry_run")
            await asked.body(request, _Nothing, optional=True)
            dry_run, actor = asked.flag(given, "dry_run"), asked.actor(given.get("actor"))
            file = asked.path(given["file"]) if "file" in given else None
        except asked.SlowBody as error:
            late = json_response(408, {"error": "timeout", "detail": str(error)})
            late.force_close()
            return late
        except (ValueError, RecursionError) as error:
            return json_response(400, {"error": "bad_request", "detail": str(error)})
        try:
            reloaded = await self._reload(actor, file=file, dry_run=dry_run)
        except ConfigError as error:
            detail = "the configuration is bad; nothing was changed"
            return json_response(422, {"error": "bad_configuration", "detail": detail, "problems": error.problems})
        except StoreError as error:
            return json_response(503, {"error": error.code, "detail": str(error)})
        except GatewayError as error:
            return json_response(422, {"error": "bad_configuration", "detail": f"{error}; nothing was changed", "problems": []})
        return json_response(200, {"status": "unchanged" if dry_run else "reloaded", **msgspec.structs.asdict(reloaded)})

    async def _scrape(self) -> web.Response:
        await self._observer.measure()
        pieces = []
        for piece in self._metrics.pieces():
            pieces.append(piece)
            await asyncio.sleep(0)  # with hundreds of sinks the whole takes a quarter of a second
        response = web.Response(body=b"".join(pieces))
        response.headers["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
        return response


def _is_trusted(request: web.BaseRequest) -> bool:
    """Whether the other end of a unix socket belongs to root or to our own user (SO_PEERCRED, unix(7)): they can read the token,
    and all that it protects, anyway. So a reload by systemd, which gets no credentials, needs none."""
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
