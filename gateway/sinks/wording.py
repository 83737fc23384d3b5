"""What an event says to a person, in plain English: for Slack and email. Texts of the payload are passed on as they came."""

from __future__ import annotations

from gateway.core.events import Event, InvalidateSr, MediaRejected, Milestone
from gateway.sinks.base import Outgoing

LONGEST_TEXT = 8 * 1024
"""Characters of a whole text; what is longer is cut, and says so."""

_RESERVED = 100
"""Of them, for saying what was cut and for the message's id."""

_HEADLINES = {
    Milestone.DRAFT: "Draft made; photos or payment are missing",
    Milestone.QC_PENDING: "Photos submitted, in quality review",
    Milestone.QC_REJECTED: "Photos failed the quality review",
    Milestone.QC_APPROVED: "Photos passed, authentication starts",
    Milestone.QC_COMPLETE: "Completed during the quality review",
    Milestone.QUEUED: "Waiting for authentication",
    Milestone.AWAITING_ASSIGNMENT: "Ready to be assigned to an authenticator",
    Milestone.IN_PROGRESS: "An authenticator works on it",
    Milestone.CONCLUDING: "The work is done, the result comes",
    Milestone.AUTHENTIC: "The item is authentic",
    Milestone.COUNTERFEIT: "The item is NOT authentic",
    Milestone.DOCUMENTED: "Fully processed, with documents",
    Milestone.CANCELLED: "The service request was cancelled",
    Milestone.NEEDS_RESUBMISSION: "New photos are needed",
    Milestone.INVALIDATED: "The service request was invalidated",
}


_OWN_HEADLINES = {
    "gateway.delivery_dead": "Gateway: a delivery is dead",
    "gateway.sink_opened": "Gateway: a sink does not take deliveries",
    "gateway.message_quarantined": "Gateway: a message can not be read",
}
_OWN_FACTS = ("sink", "reason", "detail", "message_id")


def headline(delivery: Outgoing) -> str:
    """One line without line breaks: what happened, and to which item."""
    event = delivery.event
    if event is None:
        return "A message that could not be read"
    if event.event_type in _OWN_HEADLINES:
        subject = _one_line(str(event.values.get("sink") or event.values.get("message_id") or ""))
        return f"{_OWN_HEADLINES[event.event_type]}: {subject}"
    said = _HEADLINES.get(event.milestone) or f"An event of the type {_one_line(event.event_type or 'unknown')}"
    item = event.reference_id or event.sr_uuid
    return f"{said}: {_one_line(item)}" if item else said


def lines(delivery: Outgoing) -> list[str]:
    """The facts below the headline, a line each."""
    event = delivery.event
    facts = [] if event is None else _facts(event)
    return [*_cut([_one_line(fact) for fact in facts]), f"Message: {delivery.message_id}"]


def _facts(event: Event) -> list[str]:
    named = (("Item", event.reference_id), ("Service request", event.sr_uuid), ("When", event.timestamp))
    facts = [f"{name}: {value}" for name, value in named if value]
    if event.event_type in _OWN_HEADLINES:
        facts += [f"{name}: {value}" for name in _OWN_FACTS if (value := event.values.get(name))]
    match event.content:
        case MediaRejected(sides=sides):
            for side in sides:
                said = ": ".join(part for part in (side.side, side.reason, side.message or side.reason_description) if part)
                facts.append(f"- {said}")
        case InvalidateSr(invalidation_reason=reason) if reason is not None:
            facts.append("Reason: " + ", ".join(part for part in (reason.code, reason.message) if part))
    return facts


def _one_line(text: str) -> str:
    """Without control characters and line breaks, which could start a header, a line or a terminal's command."""
    return "".join(character if character.isprintable() or character == "\u3000" else " " for character in text)[:1000]


def _cut(texts: list[str]) -> list[str]:
    kept: list[str] = []
    room = LONGEST_TEXT - _RESERVED
    for at, text in enumerate(texts):
        room -= len(text) + 1
        if room < 0:
            return [*kept, f"... (+{len(texts) - at} more)"]
        kept.append(text)
    return kept
