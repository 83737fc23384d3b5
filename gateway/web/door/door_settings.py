"""The settings of the door of the admin listener, with their secrets."""

from __future__ import annotations

from msgspec import Struct

from gateway.core.networks import UNIX, Networks
from gateway.core.users import Role, User


class DoorSettings(Struct, frozen=True, kw_only=True):
    """The users of the admin listener, and the proxies and host names in front of it."""

    users: tuple[User, ...] = ()
    """The users of the configuration; `[admin] token` is the user `admin`."""
    hosts: frozenset[str] = frozenset()
    """Host names, in lower case, by which the listener may be called beside `localhost`."""
    user_header: str | None = None
    """The header in which a proxy names the user; None: none does."""
    header_role: Role = Role.SUPPORT
    """The role of a user whom a proxy names, and the configuration does not."""
    proxies: Networks = Networks()
    """The proxies whose X-Forwarded-For and user header count."""

    @property
    def asks(self) -> bool:
        """True if a request on this host has to say who it is from."""
        return bool(self.users) or self.user_header is not None

    def user(self, name: str) -> User | None:
        return next((user for user in self.users if user.name == name), None)

    def vouches(self, peer: str) -> bool:
        """Return True if what the peer says about its client counts: the user and the scheme.

        Those who may connect to the unix socket are let in by its owner and its group.
        """
        return self.user_header is not None and (peer == UNIX or self.proxies.hold(peer))
