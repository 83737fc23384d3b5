"""A sample of every event that Legitmark documents, for `send`, `route` and the tests in a configuration.

The bodies follow the shapes in Legitmark's public webhook reference. People type the names.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

_STATE_CHANGES = {
    "draft": ("DRAFT", None),
    "qc_pending": ("QC", "PENDING"),
    "qc_rejected": ("QC", "REJECTED"),
    "qc_approved": ("QC", "APPROVED"),
    "qc_complete": ("QC", "COMPLETE"),
    "queued": ("QUEUE", None),
    "awaiting_assignment": ("UNDERWAY", "PENDING"),
    "in_progress": ("UNDERWAY", "ASSIGNED"),
    "concluding": ("UNDERWAY", "APPROVED"),
    "authentic": ("COMPLETE", "APPROVED"),
    "counterfeit": ("COMPLETE", "REJECTED"),
    "documented": ("COMPLETE", "COMPLETE"),
    "cancelled": ("CANCELLED", None),
}
_COMMON = {"sr_uuid": "5a0e7c1d-3b52-4c8e-9f64-d1c2b3a40718", "reference_id": "ITEM-1042"}
_TIMESTAMP = "2026-03-05T10:30:00.000Z"


def _state_change(primary: str, supplement: str | None) -> dict[str, Any]:
    state = {"primary": primary, "supplement": supplement}
    return {"event_type": "state_change", **_COMMON, "state": state, "timestamp": _TIMESTAMP}


def _media_rejected(sides: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    return {"event_type": "media_rejected", **_COMMON, "sides": sides, **more, "timestamp": _TIMESTAMP}


SAMPLES: dict[str, dict[str, Any]] = {
    **{name: _state_change(*state) for name, state in _STATE_CHANGES.items()},
    "needs_resubmission": _media_rejected(
        [
            {"side": "Front", "reason": "Out of focus", "message": "Hold the camera still, and fill the frame."},
            {"side": "Label", "reason": "Glare"},
        ]
    ),
    "needs_resubmission_ja": _media_rejected(
        [{"side": "Front", "reason": "ピントが合っていません", "message": "カメラを固定して、もう一度撮影してください。"}]
    ),
    "needs_resubmission_coded": _media_rejected(
        [
            {
                "side": "Front",
                "side_uuid": "2d4c0f8e-6a17-4a55-8d3b-90b1c7e5f264",
                "reason": "BLURRY",
                "reason_description": "The photo is blurred",
            }
        ],
        state={"primary": "QC", "supplement": "REJECTED"},
    ),
    "invalidated": {
        "event_type": "invalidate_sr",
        **_COMMON,
        "invalidation_reason": {"code": "CANCELLED", "message": "The service request was cancelled"},
        "timestamp": _TIMESTAMP,
    },
    "unrecognized": {
        "event_type": "certificate_issued",
        **_COMMON,
        "certificate": {"number": "LM-0000042"},
        "timestamp": _TIMESTAMP,
    },
}
"""The samples by name, which is the milestone. media_rejected has three published shapes, so it has three samples."""


def filled(event: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Complete the partial event of a test (docs/reference.md, "Command line").

    Missing top-level fields come from the first sample of the same event_type; given fields stay untouched. If no sample has
    that event_type, the fields that every event has are added.
    """
    event_type = event.get("event_type")
    own = (sample for sample in SAMPLES.values() if sample["event_type"] == event_type)
    sample = next(own, {**_COMMON, "timestamp": _TIMESTAMP})
    return {name: value for name, value in {**sample, **event}.items() if name not in without}


def with_values(event: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Return a copy with each `path=value` of `--set` applied. A value that parses as JSON is used as JSON, any other as text.

    Raises ValueError if an assignment has no `=`, has an empty path, or leads through something that is not an object.
    """
    result: dict[str, Any] = json.loads(json.dumps(event))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        names = path.split(".")
        if not equals or not all(names):
            raise ValueError(f'"{assignment}" is not path=value, as in state.primary=COMPLETE')
        table: Any = result
        for name in names[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise ValueError(f'"{path}": {name} is not an object')
        table[names[-1]] = _value(text)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
