"""Reads an answer of Legitmark's API, and compares it with what the gateway knows. Pure; instants are Unix seconds.

    the API answers           means        and then
    200                       Current      compared with the state that is known here
    404                       NotFound     flagged: Legitmark does not know the service request
    401, 403                  Refused      everything stops until a person mends the key
    429                       Busy         asked again after `Retry-After`, or after a backoff
    5xx, nothing, no JSON     Unanswered   asked again after a backoff, a few times
    everything else           Unusable     this service request is left out

An answer may be cached (`rc_hit`), and a webhook may be on its way. So a disagreement counts only if `updated_at` is newer
than the known state, and if it is still there CONFIRM_SECONDS later.

The fields of an answer are those of `GET /api/v2/sr/{uuid}` in Legitmark's TypeScript SDK 0.2.0 (types `GetSRResponse` and
`ServiceRequest`): `{success, message, rc_hit, sr: {uuid, external_id, state: {primary, supplement}, updated_at}}`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gateway.core.events import Event, State, event_of
from gateway.core.instants import parse_instant
from gateway.core.ledger import state_text

MOST_ANSWER = 1024 * 1024
"""Bytes of an answer. The SDK's own example has about 1 KiB."""
CONFIRM_SECONDS = 60.0
"""Seconds between an answer that disagrees and the question that confirms it."""
MOST_TRIES = 6
"""Questions in a row about one service request that get no usable answer."""
SHORTEST_BACKOFF = 1.0
LONGEST_BACKOFF = 300.0
_JITTER = 0.1
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_TEXT = 200
"""Characters of a text of the API that are kept: states and ids are shorter."""

Trigger = Literal["person", "gap", "source_silent"]
"""Why a reconciliation began."""
Result = Literal["same", "older", "differs", "not_found", "failed"]
"""How a question ended. `older`: the answer differs, and is no newer than what the gateway knows."""


class KnownState(Struct, frozen=True, kw_only=True):
    """The state of a service request as the gateway knows it, by webhooks or by an earlier reconciliation."""

    sr_uuid: str
    reference_id: str | None = None
    state: str | None = None
    """The state as `state_text` writes it; None if no event has brought one."""
    at: float | None = None
    """The instant of the event that brought the state; None if it has none."""
    invalidated: bool = False
    """An `invalidate_sr` came, which means the same as CANCELLED."""


class Current(Struct, frozen=True, kw_only=True):
    """The state of a service request as the API tells it."""

    sr_uuid: str
    reference_id: str | None
    state: State
    updated_at: float
    updated_text: str
    """`updated_at` as the API wrote it."""
    cached: bool
    """The API says that the answer comes from its cache (`rc_hit`)."""


class NotFound(Struct, frozen=True):
    """The API knows no such service request."""


class Refused(Struct, frozen=True):
    """The API refuses the key: only a person can mend that."""

    status: int
    detail: str


class Busy(Struct, frozen=True):
    """The API asks for a pause."""

    detail: str
    after: float | None = None
    """Seconds, by its `Retry-After`; None if it names none."""


class Unanswered(Struct, frozen=True):
    """There was no usable answer, and there may be one later."""

    detail: str


class Unusable(Struct, frozen=True):
    """The answer says nothing about the service request, and would be the same again."""

    detail: str


Reply = Current | NotFound | Refused | Busy | Unanswered | Unusable


def is_uuid(text: str) -> bool:
    """Return True if a text can be the uuid of a service request (RFC 9562, section 4), and so a part of the API's path."""
    return _UUID.fullmatch(text.lower()) is not None


def read_reply(sr_uuid: str, status: int, said: str, body: bytes, after: float | None) -> Reply:
    """Return what an answer means.

    Args:
        sr_uuid: the service request that the question was about.
        said: the status and the part of the body that a person may see.
        body: at most MOST_ANSWER bytes, or one more if it is longer.
        after: the seconds of `Retry-After`, if it has one.
    """
    if status == 200:
        return _read(sr_uuid, body)
    if status == 404:
        return NotFound()
    if status in (401, 403):
        return Refused(status, said)
    if status == 429:
        return Busy(said, after)
    return Unanswered(said) if status >= 500 else Unusable(said)


