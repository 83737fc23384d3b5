"""`/sr`: service requests, the one whose present state began last first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from gateway.core.events import Milestone
from gateway.core.ledger import FLAG_WORDS, Flag
from gateway.core.request_documents import KnownRequest, RequestPlace, RequestSelection
from gateway.web.admin.request_json import place_json, read_place, request_json
from gateway.web.pages.asking import Asked, Control, Mistake
from gateway.web.pages.views.parameters_read import instant, switched_on, word

_ROWS = 50
_MOST_PAGES = 5
"""Pages of the store that may be short or empty before one page of the list is shown."""
_SPANS: Final = (("1h", 3600), ("24h", 86400), ("7d", 7 * 86400), ("30d", 30 * 86400))
"""The spans that the filter offers, with their seconds; the URL takes any other."""


class RequestListPage(Struct, frozen=True):
    """Some service requests."""

    requests: Sequence[dict[str, Any]]
    after: str | None
    """The place after which the next rows begin; None after the last ones."""

    @property
    def states(self) -> Sequence[str]:
        """The states that the filter offers."""
        return STATES

    @property
    def flags(self) -> Sequence[str]:
        """The flags that the filter offers."""
        return FLAG_WORDS

    @property
    def spans(self) -> Sequence[tuple[str, int]]:
        """The spans that the filter offers, with their seconds."""
        return _SPANS


STATES: Final = tuple(one.value for one in Milestone if one is not Milestone.NEEDS_RESUBMISSION)
"""The meanings that a present state can have: a media_rejected is an event, and brings no state."""


async def request_list(control: Control, asked: Asked) -> RequestListPage:
    """Find the requests that the filters of the URL choose."""
    state, flag = word(asked, "state", STATES), word(asked, "flag", FLAG_WORDS)
    selection = RequestSelection(
        milestones=() if state is None else (Milestone(state),),
        flag=None if flag is None else Flag[flag.upper()],
        source=asked.query.get("source"),
        stalled=switched_on(asked, "stalled"),
        since=instant(asked, "since"),
        until=instant(asked, "until"),
    )
    after = _place(asked)
    rows: list[KnownRequest] = []
    for _ in range(_MOST_PAGES):
        page, after = await control.requests.list(selection, after, _ROWS - len(rows))
        rows += page
        if after is None or len(rows) == _ROWS:
            break
    return RequestListPage([request_json(one) for one in rows], place_json(after))


def _place(asked: Asked) -> RequestPlace | None:
    try:
        return read_place(asked.query["after"]) if "after" in asked.query else None
    except ValueError as error:
        raise Mistake(str(error)) from None
