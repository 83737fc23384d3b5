"""Tells people about service requests that stay in a state for longer than a `[[watch]]` rule allows.

The timers are in the store, begin and end with the messages, and are told together with the event about them. This loop only
looks which are due. It looks first a minute after the start: what happened while the gateway did not run comes within that time.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.attention import MOST_COUNTED
from gateway.core.audit_events import SrStalled
from gateway.core.errors import StoreError
from gateway.core.vocabulary import OwnEvent
from gateway.core.watches import (
    MOST_IN_A_SUMMARY,
    SETTLE,
    Pace,
    StallsTold,
    Timer,
    TimersPlace,
    Watch,
    stall_values,
    summary_values,
)
from gateway.host.clock import Clock
from gateway.ingest.remembered_events import RememberedEvents
from gateway.observability.metrics import Metrics
from gateway.store.base import Watching

PAGES = 40
"""Pages of service requests that are looked at in one step, 256 each: about a tenth of a second, none of it in the event loop."""
_PURGE_SECONDS = 3600.0
"""Seconds between two looks for timers that are too old."""


class Stalls:
    """Looks for due timers; `step` has to be called about once a second."""

    def __init__(
        self,
        watches: Sequence[Watch],
        *,
        store: Watching,
        events: RememberedEvents,
        metrics: Metrics,
        lane_clock: Clock,
        clock: Clock,
    ) -> None:
        """`lane_clock` is the one by which messages begin timers: it does not follow a jump of the wall clock at once."""
        self._watches = tuple(watches)
        self._store = store
        self._events = events
        self._metrics = metrics
        self._lane_clock = lane_clock
        self._clock = clock
        self._pace = Pace()
        self._begin_at = clock.monotonic() + SETTLE
        self._purge_at = clock.monotonic() + _PURGE_SECONDS
        self._changed = True
        """The timers may belong to rules of another configuration."""
        self._beginning = False
        """Service requests may be in a watched state and have no timer."""
        self._begun_to: TimersPlace | None = None

    def use(self, watches: Sequence[Watch]) -> None:
        """Go by other rules from now on: by their times for all timers, and without the timers of rules that are gone.

        A rule that is new, or about another state, also counts for the service requests that are in the state already.
        """
        self._watches, self._changed = tuple(watches), True

    async def stalled(self) -> dict[str, int]:
        """Count by rule the service requests that people were told about and that do not move on. Raises StoreError."""
        return await self._store.stalled(self._watches, MOST_COUNTED)

    async def step(self) -> None:
        """Tell what is due. Raises StoreError."""
        now = self._clock.monotonic()
        if self._changed:
            watches, self._changed = self._watches, False
            try:
                await self._store.drop_timers(watches)
            except StoreError:
                self._changed = True
                raise
            self._beginning, self._begun_to = True, None
        if self._beginning:
            await self._begin_some()
        if now < self._begin_at or not self._watches:
            return
        due = await self._store.due_timers(self._watches, self._lane_clock.now(), MOST_IN_A_SUMMARY + 1)
        if due:
            await self._tell(due)
        if now >= self._purge_at:
            once = [watch.name for watch in self._watches if watch.again is None]
            await self._store.purge_told(once, self._lane_clock.now() - self._store.retention)
            self._purge_at = now + _PURGE_SECONDS

    async def _begin_some(self) -> None:
        """Begin the timers of some service requests; the next step goes on."""
        for _ in range(PAGES):
            if not self._watches:
                self._beginning = False
                return
            begun = await self._store.begin_timers(self._watches, self._lane_clock.now(), self._begun_to)
            self._begun_to = begun.after
            if begun.after is None:
                self._beginning = not begun.complete
                return

    async def _tell(self, due: Sequence[Timer]) -> None:
        watches = {watch.name: watch for watch in self._watches}
        match self._pace.decide(len(due), self._clock.monotonic()):
            case "each":
                for timer in due:
                    # A reload meanwhile may have taken the rule away.
                    if (watch := watches.get(timer.rule)) is not None and not await self._one(timer, watch):
                        return
            case "summary":
                await self._all(due[:MOST_IN_A_SUMMARY], more=len(due) > MOST_IN_A_SUMMARY)
            case "wait":
                pass

    async def _one(self, timer: Timer, watch: Watch) -> bool:
        values, entered = stall_values(timer, watch), timer.entered
        line = SrStalled(
            source=entered.source,
            sr_uuid=entered.sr_uuid,
            reference_id=entered.reference_id,
            watch=timer.rule,
            detail=values["detail"],
            count=1,
        )
        return await self._commit(values, (timer,), line)

    async def _all(self, timers: Sequence[Timer], *, more: bool) -> None:
        values = summary_values(timers, more=more)
        await self._commit(values, tuple(timers), SrStalled(watch=values["watch"], detail=values["detail"], count=len(timers)))

    async def _commit(self, values: dict[str, object], timers: tuple[Timer, ...], line: SrStalled) -> bool:
        told = StallsTold(timers, self._lane_clock.now())
        if not await self._events.tell(OwnEvent.SR_STALLED, values, (told,), line):
            return False
        for timer in timers:
            self._metrics.stalled(timer.rule, 1)
        return True
