"""Answers to people about service requests: which ones a name means, what each went through, who was told, and who was not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from gateway.control.browse import held_by
from gateway.control.ids import Unknown
from gateway.control.judged_again import Hindsight, hindsight_of, hindsight_of_message
from gateway.control.kept_rules import KeptRulesReader
from gateway.core import events
from gateway.core.caught_facts import CaughtFacts, event_of_caught
from gateway.core.caught_requests import CaughtRequest
from gateway.core.documents import Ids
from gateway.core.events import Event, StateChange
from gateway.core.hindsight import Otherwise
from gateway.core.judge import judge
from gateway.core.ledger import Facts, state_text
from gateway.core.request_documents import (
    FoundRequests,
    KnownRequest,
    RequestPlace,
    RequestSelection,
    RequestStory,
    TracedDelivery,
    TracedEvent,
)
from gateway.core.routing import GATEWAY, RECONCILE, Decision
from gateway.core.rules_then import RulesThen
from gateway.core.why_not import WhyNot, reason_of
from gateway.delivery.lane import Lane
from gateway.store.requests import Tracing

_MOST_COLUMNS = 12
"""Sinks that a story speaks of unless it is asked for others: all of the configuration, if there are no more than these."""
_MOST_REASONS = 5
"""Routes of one sink whose reason is told."""


class RouteReason(Struct, frozen=True):
    """The reason why a route did not tell a sink of an event."""

    route: str
    place: str
    """The file and the line of the route, such as `gateway.toml:41`; "" if they are not known."""
    reason: str
    """The words of `why`."""
    why: WhyNot | None


class RulesAnswer(Struct, frozen=True):
    """The answer of some rules to the question whether a sink is told of an event."""

    routes: tuple[str, ...]
    """The routes that tell it; empty if none does."""
    reasons: tuple[RouteReason, ...]
    """Why the routes that name the sink do not apply, at most five; empty if no route names it."""
    more: int
    """How many further routes name it."""
    suppressed: bool
    """The event is late, and the sink has `on_stale = "suppress"`."""


class NotTold(Struct, frozen=True):
    """A sink that has no delivery of an event, and why."""

    sink: str
    then: RulesAnswer | None
    """The answer of the rules that were in use when the event came; None if they are not kept."""
    now: RulesAnswer
    """The answer of the rules of this moment."""


class ExplainedEvent(Struct, frozen=True):
    """One event of a request, with what became of it at each sink."""

    traced: TracedEvent
    """Its deliveries say what holds them back."""
    state: str | None
    """The state that it brings, as the ledger keeps it; None if it brings none, or if its body cannot be routed again."""
    routes: tuple[str, ...] | None
    """The routes that applied when it came; None if the rules of then are not kept, or it was never routed."""
    not_told: tuple[NotTold, ...]
    """The sinks of the story without a delivery of it."""
    explained: bool
    """False if its body cannot be routed again, because it is over 64 KiB or was never understood. `not_told` is empty then."""
    hindsight: tuple[Otherwise, ...] | None = None
    """The facts that would be judged otherwise by what is known now; None if that cannot be told."""


class OwnEventsOnly(Struct, frozen=True):
    """A sink that is told only of the gateway's own events, then and now. It is named here, and not again in each event."""

    sink: str
    routes: tuple[str, ...]
    """The routes that name it, at most five."""


class ExplainedStory(Struct, frozen=True):
    """A page of the story of a request."""

    known: KnownRequest
    sinks: tuple[str, ...]
    """The sinks that it speaks of."""
    own_events_only: tuple[OwnEventsOnly, ...]
    """Further sinks."""
    events: tuple[ExplainedEvent, ...]
    """The events in the order in which they happened."""
    go_on_before: int | None
    purged: bool


