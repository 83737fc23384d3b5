"""Secrets: where one lies, and the value that no output ever shows."""

from __future__ import annotations

from typing import NoReturn

from msgspec import Struct


class Secret:
    """A secret in memory. It shows itself as `***` everywhere but in `reveal`, and can't be written: no pickle, no JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for the one place that signs or authenticates with it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret can't be pickled")


class SecretRef(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret lies; exactly one of the three is set. The configuration never holds the secret itself."""

    env: str | None = None
    file: str | None = None
    credential: str | None = None

    def __str__(self) -> str:
        return " and ".join(f"{kind} {getattr(self, kind)}" for kind in self.kinds()) or "nothing"

    def kinds(self) -> list[str]:
        """Which of the three are set: exactly one, in a configuration that was found good."""
        return [kind for kind in ("env", "file", "credential") if getattr(self, kind) is not None]
