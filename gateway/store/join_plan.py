"""Joins: which of the messages that are being accepted wait for their other half, and which are told with one that waits.

The two events of one rejection go out as one message, see the engines' `joining`. This decides, and knows no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.core.records import Accepted, Joined
from gateway.store.ledger_state import Judged

JoinKey = tuple[int, int, str]
"""The number of a service request, a round of it, and a sink."""


class First(NamedTuple):
    """The first event of a round at a sink."""

    seq: int
    message_id: str
    milestone: str
    open: bool
    """Its partner may still be linked to it."""


class Plan(NamedTuple):
    """The joins of some messages that are being accepted."""

    accepted: dict[int, Accepted]
    """The results that differ from those of messages without a join, by seq."""
    waits: dict[tuple[int, str], float]
    """The seconds that the delivery of a message to a sink waits."""
    opened: dict[JoinKey, int]
    """The messages that open a join."""
    linked: dict[JoinKey, tuple[int, int]]
    """The messages that are told with another one, each after the message whose delivery tells it."""
    joined: frozenset[tuple[int, str]]
    """The deliveries that are not made, because another one tells their message."""


NO_JOINS: Final = Plan({}, {}, {}, {}, frozenset())


class WantedJoin(NamedTuple):
    """A message that is to wait at a sink, or to be told with one that waits."""

    judged: Judged
    seq: int
    key: JoinKey
    seconds: float
    """How long it waits."""


def wanted_joins(accepted: Sequence[tuple[Judged, int]], numbers: Sequence[int | None]) -> list[WantedJoin]:
    """Return what the rules want of accepted messages.

    Args:
        accepted: the messages in the order of acceptance, each with its seq.
        numbers: the numbers of their service requests.
    """
    return [
        WantedJoin(one, seq, (number, one.facts.round, sink), seconds)
        for (one, seq), number in zip(accepted, numbers, strict=True)
        if one.owes.waits and number is not None and one.facts is not None
        for sink, seconds in one.owes.waits
    ]


def planned(wanted: Sequence[WantedJoin], firsts: dict[JoinKey, First]) -> Plan:
    """Decide which messages wait, and which are told with one that waits.

    Args:
        firsts: the first events of the rounds that have one; it is changed.
    """
    waits: dict[tuple[int, str], float] = {}
    opened: dict[JoinKey, int] = {}
    linked: dict[JoinKey, tuple[int, int]] = {}
    results: dict[int, Accepted] = {}
    for one, seq, key, seconds in wanted:
        message, sink = one.new.message, key[2]
        before = results.get(seq) or Accepted(seq)
        first = firsts.get(key)
        if first is None:
            firsts[key] = First(seq, message.id, message.milestone or "", open=True)
            opened[key], waits[seq, sink] = seq, seconds
            results[seq] = Accepted(seq, (*before.waiting, sink), before.joined)
        elif first.open and first.milestone != message.milestone:
            firsts[key] = first._replace(open=False)
            linked[key] = first.seq, seq
            results[seq] = Accepted(seq, before.waiting, (*before.joined, Joined(sink, first.message_id)))
    joined = frozenset((partner, key[2]) for key, (_, partner) in linked.items())
    return Plan(results, waits, opened, linked, joined)
