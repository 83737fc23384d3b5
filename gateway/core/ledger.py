"""The ledger's types: what the gateway knows of a service request, and what it found out about each event of one.

`judge` makes both. The store keeps them as bytes, which `encode_facts` and `packed_rows` make; nothing else writes that form.
The structs hold no containers but tuples, so no cycle can form and the garbage collector need not look at them (`gc=False`).
The case table of docs/design.md, "The ledger", is the specification.

Instants in the row are Unix milliseconds, UTC: the store keeps no more, and a row that is rebuilt from it must be the same row.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from enum import IntFlag, StrEnum
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct, structs

from gateway.core.events import ANY, STATES, Milestone, State

MOST_INSTANTS: Final = 64
"""How many instants of each kind a row keeps, the newest ones. Rounds are counted no further."""
LONGEST_STATE: Final = 64
"""Characters of a state that are kept. The documented ones have at most 18; an unknown one may have any length."""
MOST_ROW_BYTES: Final = 2304
"""No encoded row is longer, whatever events came."""
MOST_FACTS_BYTES: Final = 384
"""No encoded facts are longer, whatever the event is."""

_MOST_REMEMBERED: Final = 1024
"""Facts of which both forms are remembered. They have no instants, so that most messages have one of a few."""
FORM: Final = b"\x01"
"""The version of the encoding. New fields are appended with a default, which older bytes then get, and keep this number."""


class Regression(StrEnum):
    """A change that contradicts an end which the service request had. The list is closed."""

    VERDICT_CHANGED = "verdict_changed"
    """The item was authentic and is counterfeit now, or the other way round."""
    REOPENED = "reopened"
    """The request was complete or cancelled, and is in progress again."""
    ENDED_TWICE = "ended_twice"
    """The request was complete and is cancelled now, or the other way round."""
    AFTER_INVALIDATION = "after_invalidation"
    """The request was invalidated, and went on nevertheless."""


class Flag(IntFlag):
    """A mark on a service request. The store keeps the numbers, so a number never changes its meaning.

    Flags follow from the events alone: the order in which they arrive makes no difference.
    """

    SKIPPED = 1
    """A state that every request passes through has not come (`Facts.skipped`); gone once it has."""
    VERDICT_CHANGED = 2
    REOPENED = 4
    ENDED_TWICE = 8
    AFTER_INVALIDATION = 16
    UNDATED = 32
    """An event had no readable timestamp."""
    FUTURE = 64
    """An event was dated more than five minutes ahead."""
    DRIFT = 128
    """An event had a type, a state or a shape that this version does not know."""

    @property
    def words(self) -> tuple[str, ...]:
        """The names of the flags as people write them, such as `ended_twice`."""
        return tuple((flag.name or "").lower() for flag in self)


FLAG_WORDS: Final = Flag(-1).words
"""The names of all flags."""


class Facts(Struct, frozen=True, array_like=True, gc=False):
    """The facts about one event, as judged when it arrived. They stay as they are, whatever later events show."""

    round: int = 0
    """The round of photos that the event belongs to: 1 for the first, 0 if none was submitted yet."""
    before: str | None = None
    """The state of the request before the event, such as `QC/PENDING`; None if it had none."""
    stale: bool = False
    """The event happened before something else that had already arrived: it is late."""
    skipped: tuple[str, ...] = ()
    """States that every request passes through and that have not come, if this event is the first to show it."""
    terminal_regression: Regression | None = None
    undated: bool = False
    """The event has no readable timestamp, so its arrival counts as its instant."""
    future: bool = False
    """The event is dated more than five minutes ahead of its arrival, so its arrival counts as its instant."""
    drift: bool = False
    """The event has a type, a state or a shape that this version does not know."""
    since: Milestone | None = None
    """The milestone of the request before this event, which is the later one; None unless the event is stale."""
    brings_verdict: bool = False
    """The verdict of the request is the one that this event brings. If the event is also stale, it is late and still news."""


_NO_FACTS = structs.astuple(Facts())
_BEFORE = Facts.__struct_fields__.index("before")


class Course(Struct, frozen=True, array_like=True, gc=False):
    """The first and last instants of some kinds of events: the flags follow from them, in whatever order the events arrive."""

    first_submitted: int | None = None
    """The first QC/PENDING."""
    first_approved: int | None = None
    """The first QC/APPROVED or QC/COMPLETE."""
    needs_submitted: int | None = None
    """The first event before which photos must have been submitted."""
    needs_approved: int | None = None
    """The first event before which photos must have been approved."""
    last_open: int | None = None
    """The last known state that is not an end."""
    first_complete: int | None = None
    last_complete: int | None = None
    first_cancelled: int | None = None
    last_cancelled: int | None = None
    first_invalidated: int | None = None
    last_invalidated: int | None = None


def missing_of(course: Course) -> int:
    """Return the states that a request must have passed through and that have not come, as bits: their place in `MISSING`.

    Each message needs it, so both states are written out.
    """
    needed, came = course.needs_submitted, course.first_submitted
    bits = 1 if needed is not None and (came is None or came > needed) else 0
    needed, came = course.needs_approved, course.first_approved
    return bits | 2 if needed is not None and (came is None or came > needed) else bits


SUBMITTED: Final = "QC/PENDING"
APPROVED: Final = "QC/APPROVED"
MISSING: Final = ((), (SUBMITTED,), (APPROVED,), (SUBMITTED, APPROVED))
"""The states by the bits of `missing_of`."""


class ServiceRequest(Struct, frozen=True, array_like=True, gc=False):
    """The row of the ledger: what the gateway knows of one service request, by its uuid and its source."""

    state: str | None = None
    """The state of the latest state change, such as `QC/PENDING` or `CANCELLED` (`state_text`); None before the first one."""
    state_at_ms: int | None = None
    """When that state change happened."""
    first_seen_ms: int = 0
    """When the first of its messages arrived."""
    last_seen_ms: int = 0
    """When the last of its messages arrived."""
    events: int = 0
    """How many messages about it were accepted; duplicates do not count."""
    course: Course = Course()
    pendings: tuple[int, ...] = ()
    """The instants of the newest QC/PENDING, oldest first, each once; so are the next two."""
    rejecteds: tuple[int, ...] = ()
    """The newest QC/REJECTED."""
    medias: tuple[int, ...] = ()
    """The newest media_rejected."""
    verdict: Milestone | None = None
    """`authentic` or `counterfeit`; a later cancellation does not remove it."""
    verdict_at_ms: int | None = None
    sticky: int = 0
    """The flags that no later event can take away, as bits of `Flag`."""

    @property
    def invalidated_at_ms(self) -> int | None:
        """When the request was last invalidated."""
        return self.course.last_invalidated

    @property
    def invalidated(self) -> bool:
        """True if the request was invalidated and nothing has happened to it since."""
        at = self.course.last_invalidated
        return at is not None and (self.state_at_ms is None or at >= self.state_at_ms)

    @property
    def milestone(self) -> Milestone | None:
        """The meaning of its present state; `invalidated` if it was invalidated since, None if no state is known."""
        meaning = None if self.state is None else milestone_of(self.state)
        if self.course.last_invalidated is None:
            return meaning
        return Milestone.INVALIDATED if self.invalidated and meaning is not Milestone.CANCELLED else meaning

    @property
    def ended(self) -> bool:
        """True if nothing more is expected: the present state is COMPLETE or CANCELLED, or the request was invalidated."""
        return self.milestone in ENDS

    @property
    def round(self) -> int:
        """The present round of photos: 1 for the first, 0 if none was submitted yet."""
        counted = max(len(self.pendings), len(self.rejecteds), len(self.medias))
        if self.state is None or self.state_at_ms is None:
            return counted
        return max(counted, self.round_at(self.state_at_ms, submitting=self.state == SUBMITTED))

    def round_at(self, at_ms: int, *, submitting: bool = False) -> int:
        """Return the round that an event at this instant belongs to.

        Args:
            submitting: the event is a QC/PENDING, which opens the round after every rejection before it.
        """
        pendings = bisect_right(self.pendings, at_ms)
        if not (self.rejecteds or self.medias or submitting):
            return pendings
        if not submitting:
            return max(pendings, bisect_right(self.rejecteds, at_ms), bisect_right(self.medias, at_ms))
        rejecteds, medias = bisect_left(self.rejecteds, at_ms), bisect_left(self.medias, at_ms)
        complete = self.course.first_complete
        # A request that was complete had a round before, even if nothing of it has arrived.
        return max(pendings, rejecteds and rejecteds + 1, medias and medias + 1, 2 if _is_before(complete, at_ms) else 0)

    @property
    def missing(self) -> tuple[str, ...]:
        """The states that the request must have passed through and that have not come."""
        return MISSING[missing_of(self.course)]

    @property
    def flags(self) -> Flag:
        return Flag(self.flag_bits)

    @property
    def flag_bits(self) -> int:
        """The flags as a number. Each message needs it, and operations on `Flag` take a microsecond."""
        course = self.course
        bits = self.sticky
        if missing_of(course):
            bits |= _SKIPPED
        complete, cancelled, invalidated = course.first_complete, course.first_cancelled, course.first_invalidated
        if complete is cancelled is invalidated is None:
            return bits
        opened = course.last_open
        if complete is not None:
            if _is_before(complete, opened):
                bits |= _REOPENED
            if cancelled is not None or _is_before(complete, course.last_invalidated):
                bits |= _ENDED_TWICE
        if cancelled is not None and _is_before(cancelled, opened):
            bits |= _REOPENED
        if invalidated is not None and (_is_before(invalidated, opened) or _is_before(invalidated, course.last_complete)):
            bits |= _AFTER_INVALIDATION
        return bits


_SKIPPED, _REOPENED, _ENDED_TWICE, _AFTER_INVALIDATION = (
    flag.value for flag in (Flag.SKIPPED, Flag.REOPENED, Flag.ENDED_TWICE, Flag.AFTER_INVALIDATION)
)
ENDS: Final = frozenset(
    {Milestone.AUTHENTIC, Milestone.COUNTERFEIT, Milestone.DOCUMENTED, Milestone.CANCELLED, Milestone.INVALIDATED}
)
"""The milestones after which nothing more is expected."""


def state_text(state: State) -> str:
    """Return a state as the ledger keeps it: at most `LONGEST_STATE` characters of its text."""
    return _TEXTS.get((state.primary, state.supplement)) or state.text[:LONGEST_STATE]


_KNOWN = {
    State(primary, supplement).text: (rank, milestone)
    for rank, ((primary, supplement), milestone) in enumerate(STATES.items(), 1)
    if supplement is None or isinstance(supplement, str)
}
_WITH_ANY_SUPPLEMENT = {
    primary: (rank, milestone) for rank, ((primary, supplement), milestone) in enumerate(STATES.items(), 1) if supplement is ANY
}
_UNKNOWN = (0, Milestone.UNRECOGNIZED)
KNOWN_STATES: Final = frozenset((*_KNOWN, *_WITH_ANY_SUPPLEMENT))
"""The documented states as text. Some of them may also have any supplement."""
_TEXTS: Final = {
    (primary, supplement or None): text for text in KNOWN_STATES for primary, _, supplement in (text.partition("/"),)
}
"""The texts of the documented states, by their two parts: rows that name a state share its text, and none is made anew."""


def rank_of(state: str) -> int:
    """Return the place of a state in the usual course, from 1 (DRAFT) to 13 (CANCELLED); 0 for an unknown state.

    Of two states of one instant, the one with the higher rank counts as the later one.
    """
    return _meaning(state)[0]


def milestone_of(state: str) -> Milestone:
    """Return the milestone of a state, given as text; `unrecognized` for an unknown state."""
    return _meaning(state)[1]


@lru_cache(_MOST_REMEMBERED)
def encode_facts(facts: Facts) -> bytes:
    """Return facts as the store keeps them: at most `MOST_FACTS_BYTES`, usually 4."""
    values = list(structs.astuple(facts))
    while values and values[-1] == _NO_FACTS[len(values) - 1]:
        values.pop()
    if len(values) > _BEFORE:
        values[_BEFORE] = state_number(values[_BEFORE])
    return FORM + _encode(values)


@lru_cache(_MOST_REMEMBERED)
def decode_facts(stored: bytes) -> Facts:
    """Return stored facts. Raises ValueError if the bytes were not written by `encode_facts`, or by a version too new."""
    values = structs.asdict(_decode_facts(content_of(stored)))
    return Facts(**(values | {"before": state_of(values["before"])}))


class _KeptFacts(Facts, frozen=True, array_like=True, gc=False):
    """The stored form of facts."""

    before: int | str | None = None  # type: ignore[assignment]


_STATES: Final = (
    *("DRAFT", "QC/PENDING", "QC/REJECTED", "QC/APPROVED", "QC/COMPLETE", "QUEUE", "UNDERWAY/PENDING", "UNDERWAY/ASSIGNED"),
    *("UNDERWAY/APPROVED", "COMPLETE/APPROVED", "COMPLETE/REJECTED", "COMPLETE/COMPLETE", "CANCELLED"),
)
"""The states that the store keeps as their place here, which never changes; other states are kept as text."""
_STATE_NUMBERS: Final[dict[str | None, int]] = {state: number for number, state in enumerate(_STATES)}
_encode = msgspec.msgpack.Encoder().encode
_decode_facts = msgspec.msgpack.Decoder(_KeptFacts).decode
encode_request: Final[Callable[[ServiceRequest], bytes]] = _encode
"""Returns a row as memory keeps it: at most `MOST_ROW_BYTES`, usually about 100. `packed_rows` makes the form of the store."""
decode_request: Final[Callable[[bytes], ServiceRequest]] = msgspec.msgpack.Decoder(ServiceRequest).decode
"""Returns a row that `encode_request` wrote."""


def state_number(state: str | None) -> int | str | None:
    """Return a state as the store keeps it: the number of a documented one, the text of any other."""
    return _STATE_NUMBERS.get(state, state)


def state_of(kept: int | str | None) -> str | None:
    """Return a state that the store kept. Raises ValueError if its number belongs to a later version."""
    if not isinstance(kept, int):
        return kept
    if not 0 <= kept < len(_STATES):
        raise ValueError(f"the ledger has a state with the number {kept}, which this version of the gateway does not know")
    return _STATES[kept]


def content_of(stored: bytes) -> bytes:
    """Return what stands behind the version of the encoding. Raises ValueError if that is too new."""
    if stored[:1] != FORM:
        raise ValueError("the ledger has an entry in a form that this version of the gateway cannot read")
    return stored[1:]


def _meaning(state: str) -> tuple[int, Milestone]:
    return _KNOWN.get(state) or _WITH_ANY_SUPPLEMENT.get(state.partition("/")[0]) or _UNKNOWN


def _is_before(earlier: int | None, later: int | None) -> bool:
    return earlier is not None and later is not None and earlier < later
