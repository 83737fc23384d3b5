"""Changes that people make to a running gateway: replay, discard, pause. Each act is audited, and goes a slice at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from gateway.control.ids import Unknown, beyond, check_sink, last_of_many, seqs_of
from gateway.core import events
from gateway.core.audit_events import DeliveryDiscarded, DeliveryReplayed
from gateway.core.documents import Chosen, Ids
from gateway.core.records import delivery_id
from gateway.core.retry import first_due
from gateway.core.routing import GATEWAY, Router
from gateway.core.selection import DeliveryState, Selection, Target
from gateway.core.values import claim_of
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.store.people import Acting

SLICE = 200
"""Deliveries changed in one transaction: ingest does not notice."""
_MOST_MADE = 1000
"""Deliveries that one slice of messages may owe, to all sinks together: more hold the event loop."""
_FEW = 5
"""Messages of such a slice, however many sinks there are."""
_FIRST = Target(0, "")

_Event = type[DeliveryDiscarded | DeliveryReplayed]
"""The event of an act, one per delivery that it changed."""
_Told = Callable[[list[Target]], None]
_Change = Callable[[list[Target], _Told], Awaitable[list[Target]]]
"""Changes some deliveries in one commit, calls back right after it, and returns the changed ones."""


class Act(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay or a discard, a slice at a time: the caller repeats it with `after` of the progress until the end."""

    selection: Selection
    to: str | None = None
    """Replay: also make a delivery to this sink for messages without one."""
    reroute: bool = False
    """Replay: also make the deliveries that the rules of today name."""
    delivered: bool = False
    """Replay: delivered ones too."""
    skip_late: bool = False
    """Replay: leave out deliveries that are late, because their sink has been told of something newer."""
    dry_run: bool = False
    actor: str = ""
    """Who acts: what a request claims, until the door says who it is from."""
    after: Target | None = None


class Progress(Struct, frozen=True):
    """One slice of an act."""

    looked_at: int
    changed: int
    """Deliveries that were changed, or would be, in a dry run."""
    kinds: dict[str, int]
    """How many of those were `queued`, `dead` or `delivered` before, and how many are `new`: made by the act."""
    late: int
    """Replay: how many of those are late, or were left out because they are."""
    after: Target | None
    """Where to go on; None if the act is done."""


