"""`/acts`: who did what, when, to how many; and how far an act is that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.control.act_jobs import ActJob
from gateway.control.act_list import ActsPlace, ListedAct
from gateway.core.values import rfc3339
from gateway.web.admin.json_documents import drill_json
from gateway.web.pages.asking import Asked, Control, Mistake, NotThere

_ROWS = 50


class ShownJob(Struct, frozen=True, kw_only=True):
    """An act that goes on, or has ended."""

    id: str
    act: str
    about: Mapping[str, str]
    """The things that it is about, by the names of the parameters of the page `/act`."""
    actor: str
    began: str
    ended: str | None
    failed: str | None
    total: int | None
    """How many deliveries were counted before it began."""
    looked_at: int
    changed: int
    late: int
    drilled: Sequence[dict[str, Any]]
    message_id: str | None
    """The message that a sample became."""


class ActsPage(Struct, frozen=True):
    """The acts of people."""

    job: ShownJob | None
    """The act that the URL names."""
    under_way: Sequence[ShownJob]
    acts: Sequence[dict[str, Any]]
    before: str | None
    """The place before which the next rows begin; None after the last ones."""


async def act_list(control: Control, asked: Asked) -> ActsPage:
    """Find what people did, and the act that the URL names."""
    job = None
    if (id := asked.given("job")) is not None and (job := control.acts.jobs.job(id)) is None:
        raise NotThere(id)
    acts, place = await control.acts.done.page(_place(asked), _ROWS)
    before = None if place is None else f"{place.deliveries or ''}.{place.sinks or ''}"
    under_way = [_shown(one) for one in control.acts.jobs.under_way() if one is not job]
    return ActsPage(None if job is None else _shown(job), under_way, [_listed(one) for one in acts], before)


def _listed(act: ListedAct) -> dict[str, Any]:
    outcome, _, told = act.detail.partition(" ") if act.act == "ask" else ("", "", act.detail)
    return {
        "time": rfc3339(act.last_at),
        "first": rfc3339(act.first_at),
        "act": act.act,
        "actor": act.actor,
        "claimed": act.claimed,
        "subjects": act.subjects,
        "deliveries": act.deliveries,
        "more": act.more,
        "detail": told,
        "outcome": outcome or None,
        "under_way": act.under_way,
    }


def _shown(job: ActJob) -> ShownJob:
    return ShownJob(
        id=job.id,
        act=job.act,
        about=job.about,
        actor=str(job.actor),
        began=rfc3339(job.began_at),
        ended=None if job.ended_at is None else rfc3339(job.ended_at),
        failed=job.failed,
        total=job.total,
        looked_at=job.looked_at,
        changed=job.changed,
        late=job.late,
        drilled=[drill_json(one) for one in job.drilled],
        message_id=job.message_id,
    )


def _place(asked: Asked) -> ActsPlace:
    if (text := asked.given("before")) is None:
        return ActsPlace()
    deliveries, _, sinks = text.partition(".")
    if not all(one == "" or (one.isascii() and one.isdigit() and len(one) <= 18) for one in (deliveries, sinks)):
        raise Mistake('"before" is what an earlier page gave')
    return ActsPlace(int(deliveries) if deliveries else None, int(sinks) if sinks else None)
