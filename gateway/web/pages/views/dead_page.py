"""`/dead`: deliveries that the gateway gave up, in groups that died alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gateway.core.dead_groups import DeadGroup
from gateway.core.documents import Ids
from gateway.core.selection import Target
from gateway.core.values import rfc3339
from gateway.web.pages.asking import Asked, Control, Mistake

_NAMED = 20
"""Groups whose newest requests are named, in one question to the database."""


class DeadListPage(Struct, frozen=True):
    """Some dead deliveries."""

    groups: Sequence[dict[str, Any]]
    looked_at: int
    """The dead deliveries that the groups are made of."""
    before: str | None
    """The place before which the next ones begin; None after the last ones."""
    dead: dict[str, int]
    """How many deliveries of each sink are dead in all."""


async def dead_list(control: Control, asked: Asked) -> DeadListPage:
    """Group the dead deliveries, those of the newest messages first."""
    found = await control.acts.bulk.survey(asked.given("sink"), _place(asked), answers=asked.visitor.sees_bodies)
    counts = {one.sink: one.counts.dead for one in await control.browse.sinks()}
    before = None if found.before is None else f"{found.before.seq}.{found.before.sink}"
    dead = {sink: number for sink, number in counts.items() if number}
    names = await control.browse.names_of([seq for group in found.groups[:_NAMED] for seq in group.newest])
    groups = [group_json(one, [names[seq] for seq in one.newest if seq in names]) for one in found.groups]
    return DeadListPage(groups, found.looked_at, before, dead)


def group_json(group: DeadGroup, newest: Sequence[Ids] = ()) -> dict[str, Any]:
    """Return a group of dead deliveries, with the names of its newest messages."""
    key = group.key
    return {
        "group": key.id,
        "sink": key.sink,
        "reason": key.reason,
        "status": key.status,
        "answer": key.answer,
        "deliveries": group.deliveries,
        "requests": group.requests,
        "first": rfc3339(group.first_at),
        "last": rfc3339(group.last_at),
        "newest": [{"message_id": one.id, "sr_uuid": one.sr_uuid, "reference_id": one.reference_id} for one in newest],
    }


def _place(asked: Asked) -> Target | None:
    if (text := asked.given("before")) is None:
        return None
    seq, _, sink = text.partition(".")
    if not (seq.isascii() and seq.isdigit() and len(seq) <= 18):
        raise Mistake('"before" is what an earlier page gave')
    return Target(int(seq), sink)
