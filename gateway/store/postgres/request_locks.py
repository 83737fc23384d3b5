"""Locks on service requests: each transaction takes them before it changes what depends on other rows of a request.

They are advisory locks of the transaction, taken in one order, so that two transactions never wait for each other by them alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gateway.store.postgres.connection import Connection

_KEYS: Final = """
SELECT pg_advisory_xact_lock(key) FROM (
    SELECT DISTINCT hashtextextended(encode(sr, 'hex'), 0) AS key FROM ({}) AS named (sr) WHERE sr <> '' ORDER BY key
) AS keys"""
_OF_WORK: Final = _KEYS.format(
    "SELECT unnest($1::bytea[]) UNION SELECT d.sr FROM unnest($2::bigint[], $3::text[]) AS k (message, sink)"
    " JOIN deliveries d ON d.message = k.message AND d.sink = k.sink WHERE d.sr IS NOT NULL"
)
_OF_MESSAGES: Final = _KEYS.format("SELECT sr_uuid FROM messages WHERE seq = ANY($1::bigint[]) AND sr_uuid IS NOT NULL")


async def lock_for_batch(connection: Connection, requests: Collection[bytes], deliveries: Sequence[tuple[int, str]]) -> None:
    """Lock service requests, and those in whose order some deliveries stand (message and sink)."""
    if requests or deliveries:
        await connection.execute(_OF_WORK, list(requests), [seq for seq, _ in deliveries], [sink for _, sink in deliveries])


async def lock_of_messages(connection: Connection, seqs: Collection[int]) -> None:
    """Lock the service requests of some messages."""
    await connection.execute(_OF_MESSAGES, list(seqs))
