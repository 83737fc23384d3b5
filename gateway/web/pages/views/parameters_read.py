"""Parameters that several views read: words of a closed list, and instants. A wrong one is a Mistake that says what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.core.instants import parse_instant
from gateway.core.values import EARLIEST, LATEST, Duration
from gateway.web.pages.asking import Asked, Mistake

SPANS: Final = (("1h", 3600), ("24h", 86400), ("7d", 7 * 86400), ("30d", 30 * 86400))
"""The spans that filters offer, with their seconds; the URL takes any other."""


def word(asked: Asked, name: str, known: Sequence[str]) -> str | None:
    """Return a parameter that is one word of a list; None if it is absent."""
    return one_of(asked.query, name, known)


def one_of(given: Mapping[str, str], name: str, known: Sequence[str]) -> str | None:
    """Return a parameter, or a field of a form, that is one word of a list; None if it is absent."""
    found = given.get(name)
    if found is not None and found not in known:
        raise Mistake(f'"{name}" is one of {", ".join(known)}')
    return found


def switched_on(asked: Asked, name: str) -> bool:
    """Return True if a parameter is `true`."""
    return word(asked, name, ("true", "false")) == "true"


def instant(asked: Asked, name: str) -> float | None:
    """Return a parameter as Unix seconds: a span before now such as `2h`, or an instant of RFC 3339; None if it is absent."""
    return instant_of(asked.query, name, asked.now)


def number(asked: Asked, name: str) -> int | None:
    """Return a parameter that an earlier page gave, such as the place where a list goes on; None if it is absent."""
    if (given := asked.query.get(name)) is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Mistake(f'"{name}" is what an earlier page gave')
    return int(given)


def instant_of(given: Mapping[str, str], name: str, now: float) -> float | None:
    """Return a parameter, or a field of a form, as `instant` does."""
    if (found := given.get(name)) is None:
        return None
    try:
        return now - Duration(found)
    except ValueError:
        pass
    try:
        return min(max(parse_instant(found), EARLIEST), LATEST)
    except (ValueError, OverflowError):
        raise Mistake(f'"{name}" is a span such as "2h", or a time such as "2026-03-01T09:00:00Z"') from None
