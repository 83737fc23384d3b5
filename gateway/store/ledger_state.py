"""The ledger of an engine as far as it knows no database: each message is judged by the row of its service request.

An engine reads the rows before, and writes what the transaction in progress has changed after. A transaction begins with `begin`
and ends with `committed` or `rolled_back`. Judging changes nothing; `take` gives a row its next message.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct

from gateway.core.judge import judge
from gateway.core.ledger import Facts, ServiceRequest, encode_facts, encode_request
from gateway.core.records import Companion, Message, NewMessage, Owes
from gateway.core.references import folded
from gateway.core.routing import GATEWAY
from gateway.core.watches import Entered, Entering, entering, present_state
from gateway.store.hot_rows import HotRows, Key, Standing

_NOTHING_YET: Final = ServiceRequest()
EntryRow = tuple[int, int | None, int | None, bytes | None, int | None]
"""The message, its request, the message before, its facts, and its rules."""


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


class LedgerState:
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
        self._loose: list[tuple[bytes, int]] = []
        """Reference ids of messages that the transaction in progress takes, by which no request is found."""
        self._named: list[tuple[int, str, bytes]] = []
        """Reference ids that requests of the file get in the transaction in progress, which had none."""
        self._unjudged = 0
        """Messages of the transaction in progress that a bug kept from being judged."""

    def _put_changed(self) -> None:
        self.hot.put(self._changed)
        self.unjudged += self._unjudged

    def _end(self) -> None:
        self._changed, self._read, self._unjudged = {}, {}, 0
        self._loose, self._named = [], []

    def standing(self, key: Key) -> Standing | None:
        """Return the row of a request that was loaded, as the transaction in progress has it; None if it has none."""
        if key in self._changed:
            return self._changed[key]
        return self.hot.get(key) or self._read.get(key)

    def known(self, keys: Collection[Key | None]) -> tuple[list[Standing | None], list[Key]]:
        """Return the row of each service request that is known here, and the requests whose rows have to be read, each once."""
        if not self._changed and not self._read:
            found = self.hot.get_each(keys)
        else:
            found = [None if key is None else self.standing(key) for key in keys]
        if all(found):
            return found, []
        cold = [key for key, row in zip(keys, found, strict=True) if row is None and key is not None and key not in self._changed]
        return found, list(dict.fromkeys(cold))

    def judge_by(
        self, keys: Sequence[Key | None], standings: Sequence[Standing | None], batch: Sequence[NewMessage]
    ) -> list[Judged]:
        """Judge messages in this order, and let each be routed. Changes nothing, so it may be repeated.

        Args:
            keys: the service requests that the messages name.
            standings: the rows of those requests; None if one has none.
        """
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

    def entries(self, accepted: Sequence[tuple[Judged, int]]) -> list[EntryRow]:
        """Change the rows of the requests of messages that were just accepted, each with its seq. Returns their entries."""
        rows: list[EntryRow] = []
        for one, seq in accepted:
            new, facts = one.new, None
            number = before = None
            if self.live:
                number, before = self.take(one.key, seq, one.known, one.after, new.message.reference_id)
            if one.facts is not None:
                facts = encode_facts(one.facts)
            elif self.live and new.event is not None and one.key is not None:
                self._unjudged += 1
            rows.append((seq, number, before, facts, new.rules))
        return rows

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
            if number is None:
                number = self._new_number()
            else:
                self.next_number = max(self.next_number, number + 1)
            row = encode_request(after or _NOTHING_YET)
            self._changed[key] = Standing(number, seq, row, reference_id, key[0] == GATEWAY, filed=False)
            return number, None
        row = known.row if after is None else encode_request(after)
        same = reference_id == known.reference_id  # then one object does for all messages of the request
        reference_id = known.reference_id if same else self._named_as(known, reference_id, seq)
        self._changed[key] = Standing(known.number, seq, row, reference_id, known.own, known.filed)
        return known.number, known.last

    def _new_number(self) -> int:
        self.next_number += 1
        return self.next_number - 1

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

    def change(self, key: Key, standing: Standing | None) -> None:
        """Replace the row of a request, or forget it."""
        self._changed[key] = standing


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
