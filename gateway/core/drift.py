"""Values that a sender says for the first time: a type, a state, a field or a reason. Pure.

Everything that the sender documents counts as known. The texts come from outside, so each is cut, and their number is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from msgspec import Struct

from gateway.core.events import EVENT_TYPES, STATES, Event, State
from gateway.core.vocabulary import SENDER_FIELDS, is_state

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
_Tree = dict[str, "_Tree"]
"""Fields by their names, each with the fields below it."""


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


def words(event: Event, known_reasons: Collection[str] = ()) -> list[Word]:
    """Return the values of an event that no document of the sender lists, each once.

    Args:
        known_reasons: reasons to leave out. No document lists any, so most messages with reasons have known ones.
    """
    found: list[Word] = []
    values = event.values
    if event.event_type is not None and event.event_type not in EVENT_TYPES:
        found.append(Word("type", event.event_type[:_LONGEST], "event_type"))
    if "state" in values and (state := _state(values["state"])) is not None:
        found.append(state)
    if "sides" in values or "invalidation_reason" in values:
        found += _reasons(values, known_reasons)
    _look(values, _DOCUMENTED, (), found, _MOST_FIELDS)
    if len(found) < 2:
        return found
    once: dict[tuple[str, str], Word] = {}
    for word in found:
        once.setdefault((word.kind, word.value), word)
    return list(once.values())


def drift_values(word: Word, source: str) -> dict[str, Any]:
    """Return the fields of the event about a new value."""
    return {
        "source": source,
        "kind": word.kind,
        "value": word.value,
        "path": word.path,
        "detail": f"{source} sent the {word.kind} {word.value!r} for the first time, at {word.path}",
    }


def _state(state: object) -> Word | None:
    if not isinstance(state, dict):
        return None
    primary, supplement = state.get("primary"), state.get("supplement")
    if not isinstance(primary, str) or not (supplement is None or isinstance(supplement, str)) or is_state(primary, supplement):
        return None
    known = any(primary == name for name, _ in STATES)
    return Word("state", State(primary, supplement).text[:_LONGEST], "state.supplement" if known else "state.primary")


def _reasons(values: Mapping[str, Any], known: Collection[str]) -> Iterator[Word]:
    sides = values.get("sides")
    for number, side in enumerate(sides[:_MOST_FIELDS] if isinstance(sides, list) else ()):
        reason = side.get("reason") if isinstance(side, dict) else None
        if isinstance(reason, str) and reason and reason[:_LONGEST] not in known:
            yield Word("reason", reason[:_LONGEST], f"sides[{number}].reason")
    given = values.get("invalidation_reason")
    code = given.get("code") if isinstance(given, dict) else None
    if isinstance(code, str) and code not in ("", "CANCELLED") and code[:_LONGEST] not in known:
        yield Word("reason", code[:_LONGEST], "invalidation_reason.code")


def _look(values: dict[str, Any], documented: _Tree, path: tuple[str | int, ...], found: list[Word], left: int) -> int:
    """Add the fields that are not documented. Below such a field, only the field itself is named.

    Args:
        left: fields and elements that may still be looked at.
    Returns how many may be looked at after this.
    """
    for name, item in values.items():
        left -= 1
        if left < 0:
            return left
        inner = documented.get(name, _NEW)
        if inner is _NEW:
            found.append(_field((*path, name)))
        elif inner and isinstance(item, dict):
            left = _look(item, inner, (*path, name), found, left)
        elif inner and isinstance(item, list):
            for number, one in enumerate(item):
                left -= 1
                if left < 0:
                    return left
                if isinstance(one, dict):
                    left = _look(one, inner, (*path, name, number), found, left)
    return left


def _field(path: tuple[str | int, ...]) -> Word:
    """Return a field by its path: as a value without the numbers of elements, and as a place with them."""
    value = place = ""
    for part in path:
        dot = "." if value else ""
        value += "[]" if isinstance(part, int) else f"{dot}{part}"
        place += f"[{part}]" if isinstance(part, int) else f"{dot}{part}"
    return Word("field", value[:_LONGEST], place[:_LONGEST])


def _tree(paths: Iterable[str]) -> _Tree:
    """Return dotted paths as nested tables."""
    tree: _Tree = {}
    for path in paths:
        inner = tree
        for name in path.split("."):
            inner = inner.setdefault(name, {})
    return tree


_DOCUMENTED = _tree(SENDER_FIELDS)
_NEW: _Tree = {"": {}}
"""Stands for a field that is not documented."""
