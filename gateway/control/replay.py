"""What people do to a running gateway, through the admin listener: look, replay, discard, pause. Each act is audited."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from gateway.control.drills import Unknown
from gateway.core import events
from gateway.core.audit_events import DeliveryDiscarded, DeliveryReplayed
from gateway.core.documents import Chosen, Ids
from gateway.core.records import delivery_id
from gateway.core.retry import first_due
from gateway.core.routing import GATEWAY, Decision, Router
from gateway.core.selection import Selection, Target
from gateway.core.values import claim_of, rfc3339
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.store.sqlite import named, operations, queries, unlogged, walks
from gateway.store.sqlite.store import Store
from gateway.store.sqlite.unlogged import Step
from gateway.store.sqlite.writes import milliseconds

_SLICE = 200
"""Deliveries changed in one transaction: ingest does not notice."""
_MOST_MADE = 1000
"""Deliveries that one slice of messages may owe, to all sinks together: more hold the event loop."""
_FEW = 5
"""Messages of such a slice, however many sinks there are."""
_MOST_SHOWN = 100
_MOST_SHOWN_CHARACTERS = 8 * 1024 * 1024
"""Characters of bodies and attempts in one answer; one that has more ends with the message at hand."""
_ATTEMPT_CHARACTERS = 500
"""That an attempt with its answer takes, about."""
_NOBODY = Decision(sinks=(), routes=())
_MOST_ROUTED = 100
_MOST_ROUTED_BYTES = 1024 * 1024
"""Bytes of bodies in one answer; one that has more ends with the message at hand."""
_ROUTED_AT_ONCE = 10
"""Messages routed between two turns of the loop: ingest does not notice."""
_FIRST = Target(0, "")
_Act = type[DeliveryDiscarded | DeliveryReplayed]
"""The event of an act, one per delivery that it changed."""


class Act(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay or a discard, a slice at a time: the caller goes on with `after` until there is none."""

    selection: Selection
    to: str | None = None
    """Replay: also make a delivery to this sink where there is none."""
    reroute: bool = False
    """Replay: also make the deliveries that the rules of today name."""
    delivered: bool = False
    """Replay: delivered ones too."""
    dry_run: bool = False
    actor: str = "admin"
    after: Target | None = None


class Progress(Struct, frozen=True):
    looked_at: int
    changed: int
    """Deliveries, or how many would be, in a dry run."""
    kinds: dict[str, int]
    """How many of those are `queued`, `dead` or `delivered` before, and how many `new`: there is no such delivery yet."""
    after: Target | None
    """Where to go on; None: done."""


