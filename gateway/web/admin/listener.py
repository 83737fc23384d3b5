"""The admin listener's requests: health, readiness, metrics, reload, the API and the pages. The guard looks at each first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.control.status import SelfReport
from gateway.core.errors import ConfigError, GatewayError, StoreError
from gateway.core.users import Visitor
from gateway.observability.metrics import Metrics
from gateway.web.admin import inputs
from gateway.web.admin.api import Api
from gateway.web.admin.scrape import scraped
from gateway.web.door.answer_headers import add_headers
from gateway.web.door.guard import AdminGuard
from gateway.web.door.sign_in import SignIn
from gateway.web.pages.site import Pages
from gateway.web.play.pasted_secrets import PastedSecrets
from gateway.web.responses import json_response

_Answer = Callable[[], Awaitable[web.Response]]


class Reload(Protocol):
    """Reads the configuration again, or only says what that would change. Raises GatewayError if nothing was changed."""

    async def __call__(self, actor: str, *, file: str | None = None, dry_run: bool = False) -> Struct: ...


class Admin:
    """Answers the admin listener."""

    def __init__(
        self,
        *,
        guard: AdminGuard,
        sign_in: SignIn,
        api: Api,
        pages: Pages,
        pasted: PastedSecrets,
        self_report: SelfReport,
        metrics: Metrics,
        reasons: Callable[[], list[str]],
        reload: Reload,
    ) -> None:
        """
        Args:
            guard: looks at each request first.
            sign_in: answers `/login` and `/logout`.
            api: answers what is below `/api/`.
            pages: answers people with a browser.
            pasted: takes the secrets that people paste there.
            reasons: returns why the gateway is not ready; an empty list if it is.
        """
        self._guard = guard
        self._sign_in = sign_in
        self._reload = reload
        self._self_report = self_report
        self._api = api
        self._pages = pages
        self._pasted = pasted
        self._metrics = metrics
        self._reasons = reasons
        self._probes: dict[str, _Answer] = {"/-/healthy": self._healthy, "/-/ready": self._ready, "/metrics": self._scrape}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        answer = await self._answer(request)
        add_headers(answer, request, self._guard.scheme(request))
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._guard.is_open(request):
            refusal = self._guard.opens(request)
            return refusal or self._pages.file(request) or await self._sign_in.handle(request) or self._nowhere()
        visitor = self._guard.admit(request)
        if isinstance(visitor, web.Response):
            return visitor
        if request.path.startswith("/api/"):
            return await self._api.handle(request, visitor)
        if request.path == "/-/reload":
            if request.method != "POST":
                return json_response(405, {"error": "method_not_allowed", "detail": "POST"}, {"Allow": "POST"})
            return await self._reloaded(request, visitor)
        probe = self._probes.get(request.path)
        if probe is None:
            return await self._pasted.handle(request) or await self._pages.handle(request, visitor) or self._nowhere()
        if request.method not in ("GET", "HEAD"):
            return json_response(405, {"error": "method_not_allowed", "detail": "GET"}, {"Allow": "GET, HEAD"})
        try:
            inputs.query(request)
        except inputs.MISTAKES as error:
            return inputs.refusal(error)
        return await probe()

    def _nowhere(self) -> web.Response:
        known = ", ".join(self._probes)
        return json_response(404, {"error": "not_found", "detail": f"there is no such page; known: {known}"})

    async def _healthy(self) -> web.Response:
        return json_response(200, {"status": "healthy"})

    async def _ready(self) -> web.Response:
        reasons = self._reasons()
        if reasons:
            return json_response(503, {"status": "not ready", "reasons": reasons})
        return json_response(200, {"status": "ready"})

    async def _reloaded(self, request: web.BaseRequest, visitor: Visitor) -> web.Response:
        """Reload, or with `?dry_run=1` say what that would change; 422 with the problems if the file is bad."""
        try:
            given = inputs.query(request, "actor", "file", "dry_run")
            await inputs.body(request, inputs.NoFields, optional=True)
            dry_run, actor = inputs.flag(given, "dry_run"), inputs.actor(visitor, given.get("actor"))
            file = inputs.path(given["file"]) if "file" in given else None
        except inputs.MISTAKES as error:
            return inputs.refusal(error)
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
        await self._self_report.measure()
        return await scraped(self._metrics)
