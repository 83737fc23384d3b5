"""The grammar of instants: one parser for the timestamps of events, the options of commands and the lines of logs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_USUAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z")
"""The form that JavaScript writes, and with it the sender. Every version of `fromisoformat` reads it, in a third of the time."""
_WRITTEN = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?(?:([Zz])|([+-][0-9]{2}:[0-5][0-9]))?"
)
_OTHER = re.compile(
    r"[0-9]{4}-?(?:[0-9]{2}-?[0-9]{2}|W[0-9]{2}-?[1-7])"  # a date, or a day of a week
    r"(?:[Tt ](?!24)[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]+)?)?)?(?:[Zz]|[+-][0-9]{2}(?::?[0-5][0-9])?)?)?"
)
"""The other forms of ISO 8601 that are accepted. `fromisoformat` accepts more, and which ones depends on Python's version."""


def parse_instant(text: str) -> float:
    """Return the Unix seconds of an instant in the form of RFC 3339 (section 5.6) or another form of ISO 8601.

    Without a zone, the instant is UTC. `T` and `Z` may be lower case, a fraction may have any length, and a leap second
    (`:60`) counts as the second after it, as in Unix time. Raises ValueError if the text is not an instant.
    """
    if _USUAL.fullmatch(text) is not None:
        return datetime.fromisoformat(text).timestamp()
    match = _WRITTEN.fullmatch(text)
    if match is None:
        if _OTHER.fullmatch(text) is None:
            raise ValueError("not an instant of ISO 8601")
        return _seconds(datetime.fromisoformat(text))
    day, minute, second, fraction, _, offset = match.groups()
    if minute.startswith("24"):
        raise ValueError("an hour must be between 00 and 23")  # RFC 3339; some versions of `fromisoformat` accept 24
    leap = second == "60"
    whole = _seconds(datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{offset or '+00:00'}"))
    return whole + leap + (float(f"0.{fraction}") if fraction else 0.0)


def _seconds(at: datetime) -> float:
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except OverflowError:
        raise ValueError("the instant is outside the years 1 to 9999") from None
