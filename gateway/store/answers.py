"""Whole answers about one message, made of the rows that an engine read. It knows no SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.core.documents import AttemptFacts, Conflict, DeliveryAct, DeliveryFacts, DeliveryStory, Repeat, Story
from gateway.core.evidence_file import BEFORE_THIS_VERSION, NOT_SIGNED, EvidenceMessage, KeptSignature, NotKept, RulesSnapshot
from gateway.core.request_documents import TracedDelivery, TracedEvent
from gateway.store import bounds
from gateway.store.columns import (
    IDS,
    MESSAGE_COLUMNS,
    SIGNED_COLUMNS,
    TRACE_COLUMNS,
    JoinPart,
    Row,
    delivery_of,
    ids_of,
    message_of,
    signed_of,
    text,
    trace_of,
)

STORY = f"{IDS}, m.received_ms, m.status, m.duplicates, m.content_type, m.body, {TRACE_COLUMNS}"
"""The columns of `story_of`, of tables of messages and entries, which the query calls `m` and `e`."""
EVIDENCE = f"{SIGNED_COLUMNS}, r.number, r.snapshot, m.status, {MESSAGE_COLUMNS}"
"""The columns of `evidence_of`, of the same tables, and the rules `r`."""
EVENT = (
    f"{IDS}, m.event_ms, m.received_ms, m.status, m.duplicates, {TRACE_COLUMNS},"
    f" CASE WHEN length(m.body) <= {bounds.MOST_BODY} THEN m.body END"
)
"""The columns of `event_of`, of tables of messages and entries, which the query calls `m` and `e`."""
Parts = Mapping[tuple[int, str], JoinPart]
"""The parts of deliveries in joined messages, by seq and sink."""
Attempts = Mapping[tuple[int, str], tuple[AttemptFacts, ...]]
"""The last attempts at deliveries, the oldest of them first, by seq and sink."""


def story_of(
    seq: int,
    row: Row,
    *,
    deliveries: Iterable[Row],
    parts: Parts,
    attempts: Attempts,
    conflicts: Sequence[Row],
    repeats: tuple[Repeat, ...],
    acts: tuple[DeliveryAct, ...],
) -> Story:
    """Build the story of one message from STORY.

    Args:
        deliveries: DELIVERY of each of its deliveries.
        conflicts: when each conflicting duplicate came, its sender's id and its body; one more than a story tells, if there is.
    """
    trace = trace_of(row[12:])
    return Story(
        ids=ids_of(row[:7]),
        received_at=row[7] / 1000,
        status=row[8],
        duplicates=row[9],
        content_type=text(row[10]),
        body=row[11].decode("utf-8", "replace"),
        deliveries=tuple(
            DeliveryStory(delivery_of(one, parts.get((seq, one[0]))), attempts.get((seq, one[0]), ())) for one in deliveries
        ),
        conflicts=tuple(
            Conflict(received_ms / 1000, text(sender_id), body.decode("utf-8", "replace"))
            for received_ms, sender_id, body in conflicts[: bounds.MOST_CONFLICTS]
        ),
        more_conflicts=len(conflicts) > bounds.MOST_CONFLICTS,
        facts=trace.facts,
        rules=trace.rules,
        signed=trace.signed,
        repeats=repeats if row[9] else (),
        acts=acts,
    )


def evidence_of(row: Row, deliveries: Iterable[DeliveryFacts]) -> EvidenceMessage:
    """Build what evidence needs of a message from EVIDENCE."""
    signed, (number, snapshot) = signed_of(*row[:2]), row[2:4]
    unsigned = NotKept(BEFORE_THIS_VERSION if number is None else NOT_SIGNED)
    return EvidenceMessage(
        message=message_of(row[5:]),
        status=row[4],
        deliveries=tuple(deliveries),
        signed=unsigned if signed is None else KeptSignature(signed.timestamp.decode(), signed.signature.decode(), signed.key),
        rules=NotKept(BEFORE_THIS_VERSION) if number is None else RulesSnapshot(number, snapshot.decode()),
    )


def event_of(
    seq: int,
    row: Row,
    *,
    deliveries: Iterable[Row],
    parts: Parts,
    attempts: Attempts,
    repeats: tuple[Repeat, ...],
    acts: tuple[DeliveryAct, ...],
) -> TracedEvent:
    """Build one event of the story of a request from EVENT. The arguments are those of `story_of`."""
    event_ms, received_ms, status, duplicates, *_, body = row[7:]
    trace = trace_of(row[11:15])
    facts = trace.facts
    by_arrival = facts is not None and (facts.undated or facts.future)
    return TracedEvent(
        seq=seq,
        ids=ids_of(row[:7]),
        happened_at=(received_ms if by_arrival else event_ms) / 1000,
        received_at=received_ms / 1000,
        status=status,
        facts=facts,
        rules=trace.rules,
        signed=trace.signed,
        duplicates=duplicates,
        repeats=repeats if duplicates else (),
        deliveries=tuple(
            TracedDelivery(delivery_of(one, parts.get((seq, one[0]))), next(iter(attempts.get((seq, one[0]), ())[-1:]), None))
            for one in deliveries
        ),
        acts=acts,
        body=body,
    )
