"""The parts of answers about service requests that know no SQL: choosing, comparing names, and leaving out what has ended."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Final

from gateway.core.events import Milestone
from gateway.core.ledger import ENDS, ServiceRequest
from gateway.core.references import folded
from gateway.core.request_documents import KnownRequest, OpenRequest, Owing, RequestSelection
from gateway.store import bounds
from gateway.store.columns import milliseconds
from gateway.store.hot_rows import CODES, Columns, Key, Standing

Kept = dict[Key, Standing]
"""Rows by their key."""
Row = tuple[Key, Standing]
Place = tuple[int, int]
"""When the present state of a request began, in milliseconds, and its number: its place in a list."""

NEIGHBOURS: Final = 200
"""Reference ids on each side among which the nearest ones are looked for."""
SHORTEST: Final = 4
"""Characters of a beginning: fewer of them would stand for anything."""
OPEN: Final = tuple(CODES[milestone] for milestone in (None, *Milestone) if milestone not in ENDS)
"""The milestones of which something is still expected, as the column keeps them."""
BEGINNING: Final = -(2**63)
"""Before every instant: senders may date an event before 1970."""
BEFORE_ALL: Final[Place] = (BEGINNING, -1)
_COMPARED: Final = 64
"""Reference ids that are compared letter by letter, which takes some 50 microseconds each."""
_MOST_NEAREST: Final = 5
_ALIKE: Final = 0.75
"""How much alike two reference ids are at least, from 0 to 1, to be called near."""


def codes_of(milestones: Iterable[Milestone]) -> list[int]:
    """Return milestones as the column keeps them, the least first."""
    return sorted({CODES[milestone] for milestone in milestones})


def fitting(selection: RequestSelection) -> Callable[[Key, Columns], bool]:
    """Return whether a row is what a selection chooses, its instants left aside."""
    codes, flag, source = frozenset(codes_of(selection.milestones)), int(selection.flag or 0), selection.source

    def fits(key: Key, listed: Columns) -> bool:
        return (
            listed.milestone is not None
            and (not codes or listed.milestone in codes)
            and listed.flags & flag == flag
            and (source is None or source == key[0])
        )

    return fits


def window(selection: RequestSelection) -> tuple[int, int]:
    """Return the window of time of a selection: from a millisecond on, and up to before another one."""
    since = BEGINNING if selection.since is None else milliseconds(selection.since)
    return since, bounds.END if selection.until is None else milliseconds(selection.until)


def known(key: Key, row: Standing, queued: int, dead: int) -> KnownRequest:
    """Return what is known of a request, with the deliveries that it owes now."""
    return KnownRequest(row.number, *key, row.reference_id, row.request, Owing(queued, dead))


def nearest(reference: bytes, near: Iterable[str]) -> tuple[str, ...]:
    """Return those of some reference ids that differ little from this one, then those that begin with it; few of each."""
    wanted = reference.decode()
    spellings = {one: folded(one).decode() for one in near}
    matcher = SequenceMatcher(b=wanted, autojunk=False)
    scored = set()
    for one in heapq.nlargest(_COMPARED, spellings, key=lambda one: _shared(spellings[one], wanted)):
        spelling = spellings[one]
        matcher.set_seq1(spelling)
        if matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE and (score := matcher.ratio()) >= _ALIKE:
            scored.add((-score, one))
        elif len(wanted) >= SHORTEST and spelling.startswith(wanted):
            scored.add((0.0, one))
    return tuple(one for _, one in sorted(scored)[:_MOST_NEAREST])


def _shared(spelling: str, wanted: str) -> int:
    """Return how many characters two texts share at their beginning and at their end: all but the place of one typing mistake."""
    return _begun_alike(spelling, wanted) + _begun_alike(reversed(spelling), reversed(wanted))


def _begun_alike(one: Iterable[str], other: Iterable[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def in_other_sources(found: Iterable[Key], sources: Collection[str]) -> set[Key]:
    """Return the keys under which the other sources may know the same requests."""
    return {(source, sr_uuid) for of, sr_uuid in found for source in sources if source != of}


def still_open(found: Kept, others: Kept, sources: Collection[str]) -> list[OpenRequest]:
    """Return the requests of a page, without those that have ended by what another of the sources says."""
    requests = {key: row.request for key, row in (others | found).items()}
    return [
        OpenRequest(*key, row.reference_id, requests[key])
        for key, row in found.items()
        if not any(_ended_since(requests[key], requests.get((source, key[1]))) for source in sources)
    ]


def _ended_since(one: ServiceRequest, other: ServiceRequest | None) -> bool:
    """Return True if another source says that the request ended after its state began."""
    if other is None or not other.ended:
        return False
    ended_ms = other.invalidated_at_ms if other.invalidated else other.state_at_ms
    return ended_ms is not None and (one.state_at_ms is None or one.state_at_ms <= ended_ms)
