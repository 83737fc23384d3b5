"""The form in which the store keeps the rows of service requests: half as many bytes as in memory, and four times the work.

A flush writes nearly every page of the table, so each byte of a row counts there; between two flushes a row is judged many times.
Instants are kept as the time since the request was first seen, and states as their number. The course stands last among them, so
that a row that was written before `Course` had some field reads as one that does not know that instant.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field, structs

from gateway.core.events import Milestone
from gateway.core.ledger import FORM, Course, ServiceRequest, content_of, state_number, state_of


def pack_request(request: ServiceRequest) -> bytes:
    """Return a row as the store keeps it: at most `MOST_ROW_BYTES`, usually about 50."""
    since, pendings, rejecteds, medias = request.first_seen_ms, request.pendings, request.rejecteds, request.medias
    known = [request.state_at_ms, request.last_seen_ms, *pendings, *rejecteds, *medias]
    if request.verdict is not None:
        known.append(request.verdict_at_ms)
    known += structs.astuple(request.course)
    while known and known[-1] is None:
        known.pop()
    instants = [None if at is None else at - since for at in known]
    state, verdict = state_number(request.state), _VERDICTS.index(request.verdict)
    rounds = (len(pendings), len(rejecteds), len(medias))
    return FORM + _encode((state, since, request.events, request.sticky, verdict, rounds, instants))


def unpack_request(stored: bytes) -> ServiceRequest:
    """Return a stored row. Raises ValueError if the bytes were not written by `pack_request`, or by a version too new."""
    kept = _decode_row(content_of(stored))
    since, (pendings, rejecteds, medias) = kept.since, kept.rounds
    instants = [None if at is None else at + since for at in kept.instants]
    rejected_from, media_from, verdict_from = 2 + pendings, 2 + pendings + rejecteds, 2 + pendings + rejecteds + medias
    course_from = verdict_from + (kept.verdict != 0)
    instants += (None,) * (course_from - len(instants))
    rounds: Any = instants  # those of the rounds are all known
    return ServiceRequest(
        state_of(kept.state),
        instants[0],
        since,
        instants[1] or 0,
        kept.events,
        Course(*instants[course_from:]),
        tuple(rounds[2:rejected_from]),
        tuple(rounds[rejected_from:media_from]),
        tuple(rounds[media_from:verdict_from]),
        _VERDICTS[kept.verdict],
        instants[verdict_from] if kept.verdict else None,
        kept.sticky,
    )


class _KeptRow(Struct, frozen=True, array_like=True, gc=False):
    """The stored form of a row. Instants are milliseconds since `since`."""

    state: int | str | None = None
    since: int = 0
    events: int = 0
    sticky: int = 0
    verdict: Literal[0, 1, 2] = 0
    rounds: tuple[int, int, int] = (0, 0, 0)
    """The numbers of pendings, rejecteds and medias."""
    instants: list[int | None] = field(default_factory=list)
    """State, last seen, the rounds, the verdict if there is one, the course. Those missing at the end are not known."""


_VERDICTS: Final = (None, Milestone.AUTHENTIC, Milestone.COUNTERFEIT)
"""A verdict is kept as its place here."""
_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(_KeptRow).decode
