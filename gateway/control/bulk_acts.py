"""Acts on many deliveries: a replay, a replay by the rules of today, a discard; of a selection, or of dead deliveries that died
alike. An act goes slice by slice, so that it can be counted first, watched, and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from msgspec import Struct, structs

from gateway.control.interventions import SLICE, Act, Interventions
from gateway.core.dead_groups import DeadGroup, grouped, key_of
from gateway.core.documents import DeadPage
from gateway.core.selection import Selection, Target
from gateway.host.clock import Clock

BulkAct = Literal["replay", "reroute", "discard"]
_COUNTING_SECONDS = 0.1
"""Time for counting what an act would change: a page waits for it."""
_SURVEYED = 1000
"""Dead deliveries of which one survey makes groups."""


class DeadReading(Protocol):
    """Reads dead deliveries; see `store.people.Acting`."""

    async def dead(self, sink: str | None, before: Target | None, limit: int) -> DeadPage: ...


class Order(Struct, frozen=True, kw_only=True):
    """An act on many deliveries, as a person asks for it."""

    act: BulkAct
    selection: Selection = Selection()
    group: str | None = None
    """Only dead deliveries of this group, by its id; the selection then names at most their sink."""
    died_until: float | None = None
    """Only deliveries of the group that had died by then, Unix seconds: those that were counted."""
    to: str | None = None
    """Replay: also make a delivery to this sink for messages without one."""
    delivered: bool = False
    """Replay: delivered ones, too."""
    skip_late: bool = False
    """Replay: leave out deliveries whose sink has heard of something newer."""
    actor: str = ""


class Slice(Struct, frozen=True):
    """The result of one step of an act, done or only looked at."""

    looked_at: int
    changed: int
    late: int


class Counted(Struct, frozen=True):
    """The deliveries that an act would change."""

    deliveries: int
    late: int
    """How many of those are late."""
    complete: bool
    """False: there are more, because counting ended before the last one."""


class DeadSurvey(Struct, frozen=True):
    """Groups of dead deliveries."""

    groups: list[DeadGroup]
    looked_at: int
    before: Target | None
    """Where the next survey begins; None if this one saw the last dead delivery."""


class BulkActs:
    """Counts and does such acts."""

    def __init__(self, *, store: DeadReading, interventions: Interventions, clock: Clock) -> None:
        self._store = store
        self._interventions = interventions
        self._clock = clock

    async def survey(self, sink: str | None, before: Target | None, *, answers: bool) -> DeadSurvey:
        """Group the next 1,000 dead deliveries, those of the newest messages first.

        Args:
            answers: False leaves out what sinks answered.
        """
        page = await self._store.dead(sink, before, _SURVEYED)
        return DeadSurvey(grouped(page.deliveries, answers=answers), len(page.deliveries), page.go_on_before)

    async def group(self, sink: str, id: str) -> DeadGroup | None:
        """Find a group among the newest dead deliveries of a sink; None if none of them belongs to it."""
        groups = (await self.survey(sink, None, answers=True)).groups
        return next((one for one in groups if one.key.id == id), None)

    async def count(self, order: Order) -> Counted:
        """Count what an act would change, for at most 0.1 s. Raises as `Interventions.replay` does."""
        begun = self._clock.monotonic()
        changed = late = 0
        async for step in self.steps(order, dry_run=True):
            changed, late = changed + step.changed, late + step.late
            if self._clock.monotonic() - begun > _COUNTING_SECONDS:
                return Counted(changed, late, complete=False)
        return Counted(changed, late, complete=True)

    def steps(self, order: Order, *, dry_run: bool = False) -> AsyncIterator[Slice]:
        """Do an act, or with `dry_run` only look, slice by slice."""
        act = Act(
            selection=order.selection,
            to=order.to,
            reroute=order.act == "reroute",
            delivered=order.delivered,
            skip_late=order.skip_late and order.act != "discard",
            dry_run=dry_run,
            actor=order.actor,
        )
        return self._of_selection(order, act) if order.group is None else self._of_group(order, act)

    async def _of_selection(self, order: Order, act: Act) -> AsyncIterator[Slice]:
        change = self._interventions.discard if order.act == "discard" else self._interventions.replay
        after: Target | None = None
        while True:
            progress = await change(structs.replace(act, after=after))
            yield Slice(progress.looked_at, progress.changed, progress.late)
            if (after := progress.after) is None:
                return

    async def _of_group(self, order: Order, act: Act) -> AsyncIterator[Slice]:
        before: Target | None = None
        while True:
            page = await self._store.dead(order.selection.sink, before, _SURVEYED)
            targets = [
                Target(one.seq, one.sink)
                for one in page.deliveries
                if key_of(one).id == order.group and (order.died_until is None or one.ended_at <= order.died_until)
            ]
            for begin in range(0, len(targets), SLICE):
                some = targets[begin : begin + SLICE]
                changed, late = await self._interventions.change(some, act, discard=order.act == "discard")
                yield Slice(0, changed, late)
            yield Slice(len(page.deliveries), 0, 0)
            if (before := page.go_on_before) is None:
                return
