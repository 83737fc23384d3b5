"""`/login` and `/logout`: a person posts a token and gets a session, which the browser sends as a cookie from then on."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from gateway.core.users import User
from gateway.host.clock import Clock
from gateway.observability.logs import Log
from gateway.web.admin import inputs
from gateway.web.door.authentication import Authentication, BadUserHeader
from gateway.web.door.callers import client_of, scheme_of
from gateway.web.door.failed_logins import FailedLogins
from gateway.web.door.guard import LOGIN, LOGOUT
from gateway.web.door.login_view import LoginProblem, LoginView
from gateway.web.door.same_origin import SAFE_METHODS
from gateway.web.door.sessions import SESSION_SECONDS, Sessions
from gateway.web.responses import json_response

_FAILURE_SECONDS = 1.0
_LONGEST_NEXT = 2000
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this server in printable ASCII. Browsers take `//` and `/\\` for the beginning of a host (URL Standard, 4.4)."""


class SignIn:
    """Begins and ends sessions."""

    def __init__(
        self,
        authentication: Authentication,
        sessions: Sessions,
        *,
        clock: Clock,
        log: Log,
        page: Callable[[web.BaseRequest, int, LoginView], web.Response],
    ) -> None:
        """`page` draws the page, with a status."""
        self._authentication = authentication
        self._sessions = sessions
        self._failed = FailedLogins(clock.monotonic)
        self._clock = clock
        self._log = log
        self._page = page

    async def handle(self, request: web.BaseRequest) -> web.Response | None:
        """Answer a request to `/login` or `/logout`, whose origin has been looked at; None for another path."""
        if request.path not in (LOGIN, LOGOUT):
            return None
        try:
            if request.path == LOGOUT:
                return self._out(request) if request.method == "POST" else _only("POST")
            if request.method == "POST":
                return await self._sign_in(request)
            return self._show(request) if request.method in SAFE_METHODS else _only("GET, HEAD, POST")
        except (*inputs.MISTAKES, BadUserHeader) as error:
            return inputs.refusal(error)

    def _show(self, request: web.BaseRequest) -> web.Response:
        given = inputs.query(request, "next", "here", "ended", "lang")
        wanted = _local(given.get("next", "/"))
        if self._authentication.visitor(request) is not None:
            return _to(wanted)
        # A link on another site led here: browsers hold a cookie with SameSite=Strict back until our own page leads on.
        elsewhere = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and "here" not in given
        again = f"{LOGIN}?here=1&next={quote(wanted, safe='')}" if elsewhere else None
        return self._answer(request, 200, wanted, "ended" if "ended" in given else None, try_again=again)

    async def _sign_in(self, request: web.BaseRequest) -> web.Response:
        inputs.query(request, "lang")
        form = await inputs.form(request, "token", "next")
        wanted, token = _local(form.get("next", "/")), form.get("token", "")
        address = client_of(request, self._authentication.settings.proxies)
        if (wait := self._failed.begin(address)) > 0:
            seconds = math.ceil(wait)
            answer = self._answer(request, 429, wanted, "too_many", wait_seconds=seconds)
            answer.headers["Retry-After"] = str(seconds)
            return answer
        if (user := self._authentication.user_of_token(token)) is None:
            self._log.warning("login.failed", address=address)
            await self._clock.wait(asyncio.Event(), _FAILURE_SECONDS)
            return self._answer(request, 401, wanted, "wrong")
        self._failed.succeeded(address)
        self._log.info("login.succeeded", user=user.name, address=address)
        return self._in(request, user, wanted)

    def _in(self, request: web.BaseRequest, user: User, wanted: str) -> web.Response:
        self._sessions.end(self._authentication.session_id(request))
        answer = _to(wanted)
        self._set_cookie(request, answer, self._sessions.begin(user), int(SESSION_SECONDS))
        return answer

    def _out(self, request: web.BaseRequest) -> web.Response:
        self._sessions.end(self._authentication.session_id(request))
        answer = _to(LOGIN)
        self._set_cookie(request, answer, "", 0)
        return answer

    def _set_cookie(self, request: web.BaseRequest, answer: web.Response, value: str, seconds: int) -> None:
        answer.set_cookie(
            self._authentication.cookie_name(request),
            value,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=scheme_of(request, self._authentication.settings) == "https",
        )

    def _answer(
        self,
        request: web.BaseRequest,
        status: int,
        wanted: str,
        problem: LoginProblem | None = None,
        *,
        wait_seconds: int = 0,
        try_again: str | None = None,
    ) -> web.Response:
        shown = problem if self._authentication.has_tokens else "no_tokens"
        view = LoginView(next=wanted, problem=shown, wait_seconds=wait_seconds, try_again=try_again)
        answer = self._page(request, status, view)
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer


def _local(text: str) -> str:
    """Return a path of this server as it is, and `/` for everything else: a stranger's link must not lead away from here."""
    if len(text) > _LONGEST_NEXT or _LOCAL.fullmatch(text) is None or text.startswith((LOGIN, LOGOUT)):
        return "/"
    return text


def _to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


def _only(methods: str) -> web.Response:
    return json_response(405, {"error": "method_not_allowed", "detail": methods}, {"Allow": methods})
