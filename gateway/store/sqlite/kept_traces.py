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
TRACE_COLUMNS: Final = "e.facts, e.rules, e.signature, e.signed_at, e.key"
"""The columns of `trace_of`, of a table of entries that the query calls `e`."""


class EntryFacts(Struct, frozen=True):
    """The entry of a message in the ledger, without its place there."""

    facts: Facts | None
    rules: int | None
    signed: Signed | None


def trace_of(row: tuple[object, ...]) -> EntryFacts:
    """Build a trace from TRACE_COLUMNS; all of them are null if the message has no entry."""
    facts, rules, signature, signed_at, key = row
    assert (facts is None or isinstance(facts, bytes)) and (rules is None or isinstance(rules, int))
    signed = None
    if isinstance(signature, bytes):
        assert isinstance(signed_at, bytes) and isinstance(key, str)
        signed = Signed(signature, signed_at, key)
    return EntryFacts(None if facts is None else decode_facts(facts), rules, signed)


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
