"""The ledger in the writer: each message is judged by the row of its service request, in the transaction that accepts it.

A row is not written with its messages: rows that come in no order would cost a page each. Facts and the link to the request's
message before stand beside the message (`entries`); the rows change in memory and are flushed in slices, in the order of their
numbers, so that many share a page. `ledger.flushed` says how far the rows of the file reach; after a crash, the rows of the few
messages beyond it are judged again, and come out the same. `filling` does that, and reads the messages of older databases in.

Everything here runs in the writer's thread. A transaction begins with `begin` and ends with `committed` or `rolled_back`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import cache
from typing import Final

from msgspec import Struct

from gateway.core.judge import judge
from gateway.core.ledger import Facts, ServiceRequest, encode_facts, encode_request
from gateway.core.records import Companion, Message, NewMessage, Owes
from gateway.core.references import folded
from gateway.core.routing import GATEWAY
from gateway.core.watches import Entered, Entering, entering, present_state
from gateway.store.sqlite import arrivals, request_rows
from gateway.store.sqlite.hot_rows import HotRows, Key, Standing
from gateway.store.sqlite.kept_traces import pack_signed
from gateway.store.sqlite.many_rows import chunks, marks, values_of

MOST_UNFLUSHED: Final = 32_768
"""Messages after which the rows are flushed. The more there are, the more rows share a page, and the longer is the start after a
crash: a second and a half for twice as many, the most that can come until a flush ends."""
MOST_UNFLUSHED_BYTES: Final = 14_000_000
"""Bytes of rows in memory after which they are flushed, however few messages came."""
FLUSHED_AT_ONCE: Final = 3072
"""Rows that one transaction flushes, and one more for each message that it accepts, so that a flush ends under any load."""
_NOTHING_YET: Final = ServiceRequest()


class Judged(Struct, frozen=True, gc=False):
    """The facts, the deliveries and the row that a message which is being accepted comes to.

    Nothing that it holds refers to it, so the garbage collector has nothing to look at.
    """

    new: NewMessage
    key: Key | None
    """Its service request; None if it names none."""
    owes: Owes
    facts: Facts | None
    known: Standing | None
    """The row of its service request before the transaction; None if it had none."""
    after: ServiceRequest | None
    """The row after the message; None if the message does not change what the row says."""
    companions: tuple[Companion, ...]
    """Written in the same transaction."""


class Ledger:
    """The rows in memory, and what the transaction in progress changes of them."""

    def __init__(self, hot: HotRows | None = None) -> None:
        self.hot = hot or HotRows()
        self.live = True
        """Messages are judged as they are accepted; False until the messages of an older database are read in."""
        self.judged_to = 0
        """The newest message that the rows take account of."""
        self.flushed_to = 0
        """The newest message that the rows of the file take account of."""
        self.unjudged = 0
        """Messages that a bug kept from being judged, since the start."""
        self.bug: Exception | None = None
        """The last such bug."""
        self.next_number = 1
        self._changed: dict[Key, Standing | None] = {}
        """The rows that the transaction in progress changes; None: the request is forgotten."""
        self._read: dict[Key, Standing] = {}
        """The rows that the transaction in progress read from the file."""
        self._written: list[tuple[Key, Standing]] = []
        """The rows that the transaction in progress flushes."""
        self._loose: list[tuple[bytes, int]] = []
        """Reference ids of messages that the transaction in progress takes, by which no request is found."""
        self._named: list[tuple[int, str, bytes]] = []
        """Reference ids that requests of the file get in the transaction in progress, see `request_rows.name`."""
        self._keys: dict[str, int] = {}
        """The numbers of the labels in `signing_keys` that are known."""
        self._queue: list[Key] = []
        """The rows of the flush in progress that are still to be written, the last one first."""
        self._target = 0
        """How far the rows of the file reach when the flush in progress is over."""
        self._accepted = 0
        """Messages that the transaction in progress accepts."""
        self._unjudged = 0
        """Those of them that a bug kept from being judged."""
        self._before = (0, 0, 0, True, list[Key]())

    @property
    def flushing(self) -> bool:
        """A flush is in progress, and goes on with the next commit."""
        return bool(self._queue)

    def begin(self) -> None:
        """Begin a transaction."""
        self._before = (self.next_number, self.judged_to, self.flushed_to, self.live, self._queue)

    def committed(self) -> None:
        """Take over what the transaction changed."""
        self.hot.put(self._changed)
        self.unjudged += self._unjudged
        for key, standing in self._written:
            self.hot.flushed(key, standing)
        self.hot.make_room()
        self._end()

    def rolled_back(self) -> None:
        """Forget what the transaction changed."""
        self.next_number, self.judged_to, self.flushed_to, self.live, self._queue = self._before
        self._keys = {}  # the transaction may have written some of them
        self._end()

    def _end(self) -> None:
        self._changed, self._read, self._written, self._accepted, self._unjudged = {}, {}, [], 0, 0
        self._loose, self._named = [], []

    def load(self, connection: sqlite3.Connection, keys: Collection[Key | None]) -> list[Standing | None]:
        """Return the row of each service request, as the transaction in progress has it; None if it has none.

        Rows that are not in memory are read, and are there until the transaction is over.
        """
        if not self._changed and not self._read:
            found = self.hot.get_each(keys)
        else:
            found = [None if key is None else self.standing(key) for key in keys]
        if all(found):
            return found
        cold = [key for key, row in zip(keys, found, strict=True) if row is None and key is not None and key not in self._changed]
        if not cold:
            return found
        self._read |= request_rows.read(connection, dict.fromkeys(cold))  # each once
        return [None if key is None else self.standing(key) for key in keys]

    def standing(self, key: Key) -> Standing | None:
        """Return the row of a request that was loaded, as the transaction in progress has it; None if it has none."""
        if key in self._changed:
            return self._changed[key]
        return self.hot.get(key) or self._read.get(key)

    def judge(self, connection: sqlite3.Connection, batch: Sequence[NewMessage]) -> list[Judged]:
        """Judge messages in this order, and let each be routed. Changes nothing, so it may be repeated."""
        keys = [key_of(new.message) for new in batch]
        standings = self.load(connection, keys) if self.live else [None] * len(keys)
        rows: dict[Key, ServiceRequest] = {}
        judged = []
        for new, key, known in zip(batch, keys, standings, strict=True):
            facts = after = None
            companions = new.companions
            if key is not None and self.live and new.event is not None:
                try:
                    before = rows.get(key)
                    if before is None and known is not None:
                        before = known.request
                    facts, after = judge(before, new.event(), new.message.received_at, new.event_at)
                    rows[key] = after  # what follows may fail, and later messages are judged by this one all the same
                    if new.watches:
                        companions += _timers(new, before, after)
                except Exception as bug:  # it loses no message, which is kept without facts
                    self.bug = bug
            owes = Owes(new.status, new.deliveries) if new.decide is None else new.decide(facts)
            judged.append(Judged(new, key, owes, facts, known, after, companions))
        return judged

    def enter(self, connection: sqlite3.Connection, accepted: Sequence[tuple[Judged, int]]) -> list[int | None]:
        """Write the entries of messages that were just accepted, each with its seq, and change the rows of their requests.

        Returns the number of the service request of each; None if it has none.
        """
        entries: list[tuple[object, ...]] = []
        numbers: list[int | None] = []
        self._accepted += len(accepted)
        known_keys = self._keys.get
        for one, seq in accepted:
            new, facts, label, signed = one.new, None, None, None
            number = before = None
            if self.live:
                number, before = self.take(one.key, seq, one.known, one.after, new.message.reference_id)
            if one.facts is not None:
                facts = encode_facts(one.facts)
            elif self.live and new.event is not None and one.key is not None:
                self._unjudged += 1
            if (by := new.signed) is not None:
                label, signed = known_keys(by.key) or self._key(connection, by.key), pack_signed(by)
            entries.append((seq, number, before, facts, new.rules, label, signed))
            numbers.append(number)
        for part in chunks(entries):
            connection.execute(_insert_entries(len(part)), values_of(part))
        self.write_loose(connection)
        return numbers

    def take(
        self,
        key: Key | None,
        seq: int,
        known: Standing | None,
        after: ServiceRequest | None,
        reference_id: str | None,
        number: int | None = None,
    ) -> tuple[int | None, int | None]:
        """Give the row of a request its next message. Returns the number of the request, and its message before.

        Args:
            key: the request; None if the message names none.
            known: its row before the transaction, or now.
            after: the row after the message; None if the message does not change what it says.
            number: the number of the request, if it has one already that no row may tell.
        """
        self.judged_to = seq
        if key is None:
            if reference_id is not None:
                self._loose.append((folded(reference_id), seq))
            return None, None
        known = self._changed.get(key, known)
        if known is None:
            number = self.next_number if number is None else number
            self.next_number = max(self.next_number, number + 1)
            row = encode_request(after or _NOTHING_YET)
            self._changed[key] = Standing(number, seq, row, reference_id, key[0] == GATEWAY, filed=False)
            return number, None
        row = known.row if after is None else encode_request(after)
        same = reference_id == known.reference_id  # then one object does for all messages of the request
        reference_id = known.reference_id if same else self._named_as(known, reference_id, seq)
        self._changed[key] = Standing(known.number, seq, row, reference_id, known.own, known.filed)
        return known.number, known.last

    def _named_as(self, known: Standing, reference_id: str | None, seq: int) -> str | None:
        """Take another reference id than a request has, or none. Returns the one that it has from now on."""
        if reference_id is None:
            return known.reference_id
        reference = folded(reference_id)
        if known.reference_id is None:
            self._named.append((known.number, reference_id, reference))
            return reference_id
        if reference != known.reference:
            self._loose.append((reference, seq))
        return known.reference_id

    def write_loose(self, connection: sqlite3.Connection) -> None:
        """Write the reference ids by which no request is found, with their messages, and those that a request got just now."""
        for part in chunks(self._loose):
            connection.execute(
                f"INSERT INTO loose_references (reference, message) VALUES {marks(len(part))} ON CONFLICT DO NOTHING",
                values_of(part),
            )
        self._loose = []
        if self._named:
            request_rows.name(connection, self._named)
            self._named = []

    def change(self, key: Key, standing: Standing | None) -> None:
        """Replace the row of a request, or forget it."""
        self._changed[key] = standing

    def flush_some(self, connection: sqlite3.Connection, *, all_of_them: bool = False) -> None:
        """Write a slice of the changed rows, if a flush is in progress or due.

        Args:
            all_of_them: begin a flush however few rows there are.
        """
        if not self._queue:
            if not (all_of_them or self._is_due()):
                return
            self._queue = self.hot.to_flush()
            self._target = self._before[1]
        size = FLUSHED_AT_ONCE + self._accepted
        now, self._queue = self._queue[-size:], self._queue[:-size]
        self._written = [(key, standing) for key in reversed(now) if (standing := self.standing(key)) is not None]
        request_rows.write(connection, self._written)
        if not self._queue:
            connection.execute("UPDATE ledger SET flushed = ?", (self._target,))
            arrivals.note(connection, self._target)
            self.flushed_to = self._target

    def flush_all(self, connection: sqlite3.Connection) -> None:
        """Write all changed rows, in transactions of its own."""
        while self.hot.waiting:
            self.begin()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self.flush_some(connection, all_of_them=True)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self.rolled_back()
                raise
            self.committed()

    def _key(self, connection: sqlite3.Connection, label: str) -> int:
        """Return the number of a label, which the transaction in progress writes if it is new."""
        connection.execute("INSERT INTO signing_keys (label) VALUES (?) ON CONFLICT DO NOTHING", (label,))
        number: int = connection.execute("SELECT number FROM signing_keys WHERE label = ?", (label,)).fetchone()[0]
        self._keys[label] = number
        return number

    def _is_due(self) -> bool:
        return self._before[1] - self.flushed_to >= MOST_UNFLUSHED or self.hot.unflushed_size >= MOST_UNFLUSHED_BYTES


@cache
def _insert_entries(rows: int) -> str:
    return f"INSERT INTO entries VALUES {marks(rows, '(?, ?, ?, ?, ?, ?, ?)')}"


def _timers(new: NewMessage, before: ServiceRequest | None, after: ServiceRequest) -> tuple[Entering, ...]:
    """Return the timers that follow the service request of a message into another state; none if it stays where it is."""
    state, message = present_state(after), new.message
    if state is None or state == present_state(before):
        return ()
    # As due times of deliveries, timers are kept in the store's own time, in which the message came at `since`.
    arrived_at = message.received_at if new.since is None else new.since
    since = state[1] + arrived_at - message.received_at
    entered = Entered(message.source, message.sr_uuid or "", message.reference_id, state[0], since, arrived_at)
    return (entering(new.watches, entered),)


def key_of(message: Message) -> Key | None:
    """Return the key of the service request that a message names; None if it names none."""
    return (message.source, message.sr_uuid) if message.sr_uuid else None
