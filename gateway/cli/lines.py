"""An audit line as a person reads it: aligned, the verdict first, the ids last. Used by `tail` and `demo`."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from unicodedata import category

_STYLES = {
    "accepted": "green",
    "delivered": "green",
    "closed": "green",
    "duplicate": "cyan",
    "retrying": "yellow",
    "deferred": "yellow",
    "unrouted": "yellow",
    "opened": "red",
    "rejected": "red",
    "quarantined": "red",
    "dead": "bold red",
    "refused": "bold red",
}


def style_of(line: dict[str, Any]) -> str:
    """A rich style for the verdict of a line."""
    return _STYLES.get(str(line.get("event", "")).partition(".")[2], "")


def readable(line: dict[str, Any]) -> tuple[str, str, str]:
    """The clock time, the verdict, and the rest of an audit line. Control characters of a sender can't get through."""
    event = str(line.get("event", "?"))
    return str(line.get("time", ""))[11:23], event, printable("  ".join(part for part in _parts(event, line) if part))


def printable(text: str, also: str = "") -> str:
    """Return a text as it came, with a ? in place of each character that could draw on a terminal or hide what stands there.

    Args:
        also: characters that are left alone as well.
    """
    return "".join(
        one if one.isprintable() or one in also or one in _HARMLESS or category(one) not in _DRAWING else "?" for one in text
    )


_DRAWING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control characters, among them those of direction (Cf), halves of a surrogate pair, and line breaks."""
_HARMLESS = frozenset("\u00ad\u200c\u200d").union(map(chr, range(0xE0020, 0xE0080)))
"""The ones that people write: the soft hyphen, the joiners of Persian and of emoji, the tags of a flag."""


def to_json(document: Any, *, compact: bool = False) -> str:
    """A document as JSON that any reader takes: letters as they are, lone surrogates escaped.

    A number beyond the range of a float, such as 1e400, is infinite once it was read; it is written as one that every reader
    takes for infinite too, since JSON has no word for it (RFC 8259, section 6).
    """
    separators = (",", ":") if compact else None
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=separators)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=separators)
    except ValueError:
        text = json.dumps(_finite(document), separators=separators)
        return re.sub(rf'"{_INFINITE}(-?1e999)"', r"\1", text)
    return text


_INFINITE = "infinite-5b0d1c9e-"
"""Begins a text that stands for an infinite number until the document is JSON."""


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{_INFINITE}{'-' if value < 0 else ''}1e999"
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def size(number: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def _parts(event: str, line: dict[str, Any]) -> list[str]:
    subject = str(line.get("reference_id") or line.get("sr_uuid") or "")
    what = str(line.get("milestone") or line.get("event_type") or "")
    if line.get("milestone") == "unrecognized":
        what = str(line.get("event_type") or "unrecognized")
    parts = [str(line.get("sink") or ""), what, subject]
    if event.startswith("delivery.") and "attempt" in line:
        parts.append(f"attempt {line['attempt']}")
    if "status" in line:
        parts.append(str(line["status"]))
    if "duration_ms" in line:
        parts.append(f"{line['duration_ms']} ms")
    for key in ("reason", "detail", "count", "actor", "claimed"):
        if line.get(key):
            parts.append(f"{key} {line[key]}" if key in ("count", "actor", "claimed") else str(line[key]))
    if line.get("next_attempt_at"):
        parts.append(f"next {str(line['next_attempt_at'])[11:19]}")
    if isinstance(line.get("sinks"), list):
        parts.append("-> " + (", ".join(map(str, line["sinks"])) or "nobody"))
    if isinstance(line.get("routes"), list):
        parts.append("by " + (", ".join(map(str, line["routes"])) or "no route"))
    if line.get("conflict"):
        parts.append("another body")
    if line.get("message_id"):
        parts.append(str(line["message_id"]))
    return parts
