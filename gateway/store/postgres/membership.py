"""The membership of a node in its database: the node renews it, and ends if another process has taken its place.

Nodes that share lanes without owning them would both deliver. So a node may be alone: a session lock on the schema keeps others
out. If its connection broke, it takes the lock again before its next commit, and looks whether another node has begun meanwhile.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import asyncpg

from gateway.core.errors import StoreError, StoreLocked
from gateway.core.nodes import NodeFacts
from gateway.store.postgres.connection import Connection, Session
from gateway.store.postgres.node_names import configure, hold_name, renew
from gateway.store.postgres.postgres_errors import TransactionConflict

_LOCK_KEY: Final = 0x4C4D474F
"""'LMGO', the first half of the advisory lock that the session of the only node holds; the other half is its schema."""
LEASE: Final = 20.0
"""Seconds after which a node that did not renew counts as dead, by default."""
_PATIENCE: Final = "3s"
"""The time for which a start waits for the session of a process that was just killed to end."""
_RENEWALS: Final = 5
"""Renewals in the time of a lease, so that one that is late loses nothing."""
_HOLD: Final = "SELECT pg_advisory_lock($1, hashtext(current_schema()))"
_HOLD_AGAIN: Final = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))"
_OTHER: Final = """
SELECT name, version, extract(epoch FROM clock_timestamp() - seen)::float8 AS age FROM nodes
WHERE name <> $1 AND boot IS NOT NULL AND ($2::interval IS NULL OR seen > clock_timestamp() - $2::interval)
ORDER BY seen DESC NULLS LAST LIMIT 1"""


class Membership:
    """One node in its database. `step` renews; `trouble` says why the last renewal failed."""

    def __init__(self, session: Session, facts: NodeFacts, *, lease: float, alone: bool) -> None:
        """
        Args:
            session: the session that writes; it holds the locks.
            lease: seconds after which a node that did not renew counts as dead.
            alone: no other node may work on the same tables.
        """
        self.trouble: str | None = None
        """Why the database cannot be used now, as the last renewal found; None if it can."""
        self._session = session
        self._facts = facts
        self._lease = lease
        self._alone = alone
        self._node = 0
        self._due = 0.0
        """The instant of the next renewal, by the clock of the event loop."""

    async def take(self, connection: Connection) -> None:
        """Take the place of the only node, before its life begins. Raises StoreLocked if another node is alive.

        Does nothing for a node that need not be alone.
        """
        if not self._alone:
            return
        name = self._facts.name
        await connection.execute(f"SET lock_timeout = '{_PATIENCE}'")
        try:
            await connection.fetchval(_HOLD, _LOCK_KEY)
        except asyncpg.LockNotAvailableError:
            await hold_name(connection, name)  # names the one of the same name
            await self._refuse_other(connection, None)
            raise StoreLocked("a node whose name is not known works on this database: stop it") from None
        finally:
            await connection.execute("SET lock_timeout = 0")
        await self._refuse_other(connection, timedelta(seconds=self._lease))

    async def begin(self, connection: Connection, node: int) -> None:
        """Write down what the node says about itself. `node` is its number, see `node_rows.begin_life`."""
        self._node = node
        await configure(connection, node, self._facts)

    async def renew(self, connection: Connection) -> None:
        """Say that the node is alive; on a new connection, hold the locks again.

        Raises StoreLocked if another process has taken the name of the node, or if another node has begun.
        """
        if self._alone:
            await connection.fetchval(_HOLD_AGAIN, _LOCK_KEY)  # the session of a broken connection may hold it for seconds yet
            await self._refuse_other(connection, timedelta(seconds=self._lease))
        await renew(connection, self._node, self._facts)

    async def step(self) -> None:
        """Renew if that is due. Raises StoreLocked if this node has lost its place."""
        now = asyncio.get_running_loop().time()
        if now < self._due:
            return
        try:
            await self._session.run(self.renew)
        except StoreLocked:
            raise
        except (StoreError, TransactionConflict) as error:
            self.trouble = str(error)  # and again at the next step
        else:
            self.trouble = None
            self._due = now + self._lease / _RENEWALS

    async def _refuse_other(self, connection: Connection, within: timedelta | None) -> None:
        row = await connection.fetchrow(_OTHER, self._facts.name, within)
        if row is not None:
            seen = "" if row["age"] is None else f", seen {max(row['age'], 0):.0f} s ago"
            why = f'a node "{row["name"]}" is alive on this database: version {row["version"]}{seen}'
            do = "This version runs one node on a database: stop that one, or name another [store] schema"
            raise StoreLocked(f"{why}. {do}")
