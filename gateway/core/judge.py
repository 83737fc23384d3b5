"""Judges one event against what the ledger knows of its service request (docs/design.md, "The ledger"). Pure.

The order of events is that of their instants, then of the ranks of their states, then of the states' texts. The order of arrival
takes no part, so every permutation of the same events ends in the same row; only the facts tell what arrived late.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from gateway.core.events import Event, Milestone, StateChange
from gateway.core.ledger import (
    MISSING,
    MOST_INSTANTS,
    Course,
    Facts,
    Flag,
    Regression,
    ServiceRequest,
    milestone_of,
    missing_of,
    rank_of,
    state_text,
)

AHEAD_MS: Final = 300_000
"""Milliseconds that an event may be dated ahead of its arrival. One bad clock must not make all later events stale."""


def instant_of(event: Event, arrived_ms: int, instant: float | None) -> tuple[int, bool, bool]:
    """Return when an event happened, by its own timestamp if that can be believed, and by its arrival otherwise.

    Args:
        arrived_ms: its arrival, in Unix milliseconds, UTC.
        instant: the event's timestamp in Unix seconds, if the caller has read it already; None reads it from the event.
    Returns the instant in Unix milliseconds, whether the event has no readable timestamp, and whether it is dated more than
    AHEAD_MS ahead of its arrival.
    """
    if instant is None and (instant := event.instant()) is None:
        return arrived_ms, True, False
    at = round(instant * 1000)
    return (arrived_ms, False, True) if at > arrived_ms + AHEAD_MS else (at, False, False)


def judge(
    request: ServiceRequest | None, event: Event, arrival: float, instant: float | None = None
) -> tuple[Facts, ServiceRequest]:
    """Return the facts of an event that arrives now, and the row of its service request after it.

    Any event can be judged: an unknown or malformed one counts as a message about the request and is marked as drift. The caller
    judges no event without `sr_uuid`, none of the gateway's own, and no duplicate.

    Args:
        request: the row until now; None if nothing has come about the request.
        arrival: Unix seconds, UTC.
        instant: the event's timestamp in Unix seconds, if the caller has read it already.
    """
    before = request or _NOTHING_YET
    arrived = round(arrival * 1000)
    at, undated, future = instant_of(event, arrived, instant)
    content, milestone = event.content, event.milestone
    state = state_text(content.state) if isinstance(content, StateChange) else None
    drift = milestone is _UNRECOGNIZED
    meaning = milestone_of(state) if drift and state is not None else milestone

    sticky = before.sticky
    if undated:
        sticky |= _UNDATED
    if future:
        sticky |= _FUTURE
    if drift:
        sticky |= _DRIFT

    verdict, verdict_at = before.verdict, before.verdict_at_ms
    brings_verdict = verdict_changed = False
    if meaning in _VERDICTS:
        brings_verdict = _verdict_key(meaning, at) >= _verdict_key(verdict, verdict_at)
        if verdict is not None and verdict is not meaning:
            sticky |= _VERDICT_CHANGED
            verdict_changed = brings_verdict
        if brings_verdict:
            verdict, verdict_at = meaning, at

    first_seen, last_seen = before.first_seen_ms, before.last_seen_ms
    if request is None:
        first_seen = last_seen = arrived
    elif arrived > last_seen:
        last_seen = arrived
    elif arrived < first_seen:
        first_seen = arrived

    course_before = before.course
    course = _course(course_before, meaning, at)
    submitting = meaning is _QC_PENDING
    moves = state is not None and _is_latest(state, at, before)
    after = ServiceRequest(
        state=state if moves else before.state,
        state_at_ms=at if moves else before.state_at_ms,
        first_seen_ms=first_seen,
        last_seen_ms=last_seen,
        events=before.events + 1,
        course=course,
        pendings=_with(before.pendings, at) if submitting else before.pendings,
        rejecteds=_with(before.rejecteds, at) if meaning is _QC_REJECTED else before.rejecteds,
        medias=_with(before.medias, at) if meaning is _NEEDS_RESUBMISSION else before.medias,
        verdict=verdict,
        verdict_at_ms=verdict_at,
        sticky=sticky,
    )
    belongs_to = after.round_at(at, submitting=submitting)
    stale = (course_before.last_invalidated is not None or not moves) and _is_stale(
        before, meaning, at, moves=moves, changes_state=state is not None, belongs_to=belongs_to
    )
    regression = None if stale else _regression(course_before, meaning, at)
    facts = Facts(
        round=belongs_to,
        before=before.state,
        stale=stale,
        skipped=() if regression else _newly_missing(course_before, course),
        terminal_regression=Regression.VERDICT_CHANGED if verdict_changed else regression,
        undated=undated,
        future=future,
        drift=drift,
        since=before.milestone if stale else None,
        brings_verdict=brings_verdict,
    )
    return facts, after


_NOTHING_YET = ServiceRequest()
# Looked up once: every message needs them, and CPython 3.11 takes as long for the member of an enumeration as for a new struct.
_QC_PENDING, _QC_REJECTED, _NEEDS_RESUBMISSION = Milestone.QC_PENDING, Milestone.QC_REJECTED, Milestone.NEEDS_RESUBMISSION
_CANCELLED, _INVALIDATED, _UNRECOGNIZED = Milestone.CANCELLED, Milestone.INVALIDATED, Milestone.UNRECOGNIZED
_UNDATED, _FUTURE, _DRIFT, _VERDICT_CHANGED = (
    flag.value for flag in (Flag.UNDATED, Flag.FUTURE, Flag.DRIFT, Flag.VERDICT_CHANGED)
)
_VERDICTS = frozenset({Milestone.AUTHENTIC, Milestone.COUNTERFEIT})
_COMPLETE = frozenset({*_VERDICTS, Milestone.DOCUMENTED})
_IN_WORK = frozenset({Milestone.QUEUED, Milestone.AWAITING_ASSIGNMENT, Milestone.IN_PROGRESS, Milestone.CONCLUDING})
_OPEN = frozenset(
    {
        *(Milestone.DRAFT, Milestone.QC_PENDING, Milestone.QC_REJECTED, Milestone.QC_APPROVED, Milestone.QC_COMPLETE),
        *_IN_WORK,
    }
)
_FIRSTS: Final[dict[Milestone, tuple[str, ...]]] = {
    Milestone.QC_PENDING: ("first_submitted",),
    Milestone.QC_REJECTED: ("needs_submitted",),
    Milestone.NEEDS_RESUBMISSION: ("needs_submitted",),
    Milestone.QC_APPROVED: ("first_approved", "needs_submitted"),
    Milestone.QC_COMPLETE: ("first_approved", "needs_submitted"),
    **dict.fromkeys(_IN_WORK, ("needs_submitted", "needs_approved")),
    **dict.fromkeys(_COMPLETE, ("needs_submitted", "needs_approved", "first_complete")),
    Milestone.CANCELLED: ("first_cancelled",),
    Milestone.INVALIDATED: ("first_invalidated",),
}
"""The fields of `Course` that hold the first instant of such an event. Photos must have been submitted before anything is said of
them, and approved (or the request completed by the fast track) before an authenticator works on the item."""
_LASTS: Final[dict[Milestone, tuple[str, ...]]] = {
    **dict.fromkeys(_OPEN, ("last_open",)),
    **dict.fromkeys(_COMPLETE, ("last_complete",)),
    Milestone.CANCELLED: ("last_cancelled",),
    Milestone.INVALIDATED: ("last_invalidated",),
}
"""The field of `Course` that holds the last instant of such an event."""


def _places(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(map(Course.__struct_fields__.index, names))


_PLACES: Final = {meaning: (_places(_FIRSTS.get(meaning, ())), _places(_LASTS.get(meaning, ()))) for meaning in Milestone}
"""The same fields by their places in `Course`: to copy all its values takes less time than to name those that change."""


def _is_latest(state: str, at: int, before: ServiceRequest) -> bool:
    """Return True if no known state change comes after this one in the order of events."""
    known, known_at = before.state, before.state_at_ms
    if known is None or known_at is None or at > known_at:
        return True
    return at == known_at and (rank_of(state), state) >= (rank_of(known), known)


_BEFORE_ALL: Final = -(2**63)
"""An instant before every event."""


def _verdict_key(verdict: Milestone | None, at_ms: int | None) -> tuple[int, bool]:
    """Return the place of a verdict in the order of events. Of two at one instant, `counterfeit` has the higher rank."""
    return (_BEFORE_ALL if at_ms is None else at_ms, verdict is Milestone.COUNTERFEIT)


def _course(course: Course, meaning: Milestone, at: int) -> Course:
    firsts, lasts = _PLACES[meaning]
    instants = list(structs.astuple(course))
    for place in firsts:
        known = instants[place]
        if known is None or at < known:
            instants[place] = at
    for place in lasts:
        known = instants[place]
        if known is None or at > known:
            instants[place] = at
    return Course(*instants)


def _with(instants: tuple[int, ...], at: int) -> tuple[int, ...]:
    if not instants or at > instants[-1]:
        return (*instants, at)[-MOST_INSTANTS:]
    return instants if at in instants else tuple(sorted((*instants, at))[-MOST_INSTANTS:])


def _is_stale(before: ServiceRequest, meaning: Milestone, at: int, *, changes_state: bool, moves: bool, belongs_to: int) -> bool:
    """Return True if something that happened after this event has already arrived."""
    invalidated_at = before.invalidated_at_ms
    if invalidated_at is not None and at < invalidated_at and meaning not in _CANCELLATIONS:
        return True
    if changes_state:
        return not moves
    if before.state is None or before.state_at_ms is None or at >= before.state_at_ms:
        return False
    if meaning is _INVALIDATED:
        # A cancellation can come as CANCELLED, as invalidate_sr or as both, in any order: they say the same.
        return milestone_of(before.state) is not _CANCELLED
    if meaning is _NEEDS_RESUBMISSION:
        # The reasons of a rejection belong to it, even if they are dated before it.
        return milestone_of(before.state) is not _QC_REJECTED or belongs_to < before.round
    return True


_CANCELLATIONS = frozenset({Milestone.CANCELLED, Milestone.INVALIDATED})


def _regression(before: Course, meaning: Milestone, at: int) -> Regression | None:
    """Return how an event that is not stale contradicts an end before it. Unknown states contradict nothing."""
    if before.last_complete is None and before.last_cancelled is None and before.last_invalidated is None:
        return None
    opened = _BEFORE_ALL if before.last_open is None else before.last_open
    complete = _BEFORE_ALL if before.last_complete is None else before.last_complete
    cancelled = _BEFORE_ALL if before.last_cancelled is None else before.last_cancelled
    invalidated = _BEFORE_ALL if before.last_invalidated is None else before.last_invalidated
    was_invalidated = before.last_invalidated is not None and invalidated >= max(opened, complete)
    was_cancelled = before.last_cancelled is not None and cancelled >= max(opened, complete)
    was_complete = before.last_complete is not None and complete >= opened and complete > cancelled
    if meaning in _OPEN or meaning in _COMPLETE:
        if was_invalidated and at > invalidated:
            return Regression.AFTER_INVALIDATION
        if meaning in _OPEN:
            return Regression.REOPENED if was_cancelled or was_complete else None
        return Regression.ENDED_TWICE if was_cancelled else None
    if meaning in _CANCELLATIONS and was_complete and not was_invalidated and at >= complete:
        return Regression.ENDED_TWICE
    return None


def _newly_missing(before: Course, after: Course) -> tuple[str, ...]:
    if after.needs_submitted == before.needs_submitted and after.needs_approved == before.needs_approved:
        return ()  # what comes in its place makes nothing missing
    return MISSING[missing_of(after) & ~missing_of(before)]
