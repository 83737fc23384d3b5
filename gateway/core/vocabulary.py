"""The fields of documented events, and the values of fields whose list is closed. Derived from `events`, for advice only.

New event types, fields and values may appear at any time, so nothing here ever refuses an event or a rule.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from gateway.core import events
from gateway.core.events import EVENT_TYPES, Milestone
from gateway.core.fact_fields import FACT_FIELDS
from gateway.core.ledger import APPROVED, KNOWN_STATES, SUBMITTED, Regression


class OwnEvent(StrEnum):
    """The types of the gateway's own events, which have the source `gateway`."""

    DELIVERY_DEAD = "gateway.delivery_dead"
    SINK_OPENED = "gateway.sink_opened"
    MESSAGE_QUARANTINED = "gateway.message_quarantined"
    SOURCE_REFUSED = "gateway.source_refused"
    SEALED = "gateway.sealed"
    SOURCE_SILENT = "gateway.source_silent"
    SINK_FAILING = "gateway.sink_failing"
    SR_STALLED = "gateway.sr_stalled"
    DRIFT = "gateway.drift"
    SR_DIFFERS = "gateway.sr_differs"


_KINDS = (events.StateChange, events.MediaRejected, events.InvalidateSr)
_OF_OWN_EVENTS = (
    *("sink", "reason", "detail", "message_id", "seal", "number"),
    *("watch", "since", "count", "kind", "value", "path", "known_state"),
)
"""The fields that only the gateway's own events have."""
_OF_RECONCILED = ("updated_at", "reconciled")
"""The fields that only events have which were made from an answer of Legitmark's API."""


def _fields(kind: type[Struct], prefix: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        yield f"{prefix}{field.name}"
        for option in _structs_in(field.type):
            yield from _fields(option, f"{prefix}{field.name}.")


def _structs_in(kind: Any) -> Iterator[type[Struct]]:
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind
    elif get_origin(kind) in (Union, types.UnionType, list):
        for inner in get_args(kind):
            yield from _structs_in(inner)


SENDER_FIELDS: frozenset[str] = frozenset(("event_type", *(field for kind in _KINDS for field in _fields(kind))))
"""The dotted paths of all fields that an event of a sender can have, as documented."""
FIELDS: frozenset[str] = SENDER_FIELDS | {"milestone", "source", *_OF_OWN_EVENTS, *_OF_RECONCILED, *FACT_FIELDS}
"""The same with the derived fields, with facts, and with those of the gateway's own events."""

VALUES: Mapping[str, frozenset[str]] = {
    "event_type": frozenset((*EVENT_TYPES, *(event.value for event in OwnEvent))),
    "milestone": frozenset(milestone.value for milestone in Milestone),
    "state.primary": frozenset(primary for primary, _ in events.STATES),
    "state.supplement": frozenset(supplement for _, supplement in events.STATES if isinstance(supplement, str)),
    "state.before": KNOWN_STATES,
    "skipped": frozenset((SUBMITTED, APPROVED)),
    "terminal_regression": frozenset(regression.value for regression in Regression),
}
"""The values of each field whose list of values is closed."""


def is_state(primary: object, supplement: object) -> bool:
    """Return True if the reference documents this pair of states."""
    return (primary, supplement) in events.STATES or (primary, events.ANY) in events.STATES