class Operator:
    def __init__(
        self, *, store: Store, audit: AuditLog, router: Callable[[], Router], lanes: Mapping[str, Lane], clock: Clock
    ) -> None:
        """`router` has the rules of the moment."""
        self._store = store
        self._audit = audit
        self._router = router
        self._lanes = lanes
        self._clock = clock

    async def routing(self, since: float, after: int | None) -> dict[str, Any]:
        """A page of messages with where the rules of this moment send them, whatever was done with them when they came.

        Args:
            since: Unix seconds; only messages received from then on.
            after: where the page before it ended; None begins.
        """
        if after is None:
            after = await self._store.ask(lambda connection: queries.first_since(connection, since)) - 1
        rows, go_on, newest = await self._store.ask(
            lambda connection: queries.received_since(connection, since, after, _MOST_ROUTED, _MOST_ROUTED_BYTES)
        )
        routed = []
        for number, row in enumerate(rows, 1):
            routed.append(self._routed(*row[1:]))
            if number % _ROUTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        go_on = None if go_on is not None and go_on >= newest else go_on
        return {"messages": routed, "rules": self._router().sinks, "after": go_on, "from": after, "to": newest}

    def _routed(self, message_id: str, source: str, body: bytes) -> dict[str, Any]:
        event = events.decode(body)
        decision = self._router().route(event, source) if isinstance(event, events.Event) else _NOBODY
        return {
            "message_id": message_id,
            "source": source,
            "body": body.decode("utf-8", "replace"),
            "sinks": decision.sinks,
            "routes": decision.routes,
        }

    async def messages(self, selection: Selection, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """A page of messages, and where to go on: a page looks at so many rows, so an empty one may have others after it."""
        seqs = await self._seqs(selection.id, after)
        page, go_on = await self._store.ask(lambda connection: queries.messages(connection, selection, seqs, after, limit))
        return page, go_on if go_on is not None else _last_of_many(seqs)

    async def deliveries(self, selection: Selection, after: Target, limit: int) -> tuple[list[dict[str, Any]], Target | None]:
        """A page of deliveries, and where to go on, as for messages; one to a sink that left the configuration says so."""
        await self._known(selection.sink)
        seqs = await self._seqs(selection.id, after.seq - 1)
        page, go_on = await self._store.ask(lambda connection: queries.deliveries(connection, selection, seqs, after, limit))
        self._say_held(page)
        return page, go_on or _beyond(seqs)

    async def show(self, text: str) -> tuple[list[dict[str, Any]], bool]:
        """All that is known of the messages that an id stands for, oldest first; and whether there are more than these."""
        seqs = await self._seqs(text, 0) or []
        stories: list[dict[str, Any]] = []
        size = 0
        for number, seq in enumerate(seqs):
            if number == _MOST_SHOWN or size > _MOST_SHOWN_CHARACTERS:
                return stories, True
            if (story := await self._store.ask(partial(queries.story, seq=seq))) is not None:
                self._say_held(story["deliveries"])
                stories.append(story)
                size += sum(len(one["body"]) for one in (story, *story["conflicts"]))
                size += _ATTEMPT_CHARACTERS * sum(len(delivery["attempts"]) for delivery in story["deliveries"])
        return stories, False

    async def attempts(self, text: str, sink: str, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """A page of the attempts at the delivery of one message to a sink, oldest first, and the attempt to go on after.

        Raises KeyError where the id stands for no message, ValueError where it stands for several.
        """
        seqs = await self._seqs(text, 0) or []
        if not seqs:
            raise KeyError(f'message with the id "{text}"')
        if len(seqs) > 1:
            raise ValueError(f'the id "{text}" stands for several messages: name one by its message_id')
        return await self._store.ask(lambda connection: queries.attempts(connection, seqs[0], sink, after, limit))

    async def replay(self, act: Act) -> Progress:
        """Re-open, and where asked for make, a slice of deliveries, with the same keys and a fresh budget."""
        if act.to is not None:
            self._lane(act.to)
        if act.to is None and not act.reroute and act.selection.status is None:
            return await self._reopen(act)
        if act.selection.state is not None or act.selection.sink is not None:
            raise ValueError("by state or sink only deliveries that exist are chosen: none can be made for them")
        return await self._make(act)

    async def discard(self, act: Act) -> Progress:
        """End a slice of queued or dead deliveries."""
        if act.selection.status is not None:
            raise ValueError("a discard chooses deliveries, by state and sink: the status of a message chooses none")
        states = ("queued", "dead")
        targets, go_on = await self._targets(act, states)
        done = await self._change(act, DeliveryDiscarded, operations.discard, targets, states)
        return Progress(len(targets), *done, go_on)

    async def pause(self, sink: str, actor: str) -> bool:
        """Hold a sink's deliveries; False where they are held already. Raises Unknown where there is no such sink."""
        return await self._lane(sink).pause(actor)

    async def resume(self, sink: str, actor: str) -> bool:
        return await self._lane(sink).resume(actor)

    async def sinks(self) -> list[dict[str, Any]]:
        """Each sink: depth, oldest, pause, breaker, last error. Those that left the configuration, too."""
        counts = await self._store.counts()
        names = dict.fromkeys([*self._lanes, *counts])
        oldest_due = {name: await self._store.oldest_due(name) for name in names}
        documents = []
        for name in names:
            lane, number = self._lanes.get(name), counts.get(name)
            oldest = oldest_due[name]
            document: dict[str, Any] = {"sink": name, "oldest_due": rfc3339(oldest) if oldest is not None else None}
            for state in ("queued", "delivered", "dead", "discarded"):
                document[state] = getattr(number, state) if number else 0
            if lane is None:
                document["held"] = "no such sink"
            else:
                state_kept = lane.gates.state
                document |= {
                    "paused_by": state_kept.paused_by,
                    "paused_at": rfc3339(state_kept.paused_at) if state_kept.paused_at is not None else None,
                    "breaker": "open" if lane.gates.breaker.is_open else "closed",
                    "next_probe_at": rfc3339(at) if (at := lane.gates.breaker.probe_at) is not None else None,
                    "last_error": lane.last_error,
                }
            documents.append(document)
        return documents

    def _lane(self, sink: str) -> Lane:
        if (lane := self._lanes.get(sink)) is None:
            raise Unknown(f'there is no sink "{sink}"', list(self._lanes))
        return lane

    async def _known(self, sink: str | None) -> None:
        """Raise Unknown for a sink that is not in the configuration, and that no delivery was ever made for."""
        if sink is not None and sink not in self._lanes and sink not in (counts := await self._store.counts()):
            raise Unknown(f'there is no sink "{sink}"', list(dict.fromkeys([*self._lanes, *counts])))

    def _say_held(self, documents: list[dict[str, Any]]) -> None:
        """Add `held` to the deliveries that wait for a sink which is paused, gone, or behind an open breaker."""
        for document in documents:
            lane = self._lanes.get(document["sink"])
            if document["state"] != "queued":
                continue
            if lane is None:
                document["held"] = "no such sink"
            elif lane.gates.paused:
                document["held"] = "paused"
            elif lane.gates.breaker.is_open:
                document["held"] = "breaker open"

    async def _reopen(self, act: Act) -> Progress:
        states = _replayable(act)
        targets, go_on = await self._targets(act, states)
        change = partial(operations.reopen, states=states)
        done = await self._change(act, DeliveryReplayed, change, self._with_waits(targets), states)
        return Progress(len(targets), *done, go_on)

    async def _make(self, act: Act) -> Progress:
        """Make deliveries that do not exist yet, and re-open those that are dead, message by message."""
        selection, after = act.selection, (act.after or _FIRST).seq
        seqs = await self._seqs(selection.id, after)
        size = max(_FEW, min(_SLICE, _MOST_MADE // max(len(self._lanes), 1)))
        page, go_on = await self._store.ask(lambda connection: queries.chosen(connection, selection, seqs, after, size))
        last = go_on if go_on is not None else _last_of_many(seqs)
        wanted = [
            Target(one.seq, sink) for one in page if not _left_out(selection, one) for sink in await self._sinks_for(act, one)
        ]
        owed = await self._store.ask(lambda connection: queries.owed(connection, [one.seq for one in page], act.to))
        targets = self._with_waits(list(dict.fromkeys([*wanted, *owed])))
        states = _replayable(act)
        change = partial(operations.add_or_reopen, states=states)
        done = await self._change(act, DeliveryReplayed, change, targets, (*states, "new"))
        return Progress(len(page), *done, None if last is None else Target(last, ""))

    async def _change(
        self, act: Act, event: _Act, change: Callable[..., list[Target]], targets: list[Target], states: tuple[str, ...]
    ) -> tuple[int, dict[str, int]]:
        """Change those deliveries that are in one of the states, or in a dry run none; how many, and how many of which state."""
        were = await self._store.ask(lambda connection: queries.states(connection, targets))
        found = [target for target, state in zip(targets, were, strict=True) if state in states]
        kinds = dict(Counter(state for state in were if state in states))
        if act.dry_run or not found:
            return len(found), kinds
        messages, now = await self._store.ask(lambda connection: queries.ids(connection, found)), self._clock.now()

        at_ms, number = milliseconds(now), 0
        ends = change is operations.discard  # an end is kept by the wall clock, a beginning in the store's own time
        instant = now if ends else self._store.timeline.stored(now)
        for begin in range(0, len(found), _SLICE):  # a page of messages may owe many times as many deliveries

            def work(connection: Any, changes: Any, part: list[Target] = found[begin : begin + _SLICE]) -> list[Target]:
                changed = change(connection, targets=part, now=instant, changes=changes)
                actor, claimed = str(act.actor), claim_of(act.actor)
                steps = [Step(one.seq, event.name, at_ms, one.sink, actor=actor, claimed=claimed) for one in changed]
                unlogged.note(connection, steps)
                return changed

            changed = await self._store.change(work, lambda changed: self._tell(event, changed, messages, act.actor))
            number += len(changed)
        await self._audit.flush()
        return number, kinds

    async def _targets(self, act: Act, states: tuple[str, ...]) -> tuple[list[Target], Target | None]:
        """The next deliveries of an act that are in one of the states, and where to go on."""
        selection, after = act.selection, act.after or _FIRST
        await self._known(selection.sink)
        if selection.state is not None and selection.state not in states:
            return [], None
        seqs = await self._seqs(selection.id, after.seq - 1)
        targets, go_on = await self._store.ask(
            lambda connection: walks.deliveries(connection, selection, seqs, after, _SLICE, states)
        )
        return targets, go_on or _beyond(seqs)

    def _with_waits(self, targets: list[Target]) -> list[Target]:
        """Return the targets, each with the wait before a first attempt that its sink's schedule asks for."""
        return [
            Target(target.seq, target.sink, first_due(self._lanes[target.sink].policy, 0.0, self._clock.jitter()))
            if target.sink in self._lanes
            else target
            for target in targets
        ]

    async def _sinks_for(self, act: Act, one: Chosen) -> tuple[str, ...]:
        if act.to is not None:
            return (act.to,)
        body = await self._store.ask(partial(queries.body, seq=one.seq))
        if body is None:
            return ()
        decoded = events.decode(body)
        event = decoded if isinstance(decoded, events.Event) else events.event_of({})
        return self._router().route(event, one.source).sinks

    def _tell(self, event: _Act, targets: list[Target], messages: dict[int, Ids], actor: str) -> None:
        # The lanes first: what they have in memory is worth nothing any more, whatever becomes of the audit log.
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

    async def _seqs(self, text: str | None, after: int) -> list[int] | None:
        """The first messages beyond one that an id stands for, at most MOST_NAMED; None: no id was given.

        Exact ones first: a beginning is meant only if there is none at all. Raises ValueError where it is empty: a variable
        that is not set must not mean everything.
        """
        if text is None:
            return None
        if not text:
            raise ValueError("an id is not empty")
        found = await self._every(named.exactly, text, after, named.MOST_NAMED)
        if found or (after > 0 and await self._every(named.exactly, text, 0, 1)):
            return found
        return await self._every(named.begun, text, after, named.MOST_NAMED)

    async def _every(self, look: Callable[..., named.Found], text: str, after: int, most: int) -> list[int]:
        """The next messages that a look finds, at most `most`, page by page: others may ask in between."""
        seqs: list[int] = []
        go_on: int | None = after
        while go_on is not None and len(seqs) < most:
            page, go_on = await self._store.ask(partial(look, text=text, after=go_on))
            seqs += page
        return seqs[:most]


def _replayable(act: Act) -> tuple[str, ...]:
    return ("dead", "delivered") if act.delivered else ("dead",)


def _left_out(selection: Selection, one: Chosen) -> bool:
    """A window is of what came in and could be read: no delivery is made of our own notices, nor of what is quarantined,
    unless it is named."""
    if selection.id is not None:
        return False
    return one.source == GATEWAY or (one.quarantined and selection.status != "quarantined")


def _last_of_many(seqs: list[int] | None) -> int | None:
    """The last of the messages that an id stands for, where there may be more."""
    return seqs[-1] if seqs is not None and len(seqs) == named.MOST_NAMED else None


def _beyond(seqs: list[int] | None) -> Target | None:
    last = _last_of_many(seqs)
    return None if last is None else Target(last + 1, "")
