"""Facts kept beside a message: how it was signed, the rules that routed it, when it came again, and what people did."""

from __future__ import annotations

import sqlite3
from binascii import a2b_base64, b2a_base64
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
_DIGEST, _TEXT = b"\x01", b"\x00"
"""The first byte of the two forms: the 32 bytes of the signature, then the digits of the timestamp; or, if the signature is not
written in the usual way, its text behind the digits and a blank."""
_DIGEST_BYTES: Final = 32


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
    """Return a signature and its timestamp as the store keeps them: 43 bytes where their text has 57."""
    signature = signed.signature
    try:
        digest = a2b_base64(signature[3:])
    except ValueError:
        digest = b""
    if len(digest) == _DIGEST_BYTES and signature == b"v1," + b2a_base64(digest, newline=False):
        return _DIGEST + digest + signed.timestamp
    return _TEXT + signed.timestamp + b" " + signature


def signed_of(label: object, kept: object) -> Signed | None:
    """Build what the sender signed from SIGNED_COLUMNS; None if they are null."""
    if kept is None:
        return None
    assert isinstance(label, str) and isinstance(kept, bytes)
    if kept[:1] == _DIGEST:
        digest, timestamp = kept[1 : 1 + _DIGEST_BYTES], kept[1 + _DIGEST_BYTES :]
        return Signed(b"v1," + b2a_base64(digest, newline=False), timestamp, label)
    timestamp, _, signature = kept[1:].partition(b" ")
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
