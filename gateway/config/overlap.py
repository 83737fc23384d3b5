"""Routes that say nothing, since another one says it already, or takes everything before them. Compares patterns as written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.place import Finding, warning
from gateway.config.settings import Rule
from gateway.core.patterns import OPERATORS
from gateway.core.routing import GATEWAY

_Asked = Mapping[str, frozenset[str]]
"""What a pattern asks: by field, the alternatives that it allows there."""
_ONE_OBJECT = ("state", "invalidation_reason")
"""Fields that hold one object: a condition inside it can stand for itself. (On a list, those of one table hang together.)"""


def shadowed(rules: list[Rule]) -> Iterator[Finding]:
    """Routes that say nothing, since another one before them says it or takes everything."""
    everything = next((rule for rule in rules if not rule.route.fallback and _takes_everything(rule)), None)
    own = next((rule for rule in rules if not rule.route.fallback and _takes_all_own(rule)), None)
    for number, rule in enumerate(rules):
        if rule.route.fallback:
            if everything is not None and (own is not None or rule.route.for_own_events() is None):
                yield warning(
                    rule.place, f'can never apply: "{everything.route.name}" matches every event, and this is a fallback'
                )
            continue
        closing = next((other for other in rules[:number] if other.route.final and _covers(other, rule)), None)
        equal = next((other for other in rules[:number] if _same(other, rule) and not other.route.fallback), None)
        if closing is not None:
            takes = "takes everything" if _takes_everything(closing) else "takes the same events"
            yield warning(rule.place, f'can never apply: "{closing.route.name}" before it is final, and {takes}')
        elif equal is not None:
            hint = "one route can name the sinks of both"
            where = rule.place / "match" if rule.route.match else rule.place
            yield warning(where, f'takes the same events as "{equal.route.name}"', hint)


def _takes_everything(rule: Rule) -> bool:
    return not rule.route.match and not rule.route.unless and not rule.route.sources


def _takes_all_own(rule: Rule) -> bool:
    """Whether it takes every event of the gateway itself."""
    return GATEWAY in rule.route.sources and not rule.route.match and not rule.route.unless


def _covers(other: Rule, rule: Rule) -> bool:
    """Whatever `rule` could apply to, `other` applies to."""
    if other.route.fallback or (other.route.unless and _patterns(other.settings.unless) != _patterns(rule.settings.unless)):
        return False
    if other.route.sources and not (rule.route.sources and set(rule.route.sources) <= set(other.route.sources)):
        return False
    if not other.route.sources and rule.route.for_own_events() is not None and other.route.for_own_events() is None:
        return False  # the gateway's own events pass it by
    return all(
        any(_asks_less(loose, strict) for loose in _patterns(other.settings.match)) for strict in _patterns(rule.settings.match)
    )


def _same(one: Rule, other: Rule) -> bool:
    return (
        _patterns(one.settings.match) == _patterns(other.settings.match)
        and _patterns(one.settings.unless) == _patterns(other.settings.unless)
        and set(one.route.sources) == set(other.route.sources)
    )


def _asks_less(loose: _Asked, strict: _Asked) -> bool:
    """Whatever meets `strict` meets `loose`."""
    return all(field in strict and strict[field] <= allowed for field, allowed in loose.items())


def _patterns(raw: dict[str, Any] | list[dict[str, Any]] | None) -> list[_Asked]:
    """In an order of their own; none asks nothing."""
    tables = [raw] if isinstance(raw, dict) else raw or [{}]
    return sorted((dict(_asked(table, "")) for table in tables), key=lambda asked: json.dumps(sorted(asked), default=str))


def _asked(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, frozenset[str]]]:
    for key, raw in table.items():
        path = f"{prefix}{key}"
        if isinstance(raw, dict) and path in _ONE_OBJECT and not any(name in OPERATORS for name in raw):
            yield from _asked(raw, f"{path}.")
        else:
            alternatives = raw if isinstance(raw, list) else [raw]
            yield path, frozenset(json.dumps(one, sort_keys=True, default=str) for one in alternatives)
