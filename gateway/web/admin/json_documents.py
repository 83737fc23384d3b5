"""The JSON that the admin listener serves, made of the typed facts of the rooms below. Its names are those of the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.control.browse import Routed, RoutedPage, SinkFacts
from gateway.control.drills import Drilled
from gateway.core.documents import AttemptFacts, DeliveryFacts, DeliverySummary, Ids, MessageSummary, Story
from gateway.core.evidence_file import EvidenceMessage, RulesRecord, RulesSnapshot, delivery_record, message_record
from gateway.core.fact_fields import with_facts
from gateway.core.ledger import Facts
from gateway.core.outcome import OUTCOME_NAMES, Defer, Delivered
from gateway.core.records import delivery_id
from gateway.core.selection import DELIVERY_STATES
from gateway.core.values import rfc3339
from gateway.observability.unsealed import SealHead


def message_json(summary: MessageSummary) -> dict[str, Any]:
    """Return a message of a list."""
    return {
        **_ids(summary.ids),
        "time": rfc3339(summary.received_at),
        "status": summary.status,
        "duplicates": summary.duplicates,
        "sinks": summary.sinks,
    }


def delivery_json(summary: DeliverySummary) -> dict[str, Any]:
    """Return a delivery of a list."""
    delivery = summary.delivery
    return {
        **_delivery(delivery, summary.ids, {}),
        **_ids(summary.ids),
        "time": rfc3339(summary.received_at),
        **_held(delivery),
    }


def story_json(story: Story) -> dict[str, Any]:
    """Return all that is known of one message."""
    return {
        **_ids(story.ids),
        "time": rfc3339(story.received_at),
        "status": story.status,
        "duplicates": story.duplicates,
        "content_type": story.content_type,
        "body": story.body,
        "facts": _facts(story.facts),
        "deliveries": [
            {**_delivery(one.delivery, story.ids, {"attempts": attempts_json(one.attempts)}), **_held(one.delivery)}
            for one in story.deliveries
        ],
        "conflicts": [
            {"time": rfc3339(one.received_at), "sender_id": one.sender_id, "body": one.body} for one in story.conflicts
        ],
        "more_conflicts": story.more_conflicts,
    }


def attempts_json(attempts: Sequence[AttemptFacts]) -> list[dict[str, Any]]:
    """Return the attempts at one delivery."""
    return [
        {
            "attempt": one.number,
            "time": rfc3339(one.started_at),
            "duration_ms": one.duration_ms,
            "outcome": one.outcome,
            "reason": one.reason,
            "status": one.status,
            "detail": one.detail,
            "answer": one.answer,
        }
        for one in attempts
    ]


def evidence_json(evidence: EvidenceMessage) -> dict[str, Any]:
    """Return the records of a file of evidence that are about one message, without its attempts and its lines."""
    rules = evidence.rules
    return {
        "rules": RulesRecord(number=rules.number, snapshot=rules.snapshot) if isinstance(rules, RulesSnapshot) else None,
        "message": message_record(evidence),
        "deliveries": [delivery_record(evidence.message.id, one) for one in evidence.deliveries],
    }


def seal_json(head: SealHead) -> dict[str, Any]:
    """Return the last seal of the audit log; both fields are null if there is none."""
    return {"number": head.number or None, "seal": head.seal or None}


def sink_json(facts: SinkFacts) -> dict[str, Any]:
    """Return a sink, and how much waits for it."""
    counts, gates = facts.counts, facts.gates
    document: dict[str, Any] = {"sink": facts.sink, "oldest_due": _time(facts.oldest_due)}
    document |= {state: getattr(counts, state) for state in DELIVERY_STATES}
    if gates is None:
        return document | {"held": "no such sink"}
    return document | {
        "paused_by": gates.paused_by,
        "paused_at": _time(gates.paused_at),
        "breaker": gates.breaker,
        "next_probe_at": _time(gates.next_probe_at),
        "last_error": gates.last_error,
    }


def drill_json(drilled: Drilled) -> dict[str, Any]:
    """Return the answer of one sink to a drill."""
    outcome = drilled.attempt.outcome
    failed = None if isinstance(outcome, Delivered) else outcome
    return {
        "sink": drilled.sink,
        "delivery_id": drilled.delivery.delivery_id,
        "outcome": OUTCOME_NAMES[type(outcome)],
        "status": outcome.status,
        "reason": failed.reason.value if failed else None,
        "detail": outcome.detail,
        "answer": failed.answer if failed else "",
        "after": outcome.after if isinstance(outcome, Defer) else None,
        "duration_ms": drilled.attempt.duration_ms,
    }


def routing_json(page: RoutedPage) -> dict[str, Any]:
    """Return a page of routed messages."""
    return {
        "messages": [_routed(one) for one in page.messages],
        "rules": page.rules,
        "after": page.after,
        "from": page.begin,
        "to": page.newest,
    }


def _routed(one: Routed) -> dict[str, Any]:
    message = one.message
    body = message.body.decode("utf-8", "replace")
    return {
        "message_id": message.id,
        "source": message.source,
        "body": body,
        "facts": _facts(message.facts),
        "sinks": one.sinks,
        "routes": one.routes,
    }


def _facts(facts: Facts | None) -> dict[str, Any] | None:
    """Return facts by the names that patterns use."""
    return None if facts is None else with_facts({}, facts)


def _ids(ids: Ids) -> dict[str, Any]:
    return {
        "message_id": ids.id,
        "sender_id": ids.sender_id,
        "source": ids.source,
        "event_type": ids.event_type,
        "milestone": ids.milestone,
        "sr_uuid": ids.sr_uuid,
        "reference_id": ids.reference_id,
    }


def _delivery(delivery: DeliveryFacts, ids: Ids, attempts: dict[str, Any]) -> dict[str, Any]:
    return {
        "delivery_id": delivery_id(ids.id, delivery.sink),
        "sink": delivery.sink,
        "state": delivery.state,
        "attempt": delivery.attempts,
        **attempts,
        "reason": delivery.reason,
        "next_attempt_at": _time(delivery.due_at),
        "ended_at": _time(delivery.ended_at),
    }


def _held(delivery: DeliveryFacts) -> dict[str, Any]:
    """Return what only some deliveries have: why a lane does not try it, and its part in a joined message."""
    found: dict[str, Any] = {"held": delivery.held, "waits": delivery.waits or None, "tells": delivery.tells}
    found["told_by"] = None if delivery.told_by is None else delivery_id(delivery.told_by, delivery.sink)
    return {name: value for name, value in found.items() if value is not None}


def _time(instant: float | None) -> str | None:
    return None if instant is None else rfc3339(instant)