def compare(known: KnownState | None, current: Current) -> Literal["same", "older", "differs"]:
    """Compare what the gateway knows with an answer. A request that the gateway never heard of differs from every answer."""
    if known is None or known.state is None:
        return "same" if known is not None and known.invalidated and current.state.primary == "CANCELLED" else "differs"
    if known.state == state_text(current.state) or (known.invalidated and current.state.primary == "CANCELLED"):
        return "same"
    if known.at is not None and current.updated_at <= known.at:
        return "older"
    return "differs"


def backoff(failures: int, jitter: float, after: float | None = None) -> float:
    """Return the seconds until the next question: 1 s, then twice as long after each failure, up to 5 minutes.

    Args:
        failures: questions in a row without a usable answer, at least 1.
        jitter: between -1 and 1.
        after: the seconds of `Retry-After`, which count instead; they are kept within the same bounds.
    """
    seconds = SHORTEST_BACKOFF * 2.0 ** min(failures - 1, 16) * (1.0 + _JITTER * jitter) if after is None else after
    return min(max(seconds, SHORTEST_BACKOFF), LONGEST_BACKOFF)


def is_gap(before: float | None, after: float, gap: float) -> bool:
    """Return True if the sender has given up on messages between two instants: nothing arrived for longer than its retries last.

    Args:
        before: the last arrival before the pause; None if there never was one, and then nothing can be missing.
        gap: seconds.
    """
    return before is not None and after - before > gap


def state_change(current: Current) -> Event:
    """Return the event that a webhook would have told, as far as the API knows it. Its source has to be `routing.RECONCILE`.

    Its timestamp is `updated_at`, since the API does not tell when the state was entered. `reconciled` says that no webhook
    brought it.
    """
    return event_of(
        {
            "event_type": "state_change",
            "sr_uuid": current.sr_uuid,
            "reference_id": current.reference_id,
            "state": {"primary": current.state.primary, "supplement": current.state.supplement},
            "timestamp": current.updated_text,
            "reconciled": True,
        }
    )


def differs_text(known: KnownState | None, current: Current) -> str:
    """Return in words how an answer differs from what the gateway knows."""
    if known is None:
        knows = "knows no such service request"
    elif known.state is None:
        knows = "knows only that it was invalidated" if known.invalidated else "knows no state of it"
    else:
        knows = f"knows {known.state}"
    return f"Legitmark's API says {state_text(current.state)}, the gateway {knows}"


class _Request(Struct, frozen=True):
    uuid: str
    state: State
    updated_at: str
    external_id: Any = None


class _Answer(Struct, frozen=True):
    sr: _Request
    success: Any = True
    rc_hit: Any = False


def _read(sr_uuid: str, body: bytes) -> Current | Unanswered | Unusable:
    if len(body) > MOST_ANSWER:
        return Unusable("the answer has more than 1 MiB")
    try:
        values: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        try:
            values = json.loads(body)  # it also reads lone surrogates, which the API of a JavaScript service can send
        except (ValueError, RecursionError):
            return Unanswered("the answer is no JSON, or did not come whole")
    try:
        request = msgspec.convert(values, _Answer)
    except (ValueError, RecursionError):
        return Unusable("the answer has no sr with uuid, state and updated_at")
    found = request.sr
    if request.success is False:
        return Unusable("the answer says that it did not succeed")
    if found.uuid.lower() != sr_uuid.lower():
        return Unusable("the answer is about another service request")
    texts = [found.state.primary, found.state.supplement or "", found.updated_at]
    if not found.state.primary.strip() or not all(map(_is_name, texts)):
        return Unusable("the answer has a text that cannot be one of a service request")
    try:
        at = parse_instant(found.updated_at)
    except ValueError:
        return Unusable("the answer has no readable updated_at")
    return Current(
        sr_uuid=sr_uuid,
        # Only shown, so an odd one does not spoil the answer.
        reference_id=found.external_id if isinstance(found.external_id, str) and _is_name(found.external_id) else None,
        state=found.state,
        updated_at=at,
        updated_text=found.updated_at,
        cached=request.rc_hit is True,
    )


def _is_name(text: str) -> bool:
    """Return True if a text can be a state, an instant or an id: not long, and without controls and halves of surrogate pairs."""
    return len(text) <= _LONGEST_TEXT and text.isprintable()
