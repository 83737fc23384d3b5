"""Says who a request to the admin listener is from.

The first that fits: a bearer token; the session of a browser; the user header of a trusted proxy; root or our own user on the
unix socket; any client on this host, while the configuration names no users.
"""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web

from gateway.core.users import ADMIN, Role, User, Visitor, unfit_name
from gateway.web.door.callers import is_our_own, is_passed_on, peer_of, scheme_of
from gateway.web.door.door_settings import DoorSettings
from gateway.web.door.sessions import Sessions


class BadUserHeader(Exception):
    """A trusted proxy names the user in a way that cannot be right."""


class Authentication:
    """Knows the users and their sessions."""

    def __init__(self, settings: DoorSettings, sessions: Sessions) -> None:
        self._sessions = sessions
        self.use(settings)

    def use(self, settings: DoorSettings) -> None:
        """Know other users from now on. The sessions of those who left, or have another token or role, end."""
        self.settings = settings
        self._tokens = [(_digest(user.token.reveal()), user) for user in settings.users if user.token is not None]
        self._sessions.keep(settings.users)

    @property
    def has_tokens(self) -> bool:
        """True if somebody can sign in."""
        return bool(self._tokens)

    def visitor(self, request: web.BaseRequest) -> Visitor | None:
        """Return who a request is from; None if it does not say. Raises BadUserHeader."""
        if (user := self.user_of_token(_bearer(request))) is not None:
            return Visitor(user.name, user.role, "token")
        if (user := self._sessions.user(self.session_id(request))) is not None:
            return Visitor(user.name, user.role, "session")
        settings = self.settings
        if settings.vouches(peer_of(request)) and (name := _named(request, settings.user_header or "")) is not None:
            known = settings.user(name)
            return Visitor(name, settings.header_role if known is None else known.role, "proxy")
        # A proxy that runs as root, and forgot to say who asks, is not root.
        if is_our_own(request) and not (settings.user_header is not None and is_passed_on(request)):
            return Visitor(ADMIN, Role.OPERATE, "socket")
        return None if settings.asks else Visitor(ADMIN, Role.OPERATE, "host")

    def user_of_token(self, token: str) -> User | None:
        """Return whose token it is; None if nobody has it. It takes the same time whatever the token is."""
        given = _digest(token)
        fitting = [user for digest, user in self._tokens if hmac.compare_digest(digest, given)]
        return fitting[0] if fitting else None

    def session_id(self, request: web.BaseRequest) -> str:
        """Return the id of the session that a browser sends; "" if it sends none."""
        return request.cookies.get(self.cookie_name(request), "")

    def cookie_name(self, request: web.BaseRequest) -> str:
        """Return the name of the cookie with the id of the session.

        The port belongs to it, because browsers send a cookie to every port of a host (RFC 6265, section 8.5), and people have
        several gateways on localhost, each behind a tunnel.
        """
        port = request.headers.get("Host", "").rpartition(":")[2]
        suffix = f"-{port}" if port.isascii() and port.isdecimal() and len(port) <= 5 else ""
        # RFC 6265bis, section 4.1.3.2: no other host and no plain http can set a cookie with this prefix.
        prefix = "__Host-" if scheme_of(request, self.settings) == "https" else ""
        return f"{prefix}gateway-session{suffix}"


def _bearer(request: web.BaseRequest) -> str:
    """Return the token of a request (RFC 6750, section 2.1); "" if it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _digest(token: str) -> bytes:
    """Return texts of one length for tokens of any length, because a comparison of two lengths takes another time."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _named(request: web.BaseRequest, header: str) -> str | None:
    """Return the name in the user header; None if it is missing. Raises BadUserHeader."""
    lines = request.headers.getall(header, ())
    if not lines:
        return None
    if len(lines) > 1:
        raise BadUserHeader(f"the header {header} came twice: the proxy has to replace what a client sends")
    if (why := unfit_name(lines[0])) is not None:
        raise BadUserHeader(f"the header {header} names no user: a name {why}")
    return lines[0]
