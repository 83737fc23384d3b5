"""Messages that an earlier version could not decode, or did not recognize, a page at a time."""

from __future__ import annotations

from typing import Final

from gateway.core.documents import UndecodedMessage, UndecodedPage
from gateway.core.routing import GATEWAY
from gateway.store import bounds
from gateway.store.columns import MESSAGE_COLUMNS, UNDECODED, message_of, milliseconds
from gateway.store.postgres import paging
from gateway.store.postgres.connection import Connection

_PAGE: Final = (
    "SELECT seq, undecoded, so_far, columns.* FROM (SELECT m.seq, m.milestone IS NULL AS undecoded,"
    " sum(octet_length(m.body)) OVER (ORDER BY m.seq ROWS UNBOUNDED PRECEDING) AS so_far, octet_length(m.body) AS size"
    " FROM messages m WHERE m.seq > $1 AND m.seq <= $2 AND m.received_ms >= $3 AND m.source <> $4"
    f" AND {UNDECODED} ORDER BY m.seq LIMIT $5) page CROSS JOIN LATERAL (SELECT {MESSAGE_COLUMNS} FROM messages m"
    " WHERE m.seq = page.seq) columns WHERE so_far - size <= $6 ORDER BY seq"
)


async def undecoded(connection: Connection, instant: float, after: int, limit: int, most_bytes: int) -> UndecodedPage:
    """Read a page of such messages after a seq; see `paging`.

    The page ends at `limit` messages, or with the message that makes the bodies larger than `most_bytes`.
    """
    last = await paging.last_of_the_next(connection, after)
    end = bounds.END if last is None else last
    rows = await connection.fetch(_PAGE, after, end, milliseconds(instant), GATEWAY, limit, most_bytes)
    page = tuple(UndecodedMessage(row[0], message_of(row[3:]), row[1]) for row in rows)
    full = bool(rows) and (len(rows) == limit or rows[-1]["so_far"] > most_bytes)
    return UndecodedPage(page, page[-1].seq if full else last)
