"""The reasons for which a start refuses a database server: the promises could not be kept on it. It writes nothing.

    server older than PostgreSQL 14, encoding other than UTF8                 StoreUnfit    exit 78
    `replicated` without synchronous_standby_names                            StoreUnfit    exit 78
    a pooler that gives a session another backend for each transaction        StoreUnfit    exit 78
    fsync or full_page_writes off                                             StoreFailed   exit 74
    a schema that needs newer code                                            StoreCorrupt  exit 65

A server that only reads, or is away, is none of these: the connection is tried again. `node_names` refuses a name that is in use.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
from msgspec import Struct

from gateway.core.errors import StoreError, StoreFailed, StoreUnfit
from gateway.store.postgres.connect_errors import POOLER, refuses_transactions
from gateway.store.postgres.connection import Connection, Server, connect
from gateway.store.postgres.migrations import check_version, read_version, scripts
from gateway.store.postgres.postgres_errors import translated

OLDEST: Final = 14
"""The oldest major version of PostgreSQL that is supported."""
PROBE_SECONDS: Final = 2.0
"""Seconds after which a session that hears no notification of its own counts as pooled."""
_FACTS = """
SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
       (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),
       current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean,
       current_setting('synchronous_standby_names')
"""


class ServerFacts(Struct, frozen=True):
    """The facts that a server states about itself, as far as the promises depend on them."""

    version: int
    """The setting `server_version_num`: 150004 is 15.4."""
    version_text: str
    encoding: str
    """The encoding of the database."""
    fsync: bool
    full_page_writes: bool
    standbys: str
    """The setting `synchronous_standby_names`; "" if commits wait for no standby."""


def unfit(facts: ServerFacts, *, replicated: bool) -> StoreError | None:
    """Return the reason why the promises cannot be kept on a server; None if they can.

    Args:
        replicated: an acknowledged message has to be on a synchronous standby.
    """
    if facts.version < OLDEST * 10_000:
        return StoreUnfit(f"the server is PostgreSQL {facts.version_text}: the gateway needs {OLDEST} or later")
    if facts.encoding != "UTF8":
        do = "create one with ENCODING 'UTF8'"
        return StoreUnfit(f"the database has the encoding {facts.encoding}, which cannot hold every text: {do}")
    if replicated and not facts.standbys.strip():
        do = 'name the standbys in the server\'s synchronous_standby_names, or write durability = "primary"'
        return StoreUnfit(f'[store] durability is "replicated", but the server waits for no standby: {do}')
    for name, lost in (("fsync", "a power cut loses acknowledged messages"), ("full_page_writes", "a power cut tears pages")):
        if not getattr(facts, name):
            return StoreFailed(f"the server runs with {name} = off: {lost}. Turn it on in its postgresql.conf")
    return None


async def facts_of(connection: Connection) -> ServerFacts:
    """Ask a server about itself."""
    row = await connection.fetchrow(_FACTS)
    assert row is not None  # it selects no table
    return ServerFacts(*row)


async def refuse_unfit(server: Server, *, replicated: bool, probe_seconds: float = PROBE_SECONDS) -> ServerFacts:
    """Connect, and return what the server says about itself, if the promises can be kept on it.

    Args:
        replicated: an acknowledged message has to be on a synchronous standby.
        probe_seconds: the time after which a session that hears nothing counts as pooled.
    Raises StoreUnfit, StoreFailed or StoreCorrupt as the table above says, and StoreError if there is no connection.
    """
    connection = await connect(server, "start")
    try:
        try:
            facts = await facts_of(connection)
            if (reason := unfit(facts, replicated=replicated)) is not None:
                raise reason
            await _refuse_pooler(server, connection, probe_seconds)
            check_version(await read_version(connection), len(scripts()))
        except asyncpg.InvalidSQLStatementNameError:
            raise StoreUnfit(POOLER) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise (StoreUnfit(POOLER) if refuses_transactions(error) else translated(error)) from error
    finally:
        connection.terminate()
    return facts


async def _refuse_pooler(server: Server, connection: Connection, seconds: float) -> None:
    """Raise StoreUnfit if the connection is no session: leases, notifications and settings need one.

    While another connection holds a backend in a transaction, a pooler that lends backends out for single transactions has to
    give this one another backend than before, or none. A session also hears what it listens to.
    """
    other = await connect(server, "start")
    try:
        try:
            async with asyncio.timeout(seconds):
                if await _is_session(connection, other):
                    return
        except TimeoutError:
            await _refuse_slow(other, seconds)
        raise StoreUnfit(POOLER)
    finally:
        other.terminate()


async def _is_session(connection: Connection, other: Connection) -> bool:
    """Return True if the connection keeps its backend, and hears what it listens to; wait for as long as it hears nothing."""
    before = await connection.fetchval("SELECT pg_backend_pid()")
    await other.execute("BEGIN")
    await other.fetchval("SELECT pg_backend_pid()")
    after = await connection.fetchval("SELECT pg_backend_pid()")
    await other.execute("COMMIT")
    if before != after:
        return False
    heard = asyncio.Event()
    channel = f"gateway_probe_{before}"
    await connection.add_listener(channel, lambda *_: heard.set())
    await other.execute("SELECT pg_notify($1, '')", channel)
    await heard.wait()
    return True


async def _refuse_slow(other: Connection, seconds: float) -> None:
    """Raise StoreError if the server itself is slow, so that a pooler is not blamed for it."""
    try:
        async with asyncio.timeout(seconds):
            await other.fetchval("SELECT 1")
    except TimeoutError:
        raise StoreError(f"the database server did not answer within {seconds:g} s") from None
