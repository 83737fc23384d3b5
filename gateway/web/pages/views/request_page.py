"""`/sr/UUID`: what a service request went through, as it happened, and what became of each event at each sink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.control.stories import NotTold
from gateway.reconcile.inquiries import Inquiry
from gateway.web.admin.request_json import request_json, story_of_request_json
from gateway.web.door.discretion import request_story_for
from gateway.web.pages.asking import Asked, Control, Elsewhere, Mistake, NotThere
from gateway.web.pages.views.ask_legitmark import ALREADY
from gateway.web.pages.views.parameters_read import word

_EVENTS = 50


class RequestPage(Struct, frozen=True):
    """One service request, and a page of its story."""

    request: dict[str, Any]
    story: dict[str, Any]
    complete: bool
    """False: messages of an earlier version are still missing in the ledger."""
    can_ask: bool
    """Legitmark's API can be asked about it."""
    inquiry: Inquiry | None
    """The last question to that API about it alone; None if there was none lately."""

    def delivery(self, event: Mapping[str, Any], sink: str) -> dict[str, Any] | None:
        """Return what became of an event at a sink; None if it has no delivery there."""
        return next((one for one in event["deliveries"] if one["sink"] == sink), None)

    @property
    def acts(self) -> Sequence[dict[str, Any]]:
        """The acts of people on the deliveries of these events, in the order of time."""
        return sorted((act for event in self.story["events"] for act in event["acts"]), key=lambda act: str(act["time"]))

    def not_told(self, event: Mapping[str, Any], sink: str) -> NotTold | None:
        """Return why a sink was not told of an event; None if it was, or if that is not known."""
        return next((one for one in event["not_told"] if one.sink == sink), None)


async def request_story(control: Control, asked: Asked) -> RequestPage | Elsewhere:
    """Find the request with this uuid. Several with one uuid, and other names, are answered by the search."""
    name, source = asked.names[0], asked.query.get("source")
    word(asked, "asked", (ALREADY,))
    if not name.strip():
        raise NotThere(name)
    found = await control.requests.find(name, source)
    if not found.requests:
        raise NotThere(name)
    if len(found.requests) > 1 or found.requests[0].sr_uuid != name:
        return Elsewhere("/find", {"q": name})
    known = found.requests[0]
    story = await control.requests.story(known.number, _before(asked), _EVENTS, ())
    if story is None:
        raise NotThere(name)
    shown = story_of_request_json(request_story_for(asked.visitor, story), bodies=False)
    inquiries = control.inquiries
    return RequestPage(
        request_json(known),
        shown,
        found.complete,
        can_ask=inquiries.possible(known.sr_uuid, known.source),
        inquiry=inquiries.about(known.sr_uuid),
    )


def _before(asked: Asked) -> int | None:
    if (text := asked.query.get("before")) is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Mistake('"before" is what an earlier page gave')
    return int(text)
