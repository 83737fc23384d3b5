"""Groups of dead deliveries that died alike: at one sink, for one reason, with answers that differ at most in numbers. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from msgspec import Struct

from gateway.core.documents import DeadDelivery

_LONGEST = 120
"""Characters of an answer that tell groups apart."""
_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+", re.IGNORECASE
)
"""Uuids, hexadecimal digests and numbers: an answer often names the request that it refuses."""
_NEWEST = 5
"""Messages that stand for a group."""
_SPACE = re.compile(r"\s+")


class DeathKey(Struct, frozen=True):
    """The things that the deliveries of one group have in common."""

    sink: str
    reason: str
    """Why they ended, as the closed list of reasons has it; "" if that is not known."""
    status: int | None
    answer: str
    """The beginning of the last answer, with `…` for its numbers; the words of the gateway if the sink said nothing."""

    @property
    def id(self) -> str:
        """A short name that stays the same while the group lives."""
        text = "\0".join((self.sink, self.reason, str(self.status), self.answer))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class DeadGroup(Struct, frozen=True, kw_only=True):
    """Dead deliveries that died alike."""

    key: DeathKey
    deliveries: int
    requests: int
    """The service requests that they are about."""
    first_at: float
    """When the first of them died, Unix seconds, UTC."""
    last_at: float
    newest: tuple[int, ...]
    """The seqs of the newest messages among them, each about another service request, at most 5."""


def key_of(dead: DeadDelivery, *, answers: bool = True) -> DeathKey:
    """Return the group of a dead delivery.

    Args:
        answers: False leaves the answer of the sink out, because it may repeat what the sink was sent.
    """
    said = dead.answer if answers and dead.answer.strip() else dead.detail
    return DeathKey(dead.sink, dead.reason or "", dead.status, one_line(_VARYING.sub("…", said[: 4 * _LONGEST])))


def one_line(answer: str) -> str:
    """Return the beginning of an answer as one line of at most 120 characters."""
    return _SPACE.sub(" ", answer[: 4 * _LONGEST]).strip()[:_LONGEST]


def grouped(dead: Iterable[DeadDelivery], *, answers: bool = True) -> list[DeadGroup]:
    """Return the groups of some dead deliveries, the largest first."""
    members: dict[DeathKey, list[DeadDelivery]] = {}
    for one in dead:
        members.setdefault(key_of(one, answers=answers), []).append(one)
    groups = [_group(key, some) for key, some in members.items()]
    return sorted(groups, key=lambda group: (-group.deliveries, -group.last_at))


def _group(key: DeathKey, members: list[DeadDelivery]) -> DeadGroup:
    ends = [one.ended_at for one in members]
    newest_of = {one.seq if one.request is None else -one.request: one.seq for one in sorted(members, key=lambda one: one.seq)}
    return DeadGroup(
        key=key,
        deliveries=len(members),
        requests=len(newest_of),
        first_at=min(ends),
        last_at=max(ends),
        newest=tuple(sorted(newest_of.values(), reverse=True)[:_NEWEST]),
    )
