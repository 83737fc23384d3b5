"""Facts kept beside a message: how it was signed, the rules that routed it, when it came again, and what people did."""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import Struct

from gateway.core.documents import DeliveryAct, Repeat
from gateway.core.ledger import Facts, decode_facts
from gateway.core.signature import Signed
from gateway.store.sqlite.columns import text

_MOST_ACTS: Final = 100
"""Acts on the deliveries of one message that are told."""
SIGNED_COLUMNS: Final = "(SELECT label FROM signing_keys WHERE number = e.key), e.signed"
"""The columns of `signed_of`, of a table of entries that the query calls `e`."""
TRACE_COLUMNS: Final = f"e.facts, e.rules, {SIGNED_COLUMNS}"
"""The columns of `trace_of`, of the same table."""


class EntryFacts(Struct, frozen=True):
    """The entry of a message in the ledger, without its place there."""

    facts: Facts | None
    rules: int | None
    signed: Signed | None


def trace_of(row: tuple[object, ...]) -> EntryFacts:
    """Build a trace from TRACE_COLUMNS; all of them are null if the message has no entry."""
    facts, rules, *signed = row
    assert (facts is None or isinstance(facts, bytes)) and (rules is None or isinstance(rules, int))
    return EntryFacts(None if facts is None else decode_facts(facts), rules, signed_of(*signed))


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


def repeats(connection: sqlite3.Connection, seq: int) -> tuple[Repeat, ...]:
    """Read when a message came again, the first times."""
    query = "SELECT received_ms, sender_id FROM repeats WHERE message = ? ORDER BY number"
    return tuple(Repeat(received_ms / 1000, text(sender_id)) for received_ms, sender_id in connection.execute(query, (seq,)))


def acts(connection: sqlite3.Connection, seq: int) -> tuple[DeliveryAct, ...]:
    """Read what people did to the deliveries of a message, in the order in which it happened."""
    rows = connection.execute(
        "SELECT sink, at_ms, actor, claimed, act, was, becomes FROM acts WHERE message = ? ORDER BY id LIMIT ?",
        (seq, _MOST_ACTS),
    )
    return tuple(DeliveryAct(sink, at_ms / 1000, *row) for sink, at_ms, *row in rows)
