"""The states of service requests, read from the stored messages about them.

A service request has some ten messages, so its state is made of them anew for each question: at most two a second are asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gateway.core import events
from gateway.core.documents import Ids, Story
from gateway.core.events import InvalidateSr, StateChange
from gateway.core.ledger import state_text
from gateway.core.reconciliation import KnownState
from gateway.core.routing import RECONCILE
from gateway.core.selection import Selection
from gateway.store.people import Browsing

_MOST_NAMED = 100
"""Service requests that one text may stand for."""
_MOST_MESSAGES = 500
"""Messages about one service request that are looked at, the newest ones."""
_PAGE = 100
_MOST_PAGES = 100


class StoredStates:
    """Every method raises StoreError."""

    def __init__(self, store: Browsing) -> None:
        self._store = store

    async def state(self, source: str, sr_uuid: str) -> KnownState | None:
        """Read the newest state of a service request; None if the gateway never heard of it."""
        found: KnownState | None = None
        for seq in (await self._seqs(sr_uuid, whole=True))[-_MOST_MESSAGES:]:
            story = await self._store.story(seq)
            if story is not None and story.ids.sr_uuid == sr_uuid and story.ids.source in (source, RECONCILE):
                found = _after(found or KnownState(sr_uuid=sr_uuid), story)
        return found

    async def named(self, source: str, text: str) -> Sequence[str]:
        """Find the service requests that a text stands for, as `KnownStates` explains it."""
        found: dict[str, None] = {}
        for whole in (True, False):
            for seq in await self._seqs(text, whole=whole):
                story = await self._store.story(seq)
                if story is not None and story.ids.sr_uuid and story.ids.source in (source, RECONCILE):
                    found.setdefault(story.ids.sr_uuid)
                if len(found) == _MOST_NAMED:
                    break
            if found:  # a whole id is never taken for the beginning of another one
                break
        return list(found)

    async def last_arrival(self, source: str, since: float) -> float | None:
        """Read when a message of a source arrived: one since an instant if there is any, else an earlier one; None without any.

        It looks at the first messages of both spans, at most 10,000 each: a source that is not among them counts as quiet.

        Args:
            since: Unix seconds.
        """
        for instant in (since, 0.0):
            async for ids, received_at in self._messages(instant):
                if ids.source == source:
                    return received_at
        return None

    async def _messages(self, since: float) -> AsyncIterator[tuple[Ids, float]]:
        after = 0
        for _ in range(_MOST_PAGES):
            page, go_on = await self._store.messages(Selection(since=since), None, after, _PAGE)
            for summary in page:
                yield summary.ids, summary.received_at
            if go_on is None:
                return
            after = go_on

    async def _seqs(self, text: str, *, whole: bool) -> list[int]:
        seqs: list[int] = []
        after: int | None = 0
        while after is not None:
            page, after = await self._store.named(text, after, whole=whole)
            seqs += page
        return seqs


def _after(known: KnownState, story: Story) -> KnownState:
    """Return what is known after one more message, whatever the order in which they came."""
    event = events.decode((story.body or "").encode())
    if not isinstance(event, events.Event):
        return known
    instant = event.instant()
    at = story.received_at if instant is None else instant
    reference_id, state, known_at, invalidated = (
        known.reference_id or event.reference_id,
        known.state,
        known.at,
        known.invalidated,
    )
    match event.content:
        case StateChange(state=told) if known_at is None or at >= known_at:
            state, known_at = state_text(told), at
        case InvalidateSr():
            invalidated = True
    return KnownState(sr_uuid=known.sr_uuid, reference_id=reference_id, state=state, at=known_at, invalidated=invalidated)
