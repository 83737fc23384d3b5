"""The least role of each request to the admin listener, as a table: the only place that decides what a role may see and do.

A request that is not in the table and may change something needs `operate`, and so does one for programs: what somebody forgot
here is refused to all others. Other paths are those of no page, so that everybody may hear that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from aiohttp import web
from msgspec import Struct

from gateway.core.users import Role


class Permit(Struct, frozen=True):
    """The least role for one kind of request."""

    method: str
    """`GET` stands for `HEAD`, too."""
    path: str
    """A `*` stands for one segment."""
    role: Role
    with_parameter: Mapping[str, Role] = {}
    """The least role if the request has a parameter, whatever its value."""


_FOR_PROGRAMS = ("-", "api", "metrics")
_SUPPORT, _READ, _OPERATE = Role.SUPPORT, Role.READ, Role.OPERATE

API_PERMITS = (
    Permit("GET", "/-/healthy", _SUPPORT),
    Permit("GET", "/-/ready", _SUPPORT),
    Permit("GET", "/metrics", _SUPPORT),
    Permit("POST", "/-/reload", _OPERATE),
    Permit("GET", "/api/status", _SUPPORT),
    Permit("GET", "/api/messages", _SUPPORT),
    Permit("GET", "/api/messages/*", _SUPPORT),
    Permit("GET", "/api/messages/*/attempts/*", _SUPPORT),
    Permit("GET", "/api/messages/*/evidence", _READ),
    Permit("GET", "/api/deliveries", _SUPPORT),
    Permit("GET", "/api/srs", _SUPPORT),
    Permit("GET", "/api/srs/*", _SUPPORT, {"bodies": _READ}),
    Permit("GET", "/api/sinks", _SUPPORT),
    Permit("GET", "/api/routing", _READ),
    Permit("POST", "/api/replay", _OPERATE),
    Permit("POST", "/api/discard", _OPERATE),
    Permit("POST", "/api/drill", _OPERATE),
    Permit("POST", "/api/sinks/*/pause", _OPERATE),
    Permit("POST", "/api/sinks/*/resume", _OPERATE),
    Permit("POST", "/api/reverify", _OPERATE),
    Permit("POST", "/api/seal", _READ),  # an export of evidence begins with it, and the log is sealed every minute anyway
    Permit("POST", "/api/redecode", _OPERATE),
    Permit("POST", "/api/reconcile", _OPERATE),
    Permit("GET", "/api/reconcile", _SUPPORT),
    Permit("GET", "/api/reconcile/*", _SUPPORT),
    Permit("POST", "/api/reconcile/*/cancel", _OPERATE),
    Permit("POST", "/api/backup", _OPERATE),
    Permit("POST", "/api/check", _OPERATE),
)
"""The requests of the admin API."""


class Permissions:
    """Looks up the least role of a request."""

    def __init__(self, permits: Iterable[Permit]) -> None:
        self._permits: dict[tuple[str, int], list[tuple[list[str], Permit]]] = {}
        for permit in permits:
            pattern = permit.path[1:].split("/")
            self._permits.setdefault((permit.method, len(pattern)), []).append((pattern, permit))

    def least(self, request: web.BaseRequest) -> Role:
        """Return the least role that a user needs for a request."""
        method = "GET" if request.method == "HEAD" else request.method
        path = segments(request)
        for pattern, permit in self._permits.get((method, len(path)), ()):
            if all(part in ("*", found) for part, found in zip(pattern, path, strict=True)):
                needed = [permit.role, *(role for name, role in permit.with_parameter.items() if name in request.query)]
                return next(role for role in reversed(Role) if role in needed)
        return Role.SUPPORT if method == "GET" and path[0] not in _FOR_PROGRAMS else Role.OPERATE


def segments(request: web.BaseRequest) -> list[str]:
    """Return the parts of the path between its slashes. It is split before it is decoded: an id may hold a slash."""
    return [unquote(part) for part in request.raw_path.partition("?")[0].removeprefix("/").split("/")]
