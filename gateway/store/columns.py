"""The columns that both engines select, and the values that are built from them.

Instants are kept in milliseconds, the texts of senders as bytes. `message_of` and the like take the columns in the order of the
list that is named like them; a row may be of any engine.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from msgspec import Struct

from gateway.core.documents import AttemptFacts, DeliveryFacts, Ids
from gateway.core.events import Milestone
from gateway.core.judge import AHEAD_MS
from gateway.core.ledger import Facts, decode_facts, encode_request
from gateway.core.outcome import Reason
from gateway.core.packed_rows import unpack_request
from gateway.core.records import Message
from gateway.core.signature import Signed
from gateway.store.hot_rows import Standing

Row = Any
"""A row of an engine: a tuple, or a record that is read like one."""

IDS: Final = "m.id, m.sender_id, m.source, m.event_type, m.milestone, m.sr_uuid, m.reference_id"
"""The columns of `ids_of`, of a table of messages that the query calls `m`."""
ATTEMPT: Final = "a.attempt, a.started_ms, a.duration_ms, a.outcome, a.reason, a.status, a.detail, a.answer"
"""The columns of `attempt_of`, of a table of attempts that the query calls `a`."""
DELIVERY: Final = "d.sink, d.state, d.attempts, d.reason, d.due_ms + (SELECT jumped_ms FROM timeline), d.ended_ms"
"""The columns of `delivery_of`, of a table of deliveries that the query calls `d`: due by the wall clock of now."""
SIGNED_COLUMNS: Final = "(SELECT label FROM signing_keys WHERE number = e.key), e.signed"
"""The columns of `signed_of`, of a table of entries that the query calls `e`."""
TRACE_COLUMNS: Final = f"e.facts, e.rules, {SIGNED_COLUMNS}"
"""The columns of `trace_of`, of the same table."""
STANDING: Final = "r.number, s.last, s.row, r.reference_id, s.milestone, s.entered_ms, s.flags"
"""The columns of `standing_of`, of the tables of requests and standings, which the query calls `r` and `s`."""
HAPPENED: Final = f"CASE WHEN m.event_ms <= m.received_ms + {AHEAD_MS} THEN m.event_ms ELSE m.received_ms END"
"""When the event of a message `m` happened, as `core.judge.instant_of` takes it."""
VERDICTS: Final = f"('{Milestone.AUTHENTIC.value}', '{Milestone.COUNTERFEIT.value}')"
UNDECODED: Final = f"(m.milestone IS NULL OR m.milestone = '{Milestone.UNRECOGNIZED.value}')"
"""A message without a milestone was quarantined. It may have been replayed since, and has another status then."""


class JoinPart(NamedTuple):
    """The part of a delivery in a joined message."""

    told_by: str | None
    """The id of the message whose delivery tells it."""
    tells: str | None
    """The id of the message that it tells as well."""
    open: bool
    """Its partner may still be linked to it."""

    def facts(self, state: str, reason: str | None) -> dict[str, Any]:
        """Return what is true of a delivery in this state, by the names of `DeliveryFacts`."""
        told = state == "discarded" and reason == Reason.JOINED
        return {"told_by": self.told_by if told else None, "tells": self.tells, "waits": self.open and state == "queued"}


class EntryFacts(Struct, frozen=True):
    """The entry of a message in the ledger, without its place there."""

    facts: Facts | None
    rules: int | None
    signed: Signed | None


def milliseconds(instant: float) -> int:
    """Return an instant in Unix seconds as the store keeps it."""
    return round(instant * 1000)


def milliseconds_or_none(instant: float | None) -> int | None:
    """Return an instant as the store keeps it, None for None."""
    return None if instant is None else milliseconds(instant)


MESSAGE_COLUMNS = (
    "m.id, m.source, m.sender_id, m.received_ms, m.content_type, m.body, m.event_type, m.milestone, m.sr_uuid, m.reference_id,"
    " (SELECT e.facts FROM entries e WHERE e.message = m.seq)"
)
"""The columns of `message_of`, of a table of messages that the query calls `m`."""


def message_of(row: Row) -> Message:
    """Build a message from MESSAGE_COLUMNS."""
    message_id, source, sender_id, received_ms, content_type, body, event_type, milestone, sr_uuid, reference_id, facts = row
    assert isinstance(message_id, str) and isinstance(source, str) and isinstance(body, bytes) and isinstance(received_ms, int)
    assert milestone is None or isinstance(milestone, str)
    return Message(
        id=message_id,
        source=source,
        sender_id=text(sender_id),
        received_at=received_ms / 1000,
        content_type=text(content_type),
        body=body,
        event_type=text(event_type),
        milestone=milestone,
        sr_uuid=text(sr_uuid),
        reference_id=text(reference_id),
        facts=decode_facts(facts) if isinstance(facts, bytes) else None,
    )


def ids_of(row: Row) -> Ids:
    """Build the ids of a message from IDS."""
    message_id, sender_id, source, event_type, milestone, sr_uuid, reference_id = row
    return Ids(message_id, text(sender_id), source, text(event_type), milestone, text(sr_uuid), text(reference_id))


def attempt_of(row: Row) -> AttemptFacts:
    """Build the facts of an attempt from ATTEMPT."""
    return AttemptFacts(row[0], row[1] / 1000, *row[2:])


def delivery_of(row: Row, part: JoinPart | None = None) -> DeliveryFacts:
    """Build the facts of a delivery from DELIVERY, and its part in a joined message, if it has one."""
    sink, state, attempts, reason, due_ms, ended_ms = row
    joined = {} if part is None else part.facts(state, reason)
    return DeliveryFacts(sink, state, attempts, reason, seconds(due_ms), seconds(ended_ms), **joined)


def trace_of(row: Row) -> EntryFacts:
    """Build a trace from TRACE_COLUMNS; all of them are null if the message has no entry."""
    facts, rules, *signed = row
    assert (facts is None or isinstance(facts, bytes)) and (rules is None or isinstance(rules, int))
    return EntryFacts(facts_of(facts), rules, signed_of(*signed))


def facts_of(kept: bytes | None) -> Facts | None:
    """Build the facts of a message as they were judged on arrival; None for NULL."""
    return None if kept is None else decode_facts(kept)


def standing_of(row: Row) -> Standing:
    """Build the row of a service request from STANDING."""
    number, last, kept, reference_id, milestone, entered_ms, flags = row
    assert isinstance(number, int) and isinstance(last, int) and isinstance(kept, bytes)
    assert isinstance(entered_ms, int) and isinstance(flags, int) and (milestone is None or isinstance(milestone, int))
    row_in_memory = encode_request(unpack_request(kept))
    return Standing(number, last, row_in_memory, text(reference_id), milestone is None, True, milestone, entered_ms, flags)


def pack_signed(signed: Signed) -> bytes:
    """Return a signature and its timestamp as the store keeps them."""
    return signed.timestamp + b" " + signed.signature


def signed_of(label: object, kept: object) -> Signed | None:
    """Build what the sender signed from SIGNED_COLUMNS; None if they are null."""
    if kept is None:
        return None
    assert isinstance(label, str) and isinstance(kept, bytes)
    timestamp, _, signature = kept.partition(b" ")
    return Signed(signature, timestamp, label)


def seconds(instant_ms: int | None) -> float | None:
    """Return an instant that the store keeps in Unix seconds, None for NULL."""
    return None if instant_ms is None else instant_ms / 1000


def text(blob: object) -> str | None:
    """Return a text of a sender, None for NULL."""
    return blob.decode() if isinstance(blob, bytes) else None


def blob(text: str | None) -> bytes | None:
    """Return a text of a sender as the store keeps it: lone surrogates and NUL do not survive a TEXT column."""
    return text.encode() if text is not None else None
