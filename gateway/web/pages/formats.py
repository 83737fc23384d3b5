"""Numbers, spans of time, sizes and instants as a page writes them, in a language. Instants are shown in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from minijinja import Markup, escape

from gateway.core.instants import parse_instant
from gateway.core.values import EARLIEST, LATEST, rfc3339
from gateway.web.pages.catalogue import Catalogue

Instant = float | str | datetime
"""Unix seconds, RFC 3339, or a datetime with its zone."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WHOLE = 10
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


class Formats:
    """The forms of one language."""

    def __init__(self, texts: Catalogue) -> None:
        self._texts = texts

    def number(self, number: float | None) -> str:
        """Return a number with separators of thousands, without decimals from 10 on; `?` if it is not known."""
        if number is None:
            return "?"
        return f"{number:,g}" if isinstance(number, float) and number < _WHOLE else f"{round(number):,}"

    def size(self, number: int) -> str:
        """Return a number of bytes, such as `1.5 MiB`."""
        unit, bytes_of_unit = next((one for one in _SIZES if number >= one[1]), ("B", 1))
        return f"{number / bytes_of_unit:.1f} {unit}" if bytes_of_unit > 1 else f"{number} B"

    def span(self, seconds: float) -> str:
        """Return a duration in its two largest units: minutes alone, and seconds below a minute."""
        whole = int(max(seconds, 0.0))
        parts = [("day", whole // _DAY), ("hour", whole % _DAY // _HOUR), ("minute", whole % _HOUR // _MINUTE)]
        if whole < _MINUTE:
            parts = [("second", whole)]
        first = next(at for at, (_, number) in enumerate(parts) if number) if whole else 0
        units = [one for one in parts[first : first + 2] if one[1] or len(parts) == 1]
        return " ".join(self._texts.text(f"span.{unit}", n=number) for unit, number in units)

    def moment(self, instant: Instant | None, now: float, *, seconds: bool = False) -> str:
        """Return an instant as a `time` element: the day and the minute, or the second; its title has the exact instant."""
        return "" if instant is None else _element(instant, self.day_and_time(instant, now, seconds=seconds))

    def ago(self, instant: Instant | None, now: float) -> str:
        """Return how long ago an instant was, as a `time` element that the script of the page keeps right."""
        if instant is None:
            return ""
        text = self._texts.text("span.ago", span=self.span(now - _seconds(instant)))
        return _element(instant, text, kept=" data-ago")

    def until(self, instant: Instant | None, now: float) -> str:
        """Return how long it is until an instant, as such an element."""
        if instant is None:
            return ""
        text = self._texts.text("span.until", span=self.span(_seconds(instant) - now))
        return _element(instant, text, kept=" data-until")

    def day_and_time(self, instant: Instant, now: float, *, seconds: bool = False) -> str:
        """Return an instant in words, such as `28 Nov 13:30`, with its year unless that is the present one."""
        at, today = (datetime.fromtimestamp(one, UTC) for one in (_seconds(instant), now))
        key = "date.minute" if at.year == today.year else "date.minute_of_year"
        month = self._texts.text(f"month.{at.month}")
        return self._texts.text(
            key, year=str(at.year), month=month, day=str(at.day), time=f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"
        )


def plain_value(text: str) -> str:
    """Return a value that is written in JSON as people write it: a word without quotes, alternatives with a bar between them."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # it was cut, or it is text
        return text
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one and one == one.strip() and "|" not in one for one in values):
        return text
    return " | ".join(values)


def _element(instant: Instant, text: str, kept: str = "") -> str:
    exact = rfc3339(_seconds(instant))
    return Markup(f'<time datetime="{exact}" title="{exact}"{kept}>{escape(text)}</time>')


def _seconds(instant: Instant) -> float:
    if isinstance(instant, datetime):
        return instant.timestamp()
    found = parse_instant(instant) if isinstance(instant, str) else instant
    return min(max(found, EARLIEST), LATEST)
