"""The JSON about service requests that the admin listener serves. Its names are those of the audit log."""

from __future__ import annotations

import re
from typing import Any

from gateway.control.stories import ExplainedEvent, ExplainedStory
from gateway.core.documents import AttemptFacts
from gateway.core.request_documents import FoundRequests, KnownRequest, RequestPlace, TracedEvent
from gateway.core.values import rfc3339
from gateway.web.admin.json_documents import (
    acts_json,
    attempts_json,
    facts_json,
    ids_json,
    repeats_json,
    signed_json,
    state_json,
    time_json,
)


def found_json(found: FoundRequests) -> dict[str, Any]:
    """Return the requests that a name stands for, and what may help if there are none."""
    return {
        "requests": [request_json(one) for one in found.requests],
        "more": found.more,
        "by": found.by,
        "nearest": found.nearest,
        "reaches_back_to": time_json(found.reaches_back_to),
        "complete": found.complete,
    }


def request_json(known: KnownRequest) -> dict[str, Any]:
    """Return what is known of one request."""
    row = known.request
    return {
        "sr_uuid": known.sr_uuid,
        "source": known.source,
        "reference_id": known.reference_id,
        "state": row.state,
        "state_at": _instant(row.state_at_ms),
        "milestone": row.milestone,
        "ended": row.ended,
        "verdict": row.verdict,
        "verdict_at": _instant(row.verdict_at_ms),
        "round": row.round,
        "invalidated_at": _instant(row.invalidated_at_ms),
        "flags": row.flags.words,
        "missing": row.missing,
        "events": row.events,
        "first_seen_at": _instant(row.first_seen_ms) if row.events else None,
        "last_seen_at": _instant(row.last_seen_ms) if row.events else None,
        "queued": known.owing.queued,
        "dead": known.owing.dead,
    }


def story_of_request_json(story: ExplainedStory, *, bodies: bool) -> dict[str, Any]:
    """Return a page of the story of a request.

    Args:
        bodies: with the bodies of the events, as text; a body over 64 KiB is left out.
    """
    return {
        "sinks": story.sinks,
        "own_events_only": story.own_events_only,
        "events": [_event(one, bodies=bodies) for one in story.events],
        "before": story.go_on_before,
        "purged": story.purged,
    }


def place_json(place: RequestPlace | None) -> str | None:
    """Return the place to go on after, as the parameter `after` takes it."""
    return None if place is None else f"{place.entered_ms}.{place.number}"


def read_place(text: str) -> RequestPlace:
    """Read such a place. Raises ValueError."""
    if len(text) > 40 or (place := _PLACE.fullmatch(text)) is None:
        raise ValueError('"after" is what an earlier answer gave')
    return RequestPlace(int(place[1]), int(place[2]))


_PLACE = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})")
"""Both parts fit into an integer of SQLite. Events of the years before 1970 have a negative instant."""


def _event(explained: ExplainedEvent, *, bodies: bool) -> dict[str, Any]:
    event = explained.traced
    document: dict[str, Any] = {
        **ids_json(event.ids),
        "happened_at": rfc3339(event.happened_at),
        "time": rfc3339(event.received_at),
        "status": event.status,
        "state": explained.state,
        "facts": facts_json(event.facts),
        "hindsight": explained.hindsight,
        "rules": event.rules,
        "routes": explained.routes,
        "signed": signed_json(event.signed),
        "duplicates": event.duplicates,
        "repeats": repeats_json(event.repeats),
        "deliveries": _deliveries(event),
        "not_told": explained.not_told,
        "explained": explained.explained,
        "acts": acts_json(event.acts),
    }
    if bodies:
        document["body"] = None if event.body is None else event.body.decode("utf-8", "replace")
    return document


def _deliveries(event: TracedEvent) -> list[dict[str, Any]]:
    return [state_json(one.delivery, event.ids, {"last": _attempt(one.last)}) for one in event.deliveries]


def _attempt(attempt: AttemptFacts | None) -> dict[str, Any] | None:
    return None if attempt is None else attempts_json([attempt])[0]


def _instant(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else rfc3339(instant_ms / 1000)
