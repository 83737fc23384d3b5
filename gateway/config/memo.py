"""Keeps the results of a load for the next one, so that the cost of a reload depends only on the changes.

It makes no decisions. The same key must always mean the same result, so only functions of their key may be kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_T = TypeVar("_T")
_F = TypeVar("_F")


class Same:
    """An object used as a key by its identity: it equals only itself, never another object with the same content."""

    __slots__ = ("_it",)

    def __init__(self, it: object) -> None:
        self._it = it  # kept, so that no other object gets its id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self._it is other._it

    def __hash__(self) -> int:
        return id(self._it)


class Memo:
    """The results of one load. It keeps only results that this load used, so it never grows beyond one configuration."""

    def __init__(self, before: Memo | None = None, *, pause: Callable[[], None] = lambda: None) -> None:
        """Begin a load.

        Args:
            before: The memo of an earlier load. It is only read, because an abandoned load may still be using it.
            pause: Called between two steps, about 10 times per table, so that a thread can give way to others.
        """
        self._pause = pause
        self._before = {} if before is None else before._now
        self._now: dict[Hashable, tuple[Hashable, Any]] = {}
        """The results with their keys. Old key objects are reused, because thousands of new ones would trigger the garbage
        collector."""

    def get(self, key: Hashable, work: Callable[[], _T]) -> _T:
        """Return the earlier result of `work` for this key, or call it now. Exceptions are not kept."""
        self._pause()
        entry = self._now.get(key)
        if entry is None:
            entry = self._before.get(key) or (key, work())
            self._now[entry[0]] = entry
        found: _T = entry[1]
        return found

    def collect(self, key: Hashable, found: list[_F], work: Callable[[list[_F]], _T]) -> _T:
        """Do the same as `get` for work that adds findings to a list. The same findings are added each time."""

        def collected() -> tuple[_T, list[_F]]:
            added: list[_F] = []
            return work(added), added

        result, added = self.get(key, collected)
        found += added
        return result

    def text(self, table: object) -> str:
        """Return a text that is equal for two TOML tables only if the tables are equal; 1, 1.0 and true are different."""
        return self.get(("text", Same(table)), lambda: repr(table))