class Requests:
    """The questions about service requests that people ask through the admin listener."""

    def __init__(
        self, *, store: Tracing, kept: KeptRulesReader, rules: Callable[[], int | None], lanes: Mapping[str, Lane]
    ) -> None:
        """
        Args:
            rules: returns the number of the rules of this moment.
        """
        self._store = store
        self._rules = rules
        self._lanes = lanes
        self._kept = kept

    async def find(self, name: str, source: str | None = None) -> FoundRequests:
        """Find the requests that a name stands for. Raises ValueError if it is blank: an unset variable means nothing.

        Args:
            source: only requests of this source; None means all.
        """
        if not name.strip():
            raise ValueError("the name of a service request is not empty")
        found = await self._store.find_requests(name)
        if source is not None:
            return structs.replace(found, requests=tuple(one for one in found.requests if one.source == source))
        return structs.replace(found, requests=_of_senders(found.requests))

    async def list(
        self, selection: RequestSelection, after: RequestPlace | None, limit: int
    ) -> tuple[list[KnownRequest], RequestPlace | None]:
        """Read a page of requests, the one whose present state began last first. A page may be short before the last one."""
        return await self._store.requests(selection, after, limit)

    async def story(self, number: int, before: int | None, limit: int, sinks: Sequence[str]) -> ExplainedStory | None:
        """Read what a request went through, and explain it; None if it is not known.

        Args:
            before: the seq before which the page begins; None begins with the newest messages.
            sinks: further sinks that it speaks of. Raises Unknown if one is not in the configuration.
        """
        for sink in sinks:
            if sink not in self._lanes:
                raise Unknown(f'there is no sink "{sink}"', list(self._lanes))
        story = await self._store.request_story(number, before, limit)
        if story is None:
            return None
        again = await hindsight_of(self._store, story, begins=before is None) or {}
        if before is None:
            story, again = await self._with_reconciled(story, again)
        told = dict.fromkeys(one.delivery.sink for event in story.events for one in event.deliveries)
        shown = tuple(dict.fromkeys([*(self._lanes if len(self._lanes) <= _MOST_COLUMNS else ()), *told, *sinks]))
        now = await self._kept.of(self._rules())
        own: dict[str, tuple[str, ...]] = {}
        alone_of: dict[tuple[str, int | None], Mapping[str, tuple[str, ...]]] = {}
        explained = []
        for traced in story.events:
            then = await self._kept.of(traced.rules)
            key = (traced.ids.source, traced.rules)
            if (never := alone_of.get(key)) is None:  # once for all events of the same rules: they may have a thousand routes
                never = alone_of[key] = _told_of_own_events(traced.ids.source, then, now)
            own |= never
            one = self._explained(traced, [sink for sink in shown if sink not in never], then, now)
            explained.append(structs.replace(one, hindsight=again.get(traced.seq)))
            await asyncio.sleep(0)  # with a thousand routes, one event takes some 20 ms, and ingest must not notice
        spoken_of = told.keys() | {one.sink for event in explained for one in event.not_told}
        alone = tuple(OwnEventsOnly(sink, own[sink][:_MOST_REASONS]) for sink in shown if sink in own and sink not in spoken_of)
        sinks = tuple(sink for sink in shown if sink not in {one.sink for one in alone})
        return ExplainedStory(story.known, sinks, alone, tuple(explained), story.go_on_before, story.purged)

    async def hindsight(self, ids: Ids, seq: int) -> tuple[Otherwise, ...] | None:
        """Return the facts about a message that would be judged otherwise by what is known now; None if that cannot be told."""
        return (await hindsight_of_message(self._store, ids) or {}).get(seq)

    async def caught(self, request: CaughtRequest, message_id: str | None) -> CaughtFacts | None:
        """Return the facts of the event in a caught request; None if nothing is known of its service request.

        Args:
            message_id: the message that it became: its facts are those of its arrival, or none if it is not among the newest of
                its service request. Without a message, the event is judged as if it arrived now.
        """
        event = event_of_caught(request)
        if event is None or event.sr_uuid is None or request.source is None:
            return None
        found = await self._store.find_requests(event.sr_uuid)
        key = (request.source, event.sr_uuid)
        known = next((one for one in found.requests if (one.source, one.sr_uuid) == key), None)
        if known is None:
            return None
        if message_id is not None:
            story = await self._store.request_story(known.number)
            traced = () if story is None else story.events
            stored = next((one.facts for one in traced if one.ids.id == message_id), None)
            return None if stored is None else CaughtFacts(stored, "arrival")
        return CaughtFacts(judge(known.request, event, request.at)[0], "now")

    async def _with_reconciled(self, story: RequestStory, again: Hindsight) -> tuple[RequestStory, Hindsight]:
        """Return a story with the events that a reconciliation made about its request: they have a row of their own."""
        twins = await self._store.find_requests(story.known.sr_uuid)
        events, judged = list(story.events), dict(again)
        for twin in twins.requests:
            if twin.source == RECONCILE and twin.number != story.known.number:
                made = await self._store.request_story(twin.number)
                if made is not None:
                    events += made.events
                    judged |= await hindsight_of(self._store, made, begins=True) or {}
        in_order = tuple(sorted(events, key=lambda event: (event.happened_at, event.seq)))
        return structs.replace(story, events=in_order), judged

    def _explained(
        self, traced: TracedEvent, shown: Sequence[str], then: RulesThen | None, now: RulesThen | None
    ) -> ExplainedEvent:
        held = tuple(self._with_held(one) for one in traced.deliveries)
        told = {one.delivery.sink for one in held}
        traced = structs.replace(traced, deliveries=held)
        event = None if traced.body is None or traced.status == "quarantined" else events.decode(traced.body)
        if not isinstance(event, Event):
            return ExplainedEvent(traced, None, None, (), explained=False)
        source, facts = traced.ids.source, traced.facts
        decided = None if then is None else then.decide(event, source, facts)
        decides = None if now is None else now.decide(event, source, facts)
        sinks = [sink for sink in shown if sink not in told]
        before = {} if then is None or decided is None else _answers(then, decided, event, source, facts, sinks)
        today = {} if now is None or decides is None else _answers(now, decides, event, source, facts, sinks)
        missing = tuple(NotTold(sink, before.get(sink), answer) for sink, answer in today.items())
        state = state_text(event.content.state) if isinstance(event.content, StateChange) else None
        return ExplainedEvent(traced, state, None if decided is None else decided.routes, missing, explained=True)

    def _with_held(self, traced: TracedDelivery) -> TracedDelivery:
        delivery = traced.delivery
        if delivery.state != "queued" or (held := held_by(self._lanes.get(delivery.sink))) is None:
            return traced
        return structs.replace(traced, delivery=structs.replace(delivery, held=held))


