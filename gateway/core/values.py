"""Values with units (durations, sizes, rates), the text form of instants, and the actor of an action."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self

import durationpy

_SIZE_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST_DURATION = 10 * 365 * 86400.0
"""Seconds. The bound keeps the sum of an instant and a duration within the range of `datetime`."""
LARGEST_SIZE = 2**63 - 1
"""Bytes. SQLite and the kernel cannot count more."""


class Duration(float):
    """A span of time in seconds, from 0 to ten years, written `"30s"`, `"1h30m"` or `"90d"`."""

    def __new__(cls, value: str | float) -> Self:
        if isinstance(value, str):
            try:
                if re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+", value, re.ASCII) is None:
                    raise durationpy.DurationError
                value = durationpy.from_str(value).total_seconds()
            except (durationpy.DurationError, OverflowError):
                raise ValueError(f'"{value}" is not a duration; write "30s", "5m", "2h" or "90d"') from None
        if not 0 <= value <= LONGEST_DURATION:
            raise ValueError("a duration must be between 0s and ten years")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            if self >= seconds and self % seconds == 0:
                return f"{int(self // seconds)}{unit}"
        return f"{round(self * 1000)}ms" if self else "0s"


class Size(int):
    """A number of bytes, at most 8 EiB, written `"256KiB"`, `"1MiB"` or `"512B"`."""

    def __new__(cls, value: str | int) -> Self:
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,12}) ?([A-Za-z]{1,3})", value)
            if match is None or match[2] not in _SIZE_UNITS:
                raise ValueError(f'"{value}" is not a size; write "256KiB", "1MiB" or "512B" (kB is 1000, KiB 1024)')
            value = int(match[1]) * _SIZE_UNITS[match[2]]
        if not 0 <= value <= LARGEST_SIZE:
            raise ValueError("a size must be between 0B and 8EiB")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _SIZE_UNITS[unit] == 0:
                return f"{self // _SIZE_UNITS[unit]}{unit}"
        return f"{int(self)}B"


class Rate(float):
    """Deliveries per second, above 0, written `"50/s"`, `"100/m"` or `"600/h"`."""

    def __new__(cls, value: str | float) -> Self:
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/([smh])", value)
            if match is None:
                raise ValueError(f'"{value}" is not a rate; write "50/s", "100/m" or "600/h"')
            value = float(match[1]) / _RATE_UNITS[match[2]]
        if value <= 0:
            raise ValueError("a rate must be above 0")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        for unit, seconds in _RATE_UNITS.items():
            count = float(self) * seconds
            if round(count) and abs(count - round(count)) < 1e-6:
                return f"{round(count)}/{unit}"
        return f"{float(self) * _RATE_UNITS['h']:.6f}/h"


def rfc3339(instant: float) -> str:
    """Format an instant, given in Unix seconds, as `2026-03-01T22:06:01.250Z` (RFC 3339, section 5.6).

    An instant outside the years 1 to 9999 becomes the nearest one inside: senders may date an event `0001-01-01T00:00:00+14:00`.
    """
    return _rfc3339(round(min(max(instant, EARLIEST), LATEST) * 1000))


EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
"""The first and the last second that RFC 3339 can write in UTC, of the years 1 and 9999 (Unix seconds)."""


@lru_cache(maxsize=256)
def _rfc3339(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Actor(str):
    """The authenticated user who acts. The name that the request claims for that user is kept as well, but never trusted."""

    claimed: str | None
    """The name that the request claims; None if it claims none."""

    def __new__(cls, user: str, claimed: str | None = None) -> Actor:
        made = super().__new__(cls, user)
        made.claimed = claimed
        return made


def claim_of(actor: str) -> str | None:
    """Return the name that a request claimed for its actor; None if it claimed none, or if the actor did not send a request."""
    return actor.claimed if isinstance(actor, Actor) else None
