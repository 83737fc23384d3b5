"""`/play` and `/play/NUMBER`: requests as they come, while somebody looks, and everything about one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import UNSET, Struct, UnsetType, structs

from gateway.core.caught_facts import JudgedBy
from gateway.core.request_pictures import RequestPicture
from gateway.core.users import Role
from gateway.web.admin.json_documents import facts_json
from gateway.web.pages.asking import Asked, Mistake, NotThere
from gateway.web.pages.shown_text import ShownText
from gateway.web.pages.views.laid_out import laid_out
from gateway.web.play.play_asked import PlayAsked
from gateway.web.play.shown_requests import ShownDetails

_ROWS = 50


class HasPlay(Protocol):
    """The part that these views ask."""

    @property
    def play(self) -> PlayAsked: ...


class PlayPage(Struct, frozen=True):
    """Some of the requests that were kept."""

    requests: Sequence[RequestPicture]
    before: int | None
    """The number before which the next page begins; None after the last one."""
    passed_by: int
    """How many came since the newest of them, and were only counted."""
    pasted: int
    """How many secrets people have pasted."""


class CaughtPage(ShownDetails, frozen=True, kw_only=True):
    """One request, and its neighbours."""

    facts: Mapping[str, Any] | None = None
    """The facts of its event, by the names that patterns use; None if nothing is known of its service request."""
    facts_by: JudgedBy | None = None
    newer: int | None = None
    older: int | None = None
    shown: ShownText | UnsetType | None = UNSET
    """The body for people; None if it was not kept, is empty, or may not be seen. The twin has the body itself."""

    @property
    def with_body(self) -> bool:
        """The visitor may see the headers and the body."""
        return self.headers is not UNSET


async def play(control: HasPlay, asked: Asked) -> PlayPage:
    """Look at the requests that come, the newest first."""
    control.play.look()
    before = _number(asked.query["before"]) if "before" in asked.query else None
    requests = await control.play.shown.newest_first(_ROWS, before)
    last = requests[-1].number if len(requests) == _ROWS else None
    go_on = last if last is not None and control.play.shown.ring.get(last - 1) is not None else None
    return PlayPage(requests, go_on, control.play.shown.passed_by() if before is None else 0, control.play.shown.pasted)


async def caught(control: HasPlay, asked: Asked) -> CaughtPage:
    """Look at one request. It may have gone since: only the newest are kept."""
    control.play.look()
    ring = control.play.shown.ring
    try:
        number = _number(asked.names[0])
    except Mistake:
        raise NotThere(asked.names[0]) from None
    request = ring.get(number)
    if request is None:
        raise NotThere(asked.names[0])
    details = control.play.shown.details(request, bodies=asked.visitor.role.includes(Role.READ))
    judged = await control.play.facts(request)
    body = details.body if isinstance(details.body, str) and details.body else None
    return CaughtPage(
        **structs.asdict(details),
        facts=None if judged is None else facts_json(judged.facts),
        facts_by=None if judged is None else judged.by,
        newer=number + 1 if ring.get(number + 1) is not None else None,
        older=number - 1 if ring.get(number - 1) is not None else None,
        shown=UNSET if asked.as_data else await laid_out(body),
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Mistake('"before" is the number of a request')
    return int(text)
