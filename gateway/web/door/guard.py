"""Decides who may ask the admin listener for what. It looks at each request first, and answers those that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from gateway.core.users import Role, Visitor
from gateway.web.door.authentication import Authentication, BadUserHeader
from gateway.web.door.callers import scheme_of
from gateway.web.door.permissions import Permissions
from gateway.web.door.same_origin import SAFE_METHODS, strange_host, strange_origin, unsafe
from gateway.web.responses import json_response

LOGIN, LOGOUT = "/login", "/logout"
_NOT_PAGES = ("/-/", "/api/", "/metrics")
"""The beginnings of paths that programs ask for: they get a 401 in JSON, and no page to sign in."""


class AdminGuard:
    """The rules of the admin listener against strangers, against other pages in a browser, and for roles."""

    def __init__(
        self,
        authentication: Authentication,
        permissions: Permissions,
        *,
        not_allowed: Callable[[web.BaseRequest, Visitor, Role], web.Response],
        open_folder: str,
    ) -> None:
        """
        Args:
            not_allowed: makes the page for a person whose role is not enough.
            open_folder: the beginning of the paths that everybody may GET, because the page to sign in consists of them.
        """
        self._authentication = authentication
        self._permissions = permissions
        self._not_allowed = not_allowed
        self._open_folder = open_folder

    def admit(self, request: web.BaseRequest) -> Visitor | web.Response:
        """Return who a request is from, if they may make it; otherwise the answer that refuses it."""
        try:
            visitor = self._authentication.visitor(request)
        except BadUserHeader as error:
            return json_response(400, {"error": "bad_request", "detail": str(error)})
        if (why := self._strange(request, visitor)) is not None:
            return _forbidden(why)
        if visitor is None:
            return self._unauthorized(request)
        if (why := unsafe(request, self.scheme(request))) is not None:
            return _forbidden(f"this request may not change anything: {why}")
        least = self._permissions.least(request)
        if not visitor.may(least):
            if _asks_for_a_page(request):
                return self._not_allowed(request, visitor, least)
            return _forbidden(f"this needs the role {least}, and {visitor.name} has the role {visitor.role}")
        return visitor

    def opens(self, request: web.BaseRequest) -> web.Response | None:
        """Look at a request that everybody may make: None if it may go on, else the answer that refuses it."""
        scheme = self.scheme(request)
        why = strange_origin(request, scheme, self._authentication.settings.hosts) or unsafe(request, scheme)
        return None if why is None else _forbidden(why)

    def scheme(self, request: web.BaseRequest) -> str:
        """Return the scheme by which a browser asks."""
        return scheme_of(request, self._authentication.settings)

    def is_open(self, request: web.BaseRequest) -> bool:
        """Return True if everybody may make a request: to sign in, to sign out, and for what that page consists of."""
        return request.path in (LOGIN, LOGOUT) or (request.method in SAFE_METHODS and request.path.startswith(self._open_folder))

    def _strange(self, request: web.BaseRequest, visitor: Visitor | None) -> str | None:
        """Return why a request is a stranger's, whatever user it is from; None if it is not."""
        settings = self._authentication.settings
        # A page that a stranger's name leads here cannot have a token or a session. It can claim everything else.
        can_claim = visitor is not None and visitor.way not in ("token", "session")
        if can_claim and (why := strange_host(request, settings.hosts)) is not None:
            return why
        return strange_origin(request, self.scheme(request), settings.hosts)

    def _unauthorized(self, request: web.BaseRequest) -> web.Response:
        if not _asks_for_a_page(request):
            said = "send a token: Authorization: Bearer ..."
            return json_response(401, {"error": "unauthorized", "detail": said}, {"WWW-Authenticate": "Bearer"})
        to = f"{LOGIN}?next={quote(request.raw_path, safe='')}" if request.method in SAFE_METHODS else f"{LOGIN}?ended=1"
        return web.Response(status=303, headers={"Location": to})


def _asks_for_a_page(request: web.BaseRequest) -> bool:
    """Return True if a person's browser asks for a page, and not a program, or a script of a page."""
    if request.path.startswith(_NOT_PAGES) or request.path.endswith(".json"):
        return False
    return "text/html" in request.headers.get("Accept", "")


def _forbidden(detail: str) -> web.Response:
    return json_response(403, {"error": "forbidden", "detail": detail})
