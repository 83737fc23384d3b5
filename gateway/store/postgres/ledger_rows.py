"""The ledger of this engine: a row is read under the lock of its request, and written in the transaction that changes it.

Nothing is kept in memory between two transactions, because another node may change it. A transaction begins with `begin` and
ends with `committed` or `rolled_back`; `write` comes before the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from gateway.core.records import NewMessage
from gateway.store.columns import pack_signed
from gateway.store.hot_rows import Key, Standing
from gateway.store.ledger_state import Judged, LedgerState, key_of
from gateway.store.postgres import request_rows
from gateway.store.postgres.connection import Connection
from gateway.store.postgres.many_columns import columns_of

_NUMBERS: Final = 64
"""Numbers for new requests that are taken from the sequence at once; those that a node does not use are left out."""
_ENTRIES: Final = (
    "INSERT INTO entries (message, request, before, facts, rules, key, signed)"
    " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[])"
)
_LOOSE: Final = (
    "INSERT INTO loose_references (reference, message) SELECT * FROM unnest($1::bytea[], $2::bigint[]) ON CONFLICT DO NOTHING"
)


class PostgresLedger(LedgerState):
    """The rows that the transaction in progress knows and changes."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: list[int] = []
        """Numbers that no request has yet, the least one last."""
        self._keys: dict[str, int] = {}
        """The numbers of the labels in `signing_keys` that are known."""

    def begin(self) -> None:
        """Begin a transaction."""
        self._end()

    def committed(self) -> None:
        """Take note that the transaction was committed."""
        self.unjudged += self._unjudged
        self._end()

    def rolled_back(self) -> None:
        """Forget what the transaction changed."""
        self._keys = {}  # the transaction may have written some of them
        self._end()

    async def load(self, connection: Connection, keys: Collection[Key | None]) -> list[Standing | None]:
        """Return the row of each service request, as the transaction in progress has it; None if it has none."""
        found, cold = self.known(keys)
        if not cold:
            return found
        read = await request_rows.read(connection, cold)
        self._read |= read
        await self.reserve(connection, len(cold) - len(read))
        return self.known(keys)[0]

    async def reserve(self, connection: Connection, number: int) -> None:
        """Take as many numbers for new requests from the sequence as are missing."""
        if (short := number - len(self._numbers)) > 0:
            query = "SELECT nextval(pg_get_serial_sequence('requests', 'number')) FROM generate_series(1, $1)"
            taken = [row[0] for row in await connection.fetch(query, max(short, _NUMBERS))]
            self._numbers = [*reversed(taken), *self._numbers]

    async def judge(self, connection: Connection, batch: Sequence[NewMessage]) -> list[Judged]:
        """Judge messages in this order, and let each be routed. Changes nothing, so it may be repeated."""
        keys = [key_of(new.message) for new in batch]
        return await asyncio.to_thread(self.judge_by, keys, await self.load(connection, keys), batch)

    async def enter(self, connection: Connection, accepted: Sequence[tuple[Judged, int]]) -> list[int | None]:
        """Write the entries of messages that were just accepted, each with its seq, and change the rows of their requests.

        Returns the number of the service request of each; None if it has none.
        """
        rows, entries = self.entries(accepted), []
        for row, (one, _) in zip(rows, accepted, strict=True):
            signed = one.new.signed
            kept = (None, None) if signed is None else (await self._key(connection, signed.key), pack_signed(signed))
            entries.append((*row, *kept))
        if entries:
            await connection.execute(_ENTRIES, *columns_of(entries, 7))
        return [row[1] for row in rows]

    async def write(self, connection: Connection) -> None:
        """Write the rows that the transaction changed, and the reference ids by which no request is found."""
        await request_rows.write(connection, [(key, row) for key, row in self._changed.items() if row is not None])
        if self._named:
            await request_rows.name(connection, self._named)
        if self._loose:
            await connection.execute(_LOOSE, *columns_of(self._loose, 2))

    def new_number(self) -> int:
        """Return a number for a new request; `load` has reserved one for each that it did not find."""
        return self._numbers.pop()

    def _new_number(self) -> int:
        return self.new_number()

    async def _key(self, connection: Connection, label: str) -> int:
        """Return the number of a label, which the transaction in progress writes if it is new."""
        if (number := self._keys.get(label)) is None:
            await connection.execute("INSERT INTO signing_keys (label) VALUES ($1) ON CONFLICT DO NOTHING", label)
            number = await connection.fetchval("SELECT number FROM signing_keys WHERE label = $1", label)
            self._keys[label] = int(number)
        return self._keys[label]
