"""The JSON that the admin listener serves, made of the typed facts of the rooms below. Its names are those of the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.control.browse import Routed, RoutedPage, ShownStory, SinkFacts
from gateway.control.drills import Drilled
from gateway.core.documents import AttemptFacts, DeliveryAct, DeliveryFacts, DeliverySummary, Ids, MessageSummary, Repeat
from gateway.core.evidence_file import EvidenceMessage, delivery_record, message_record, rules_record
from gateway.core.fact_fields import with_facts
from gateway.core.ledger import Facts
from gateway.core.outcome import OUTCOME_NAMES, Defer, Delivered
from gateway.core.records import delivery_id
from gateway.core.selection import DELIVERY_STATES
from gateway.core.signature import Signed
from gateway.core.values import rfc3339
from gateway.observability.unsealed import SealHead


def message_json(summary: MessageSummary) -> dict[str, Any]:
    """Return a message of a list."""
    return {
        **ids_json(summary.ids),
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
        **ids_json(summary.ids),
        "time": rfc3339(summary.received_at),
        **_held(delivery),
    }


def story_json(shown: ShownStory) -> dict[str, Any]:
    """Return all that is known of one message."""
    story = shown.story
    return {
        **ids_json(story.ids),
        "time": rfc3339(story.received_at),
        "status": story.status,
        "duplicates": story.duplicates,
        "content_type": story.content_type,
        "body": story.body,
        "facts": facts_json(story.facts),
        "rules": story.rules,
        "routes": shown.routes,
        "signed": signed_json(story.signed),
        "repeats": repeats_json(story.repeats),
        "deliveries": [
            state_json(one.delivery, story.ids, {"attempts": attempts_json(one.attempts)}) for one in story.deliveries
        ],
        "conflicts": [
            {"time": rfc3339(one.received_at), "sender_id": one.sender_id, "body": one.body} for one in story.conflicts
        ],
        "more_conflicts": story.more_conflicts,
        "acts": acts_json(story.acts),
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
    return {
        "rules": rules_record(evidence),
        "message": message_record(evidence),
        "deliveries": [delivery_record(evidence.message.id, one) for one in evidence.deliveries],
    }


def seal_json(head: SealHead) -> dict[str, Any]:
    """Return the last seal of the audit log; both fields are null if there is none."""
    return {"number": head.number or None, "seal": head.seal or None}


def sink_json(facts: SinkFacts) -> dict[str, Any]:
    """Return a sink, and how much waits for it."""
    counts, gates = facts.counts, facts.gates
    document: dict[str, Any] = {"sink": facts.sink, "oldest_due": time_json(facts.oldest_due)}
    document |= {state: getattr(counts, state) for state in DELIVERY_STATES}
    if gates is None:
        return document | {"held": "no such sink"}
    return document | {
        "paused_by": gates.paused_by,
        "paused_at": time_json(gates.paused_at),
        "breaker": gates.breaker,
        "next_probe_at": time_json(gates.next_probe_at),
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
        "facts": facts_json(message.facts),
        "sinks": one.sinks,
        "routes": one.routes,
    }


def signed_json(signed: Signed | None) -> dict[str, Any] | None:
    """Return which key fitted, and when the sender signed; None if the message was not verified."""
    return None if signed is None else {"key": signed.key, "at": rfc3339(int(signed.timestamp))}


def repeats_json(repeats: Sequence[Repeat]) -> list[dict[str, Any]]:
    """Return when a message came again."""
    return [{"time": rfc3339(one.at), "sender_id": one.sender_id} for one in repeats]


def acts_json(acts: Sequence[DeliveryAct]) -> list[dict[str, Any]]:
    """Return what people did to deliveries."""
    return [
        {
            "time": rfc3339(act.at),
            "sink": act.sink,
            "act": act.act,
            "actor": act.actor,
            "claimed": act.claimed,
            "was": act.was,
            "becomes": act.becomes,
        }
        for act in acts
    ]


def facts_json(facts: Facts | None) -> dict[str, Any] | None:
    """Return facts by the names that patterns use."""
    return None if facts is None else with_facts({}, facts)


def ids_json(ids: Ids) -> dict[str, Any]:
    """Return the ids of a message."""
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
        "next_attempt_at": time_json(delivery.due_at),
        "ended_at": time_json(delivery.ended_at),
    }


def state_json(delivery: DeliveryFacts, ids: Ids, attempts: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a delivery, with some attempts at it."""
    return {**_delivery(delivery, ids, attempts), **_held(delivery)}


def _held(delivery: DeliveryFacts) -> dict[str, Any]:
    """Return what only some deliveries have: why a lane does not try it, and its part in a joined message."""
    found: dict[str, Any] = {"held": delivery.held, "waits": delivery.waits or None, "tells": delivery.tells}
    found["told_by"] = None if delivery.told_by is None else delivery_id(delivery.told_by, delivery.sink)
    return {name: value for name, value in found.items() if value is not None}


def time_json(instant: float | None) -> str | None:
    """Return an instant as RFC 3339 in UTC, with milliseconds."""
    return None if instant is None else rfc3339(instant)
