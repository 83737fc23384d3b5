"""`/find?q=`: what a text stands for. Exactly one thing: the browser goes there. Several: a list. None: what may help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gateway.core.documents import MessageSummary
from gateway.core.request_documents import FoundRequests, KnownRequest
from gateway.core.selection import Selection
from gateway.web.admin.json_documents import message_json
from gateway.web.admin.request_json import found_json
from gateway.web.pages.asking import Asked, Control, Elsewhere
from gateway.web.pages.hyperlinks import path_of

_MESSAGES = 20


class FindPage(Struct, frozen=True):
    """The things that a text stands for, if that is not exactly one."""

    q: str
    found: dict[str, Any] | None
    """The service requests, and what may help if there are none; None if nothing was asked for."""
    messages: Sequence[dict[str, Any]]
    """The messages with this id that belong to no service request."""
    more_messages: bool

    @property
    def by_source(self) -> bool:
        """True if only their sources tell the requests apart: links have to name them."""
        requests = [] if self.found is None else self.found["requests"]
        return len({one["sr_uuid"] for one in requests}) < len(requests)


async def find(control: Control, asked: Asked) -> FindPage | Elsewhere:
    """Find what the parameter `q` stands for."""
    name = asked.query.get("q", "").strip()
    if not name:
        return FindPage("", None, (), False)
    found = await control.requests.find(name)
    if len(found.requests) == 1:
        return await _request(control, name, found)
    if found.requests:
        return FindPage(name, found_json(found), (), False)
    messages, after = await _messages(control, name)
    if len(messages) == 1 and after is None:
        return Elsewhere(path_of("messages", messages[0].ids.id))
    return FindPage(name, found_json(found), [message_json(one) for one in messages], after is not None)


async def _request(control: Control, name: str, found: FoundRequests) -> Elsewhere:
    """Return the page of the only request that was found, and the row of the message by whose id it was found."""
    place = _page_of(found.requests[0])
    if found.by != "message_id":
        return place
    messages, _ = await _messages(control, name)
    return Elsewhere(place.path, place.query, messages[0].ids.id if len(messages) == 1 else "")


def _page_of(known: KnownRequest) -> Elsewhere:
    return Elsewhere(path_of("sr", known.sr_uuid))


async def _messages(control: Control, name: str) -> tuple[list[MessageSummary], int | None]:
    return await control.browse.messages(Selection(id=name), 0, _MESSAGES)
