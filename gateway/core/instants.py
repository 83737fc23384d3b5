"""Texts that name an instant: one parser for the timestamps of events, the options of commands and the lines of logs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_WRITTEN = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?(?:([Zz])|([+-][0-9]{2}:[0-5][0-9]))?"
)
_OTHER = re.compile(
    r"[0-9]{4}-?(?:[0-9]{2}-?[0-9]{2}|W[0-9]{2}-?[1-7])"  # a date, or a day of a week
    r"(?:[Tt ](?!24)[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]+)?)?)?(?:[Zz]|[+-][0-9]{2}(?::?[0-5][0-9])?)?)?"
)
"""The other forms of ISO 8601 that are read. `fromisoformat` takes more, and other forms in each version of Python."""


def parse_instant(text: str) -> float:
    """Unix seconds of an instant as RFC 3339 writes it (section 5.6), or in another form of ISO 8601; without a zone it is UTC.

    `T` and `Z` may be small letters, a fraction may have any length, and a leap second (`:60`) is the second after it, as
    Unix time counts. Raises ValueError if the text is no instant.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        if _OTHER.fullmatch(text) is None:
            raise ValueError("no instant of ISO 8601")
        return _seconds(datetime.fromisoformat(text))
    day, minute, second, fraction, _, offset = match.groups()
    if minute.startswith("24"):
        raise ValueError("an hour lies between 00 and 23")  # RFC 3339; some versions of `fromisoformat` take it
    leap = second == "60"
    whole = _seconds(datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{offset or '+00:00'}"))
    return whole + leap + (float(f"0.{fraction}") if fraction else 0.0)


def _seconds(at: datetime) -> float:
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except OverflowError:
        raise ValueError("the instant lies outside the years 1 to 9999") from None
