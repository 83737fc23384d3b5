"""An audit line as a person reads it: aligned, the verdict first, the ids last."""

from __future__ import annotations

from typing import Any

from gateway.cli.output import printable

STYLES = {
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
"""The rich style of a verdict: the part of an event's name after the dot. Others are plain."""


def style_of(line: dict[str, Any]) -> str:
    """A rich style for the verdict of a line."""
    return STYLES.get(str(line.get("event", "")).partition(".")[2], "")


def readable(line: dict[str, Any]) -> tuple[str, str, str]:
    """The clock time, the verdict, and the rest of an audit line. Control characters of a sender can't get through."""
    event = str(line.get("event", "?"))
    return str(line.get("time", ""))[11:23], event, printable("  ".join(part for part in _parts(event, line) if part))


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
