"""Warnings about fields and values that no documented event has, in patterns and in tests. Most of them are misspelt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.config.decode import suggestion
from gateway.config.location import Finding, Place, warning
from gateway.config.settings import Test
from gateway.core.fact_fields import FACT_FIELDS
from gateway.core.patterns import OPERATORS
from gateway.core.vocabulary import FIELDS, VALUES, is_state

_KINDS: Mapping[type, tuple[tuple[type, ...], str]] = {bool: ((bool,), "true or false"), int: ((int, float), "a whole number")}
"""The types that a literal may have in a condition on a fact of a type, and how a warning names them."""


class _Asked(NamedTuple):
    """A field that a pattern names, and one value that it names for the field, if any."""

    path: str
    field: Place
    value: Place
    literal: Any = None


def of_pattern(table: dict[str, Any], where: Place, sources: frozenset[str]) -> Iterator[Finding]:
    """Find unknown fields and values in one table of `match` or `unless`."""
    yield from _unknown_words(list(_fields(table, where, "")), {**VALUES, "source": sources})


def of_test(test: Test, sources: frozenset[str]) -> Iterator[Finding]:
    """Find unknown fields and values in the event of a test, and in its `without`."""
    for finding in of_pattern(test.settings.event, test.place / "event", sources):
        if finding.hint.startswith("did you mean"):  # a test may use a new field or value on purpose
            yield finding
    for number, name in enumerate(test.settings.without):
        if name not in FIELDS and name not in test.settings.event:
            yield warning(test.place / "without" / number, "no known event has this field", _meant(name, FIELDS))


def _unknown_words(asked: list[_Asked], values: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    """Yield a warning for each field or value that no documented event has.

    A rule for an unknown event type may know more than the gateway, so only its event type is reported.
    """
    if any(one.path == "event_type" and isinstance(one.literal, str) and one.literal not in values[one.path] for one in asked):
        asked = [one for one in asked if one.path == "event_type"]
    for field, path in dict.fromkeys((one.field, one.path) for one in asked):
        if path not in FIELDS:
            yield warning(field, "no known event has this field", _meant_field(path), on_key=True)
    for one in asked:
        known = values.get(one.path)
        if known is not None and one.literal is not None and one.literal not in known:
            what = "there is no such source" if one.path == "source" else "no documented event has this value here"
            yield warning(one.value, what, suggestion(str(one.literal), known))
        kinds, name = _KINDS.get(FACT_FIELDS.get(one.path, str), ((), ""))
        if kinds and one.literal is not None and type(one.literal) not in kinds:
            yield warning(one.value, f"never matches: {one.path} is {name}")
    yield from _impossible_pairs(asked)


def _impossible_pairs(asked: list[_Asked]) -> Iterator[Finding]:
    tables: dict[str, dict[str, _Asked]] = {}
    for one in asked:
        # Plain values only: another value of a list may fit.
        if one.path in ("state.primary", "state.supplement") and one.field == one.value and "not" not in one.field.keys:
            table = ".".join(map(str, one.field.keys)).rpartition(".")[0]
            tables.setdefault(table, {})[one.path] = one
    for pair in tables.values():
        if len(pair) < 2:
            continue
        primary, supplement = pair["state.primary"].literal, pair["state.supplement"].literal
        documented = primary in VALUES["state.primary"] and supplement in VALUES["state.supplement"]
        if documented and not is_state(primary, supplement):
            yield warning(pair["state.supplement"].value, f'"{primary}" never comes with "{supplement}"')


def _fields(table: dict[str, Any], where: Place, prefix: str) -> Iterator[_Asked]:
    for key, raw in table.items():
        # An operator without a field and a path with an empty name are already reported as errors.
        if (prefix or key not in OPERATORS) and all(key.split(".")):
            yield from _condition(raw, f"{prefix}{key}", where / key, where / key)


def _condition(raw: Any, path: str, field: Place, where: Place) -> Iterator[_Asked]:
    if isinstance(raw, list):
        for number, item in enumerate(raw):
            yield from _condition(item, path, field, where / number)
    elif isinstance(raw, dict) and any(name in OPERATORS for name in raw):
        yield _Asked(path, field, where)
        if "not" in raw:
            yield from _condition(raw["not"], path, field, where / "not")
    elif isinstance(raw, dict):
        yield from _fields(raw, where, f"{path}.")
    else:
        yield _Asked(path, field, where, raw)


def _meant_field(path: str) -> str:
    """Suggest the field that was probably meant, or the operator if the field above holds no object."""
    above, _, last = path.rpartition(".")
    holds_object = any(field.startswith(f"{above}.") for field in FIELDS)
    if above in FIELDS and not holds_object:
        meant = _meant(last, frozenset(OPERATORS))
        return meant.replace("did you mean", "did you mean the operator") if meant else f"operators: {', '.join(OPERATORS)}"
    return _meant(path, FIELDS)


def _meant(path: str, known: frozenset[str]) -> str:
    said = suggestion(path, known)
    return said if said.startswith("did you mean") else ""
