"""The people and programs that use the admin listener: who they are, and what they may do. Pure.

role       sees and does
support    the ledger, lists, deliveries and the status; never the body of a message, nor what a receiver answered
read       bodies, too
operate    acts: replay, discard, pause, reload, ...
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from gateway.core.secrets import Secret
from gateway.core.values import Actor

ADMIN = "admin"
"""The user of `[admin] token`, and of every client that needs no token on this host."""
OWN_ACTORS = ("SIGHUP", "reload", "gap", "source_silent")
"""Actors of the audit log that are no users: the gateway acts by itself."""
_LONGEST_NAME = 128

Way = Literal["token", "session", "proxy", "socket", "host"]
"""How a visitor was authenticated: by a bearer token, by the session of a browser, by the user header of a trusted proxy, as
root or the gateway's own user on the unix socket, or by being on this host while nobody is asked for a token."""


class Role(StrEnum):
    """A right to see and to do things. Each role includes the one before it."""

    SUPPORT = "support"
    READ = "read"
    OPERATE = "operate"

    def includes(self, other: Role) -> bool:
        """Return True if this role may do everything that the other one may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = tuple(Role)


class User(Struct, frozen=True):
    """A user of the configuration."""

    name: str
    role: Role
    token: Secret | None
    """The token to sign in with; None: only a proxy can say that a request is theirs."""

    def is_still(self, other: User | None) -> bool:
        """Return True if the other one is the same user with the same token and role."""
        if other is None or (self.name, self.role) != (other.name, other.role):
            return False
        tokens = [None if one.token is None else one.token.reveal() for one in (self, other)]
        return tokens[0] == tokens[1]


class Visitor(Struct, frozen=True):
    """The user whom a request is from."""

    name: str
    role: Role
    way: Way

    @property
    def sees_bodies(self) -> bool:
        return self.may(Role.READ)

    def may(self, role: Role) -> bool:
        """Return True if the visitor may do what a role is needed for."""
        return self.role.includes(role)

    def acting(self, claimed: str | None = None) -> Actor:
        """Return the actor of an act of this visitor.

        Args:
            claimed: the name that the request gives for who acts; it is kept, and never trusted.
        """
        return Actor(self.name, claimed if claimed and claimed != self.name else None)


def unfit_name(name: str) -> str | None:
    """Return why no user can have this name; None if one can.

    Names come from identity providers, so they may be mail addresses, and have letters of any script. A comma is how proxies
    join two values of a header.
    """
    if not name or name != name.strip() or len(name) > _LONGEST_NAME or not name.isprintable() or "," in name:
        return f"must have 1 to {_LONGEST_NAME} printable characters, without a comma, and without spaces around them"
    if name == ADMIN:
        return "is the user of [admin] token"
    if name in OWN_ACTORS:
        return "stands for the gateway itself in the audit log"
    return None
