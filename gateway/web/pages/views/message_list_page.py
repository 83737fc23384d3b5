"""`/messages`: what came, the newest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from gateway.core.routing import GATEWAY, RECONCILE
from gateway.core.selection import MESSAGE_STATUSES, Selection
from gateway.web.admin.json_documents import message_json
from gateway.web.pages.asking import Asked, Control
from gateway.web.pages.views.parameters_read import SPANS, instant, number, word

_ROWS = 50
_MOST_PAGES = 5
"""Pages of the store that may be short or empty before one page of the list is shown."""
_MOST_SINKS = 8
"""Sinks of a message that are named: those that were not told come first."""
_URGENCY: Final = {"dead": 0, "queued": 1, "delivered": 3}
"""The order of the states of deliveries; any other state stands between."""
_OWN: Final = (GATEWAY, RECONCILE)
"""Sources that no configuration names."""


class MessageListPage(Struct, frozen=True):
    """Some messages."""

    messages: Sequence[dict[str, Any]]
    before: int | None
    """The place before which the next rows begin; None after the last ones."""
    sources: Sequence[str]
    """The sources that the filter offers."""

    def named(self, sinks: Mapping[str, str]) -> tuple[Sequence[tuple[str, str]], Mapping[str, int]]:
        """Return the sinks to name, each with the state of its delivery, and how many others there are in each state."""
        if len(sinks) <= _MOST_SINKS:
            return list(sinks.items()), {}
        ordered = sorted(sinks.items(), key=lambda one: _URGENCY.get(one[1], 2))
        return ordered[:_MOST_SINKS], Counter(state for _, state in ordered[_MOST_SINKS:])

    @property
    def statuses(self) -> Sequence[str]:
        """The statuses that the filter offers."""
        return MESSAGE_STATUSES

    @property
    def spans(self) -> Sequence[tuple[str, int]]:
        """The spans that the filter offers, with their seconds."""
        return SPANS


async def message_list(control: Control, asked: Asked) -> MessageListPage:
    """Find the messages that the filters of the URL choose."""
    status = word(asked, "status", MESSAGE_STATUSES)
    given = asked.given("id")
    selection = Selection(
        id=None if given is None else given.strip(),
        status=next((one for one in MESSAGE_STATUSES if one == status), None),
        source=asked.given("source"),
        since=instant(asked, "since"),
        until=instant(asked, "until"),
    )
    before = number(asked, "before")
    rows: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        page, before = await control.browse.newest_messages(selection, before, _ROWS - len(rows))
        rows += map(message_json, page)
        if before is None or len(rows) == _ROWS:
            break
    return MessageListPage(rows, before, [*control.acts.sampling.sources, *_OWN])
