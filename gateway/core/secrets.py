"""Secrets: references to them, and values that no output ever shows."""

from __future__ import annotations

from typing import NoReturn

from msgspec import Struct


class Secret:
    """A secret in memory. Only `reveal` returns it: its text form is `***`, and neither pickle nor JSON can encode it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the code that signs or authenticates with it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class SecretRef(Struct, frozen=True, forbid_unknown_fields=True):
    """A reference to a secret; exactly one of the three fields is set. The configuration never holds the secret itself."""

    env: str | None = None
    file: str | None = None
    credential: str | None = None

    def __str__(self) -> str:
        return " and ".join(f"{kind} {getattr(self, kind)}" for kind in self.kinds()) or "nothing"

    def kinds(self) -> list[str]:
        """List the fields that are set. A valid configuration sets exactly one."""
        return [kind for kind in ("env", "file", "credential") if getattr(self, kind) is not None]
