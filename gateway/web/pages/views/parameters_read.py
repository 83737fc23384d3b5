"""Parameters that several views read: words of a closed list, and instants. A wrong one is a Mistake that says what is right."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.instants import parse_instant
from gateway.core.values import EARLIEST, LATEST, Duration
from gateway.web.pages.asking import Asked, Mistake


def word(asked: Asked, name: str, known: Sequence[str]) -> str | None:
    """Return a parameter that is one word of a list; None if it is absent."""
    given = asked.query.get(name)
    if given is not None and given not in known:
        raise Mistake(f'"{name}" is one of {", ".join(known)}')
    return given


def switched_on(asked: Asked, name: str) -> bool:
    """Return True if a parameter is `true`."""
    return word(asked, name, ("true", "false")) == "true"


def instant(asked: Asked, name: str) -> float | None:
    """Return a parameter as Unix seconds: a span before now such as `2h`, or an instant of RFC 3339; None if it is absent."""
    if (given := asked.query.get(name)) is None:
        return None
    try:
        return asked.now - Duration(given)
    except ValueError:
        pass
    try:
        return min(max(parse_instant(given), EARLIEST), LATEST)
    except (ValueError, OverflowError):
        raise Mistake(f'"{name}" is a span such as "2h", or a time such as "2026-03-01T09:00:00Z"') from None
