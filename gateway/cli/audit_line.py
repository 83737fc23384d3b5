"""A line of the audit log: read, selected, and shown to people with its time and its verdict first. Reads no file."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from gateway.cli.output import for_people, printable
from gateway.core.audit_event_table import AUDIT_EVENTS
from gateway.core.audit_events import AuditSealed

STYLES = {
    "accepted": "green",
    "delivered": "green",
    "closed": "green",
    "duplicate": "cyan",
    "retrying": "yellow",
    "deferred": "yellow",
    "unrouted": "yellow",
    "stalled": "yellow",
    "found": "cyan",
    "joined": "cyan",
    "opened": "red",
    "failing": "red",
    "silent": "red",
    "rejected": "red",
    "quarantined": "red",
    "dead": "bold red",
    "refused": "bold red",
    "differs": "bold red",
    "not_found": "yellow",
    "finished": "green",
}
"""The rich style of a verdict: the part of an event's name after the dot. Others are plain."""
FAILED = frozenset(event.name for event in AUDIT_EVENTS.values() if event.failed)
"""The events that `--failed` selects."""


class Wanted(Struct, frozen=True):
    """Selects the lines that fit every condition."""

    sr: str | None = None
    """A service request, a reference id, or an id of a message."""
    sink: str | None = None
    failed: bool = False
    earliest: str = ""
    """RFC 3339 in UTC, as the lines write it; an empty text selects all."""
    seals: bool = True
    """Seals count, too. They come every minute and tell a person nothing."""

    def __call__(self, line: dict[str, Any]) -> bool:
        ids = (line.get("sr_uuid"), line.get("reference_id"), line.get("message_id"), line.get("sender_id"))
        return (
            (self.sr is None or self.sr in ids)
            and (self.sink is None or line.get("sink") == self.sink)
            and (not self.failed or str(line.get("event")) in FAILED)
            and (self.seals or line.get("event") != AuditSealed.name)
            and not self.too_old(line)
        )

    def too_old(self, line: dict[str, Any]) -> bool:
        """Return True if a line was written before the earliest instant."""
        return str(line.get("time", "")) < self.earliest


def parsed(raw: bytes) -> dict[str, Any] | None:
    """Return a line as an object; None if it is not one, such as a torn line after a power cut."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def style_of(line: dict[str, Any]) -> str:
    """Return the rich style for the verdict of a line."""
    return STYLES.get(str(line.get("event", "")).partition(".")[2], "")


def readable(line: dict[str, Any]) -> tuple[str, str, str]:
    """Return the time of day, the verdict, and the rest of an audit line, without control characters from the sender."""
    event = str(line.get("event", "?"))
    return str(line.get("time", ""))[11:23], event, printable("  ".join(filter(None, _parts(event, for_people(line)))))


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
    for key in ("watch", "reason", "detail", "count", "actor", "claimed"):
        if line.get(key):
            parts.append(f"{key} {line[key]}" if key in ("count", "actor", "claimed") else str(line[key]))
    if line.get("told_by"):
        parts.append(f"told by {line['told_by']}")
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
