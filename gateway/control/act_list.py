"""The list of what people did: to deliveries, where one act on many is one row, to sinks, and to requests. The newest first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

from msgspec import Struct

from gateway.core.documents import ActOnDelivery, ActOnSink
from gateway.store.people import TellingActs

_READ = 5000
"""Acts on deliveries that one page reads."""
_PAUSE = 60.0
"""Seconds between two slices of one act, at most."""

AnyAct = Literal["replay", "discard", "pause", "resume", "probe", "drill", "sample", "ask"]


class ListedAct(Struct, frozen=True, kw_only=True):
    """One act, or several of the same kind by the same person, shortly one after the other."""

    act: AnyAct
    actor: str
    claimed: str | None
    first_at: float
    last_at: float
    subjects: tuple[str, ...]
    """The sinks; of a sample, its source; of a question to Legitmark's API, the uuid of the service request."""
    deliveries: int | None = None
    """How many deliveries it changed; None if it is about none."""
    more: bool = False
    """There are more of them: the page ends within the act."""
    detail: str = ""
    under_way: bool = False
    """It goes on, so nothing is known yet of what came of it."""


class ActsPlace(Struct, frozen=True):
    """A place in the list: the next rows come before these ids. None: from the beginning."""

    deliveries: int | None = None
    sinks: int | None = None


class ActList:
    """Reads the list."""

    def __init__(self, store: TellingActs, under_way: Callable[[], Collection[int]] = tuple) -> None:
        """
        Args:
            under_way: returns the ids of the acts on sinks and requests that go on.
        """
        self._store = store
        self._under_way = under_way

    async def page(self, place: ActsPlace, limit: int) -> tuple[list[ListedAct], ActsPlace | None]:
        """Read a page, and the place where the next one begins; None after the last one."""
        rows = await self._store.acts_on_deliveries(place.deliveries, _READ)
        going_on = set(self._under_way())
        singles = await self._store.acts_on_sinks(place.sinks, limit + 1)
        merged = sorted(
            [*_groups(rows, cut=len(rows) == _READ), *((_of_sink(one, one.id in going_on), None, one.id) for one in singles)],
            key=lambda one: -one[0].last_at,
        )
        shown = merged[:limit]
        if len(merged) <= limit and len(rows) < _READ:
            return [act for act, _, _ in shown], None
        deliveries = next((id for _, id, _ in reversed(shown) if id is not None), place.deliveries)
        sinks = next((id for _, _, id in reversed(shown) if id is not None), place.sinks)
        return [act for act, _, _ in shown], ActsPlace(deliveries, sinks)


def _groups(rows: Sequence[ActOnDelivery], *, cut: bool) -> Iterable[tuple[ListedAct, int, None]]:
    """Yield the acts that some rows belong to, each with the id of its oldest row."""
    begin = 0
    for at in range(1, len(rows) + 1):
        if at < len(rows) and _same(rows[at - 1], rows[at]):
            continue
        some = rows[begin:at]
        newest, oldest = some[0], some[-1]
        listed = ListedAct(
            act=newest.act,
            actor=newest.actor,
            claimed=newest.claimed,
            first_at=oldest.at,
            last_at=newest.at,
            subjects=tuple(sorted({one.sink for one in some})),
            deliveries=len(some),
            more=cut and at == len(rows),
        )
        yield listed, oldest.id, None
        begin = at


def _same(newer: ActOnDelivery, older: ActOnDelivery) -> bool:
    by = (newer.act, newer.actor, newer.claimed) == (older.act, older.actor, older.claimed)
    return by and abs(newer.at - older.at) <= _PAUSE


def _of_sink(one: ActOnSink, under_way: bool) -> ListedAct:
    return ListedAct(
        act=one.act,
        actor=one.actor,
        claimed=one.claimed,
        first_at=one.at,
        last_at=one.at,
        subjects=(one.subject,),
        detail=one.detail,
        under_way=under_way,
    )
