"""Conditions on one value in an event: the parts of a compiled pattern (docs/reference.md, "Routing").

With hundreds of routes each call counts, so the usual cases are decided when the pattern is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

_NO_FIELDS: dict[str, Any] = {}


class Mismatch(Struct, frozen=True):
    """The first condition of a pattern that an event does not meet."""

    path: str
    expected: Any
    actual: Any


class Condition(Protocol):
    raw: Any
    """The value as written in TOML; `explain` shows it as expected."""

    def matches(self, value: Any) -> bool: ...


class Fields:
    """A table of fields. On an array, one element has to meet all of them."""

    def __init__(self, raw: Any, conditions: tuple[tuple[str, Condition], ...]) -> None:
        self.raw = raw
        self.matches: Callable[[Any], bool]
        self.conditions = conditions
        self._tests = tuple((name, condition.matches) for name, condition in conditions)
        self.matches = self._one() if len(conditions) == 1 else self._all

    def _all(self, value: Any) -> bool:
        if isinstance(value, list):
            return _any_element(value, self._all)
        table = value if isinstance(value, dict) else _NO_FIELDS
        for name, matches in self._tests:  # noqa: SIM110 (a generator costs more than the tests themselves)
            if not matches(table.get(name)):
                return False
        return True

    def _one(self) -> Callable[[Any], bool]:
        """Match a table of one field without a loop: most tables have one field."""
        ((name, test),) = self._tests

        def matches(value: Any) -> bool:
            if isinstance(value, dict):
                return test(value.get(name))
            return _any_element(value, matches) if isinstance(value, list) else test(None)

        return matches

    def failure(self, value: Any, path: str) -> Mismatch | None:
        if isinstance(value, list):
            return None if self.matches(value) else Mismatch(path, self.raw, value)
        table = value if isinstance(value, dict) else {}
        for name, condition in self.conditions:
            actual, inner = table.get(name), f"{path}.{name}" if path else name
            if isinstance(condition, Fields):
                if failure := condition.failure(actual, inner):
                    return failure
            elif not condition.matches(actual):
                return Mismatch(inner, condition.raw, actual)
        return None

    def asked(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        table = value if isinstance(value, dict) else _NO_FIELDS
        for name, condition in self.conditions:
            inner, actual = f"{path}.{name}" if path else name, table.get(name)
            if isinstance(condition, Fields) and not isinstance(actual, list):
                yield from condition.asked(actual, inner)
            else:
                yield inner, actual

    def holding(self, value: Any) -> int:
        """Return how many of the conditions hold; on an array, those of its best element."""
        tables = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else [value]
        return max((self._holding_in(table) for table in tables if isinstance(table, dict)), default=self._holding_in({}))

    def _holding_in(self, table: dict[str, Any]) -> int:
        return sum(
            condition.holding(table.get(name)) if isinstance(condition, Fields) else condition.matches(table.get(name))
            for name, condition in self.conditions
        )


class Equals:
    def __init__(self, raw: str | int | float | bool) -> None:
        self.raw = raw

    def matches(self, value: Any) -> bool:
        if isinstance(value, str):
            return value == self.raw
        return _any_element(value, self._holds)

    def _holds(self, value: Any) -> bool:
        # Python says that True == 1; JSON does not.
        return bool(value == self.raw) and isinstance(value, bool) == isinstance(self.raw, bool)


class AnyOf:
    def __init__(self, raw: Any, conditions: tuple[Condition, ...]) -> None:
        self.raw = raw
        self._conditions = conditions
        self._texts = frozenset(
            condition.raw for condition in conditions if isinstance(condition, Equals) and isinstance(condition.raw, str)
        )
        self._others = tuple(c.matches for c in conditions if not (isinstance(c, Equals) and isinstance(c.raw, str)))

    def matches(self, value: Any) -> bool:
        if isinstance(value, str):
            return value in self._texts or any(matches(value) for matches in self._others)
        return any(condition.matches(value) for condition in self._conditions)


class Operators:
    """A table of operators. On an array, one element has to meet all of them, and `not` is about every element."""

    def __init__(
        self, raw: Any, tests: tuple[Callable[[Any], bool], ...], negated: Condition | None, exists: bool | None
    ) -> None:
        self.raw = raw
        self._tests = tests
        self._negated = negated
        self._exists = exists
        # Most have one operator: then nothing else is asked.
        self.matches: Callable[[Any], bool] = self._all
        if negated is None and exists is None and len(tests) == 1:
            self.matches = _on_elements(tests[0])
        elif not tests and negated is None:
            self.matches = lambda value: (value is not None) == exists
        elif not tests and exists is None and negated is not None:
            refused = negated.matches
            self.matches = lambda value: not refused(value)

    def _all(self, value: Any) -> bool:
        if self._exists is not None and (value is not None) != self._exists:
            return False
        if self._negated is not None and self._negated.matches(value):
            return False
        if isinstance(value, list):
            return not self._tests or _any_element(value, self._holds)
        return self._holds(value)

    def _holds(self, value: Any) -> bool:
        for test in self._tests:  # noqa: SIM110 (as above)
            if not test(value):
                return False
        return True


def on_table(fields: Fields) -> Callable[[Mapping[str, Any]], bool]:
    if len(fields.conditions) == 1:
        ((name, condition),) = fields.conditions
        matches = condition.matches
        return lambda values: matches(values.get(name))
    return fields.matches


def _on_elements(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _any_element(value, test) if isinstance(value, list) else test(value)


def _any_element(value: Any, holds: Callable[[Any], bool]) -> bool:
    # A loop, since a sender may nest lists deeper than Python may recurse.
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif holds(item):
            return True
    return False
