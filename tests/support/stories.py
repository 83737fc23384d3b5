"""Stories of service requests in the shorthand of the case table (docs/design.md, "The ledger"): `P10 R20` and the like."""

from __future__ import annotations

from typing import Any

from gateway.core.values import rfc3339

BEGINNING = 1_772_000_000.0
"""The instant 0 of every story, in Unix seconds."""
STATES: dict[str, tuple[str, str | None]] = {
    "P": ("QC", "PENDING"),
    "R": ("QC", "REJECTED"),
    "A": ("QC", "APPROVED"),
    "F": ("QC", "COMPLETE"),
    "U": ("UNDERWAY", "ASSIGNED"),
    "C": ("COMPLETE", "APPROVED"),
    "N": ("COMPLETE", "REJECTED"),
    "D": ("COMPLETE", "COMPLETE"),
    "X": ("CANCELLED", None),
    "E": ("ESCALATED", None),
}
"""The letters of state changes: pending, rejected, approved, fast track, underway, complete, not authentic, documented, cancelled
and a state that nobody knows. `M` is a media_rejected and `I` an invalidate_sr."""
LETTERS = "".join((*STATES, "M", "I"))


def bodies(story: str, sr_uuid: str = "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718") -> list[dict[str, Any]]:
    """Return the bodies of a story: for each word a letter, and the second at which it happened."""
    return [_body(word[0], int(word[1:]), sr_uuid) for word in story.split()]


def _body(letter: str, second: int, sr_uuid: str) -> dict[str, Any]:
    common = {"sr_uuid": sr_uuid, "reference_id": "ITEM-1042", "timestamp": rfc3339(BEGINNING + second)}
    match letter:
        case "M":
            return {"event_type": "media_rejected", **common, "sides": [{"side": "Front", "reason": "Glare"}]}
        case "I":
            return {"event_type": "invalidate_sr", **common, "invalidation_reason": {"code": "CANCELLED"}}
        case _:
            primary, supplement = STATES[letter]
            return {"event_type": "state_change", **common, "state": {"primary": primary, "supplement": supplement}}
