"""Values that a sender says for the first time: a type, a state, a field or a reason. Pure.

Everything that the sender documents counts as known. The texts come from outside, so each is cut, and their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from msgspec import Struct

from gateway.core.events import EVENT_TYPES, STATES, Event
from gateway.core.vocabulary import SENDER_FIELDS, is_state
from gateway.core.watches import state_text

DriftKind = Literal["type", "state", "field", "reason"]
KINDS: tuple[DriftKind, ...] = get_args(DriftKind)
MOST_KNOWN = 1000
"""Values of one source and kind that are remembered. Beyond them, nothing new of that kind is reported."""
MOST_IN_AN_HOUR = 20
"""Events about new values in an hour, over all sources."""
_LONGEST = 200
"""Characters of a value or a path; the rest is cut."""
_MOST_FIELDS = 256
"""Fields and elements of one body that are looked at."""
_DEEPEST = 8
"""Levels of nested objects and lists that are looked at."""


class Word(Struct, frozen=True):
    """A value that an event has, of a kind whose values are remembered."""

    kind: DriftKind
    value: str
    """The path of a field stands without the numbers of list elements here: `sides[].angle`."""
    path: str
    """The place in the body, such as `sides[1].reason`."""


class Learned(Struct, frozen=True):
    """A value that is known from now on."""

    source: str
    kind: DriftKind
    value: str
    at: float
    """Unix seconds, UTC."""


def words(event: Event) -> list[Word]:
    """Return the values of an event that no document of the sender lists, each once."""
    found: dict[tuple[str, str], Word] = {}
    for word in _words(event):
        found.setdefault((word.kind, word.value), word)
    return list(found.values())


def drift_values(word: Word, source: str) -> dict[str, Any]:
    """Return the fields of the event about a new value."""
    return {
        "source": source,
        "kind": word.kind,
        "value": word.value,
        "path": word.path,
        "detail": f"{source} sent the {word.kind} {word.value!r} for the first time, at {word.path}",
    }


def _words(event: Event) -> Iterator[Word]:
    values = event.values
    if event.event_type is not None and event.event_type not in EVENT_TYPES:
        yield Word("type", event.event_type[:_LONGEST], "event_type")
    state = values.get("state")
    if isinstance(state, dict):
        primary, supplement = state.get("primary"), state.get("supplement")
        if isinstance(primary, str) and (supplement is None or isinstance(supplement, str)) and not is_state(primary, supplement):
            known = any(primary == name for name, _ in STATES)
            yield Word("state", state_text(primary, supplement)[:_LONGEST], "state.supplement" if known else "state.primary")
    yield from _reasons(values)
    yield from _fields(values)


def _reasons(values: Mapping[str, Any]) -> Iterator[Word]:
    sides = values.get("sides")
    for number, side in enumerate(sides[:_MOST_FIELDS] if isinstance(sides, list) else ()):
        if isinstance(side, dict) and isinstance(reason := side.get("reason"), str) and reason:
            yield Word("reason", reason[:_LONGEST], f"sides[{number}].reason")
    given = values.get("invalidation_reason")
    if isinstance(given, dict) and isinstance(code := given.get("code"), str) and code and code != "CANCELLED":
        yield Word("reason", code[:_LONGEST], "invalidation_reason.code")


def _fields(values: Mapping[str, Any]) -> Iterator[Word]:
    """Yield the fields of a body that are not documented. Below such a field, only the field itself is named."""
    left = _MOST_FIELDS
    # Each with its depth, the documented form of its path, its path as a value, and its place.
    waiting: list[tuple[Any, int, str, str, str]] = [(values, 0, "", "", "")]
    while waiting and left > 0:
        value, depth, plain, path, place = waiting.pop()
        dot = "." if path else ""
        inner: list[tuple[Any, int, str, str, str]] = []
        if isinstance(value, list):
            left -= len(value)
            inner = [
                (item, depth + 1, plain, f"{path}[]", f"{place}[{number}]") for number, item in enumerate(value[:_MOST_FIELDS])
            ]
        else:
            for name, item in value.items():
                left -= 1
                if f"{plain}{dot}{name}" not in SENDER_FIELDS:
                    yield Word("field", f"{path}{dot}{name}"[:_LONGEST], f"{place}{dot}{name}"[:_LONGEST])
                elif isinstance(item, (dict, list)):
                    inner.append((item, depth + 1, f"{plain}{dot}{name}", f"{path}{dot}{name}", f"{place}{dot}{name}"))
                if left <= 0:
                    return
        if depth < _DEEPEST:
            waiting += [one for one in reversed(inner) if isinstance(one[0], (dict, list))]