class Interventions:
    """The acts that people ask for through the admin listener."""

    def __init__(
        self, *, store: Acting, audit: AuditLog, router: Callable[[], Router], lanes: Mapping[str, Lane], clock: Clock
    ) -> None:
        """
        Args:
            router: returns the rules of the moment.
        """
        self._store = store
        self._audit = audit
        self._router = router
        self._lanes = lanes
        self._clock = clock

    async def replay(self, act: Act) -> Progress:
        """Reopen a slice of deliveries with the same keys and a fresh budget, and add missing ones if the act asks for it.

        Raises Unknown if there is no such sink, ValueError if the act contradicts itself.
        """
        if act.to is not None:
            self._lane(act.to)
        if act.to is None and not act.reroute and act.selection.status is None:
            return await self._reopen(act)
        if act.selection.state is not None or act.selection.sink is not None:
            raise ValueError("by state or sink only deliveries that exist are chosen: none can be made for them")
        return await self._make(act)

    async def discard(self, act: Act) -> Progress:
        """End a slice of queued or dead deliveries. Raises as `replay` does."""
        if act.skip_late:
            raise ValueError("a discard looks at no other delivery: leave out `skip_late`")
        if act.selection.status is not None:
            raise ValueError("a discard chooses deliveries, by state and sink: the status of a message chooses none")
        states: tuple[DeliveryState, ...] = ("queued", "dead")
        targets, go_on = await self._targets(act, states)

        async def discard(part: list[Target], told: _Told) -> list[Target]:
            return await self._store.discard(part, now=self._clock.now(), actor=act.actor, told=told)

        done = await self._change(act, DeliveryDiscarded, discard, targets, states)
        return Progress(len(targets), *done, go_on)

    async def missing(self, targets: list[Target]) -> list[Target]:
        """Return the deliveries among some that do not exist yet."""
        states = await self._store.states(targets)
        return [target for target, state in zip(targets, states, strict=True) if state is None]

    async def add(self, targets: list[Target], actor: str) -> int:
        """Make those deliveries that do not exist yet. Returns how many were made."""
        act = Act(selection=Selection(), actor=actor)
        made, *_ = await self._change(act, DeliveryReplayed, self._reopening(act, add=True), self._with_waits(targets), (None,))
        return made

    async def pause(self, sink: str, actor: str) -> bool:
        """Hold a sink's deliveries; False if they are held already. Raises Unknown if there is no such sink."""
        return await self._lane(sink).pause(actor)

    async def resume(self, sink: str, actor: str) -> bool:
        """Let a sink's deliveries go on; False if they were not held. Raises Unknown if there is no such sink."""
        return await self._lane(sink).resume(actor)

    def _lane(self, sink: str) -> Lane:
        if (lane := self._lanes.get(sink)) is None:
            raise Unknown(f'there is no sink "{sink}"', list(self._lanes))
        return lane

    async def _reopen(self, act: Act) -> Progress:
        states = _replayable(act)
        targets, go_on = await self._targets(act, states)
        done = await self._change(act, DeliveryReplayed, self._reopening(act, add=False), self._with_waits(targets), states)
        return Progress(len(targets), *done, go_on)

    async def _make(self, act: Act) -> Progress:
        """Make deliveries that do not exist yet, and reopen those that are dead, message by message."""
        selection, after = act.selection, (act.after or _FIRST).seq
        seqs = await seqs_of(self._store, selection.id, after)
        size = max(_FEW, min(SLICE, _MOST_MADE // max(len(self._lanes), 1)))
        page, go_on = await self._store.chosen(selection, seqs, after, size)
        last = go_on if go_on is not None else last_of_many(seqs)
        wanted = [
            Target(one.seq, sink) for one in page if not _left_out(selection, one) for sink in await self._sinks_for(act, one)
        ]
        owed = await self._store.owed([one.seq for one in page], act.to)
        targets = self._with_waits(list(dict.fromkeys([*wanted, *owed])))
        states = (*_replayable(act), None)
        done = await self._change(act, DeliveryReplayed, self._reopening(act, add=True), targets, states)
        return Progress(len(page), *done, None if last is None else Target(last, ""))

    def _reopening(self, act: Act, *, add: bool) -> _Change:
        async def reopen(part: list[Target], told: _Told) -> list[Target]:
            now = self._clock.now()
            return await self._store.reopen(part, _replayable(act), add=add, now=now, actor=act.actor, told=told)

        return reopen

    async def _change(
        self, act: Act, event: _Event, change: _Change, targets: list[Target], states: tuple[DeliveryState | None, ...]
    ) -> tuple[int, dict[str, int], int]:
        """Change the deliveries that are in one of the states (None: that do not exist yet), or none in a dry run.

        Returns how many were changed, how many were in which state, and how many are late.
        """
        were = await self._store.states(targets)
        chosen = [(target, state) for target, state in zip(targets, were, strict=True) if state in states]
        late = await self._store.late([target for target, _ in chosen]) if event is DeliveryReplayed else [False] * len(chosen)
        if act.skip_late:
            chosen = [one for one, is_late in zip(chosen, late, strict=True) if not is_late]
        found = [target for target, _ in chosen]
        kinds = dict(Counter[str](state or "new" for _, state in chosen))
        if act.dry_run or not found:
            return len(found), kinds, sum(late)
        messages, number = await self._store.ids(found), 0

        def told(changed: list[Target]) -> None:
            self._tell(event, changed, messages, act.actor)

        for begin in range(0, len(found), SLICE):  # a page of messages may owe many times as many deliveries
            number += len(await change(found[begin : begin + SLICE], told))
        await self._audit.flush()
        return number, kinds, sum(late)

    async def _targets(self, act: Act, states: tuple[DeliveryState, ...]) -> tuple[list[Target], Target | None]:
        """Read the next deliveries of an act that are in one of the states, and where to go on."""
        selection, after = act.selection, act.after or _FIRST
        await check_sink(self._store, self._lanes, selection.sink)
        if selection.state is not None and selection.state not in states:
            return [], None
        seqs = await seqs_of(self._store, selection.id, after.seq - 1)
        targets, go_on = await self._store.targets(selection, seqs, after, SLICE, states)
        return targets, go_on or beyond(seqs)

    def _with_waits(self, targets: list[Target]) -> list[Target]:
        """Give each target the wait before a first attempt that its sink's schedule asks for."""
        return [
            Target(target.seq, target.sink, first_due(self._lanes[target.sink].policy, 0.0, self._clock.jitter()))
            if target.sink in self._lanes
            else target
            for target in targets
        ]

    async def _sinks_for(self, act: Act, one: Chosen) -> tuple[str, ...]:
        if act.to is not None:
            return (act.to,)
        body = await self._store.body(one.seq)
        if body is None:
            return ()
        decoded = events.decode(body)
        event = decoded if isinstance(decoded, events.Event) else events.event_of({})
        return self._router().route(event, one.source, one.facts).sinks

    def _tell(self, event: _Event, targets: list[Target], messages: dict[int, Ids], actor: str) -> None:
        # The lanes come first: what they have in memory is out of date, whatever becomes of the audit log.
        for sink in {target.sink for target in targets} & self._lanes.keys():
            self._lanes[sink].refresh()
        for target in targets:
            if (message := messages.get(target.seq)) is not None:
                said = event(
                    sink=target.sink,
                    delivery_id=delivery_id(message.id, target.sink),
                    actor=str(actor),
                    claimed=claim_of(actor),
                )
                self._audit.step(said, message)


def _replayable(act: Act) -> tuple[DeliveryState, ...]:
    return ("dead", "delivered") if act.delivered else ("dead",)


def _left_out(selection: Selection, one: Chosen) -> bool:
    """A selection without an id makes no deliveries of the gateway's own events, nor of quarantined messages unless it asks."""
    if selection.id is not None:
        return False
    return one.source == GATEWAY or (one.quarantined and selection.status != "quarantined")
