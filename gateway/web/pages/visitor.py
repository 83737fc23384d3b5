"""The person who looks at a page, and what the role of that person allows."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class Role(IntEnum):
    """The rights of a user; each role may also do everything that the roles before it may."""

    SUPPORT = 1
    """See service requests and what became of them, and no body."""
    READ = 2
    """See bodies, rules and what people did, too."""
    OPERATE = 3
    """Act, too: replay, discard, pause, resume, probe and drill."""

    @property
    def word(self) -> str:
        """The role as the configuration and the audit log write it."""
        return self.name.lower()


class Visitor(Struct, frozen=True):
    """An authenticated user."""

    name: str
    role: Role

    @property
    def role_word(self) -> str:
        """The word of the role."""
        return self.role.word

    def may(self, role: Role) -> bool:
        """Return True if the visitor may do what a role is needed for."""
        return self.role >= role


def admin_visitor() -> Visitor:
    """Return the visitor that the token of `[admin]`, or the socket, stands for."""
    return Visitor("admin", Role.OPERATE)
