"""Routes without effect, because another route matches the same events or takes them first. Compares patterns as written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from gateway.config.location import Finding, warning
from gateway.config.memo import Memo, Same
from gateway.config.settings import Rule
from gateway.core.patterns import OPERATORS
from gateway.core.routing import GATEWAY

_Asked = Mapping[str, frozenset[str]]
"""The conditions of a pattern: for each field, the alternatives that it allows."""
_ONE_OBJECT = ("state", "invalidation_reason")
"""The fields that hold one object, so that conditions inside it are independent. In a list, all conditions of one table have to
hold for the same element."""


class _Seen(Struct, frozen=True):
    """A rule, and the conditions of its patterns."""

    rule: Rule
    match: tuple[_Asked, ...]
    """A single pattern without conditions if the rule has no pattern."""
    unless: tuple[_Asked, ...]
    own: bool
    """True if the gateway's own events may match it."""
    events: Hashable
    """A key that is equal for rules that match the same events."""


def shadowed(rules: list[Rule], memo: Memo) -> Iterator[Finding]:
    """Yield a warning for each route that has no effect because of an earlier one."""
    everything = next((rule for rule in rules if not rule.route.fallback and _takes_everything(rule)), None)
    own = next((rule for rule in rules if not rule.route.fallback and _takes_all_own(rule)), None)
    seen = [memo.get(("seen", Same(rule)), partial(_seen, rule)) for rule in rules]
    final = _Final([one for one in seen if one.rule.route.final and not one.rule.route.fallback])
    first: dict[Hashable, Rule] = {}
    for one in seen:
        rule = one.rule
        if rule.route.fallback:
            if everything is not None and (own is not None or not one.own):
                yield warning(
                    rule.place, f'can never apply: "{everything.route.name}" matches every event, and this is a fallback'
                )
            continue
        closing = final.covering(one)
        equal = first.setdefault(one.events, rule)
        if closing is not None:
            takes = "takes everything" if _takes_everything(closing) else "takes the same events"
            yield warning(rule.place, f'can never apply: "{closing.route.name}" before it is final, and {takes}')
        elif equal is not rule:
            hint = "one route can name the sinks of both"
            where = rule.place / "match" if rule.route.match else rule.place
            yield warning(where, f'takes the same events as "{equal.route.name}"', hint)
        final.pass_by(one)


class _Final:
    """The final rules so far, indexed by their conditions. Comparing all pairs of a thousand rules would take seconds."""

    def __init__(self, all_of_them: Iterable[_Seen]) -> None:
        """Count the conditions of all final rules, later ones included, to learn which conditions are rare."""
        self._common = Counter(pair for one in all_of_them for pattern in one.match for pair in _pairs(pattern))
        self._by_pair: dict[tuple[str, str] | None, list[tuple[int, _Seen]]] = {}
        self._number = 0

    def pass_by(self, one: _Seen) -> None:
        """Add a rule to the index if it is final."""
        if one.rule.route.final:
            self._number += 1
            for pattern in one.match:
                for pair in self._rarest(pattern):
                    self._by_pair.setdefault(pair, []).append((self._number, one))

    def covering(self, one: _Seen) -> Rule | None:
        """Return the first rule that matches every event that `one` could match; None if there is none."""
        strict = one.match[0]
        pairs = [None, *((field, min(allowed)) for field, allowed in strict.items() if allowed)]
        candidates = {number: other for pair in pairs for number, other in self._by_pair.get(pair, ())}
        return next((candidates[number].rule for number in sorted(candidates) if _covers(candidates[number], one)), None)

    def _rarest(self, pattern: _Asked) -> list[tuple[str, str] | None]:
        """Return the alternatives of the field that the fewest rules use. A stricter pattern allows only some of them."""
        if not pattern:
            return [None]
        field = min(pattern, key=lambda name: max((self._common[name, one] for one in pattern[name]), default=0))
        return [(field, one) for one in pattern[field]]


def _takes_everything(rule: Rule) -> bool:
    return not rule.route.match and not rule.route.unless and not rule.route.sources


def _takes_all_own(rule: Rule) -> bool:
    """Return True if the rule takes every event of the gateway itself."""
    return GATEWAY in rule.route.sources and not rule.route.match and not rule.route.unless


def _covers(other: _Seen, one: _Seen) -> bool:
    """Return True if `other` matches every event that `one` could match."""
    by, to = other.rule.route, one.rule.route
    if by.unless and _in_any_order(other.unless) != _in_any_order(one.unless):
        return False
    if by.sources and not (to.sources and set(to.sources) <= set(by.sources)):
        return False
    if not by.sources and one.own and not other.own:
        return False  # the gateway's own events never match the other rule
    return all(any(_asks_less(loose, strict) for loose in other.match) for strict in one.match)


def _asks_less(loose: _Asked, strict: _Asked) -> bool:
    """Return True if every event that meets `strict` also meets `loose`."""
    return all(field in strict and strict[field] <= allowed for field, allowed in loose.items())


def _seen(rule: Rule) -> _Seen:
    match, unless = _patterns(rule.settings.match), _patterns(rule.settings.unless)
    events = (_in_any_order(match), _in_any_order(unless), frozenset(rule.route.sources))
    return _Seen(rule, match, unless, rule.route.for_own_events() is not None, events)


def _patterns(raw: dict[str, Any] | list[dict[str, Any]] | None) -> tuple[_Asked, ...]:
    tables = [raw] if isinstance(raw, dict) else raw or [{}]
    return tuple(dict(_asked(table, "")) for table in tables)


def _pairs(pattern: _Asked) -> Iterator[tuple[str, str]]:
    return ((field, one) for field, allowed in pattern.items() for one in allowed)


def _in_any_order(patterns: tuple[_Asked, ...]) -> Hashable:
    return frozenset(frozenset(pattern.items()) for pattern in patterns)


def _asked(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, frozenset[str]]]:
    for key, raw in table.items():
        path = f"{prefix}{key}"
        if isinstance(raw, dict) and path in _ONE_OBJECT and not any(name in OPERATORS for name in raw):
            yield from _asked(raw, f"{path}.")
        else:
            alternatives = raw if isinstance(raw, list) else [raw]
            yield path, frozenset(json.dumps(one, sort_keys=True, default=str) for one in alternatives)
