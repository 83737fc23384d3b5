"""Connections to PostgreSQL: how each is opened, how the columns come to Python, and how a session finds back after a loss.

It decides nothing about what runs on a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from msgspec import Struct

from gateway.core.errors import StoreError
from gateway.store.postgres.connect_errors import why_not_connected
from gateway.store.postgres.postgres_errors import ConnectionLost, TransactionConflict, is_bug, is_conflict, is_loss, translated

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_T = TypeVar("_T")
CONNECT_SECONDS: Final = 10.0
"""Seconds after which an attempt to connect counts as failed."""
FIRST_PAUSE: Final = 0.1
"""Seconds between the first failed attempt to connect and the next one, give or take half of it."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two attempts after many, give or take half of it, so that the nodes do not all come at once."""
_SETTINGS: Final = {
    "synchronous_commit": "on",  # whatever the database or the role says: an acknowledged message is on disk
    "timezone": "UTC",
    "jit": "off",  # each statement is short: compiling takes longer than it saves
    "tcp_keepalives_idle": "10",  # s; with the next two, the server ends the session of a machine that is gone after 25 s
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60000",  # ms; a node that hangs in a transaction keeps its locks no longer
}
_SET: Final = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS setting (name, value)"
QUESTIONS: Final = {
    # A page looks rows up one by one, by an index, also in tables whose statistics are older than their rows.
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "enable_hashjoin": "off",
    "enable_bitmapscan": "off",
    "plan_cache_mode": "force_custom_plan",  # the cost of a page depends on what is asked for
    "statement_timeout": "30000",  # ms: whatever a question comes to, those behind it wait no longer
}
"""Settings of a session that answers people."""
_STATEMENTS: Final = 512
"""Prepared statements that a connection keeps."""


class Server(Struct, frozen=True):
    """The schema of one gateway, or of several that share their messages, in a database."""

    url: str
    """`postgresql://...`; it may hold a password, so nothing may print it."""
    schema: str = "gateway"


async def connect(
    server: Server, role: str, *, settings: Mapping[str, str] | None = None, seconds: float = CONNECT_SECONDS
) -> Connection:
    """Open a connection that can write, and that looks for tables in its schema alone.

    Args:
        role: what the connection is for: the activity of the server shows it as `gateway ROLE`.
        settings: of the session, beside those that all sessions have.
        seconds: after which the attempt ends.
    Raises StoreError if the server cannot be reached or takes no writes now, and StoreUnfit if it refuses what the URL says. The
    text has no password.
    """
    try:
        connection: Connection = await asyncpg.connect(
            server.url,
            timeout=seconds,
            statement_cache_size=_STATEMENTS,
            max_cached_statement_lifetime=0,
            target_session_attrs=SessionAttribute.read_write,  # of several hosts, the primary
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise why_not_connected(error, server.url) from error
    try:
        # Not as startup parameters: poolers refuse most of those.
        given = {
            **_SETTINGS,
            **(settings or {}),
            "application_name": f"gateway {role}",
            "search_path": quoted(server.schema),
        }
        await connection.execute(_SET, list(given), list(given.values()))
        # Ids are hex in Python, as everywhere in the gateway.
        await connection.set_type_codec("uuid", schema="pg_catalog", encoder=bytes.fromhex, decoder=bytes.hex, format="binary")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        connection.terminate()
        raise why_not_connected(error, server.url) from error
    except asyncio.CancelledError:
        connection.terminate()
        raise
    return connection


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


class Session:
    """One connection for one kind of work, one piece of work at a time. A lost connection is opened anew when it is needed.

    After a failed attempt to connect, the next one waits for a pause that grows; callers in between are refused at once.
    """

    def __init__(self, server: Server, role: str, jitter: Callable[[], float], settings: Mapping[str, str] | None = None) -> None:
        """
        Args:
            jitter: returns a random number between -1 and 1, see `host.clock.Clock.jitter`.
            settings: of each connection, beside those that all sessions have.
        """
        self.server = server
        self.role = role
        self._jitter = jitter
        self._settings = settings
        self._connection: Connection | None = None
        self._one = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._why = ""
        self._given = self._done = 0

    @property
    def at_work(self) -> int | None:
        """The number of pieces of work that are done, while one is in progress; None while it rests."""
        return self._done if self._given > self._done else None

    async def run(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Run a function on the connection.

        Raises ConnectionLost if the connection broke, TransactionConflict if the work may be repeated, and StoreError for what
        else the database refuses.
        """
        self._given += 1
        try:
            async with self._one:
                connection = await self._connected()
                try:
                    return await work(connection)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                    if is_loss(error) or connection.is_closed():
                        self._drop()
                        raise ConnectionLost(f"the connection to the database broke ({translated(error)})") from error
                    if is_conflict(error):
                        raise TransactionConflict(str(error)) from error
                    if is_bug(error):
                        raise
                    raise translated(error) from error
        finally:
            self._done += 1

    async def open(self) -> None:
        """Connect now, so that a start learns at once what is wrong. Raises StoreError."""
        async with self._one:
            await self._connected()

    async def close(self) -> None:
        """Close the connection; the session may be used again."""
        async with self._one:
            connection, self._connection = self._connection, None
            if connection is not None and not connection.is_closed():
                try:
                    await connection.close(timeout=2.0)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                    connection.terminate()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._drop()
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            raise StoreError(self._why)
        try:
            self._connection = await connect(self.server, self.role, settings=self._settings)
        except StoreError as error:
            pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE) * (1 + self._jitter() / 2)
            self._failures, self._not_before, self._why = min(self._failures + 1, 16), loop.time() + pause, str(error)
            raise
        self._failures, self._not_before = 0, 0.0
        return self._connection
