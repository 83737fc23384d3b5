"""The pattern language of `match` and `unless` (CONTRACT section 3): compile once, match often, explain.

A pattern is a table of fields, AND-ed. A field's condition is a scalar, a list (any of), a table of operators (AND) or
a table of nested fields. An absent or null field matches nothing but `{ exists = false }` and `{ not = ... }`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import re2
from msgspec import Struct

OPERATORS = ("prefix", "suffix", "glob", "regex", "not", "exists", "ignore_case", "gt", "gte", "lt", "lte")


class PatternProblem(Struct, frozen=True):
    """Something in a pattern that can't be compiled; `path` is the key as written."""

    path: str
    message: str
    hint: str = ""


class Failure(Struct, frozen=True):
    """The first condition of a pattern that an event does not meet."""

    path: str
    expected: Any
    actual: Any


class Condition(Protocol):
    raw: Any
    """As written in TOML: what `explain` shows as expected."""

    def matches(self, value: Any) -> bool: ...


class Pattern:
    """A compiled table of fields."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def __str__(self) -> str:
        return ", ".join(_describe(self._fields.raw, ""))

    def matches(self, values: Mapping[str, Any]) -> bool:
        return self._fields.matches(values)

    def given(self, known: Mapping[str, Any]) -> Pattern | bool:
        """What is left of the pattern for events of which these top-level fields are known; True or False where nothing is."""
        left = []
        for name, condition in self._fields.conditions:
            if name not in known:
                left.append((name, condition))
            elif not condition.matches(known[name]):
                return False
        return Pattern(Fields(self._fields.raw, tuple(left))) if left else True

    def failure(self, values: Mapping[str, Any]) -> Failure | None:
        """The first condition in the pattern's order that does not hold; None where all do."""
        return self._fields.failure(values, "")


def compile_pattern(table: Mapping[str, Any]) -> tuple[Pattern, list[PatternProblem]]:
    """Compile a `match` or `unless` table; with problems, the pattern must not be used."""
    problems: list[PatternProblem] = []
    for key in table:
        if key in OPERATORS:
            hint = "to match what does not fit, write `unless = { ... }`" if key == "not" else f"write: field = {{ {key} = ... }}"
            problems.append(PatternProblem(key, f'"{key}" is an operator, and needs a field before it', hint))
    return Pattern(_compile_fields(table, "", problems)), problems


class Fields:
    """A table of fields: on an array, one element has to meet all of them."""

    def __init__(self, raw: Any, conditions: tuple[tuple[str, Condition], ...]) -> None:
        self.raw = raw
        self.conditions = conditions

    def matches(self, value: Any) -> bool:
        return _any_element(value, self._holds)

    def failure(self, value: Any, path: str) -> Failure | None:
        if isinstance(value, list):
            return None if self.matches(value) else Failure(path, self.raw, value)
        table = value if isinstance(value, dict) else {}
        for name, condition in self.conditions:
            actual, inner = table.get(name), f"{path}.{name}" if path else name
            if isinstance(condition, Fields):
                if failure := condition.failure(actual, inner):
                    return failure
            elif not condition.matches(actual):
                return Failure(inner, condition.raw, actual)
        return None

    def _holds(self, value: Any) -> bool:
        table = value if isinstance(value, dict) else {}
        return all(condition.matches(table.get(name)) for name, condition in self.conditions)


class Equals:
    def __init__(self, raw: str | int | float | bool) -> None:
        self.raw = raw

    def matches(self, value: Any) -> bool:
        return _any_element(value, self._holds)

    def _holds(self, value: Any) -> bool:
        # Python says that True == 1; JSON does not.
        return bool(value == self.raw) and isinstance(value, bool) == isinstance(self.raw, bool)


class AnyOf:
    def __init__(self, raw: Any, conditions: tuple[Condition, ...]) -> None:
        self.raw = raw
        self._conditions = conditions

    def matches(self, value: Any) -> bool:
        return any(condition.matches(value) for condition in self._conditions)


class Operators:
    """A table of operators: on an array, one element has to meet all of them, and `not` speaks of every element."""

    def __init__(
        self, raw: Any, tests: tuple[Callable[[Any], bool], ...], negated: Condition | None, exists: bool | None
    ) -> None:
        self.raw = raw
        self._tests = tests
        self._negated = negated
        self._exists = exists

    def matches(self, value: Any) -> bool:
        if self._exists is not None and (value is not None) != self._exists:
            return False
        if self._negated is not None and self._negated.matches(value):
            return False
        return not self._tests or _any_element(value, self._holds)

    def _holds(self, value: Any) -> bool:
        return all(test(value) for test in self._tests)


