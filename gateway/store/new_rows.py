"""The rows that a commit writes of new messages and of settled deliveries. It knows no database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from gateway.core.outcome import OUTCOME_NAMES, Delivered, Outcome, OutcomeName
from gateway.core.records import Attempt, NewMessage, Settlement
from gateway.store.absences import Absences
from gateway.store.columns import blob, milliseconds, milliseconds_or_none
from gateway.store.join_plan import Plan
from gateway.store.ledger_state import Judged

DeliveryRow = tuple[int, str, int, int, bytes | None, int | None, int]
"""A new delivery: message, sink, since_ms, due_ms, sr, event_ms, behind."""


def fitting(judged: Sequence[Judged], room: int, *, first: bool) -> int:
    """Return how many of the first messages have at most `room` rows together; `first`: one at least."""
    for number, one in enumerate(judged):
        room -= rows_of(one)
        if room < 0 and (number or not first):
            return number
    return len(judged)


def rows_of(judged: Judged) -> int:
    """Return how many rows a message needs, with its deliveries."""
    owes = judged.owes
    return 1 + len(owes.deliveries) + len(owes.suppressed) + 2 * len(owes.waits)  # the join, and the delivery that tells both


def suppressed_rows(accepted: Sequence[tuple[Judged, int]]) -> list[tuple[int, str, int]]:
    """Return message, sink and instant of the deliveries that a rule suppressed, of accepted messages with their seqs."""
    return [(seq, sink, milliseconds(one.new.message.received_at)) for one, seq in accepted for sink in one.owes.suppressed]


def message_row(judged: Judged) -> tuple[object, ...]:
    """Return the values of a new message, from its id to its status."""
    new = judged.new
    message = new.message
    return (
        message.id,
        message.source,
        blob(message.sender_id),
        milliseconds(message.received_at),
        _event_ms(new),
        blob(message.content_type),
        message.body,
        digest(message.body) if message.sender_id is None else None,
        identity_key(new.identity),
        blob(message.event_type),
        message.milestone,
        blob(message.sr_uuid),
        blob(message.reference_id),
        judged.owes.status,
    )


def delivery_rows(judged: Judged, seq: int, away: Absences, joins: Plan) -> list[DeliveryRow]:
    new, deliveries = judged.new, judged.owes.deliveries
    since = new.message.received_at if new.since is None else new.since
    since_ms = milliseconds(since)
    if seq in joins.accepted:
        deliveries = tuple(
            (sink, max(due, since + joins.waits.get((seq, sink), 0.0)))
            for sink, due in deliveries
            if (seq, sink) not in joins.joined
        )
    if not new.in_order and not away:
        return [(seq, sink, since_ms, since_ms if due == since else milliseconds(due), None, None, 0) for sink, due in deliveries]
    rows: list[DeliveryRow] = []
    for sink, due in deliveries:
        ordered = sink in new.in_order and bool(new.message.sr_uuid)
        turn = (blob(new.message.sr_uuid), _event_ms(new)) if ordered else (None, None)
        rows.append((seq, sink, away.since(sink, since_ms), milliseconds(due), *turn, 0))
    return rows


def settled_row(settlement: Settlement) -> tuple[object, ...]:
    transition, attempt = settlement.transition, settlement.attempt
    return (
        settlement.seq,
        settlement.sink,
        transition.state,
        attempt.number if attempt is not None else None,
        transition.retries,
        milliseconds_or_none(transition.due_at),
        milliseconds(settlement.at) if transition.state != "queued" else None,
        transition.reason,
    )


def attempt_row(settlement: Settlement, attempt: Attempt) -> tuple[object, ...]:
    begun = milliseconds(attempt.started_at)
    return (settlement.seq, settlement.sink, attempt.number, begun, attempt.duration_ms, *_outcome_columns(attempt.outcome))


def _outcome_columns(outcome: Outcome) -> tuple[OutcomeName, str | None, int | None, str, str]:
    name = OUTCOME_NAMES[type(outcome)]
    if isinstance(outcome, Delivered):
        return name, None, outcome.status, outcome.detail, ""
    return name, outcome.reason.value, outcome.status, outcome.detail, outcome.answer


def _event_ms(new: NewMessage) -> int:
    return milliseconds(new.message.received_at if new.event_at is None else new.event_at)


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def identity_key(identity: str | None) -> bytes | None:
    """Return the end of an identity, where its timestamp stands, and a digest of the whole.

    A digest alone would put every new row on another page of the index; events that come together now lie together.
    """
    if identity is None:
        return None
    text = identity.encode()
    return text[-28:] + hashlib.sha256(text).digest()[:16]
