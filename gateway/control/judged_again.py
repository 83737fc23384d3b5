"""Reads all that is stored of a service request, and judges its events again by what is known now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.core import events
from gateway.core.documents import Ids
from gateway.core.events import Event
from gateway.core.hindsight import KnownEvent, Otherwise, facts_by_now, otherwise
from gateway.core.request_documents import RequestStory, TracedEvent
from gateway.core.routing import GATEWAY
from gateway.store.requests import MOST_IN_PAGE, Tracing

Hindsight = Mapping[int, tuple[Otherwise, ...]]
"""The facts of each event that would be judged otherwise today, by its seq. An event that was never judged is not in it."""


async def hindsight_of(store: Tracing, story: RequestStory, *, begins: bool) -> Hindsight | None:
    """Judge the events of a request again; None if the store does not have all of them, or more than MOST_IN_PAGE.

    An event whose body is over 64 KiB is not known either: nothing is judged again then.

    Args:
        story: a page of the request's story.
        begins: the page has the newest events.
    """
    if not begins or story.go_on_before is not None:
        if story.known.request.events > MOST_IN_PAGE:
            return None  # most of the requests that are read for nothing
        whole = await store.request_story(story.known.number)
        if whole is None or whole.go_on_before is not None:
            return None
        story = whole
    return None if story.purged else await _judged_again(story.events)


async def hindsight_of_message(store: Tracing, ids: Ids) -> Hindsight | None:
    """Judge the events of a message's request again; None if it belongs to none, or if `hindsight_of` says nothing of it."""
    if ids.sr_uuid is None or not ids.sr_uuid.strip() or ids.source == GATEWAY:
        return None
    found = await store.find_requests(ids.sr_uuid)
    number = next((one.number for one in found.requests if (one.source, one.sr_uuid) == (ids.source, ids.sr_uuid)), None)
    story = None if number is None else await store.request_story(number)
    return None if story is None else await hindsight_of(store, story, begins=True)


async def _judged_again(traced: Sequence[TracedEvent]) -> Hindsight | None:
    known: list[tuple[TracedEvent, KnownEvent]] = []
    for one in traced:
        if one.status == "quarantined" or one.ids.source == GATEWAY:
            continue
        event = None if one.body is None else events.decode(one.body)
        if not isinstance(event, Event):
            return None
        known.append((one, KnownEvent(event, one.received_at)))
        await asyncio.sleep(0)  # a body takes up to a millisecond, and ingest must not notice
    now = facts_by_now([arrival for _, arrival in known])
    return {one.seq: otherwise(one.facts, facts) for (one, _), facts in zip(known, now, strict=True) if one.facts is not None}