def _describe(raw: Any, path: str) -> list[str]:
    if isinstance(raw, dict) and not any(key in OPERATORS for key in raw):
        return [part for key, inner in raw.items() for part in _describe(inner, f"{path}.{key}" if path else key)]
    if isinstance(raw, dict):
        return [f"{path} {operator} {_shown(operand)}" for operator, operand in raw.items()]
    return [f"{path} = {_shown(raw)}"]


def _shown(raw: Any) -> str:
    return " or ".join(_shown(item) for item in raw) if isinstance(raw, list) else str(raw)


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


def _compile_fields(table: Mapping[str, Any], path: str, problems: list[PatternProblem]) -> Fields:
    fields: list[tuple[str, Condition]] = []
    for key, raw in table.items():
        inner = f"{path}.{key}" if path else key
        names = key.split(".")
        if not all(names):
            problems.append(PatternProblem(inner, "a path has a name between its dots"))
            continue
        condition = _compile_condition(raw, inner, problems)
        for name in reversed(names[1:]):
            condition = Fields({name: condition.raw}, ((name, condition),))
        fields.append((names[0], condition))
    return Fields(dict(table), tuple(fields))


def _compile_condition(raw: Any, path: str, problems: list[PatternProblem]) -> Condition:
    if isinstance(raw, (str, bool, int, float)):
        return Equals(raw)
    if isinstance(raw, list):
        if not raw:
            problems.append(PatternProblem(path, "an empty list matches nothing", "remove the field, or name a value"))
        return AnyOf(raw, tuple(_compile_condition(item, path, problems) for item in raw))
    if isinstance(raw, dict):
        operators = [key for key in raw if key in OPERATORS]
        if operators and len(operators) == len(raw):
            return _compile_operators(raw, path, problems)
        if operators:
            problems.append(
                PatternProblem(
                    path,
                    f'mixes the operator "{operators[0]}" with fields',
                    f'a field of that name is written as a quoted path: "{path}.{operators[0]}" = ...',
                )
            )
        if not raw:
            problems.append(PatternProblem(path, "an empty table says nothing", "write { exists = true } for any value"))
        return _compile_fields(raw, path, problems)
    problems.append(PatternProblem(path, "a date is not a JSON value", "put it in quotes: timestamps are strings"))
    return Equals("")


def _compile_operators(raw: dict[str, Any], path: str, problems: list[PatternProblem]) -> Operators:
    tests: list[Callable[[Any], bool]] = []
    negated: Condition | None = None
    exists: bool | None = None
    for operator, operand in raw.items():
        inner = f"{path}.{operator}"
        if operator == "not":
            negated = _compile_condition(operand, inner, problems)
        elif operator == "exists":
            if isinstance(operand, bool):
                exists = operand
            else:
                problems.append(PatternProblem(inner, "has to be true or false"))
        elif operator in ("gt", "gte", "lt", "lte"):
            if isinstance(operand, (int, float)) and not isinstance(operand, bool):
                tests.append(_number_test(operator, operand))
            else:
                problems.append(PatternProblem(inner, "needs a number"))
        else:
            alternatives = operand if isinstance(operand, list) else [operand]
            if alternatives and all(isinstance(text, str) for text in alternatives):
                tests.append(_any_text([_text_test(operator, text, inner, problems) for text in alternatives]))
            else:
                problems.append(PatternProblem(inner, "needs a text, or a list of texts"))
    return Operators(raw, tuple(tests), negated, exists)


def _number_test(operator: str, bound: float) -> Callable[[Any], bool]:
    compare: Callable[[float], bool] = {
        "gt": lambda value: value > bound,
        "gte": lambda value: value >= bound,
        "lt": lambda value: value < bound,
        "lte": lambda value: value <= bound,
    }[operator]
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and compare(value)


def _any_text(tests: list[Callable[[str], bool]]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and any(test(value) for test in tests)


def _text_test(operator: str, text: str, path: str, problems: list[PatternProblem]) -> Callable[[str], bool]:
    match operator:
        case "prefix":
            return lambda value: value.startswith(text)
        case "suffix":
            return lambda value: value.endswith(text)
        case "ignore_case":
            folded = text.casefold()
            return lambda value: value.casefold() == folded
        case "glob":
            # Through RE2 too: backtracking over several stars takes time in their number's power.
            return _regex_test("(?s)" + "".join(_GLOB.get(part, re.escape(part)) for part in text), path, problems)
        case _:
            return _regex_test(text, path, problems)


_GLOB = {"*": ".*", "?": "."}


def _regex_test(source: str, path: str, problems: list[PatternProblem]) -> Callable[[str], bool]:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(source, options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        problems.append(
            PatternProblem(path, f"is not an RE2 expression: {said}", "RE2 has no look-around and no back-references")
        )
        return lambda value: False
    return lambda value: compiled.fullmatch(value) is not None
