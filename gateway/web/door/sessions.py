"""The sessions of people who signed in with a browser. They are kept in memory only, so a restart ends them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from msgspec import Struct

from gateway.core.users import User

SESSION_SECONDS = 12 * 3600.0
_MOST_OF_A_USER = 32
"""Sessions of one user at a time; one more ends the oldest. So one user cannot end the sessions of others."""


class _Session(Struct, frozen=True):
    user: User
    ends_at: float
    """Monotonic seconds: a jump of the wall clock makes no session longer."""


class Sessions:
    """Who is signed in. Only hashes of the ids are kept."""

    def __init__(self, *, new_id: Callable[[], str], monotonic: Callable[[], float]) -> None:
        """
        Args:
            new_id: returns a random text of 256 bits that nobody can guess.
            monotonic: returns seconds from an unspecified start.
        """
        self._new_id = new_id
        self._monotonic = monotonic
        self._sessions: dict[bytes, _Session] = {}
        """The sessions by the hash of their id, the oldest first."""

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, user: User) -> str:
        """Begin a session, and return its id."""
        self._forget_ended()
        of_user = [key for key, session in self._sessions.items() if session.user.name == user.name]
        for key in of_user[: max(len(of_user) - _MOST_OF_A_USER + 1, 0)]:
            del self._sessions[key]
        made = self._new_id()
        self._sessions[_hash(made)] = _Session(user, self._monotonic() + SESSION_SECONDS)
        return made

    def user(self, session_id: str) -> User | None:
        """Return whose session it is; None if there is no such session, or it has ended."""
        session = self._sessions.get(_hash(session_id))
        return session.user if session is not None and self._monotonic() < session.ends_at else None

    def end(self, session_id: str) -> None:
        """End a session, if it is there."""
        self._sessions.pop(_hash(session_id), None)

    def keep(self, users: Iterable[User]) -> None:
        """End the sessions of all who are not among these users, with the same token and the same role."""
        known = {user.name: user for user in users}
        self._sessions = {
            key: session for key, session in self._sessions.items() if session.user.is_still(known.get(session.user.name))
        }

    def _forget_ended(self) -> None:
        now = self._monotonic()
        self._sessions = {key: session for key, session in self._sessions.items() if now < session.ends_at}


def _hash(session_id: str) -> bytes:
    """Return the key of a session. The time of a look-up by it says nothing about the ids that exist."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogateescape")).digest()