def _of_senders(requests: Sequence[KnownRequest]) -> tuple[KnownRequest, ...]:
    """Return the requests that people mean: of one uuid, those of senders.

    If no sender told of it, that of a reconciliation is meant; the row of the gateway's own events is the last resort.
    """
    best = {one.sr_uuid: _OWN.get(one.source, 0) for one in sorted(requests, key=lambda one: -_OWN.get(one.source, 0))}
    return tuple(one for one in requests if _OWN.get(one.source, 0) == best[one.sr_uuid])


_OWN = {RECONCILE: 1, GATEWAY: 2}
"""The sources that are no senders; the one with the smaller number knows more of a request."""


def _told_of_own_events(source: str, then: RulesThen | None, now: RulesThen | None) -> Mapping[str, tuple[str, ...]]:
    """Return the sinks that only the gateway's own events can reach, by the rules of then and of now, with the routes of now.

    Args:
        source: the source of an event. A sink that is told of its events by any of these rules is not among them.
    """
    if now is None or source == GATEWAY:
        return {}
    alone = now.own_events_only(source)
    return alone if then is None else {sink: routes for sink, routes in alone.items() if sink in then.own_events_only(source)}


def _answers(
    rules: RulesThen, decision: Decision, event: Event, source: str, facts: Facts | None, sinks: Sequence[str]
) -> dict[str, RulesAnswer]:
    """Return the answer of some rules for each of some sinks. Each route is asked once, however many sinks it names."""
    failing = {
        sink: [name for name in rules.naming.get(sink, ()) if name not in decision.routes]
        for sink in sinks
        if sink not in decision.sinks
    }
    asked = {name for names in failing.values() for name in names[:_MOST_REASONS]}
    traces = {trace.name: trace for trace in rules.router.explain(event, source, facts, only=asked)} if asked else {}
    reasons = {
        name: RouteReason(name, rules.places.get(name, ""), "" if why is None else why.text, why)
        for name, why in ((name, reason_of(trace, judged=facts is not None)) for name, trace in traces.items())
    }
    answers = {}
    for sink in sinks:
        if (names := failing.get(sink)) is None:
            telling = tuple(name for name in rules.naming.get(sink, ()) if name in decision.routes)
            answers[sink] = RulesAnswer(telling, (), 0, suppressed=False)
            continue
        told = tuple(reasons[name] for name in names[:_MOST_REASONS])
        answers[sink] = RulesAnswer((), told, max(len(names) - _MOST_REASONS, 0), suppressed=sink in decision.suppressed)
    return answers
