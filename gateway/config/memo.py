"""Keeps the results of a load for the next one, so that a reload costs as much as changed, however much there is.

Decides nothing: the same key has to mean the same result, so only work that looks at nothing else goes through here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_T = TypeVar("_T")
_F = TypeVar("_F")


class Same:
    """One object as a key: equal to itself alone, however alike another one is."""

    __slots__ = ("_it",)

    def __init__(self, it: object) -> None:
        self._it = it  # kept, so that no other object gets its id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self._it is other._it

    def __hash__(self) -> int:
        return id(self._it)


class Memo:
    """The results of one load. It remembers what that load asked for, so it never grows beyond one configuration."""

    def __init__(self, before: Memo | None = None, *, pause: Callable[[], None] = lambda: None) -> None:
        """Begin a load.

        Args:
            before: the memo of an earlier load, which is only read: an abandoned load may still be using it.
            pause: called between any two steps, some 10 for each table; for a thread that has to give way.
        """
        self._pause = pause
        self._before = {} if before is None else before._now
        self._now: dict[Hashable, tuple[Hashable, Any]] = {}
        """Each with its key: the old one goes on, so that thousands of new ones don't call for the garbage collector."""

    def get(self, key: Hashable, work: Callable[[], _T]) -> _T:
        """Return what `work` returned for this key before, or else what it returns now. What it raises is not kept."""
        self._pause()
        entry = self._now.get(key)
        if entry is None:
            entry = self._before.get(key) or (key, work())
            self._now[entry[0]] = entry
        found: _T = entry[1]
        return found

    def collect(self, key: Hashable, found: list[_F], work: Callable[[list[_F]], _T]) -> _T:
        """Do what `get` does for work that adds to a list what it finds: the same is added again each time."""

        def collected() -> tuple[_T, list[_F]]:
            added: list[_F] = []
            return work(added), added

        result, added = self.get(key, collected)
        found += added
        return result

    def text(self, table: object) -> str:
        """A text that is the same for two tables of TOML only if they are: 1 is not 1.0, nor true."""
        return self.get(("text", Same(table)), lambda: repr(table))
