"""The numbers of one status screen, read in one snapshot. The rows that it walks are bounded, whatever waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.core.attention import MOST_COUNTED
from gateway.core.documents import LastFailure, Overview
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.counting import counts

_BY_SINK: Final = " FROM unnest($1::text[]) AS of (sink) CROSS JOIN LATERAL ({}) found"
_FIRST_DUE: Final = (
    "(SELECT d.since_ms FROM deliveries d WHERE d.sink = of.sink AND d.state = 'queued' AND d.behind = {}"
    " ORDER BY d.due_ms LIMIT 1)"
)
_OLDEST: Final = (
    "SELECT of.sink, found.since_ms + (SELECT jumped_ms FROM timeline)"
    " + coalesce((SELECT s.away_ms FROM sinks s WHERE s.sink = of.sink), 0)"
    + _BY_SINK.format(
        "SELECT least((SELECT d.since_ms FROM deliveries d WHERE d.sink = of.sink AND d.state = 'queued'"
        f" AND d.due_ms > d.since_ms ORDER BY d.since_ms LIMIT 1), {_FIRST_DUE.format('false')}, {_FIRST_DUE.format('true')})"
        " AS since_ms"
    )
    + " WHERE found.since_ms IS NOT NULL"
)
"""Those due after they were accepted, by age; and those due at once, by due time, which is their age as well."""
_DUE: Final = (
    "(SELECT d.message FROM deliveries d WHERE d.sink = of.sink AND d.state = 'queued' AND d.behind = {0}"
    " ORDER BY d.due_ms {1} LIMIT 1)"
)
_LAST_DEAD: Final = (
    "(SELECT d.message FROM deliveries d WHERE d.sink = of.sink AND d.state = 'dead' ORDER BY d.message DESC LIMIT 1)"
)
_TELLING: Final = ", ".join(
    (_LAST_DEAD, *(_DUE.format(behind, order) for behind in ("false", "true") for order in ("ASC", "DESC")))
)
"""The deliveries that tell most about a sink."""
_LAST_FAILURE: Final = "SELECT of.sink, found.started_ms, found.reason, found.status, found.detail" + _BY_SINK.format(
    "SELECT a.* FROM attempts a WHERE a.sink = of.sink AND a.outcome <> 'delivered'"
    f" AND a.message = ANY(ARRAY[{_TELLING}]) ORDER BY a.started_ms DESC LIMIT 1"
)
_SET_ASIDE: Final = "SELECT count(*) FROM (SELECT FROM messages WHERE status = '{0}' AND status <> 'accepted' LIMIT {1}) counted"

_SIZE: Final = (
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relkind = 'r'"
)


async def overview(connection: Connection) -> Overview:
    """Read the numbers of all sinks in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        by_sink = await counts(connection)
        waiting = [sink for sink, number in by_sink.items() if number.queued]
        rows = await connection.fetch(_OLDEST, waiting)
        quarantined, unrouted = [
            int(await connection.fetchval(_SET_ASIDE.format(status, MOST_COUNTED))) for status in ("quarantined", "unrouted")
        ]
        oldest = {sink: since_ms / 1000 for sink, since_ms in rows}
        return Overview(by_sink, oldest, quarantined=quarantined, unrouted=unrouted, free_bytes=0)


async def last_failures(connection: Connection, sinks: Sequence[str]) -> dict[str, LastFailure]:
    """Read the last attempt that failed at each sink that has one, among the deliveries that tell most about it."""
    rows = await connection.fetch(_LAST_FAILURE, sinks)
    return {sink: LastFailure(started_ms / 1000, *facts) for sink, started_ms, *facts in rows}


async def size(connection: Connection) -> int:
    """Return the bytes of all tables with their indexes. PostgreSQL looks at the sizes of the files."""
    return int(await connection.fetchval(_SIZE))
