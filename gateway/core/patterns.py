"""The pattern language of `match` and `unless` (docs/reference.md, "Routing"): compile once, match often, explain.

A pattern is a table of fields, AND-ed. A field's condition is a scalar, a list (any of), a table of operators (AND) or
a table of nested fields. An absent or null field matches nothing but `{ exists = false }` and `{ not = ... }`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import re2
from msgspec import Struct

from gateway.core.conditions import AnyOf, Condition, Equals, Fields, Mismatch, Operators, on_table

OPERATORS = ("prefix", "suffix", "glob", "regex", "not", "exists", "ignore_case", "gt", "gte", "lt", "lte")


Keys = tuple[str | int, ...]


class PatternProblem(Struct, frozen=True):
    """A part of a pattern that cannot be compiled."""

    keys: Keys
    """The keys as written; a number is the index of a list element, 0-based."""
    wrong: str
    hint: str = ""

    @property
    def path(self) -> str:
        return ".".join(key for key in self.keys if isinstance(key, str))


class Pattern:
    """A compiled table of fields."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.matches = on_table(fields)
        """Returns True if an event fits. An attribute and not a method: with hundreds of routes each call counts."""

    def __str__(self) -> str:
        return ", ".join(_describe(self._fields.raw, ""))

    @property
    def raw(self) -> Any:
        """The pattern as written in TOML."""
        return self._fields.raw

    def asks_about(self, field: str) -> bool:
        """Return True if the pattern has a condition on this top-level field."""
        return any(name == field for name, _ in self._fields.conditions)

    def given(self, known: Mapping[str, Any]) -> Pattern | bool:
        """Return the pattern without the conditions that these top-level fields decide; True or False if they decide all."""
        conditions = self._fields.conditions
        left = tuple((name, condition) for name, condition in conditions if name not in known)
        if not all(condition.matches(known[name]) for name, condition in conditions if name in known):
            return False
        if len(left) == len(conditions):
            return self
        return Pattern(Fields(self._fields.raw, left)) if left else True

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the fields that the pattern asks about, by dotted path."""
        return dict(self._fields.asked(values, ""))

    def failure(self, values: Mapping[str, Any]) -> Mismatch | None:
        """Return the first condition that does not hold, in the order of the pattern; None if all hold."""
        return self._fields.failure(values, "")

    def nearness(self, values: Mapping[str, Any]) -> int:
        """Return how many of its conditions hold. Of several patterns that fail, the one with the most was probably meant."""
        return self._fields.holding(values)


def compile_pattern(table: Mapping[str, Any]) -> tuple[Pattern, list[PatternProblem]]:
    """Compile a `match` or `unless` table. A pattern with problems must not be used."""
    problems: list[PatternProblem] = []
    for key in table:
        if key in OPERATORS:
            hint = "to exclude events, write `unless = { ... }`" if key == "not" else f"write: field = {{ {key} = ... }}"
            problems.append(PatternProblem((key,), f'"{key}" is an operator and needs a field before it', hint))
    return Pattern(_compile_fields(table, (), problems)), problems


def _describe(raw: Any, path: str) -> list[str]:
    if isinstance(raw, dict) and not any(key in OPERATORS for key in raw):
        return [part for key, inner in raw.items() for part in _describe(inner, f"{path}.{key}" if path else key)]
    if isinstance(raw, dict):
        return [f"{path} {operator} {_shown(operand)}" for operator, operand in raw.items()]
    return [f"{path} = {_shown(raw)}"]


def _shown(raw: Any) -> str:
    return " or ".join(_shown(item) for item in raw) if isinstance(raw, list) else str(raw)


def _compile_fields(table: Mapping[str, Any], keys: Keys, problems: list[PatternProblem]) -> Fields:
    fields: list[tuple[str, Condition]] = []
    for key, raw in table.items():
        inner = (*keys, key)
        names = key.split(".")
        if not all(names):
            problems.append(PatternProblem(inner, "a path must have a name on each side of a dot"))
            continue
        condition = _compile_condition(raw, inner, problems)
        for name in reversed(names[1:]):
            condition = Fields({name: condition.raw}, ((name, condition),))
        fields.append((names[0], condition))
    return Fields(dict(table), tuple(fields))


def _compile_condition(raw: Any, keys: Keys, problems: list[PatternProblem]) -> Condition:
    if isinstance(raw, (str, bool, int, float)):
        if _is_infinite(raw):
            problems.append(PatternProblem(keys, "is not a number in JSON"))
        return Equals(raw)
    if isinstance(raw, list):
        if not raw:
            problems.append(PatternProblem(keys, "an empty list matches nothing", "remove the field, or name a value"))
        return AnyOf(raw, tuple(_compile_condition(item, (*keys, number), problems) for number, item in enumerate(raw)))
    if isinstance(raw, dict):
        operators = [key for key in raw if key in OPERATORS]
        if operators and len(operators) == len(raw):
            return _compile_operators(raw, keys, problems)
        if operators:
            field = next(key for key in raw if key not in OPERATORS)
            path = ".".join(key for key in keys if isinstance(key, str))
            meant = difflib.get_close_matches(field, OPERATORS, 1)
            hint = (
                f'did you mean the operator "{meant[0]}"?'
                if meant
                else f'a field is written as a quoted path: "{path}.{field}" = ...'
            )
            problems.append(
                PatternProblem(keys, f'mixes the operator "{operators[0]}" with "{field}", which is not an operator', hint)
            )
        if not raw:
            problems.append(PatternProblem(keys, "an empty table has no condition", "write { exists = true } for any value"))
        return _compile_fields(raw, keys, problems)
    problems.append(PatternProblem(keys, "a date is not a JSON value", "put it in quotes; timestamps are strings"))
    return Equals("")


def _compile_operators(raw: dict[str, Any], keys: Keys, problems: list[PatternProblem]) -> Operators:
    tests: list[Callable[[Any], bool]] = []
    negated: Condition | None = None
    exists: bool | None = None
    for operator, operand in raw.items():
        inner = (*keys, operator)
        if operator == "not":
            negated = _compile_condition(operand, inner, problems)
        elif operator == "exists":
            if isinstance(operand, bool):
                exists = operand
            else:
                problems.append(PatternProblem(inner, "must be true or false"))
        elif operator in ("gt", "gte", "lt", "lte"):
            if isinstance(operand, (int, float)) and not isinstance(operand, bool) and not _is_infinite(operand):
                tests.append(_number_test(operator, operand))
            else:
                problems.append(PatternProblem(inner, "needs a number"))
        else:
            alternatives = operand if isinstance(operand, list) else [operand]
            if alternatives and all(isinstance(text, str) for text in alternatives):
                tests.append(_text_test(operator, tuple(alternatives), inner, problems))
            else:
                problems.append(PatternProblem(inner, "needs a string, or a list of strings"))
    return Operators(raw, tuple(tests), negated, exists)


def _is_infinite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _number_test(operator: str, bound: float) -> Callable[[Any], bool]:
    compare: Callable[[float], bool] = {
        "gt": lambda value: value > bound,
        "gte": lambda value: value >= bound,
        "lt": lambda value: value < bound,
        "lte": lambda value: value <= bound,
    }[operator]
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and compare(value)


def _text_test(operator: str, texts: tuple[str, ...], keys: Keys, problems: list[PatternProblem]) -> Callable[[Any], bool]:
    """Return a test: is the value a text that meets any of the operands?"""
    match operator:
        case "prefix":
            return lambda value: isinstance(value, str) and value.startswith(texts)
        case "suffix":
            return lambda value: isinstance(value, str) and value.endswith(texts)
        case "ignore_case":
            folded = frozenset(text.casefold() for text in texts)
            return lambda value: isinstance(value, str) and value.casefold() in folded
        case "glob":
            # Through RE2 where there is a "?": backtracking over several stars takes time in their number's power.
            if not any("?" in text for text in texts):
                parts = tuple(tuple(text.split("*")) for text in texts)
                if len(parts) == 1:
                    return lambda value: isinstance(value, str) and _has_parts(value, parts[0])
                return lambda value: isinstance(value, str) and any(_has_parts(value, each) for each in parts)
            sources = ["(?s)" + "".join(_GLOB.get(part, re.escape(part)) for part in text) for text in texts]
        case "regex":
            sources = list(texts)
        case _:
            raise AssertionError(f'the operator "{operator}" has no test here')
    matchers = [_regex_test(source, keys, problems) for source in sources]
    if len(matchers) == 1:
        (matches,) = matchers
        return lambda value: isinstance(value, str) and matches(value)
    return lambda value: isinstance(value, str) and any(matches(value) for matches in matchers)


def _has_parts(text: str, parts: tuple[str, ...]) -> bool:
    """Return True if a text consists of these parts in their order, with any text between them.

    Each part is taken at its first place, so the time is linear.
    """
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in parts[1:-1]:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


_GLOB = {"*": ".*", "?": "."}


def _regex_test(source: str, keys: Keys, problems: list[PatternProblem]) -> Callable[[str], bool]:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(source, options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        problems.append(
            PatternProblem(keys, f"is not an RE2 expression: {said}", "RE2 has no look-around and no back-references")
        )
        return lambda value: False
    # In bytes: of a str the binding would count characters, for spans that nobody asks for.
    return lambda value: compiled.fullmatch(value.encode()) is not None
