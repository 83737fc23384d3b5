"""Places in a configuration, by file and keys, and findings about them. `positions` looks up their lines and columns."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from gateway.sinks.checking import Keys, Say

_NAMED = ("sinks", "sources")
_LISTED = ("routes", "tests", "watch")
_USERS = ("admin", "users")
"""The keys of the table that holds the tables of users."""


class Place(Struct, frozen=True):
    """A file, and the keys from its top down to a value; a number counts the elements of a list from 0."""

    file: Path
    keys: tuple[str | int, ...] = ()
    name: str = ""
    """The name of the route or test, which is shown instead of its number; "" if it has none."""

    def __truediv__(self, key: str | int) -> Place:
        return Place(self.file, (*self.keys, key), self.name)

    def holds(self, other: Place) -> bool:
        """Return True if the other place is this one or inside it."""
        return self.file == other.file and other.keys[: len(self.keys)] == self.keys

    @property
    def _depth(self) -> int:
        """The number of keys that the header of its table has."""
        if len(self.keys) > len(_USERS) and self.keys[: len(_USERS)] == _USERS:
            return len(_USERS) + 1
        return 2 if self.keys[0] in _NAMED else 1

    @property
    def is_key(self) -> bool:
        """True for a key inside a table, such as `[sinks.erp] retry`; False for a table of the file."""
        return len(self.keys) > (2 if self.keys[0] in _LISTED else self._depth)

    def __str__(self) -> str:
        """The place as people name it: `[sinks.erp] retry`, `[[routes]] "verdicts" match.state.primary`."""
        if not self.keys:
            return "file"
        if self.keys[0] == "include":
            return "include"
        if self.keys[0] in _LISTED:
            depth = 2
            number = f" {self.keys[1] + 1}" if len(self.keys) > 1 and isinstance(self.keys[1], int) else ""
            head = f"[[{self.keys[0]}]]" + (f' "{self.name}"' if self.name else number)
        else:
            depth = self._depth
            head = f"[{'.'.join(str(key) for key in self.keys[:depth])}]"
        rest = ".".join(key for key in self.keys[depth:] if isinstance(key, str))
        return f"{head} {rest}" if rest else head


class Finding(Struct, frozen=True):
    """An error or a warning at a place, before its line and column are looked up."""

    place: Place
    wrong: str
    hint: str = ""
    level: Literal["error", "warning"] = "error"
    on: Literal["key", "value"] = "value"
    """The text that the caret points at."""


Findings = list[Finding]


def warning(where: Place, wrong: str, hint: str = "", *, on_key: bool = False) -> Finding:
    return Finding(where, wrong, hint, level="warning", on="key" if on_key else "value")


def say_at(where: Place, findings: Findings) -> Say:
    """Return a function that adds a finding at a key of a table, or at a value inside it."""

    def say(
        keys: Keys,
        wrong: str,
        hint: str = "",
        *,
        on: Literal["key", "value"] = "value",
        level: Literal["error", "warning"] = "error",
    ) -> None:
        place = where
        for key in (keys,) if isinstance(keys, str) else keys:
            place = place / key
        findings.append(Finding(place, wrong, hint, level, on))

    return say
