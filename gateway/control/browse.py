"""Answers to people about a running gateway: messages, deliveries, stories, sinks, and where the rules send a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct, structs

from gateway.control.ids import beyond, check_sink, last_of_many, seqs_of
from gateway.control.kept_rules import KeptRulesReader
from gateway.core import events
from gateway.core.documents import (
    AttemptFacts,
    DeliveryFacts,
    DeliverySummary,
    Held,
    Ids,
    MessageSummary,
    ReceivedBody,
    SinkAttempt,
    Story,
)
from gateway.core.named_requests import MOST_MESSAGES_NAMED, NamedRequests, named_requests
from gateway.core.records import Counts
from gateway.core.routing import Decision, Router
from gateway.core.selection import Selection, Target
from gateway.delivery.lane import Lane
from gateway.store.base import MOST_NAMED
from gateway.store.people import Browsing

_MOST_SHOWN = 100
_MOST_SHOWN_CHARACTERS = 8 * 1024 * 1024
"""Characters of bodies and attempts in one answer; an answer that exceeds them ends with the message at hand."""
_ATTEMPT_CHARACTERS = 500
"""Characters that an attempt with its answer takes, about."""
_REPLACED = "\ufffd"
"""Stands in the text of a story for bytes that are not UTF-8."""
_NOBODY = Decision(sinks=(), routes=())
_MOST_ROUTED = 100
_MOST_ROUTED_BYTES = 1024 * 1024
"""Bytes of bodies in one answer; an answer that exceeds them ends with the message at hand."""
_ROUTED_AT_ONCE = 10
"""Messages routed between two turns of the event loop, so that ingest does not notice."""


class Routed(Struct, frozen=True):
    """A message, and where the rules of this moment send it."""

    message: ReceivedBody
    sinks: Sequence[str]
    routes: Sequence[str]


class RoutedPage(Struct, frozen=True):
    """A page of routed messages."""

    messages: list[Routed]
    rules: Mapping[str, Sequence[str]]
    """The sinks of each route, by its name."""
    after: int | None
    """The seq after which the next page begins; None after the last page."""
    begin: int
    """The seq after which this page began."""
    newest: int
    """The seq of the newest message of all."""


class ShownStory(Struct, frozen=True):
    """All that is known of one message, and the routes that it took."""

    story: Story
    routes: tuple[str, ...] | None
    """The routes that applied when it came; None if the rules of then are not kept, or it was never routed."""


class ShownMessage(Struct, frozen=True):
    """One message with everything that is known of it."""

    seq: int
    shown: ShownStory
    body: bytes
    """The body as it came."""


class GateFacts(Struct, frozen=True):
    """The gates of a lane that hold its deliveries back."""

    paused_by: str | None
    paused_at: float | None
    breaker: Literal["open", "closed"]
    next_probe_at: float | None
    last_error: str | None


class SinkFacts(Struct, frozen=True):
    """A sink, and how much waits for it."""

    sink: str
    oldest_due: float | None
    counts: Counts
    gates: GateFacts | None
    """It is None if the sink left the configuration."""


class Browse:
    """The questions that people ask through the admin listener."""

    def __init__(
        self, *, store: Browsing, kept: KeptRulesReader, router: Callable[[], Router], lanes: Mapping[str, Lane]
    ) -> None:
        """
        Args:
            kept: reads the rules of then.
            router: returns the rules of the moment.
        """
        self._store = store
        self._kept = kept
        self._router = router
        self._lanes = lanes

    async def messages(self, selection: Selection, after: int, limit: int) -> tuple[list[MessageSummary], int | None]:
        """Read a page of messages, and the seq to go on after. An empty page may have others after it."""
        most = min(limit, MOST_NAMED)
        seqs = await seqs_of(self._store, selection.id, after, most)
        page, go_on = await self._store.messages(selection, seqs, after, limit)
        return page, go_on if go_on is not None else last_of_many(seqs, most)

    async def requests_named(self, text: str) -> NamedRequests:
        """Find the service requests of the messages that an id stands for, as acts take it: bounded by MOST_MESSAGES_NAMED."""
        page, after = await self.messages(Selection(id=text), 0, MOST_MESSAGES_NAMED)
        return named_requests(((one.ids.sr_uuid, one.ids.reference_id) for one in page), complete=after is None)

    async def newest_messages(
        self, selection: Selection, before: int | None, limit: int
    ) -> tuple[list[MessageSummary], int | None]:
        """Read a page of messages the other way round, and the seq to go on before; None begins with the newest one.

        If an id stands for more messages than MOST_NAMED, the oldest ones are listed.
        """
        seqs = await seqs_of(self._store, selection.id, 0, MOST_NAMED)
        return await self._store.newest_messages(selection, seqs, before, limit)

    async def names_of(self, seqs: Sequence[int]) -> dict[int, Ids]:
        """Read the ids of some messages by their seqs, without those that were purged. One question to the store."""
        return await self._store.ids([Target(seq, "") for seq in seqs])

    async def deliveries(self, selection: Selection, after: Target, limit: int) -> tuple[list[DeliverySummary], Target | None]:
        """Read a page of deliveries, and the one to go on after. Raises Unknown if there is no such sink."""
        await check_sink(self._store, self._lanes, selection.sink)
        seqs = await seqs_of(self._store, selection.id, after.seq - 1)
        page, go_on = await self._store.deliveries(selection, seqs, after, limit)
        return [structs.replace(one, delivery=self._with_held(one.delivery)) for one in page], go_on or beyond(seqs)

    async def show(self, text: str) -> tuple[list[ShownStory], bool]:
        """Read all that is known of the messages that an id stands for, oldest first; and whether there are more messages."""
        seqs = await seqs_of(self._store, text, 0) or []
        stories: list[ShownStory] = []
        size = 0
        for number, seq in enumerate(seqs):
            if number == _MOST_SHOWN or size > _MOST_SHOWN_CHARACTERS:
                return stories, True
            if (story := await self._store.story(seq)) is not None:
                deliveries = tuple(structs.replace(one, delivery=self._with_held(one.delivery)) for one in story.deliveries)
                stories.append(ShownStory(structs.replace(story, deliveries=deliveries), await self._routes(seq, story)))
                size += sum(len(body or "") for body in (story.body, *(one.body for one in story.conflicts)))
                size += _ATTEMPT_CHARACTERS * sum(len(one.attempts) for one in story.deliveries)
        return stories, False

    async def message(self, text: str) -> ShownMessage | None:
        """Read all that is known of the one message that an id stands for, with its body as it came; None if there is none.

        Raises ValueError if it stands for several.
        """
        seqs = await seqs_of(self._store, text, 0, 2) or []
        if len(seqs) > 1:
            raise ValueError(f'the id "{text}" stands for several messages')
        if not seqs or (story := await self._store.story(seqs[0])) is None or (body := await self._store.body(seqs[0])) is None:
            return None
        deliveries = tuple(structs.replace(one, delivery=self._with_held(one.delivery)) for one in story.deliveries)
        shown = ShownStory(structs.replace(story, deliveries=deliveries), await self._routes(seqs[0], story))
        return ShownMessage(seqs[0], shown, body)

    async def last_attempts(self, sink: str, limit: int) -> list[SinkAttempt]:
        """Read the last attempts at a sink, the newest first, as far as a bounded look finds them."""
        return await self._store.last_attempts(sink, limit)

    async def _routes(self, seq: int, story: Story) -> tuple[str, ...] | None:
        rules = await self._kept.of(story.rules)
        body = None if rules is None or story.status == "quarantined" else await self._body(seq, story)
        event = None if body is None else events.decode(body)
        if rules is None or not isinstance(event, events.Event):
            return None
        return rules.decide(event, story.ids.source, story.facts).routes

    async def _body(self, seq: int, story: Story) -> bytes | None:
        """Return the body as it came; it is read only where the story may have lost a byte that is not UTF-8."""
        body = story.body or ""
        return await self._store.body(seq) if _REPLACED in body else body.encode()

    async def attempts(self, text: str, sink: str, after: int, limit: int) -> tuple[list[AttemptFacts], int | None]:
        """Read a page of the attempts at the delivery of one message to a sink, oldest first, and the attempt to go on after.

        Raises KeyError if the id stands for no message, ValueError if it stands for several.
        """
        seqs = await seqs_of(self._store, text, 0) or []
        if not seqs:
            raise KeyError(f'message with the id "{text}"')
        if len(seqs) > 1:
            raise ValueError(f'the id "{text}" stands for several messages: name one by its message_id')
        return await self._store.attempts(seqs[0], sink, after, limit)

    async def sinks(self) -> list[SinkFacts]:
        """Read the depth, the age and the gates of each sink, also of sinks that left the configuration."""
        counts = await self._store.counts()
        names = dict.fromkeys([*self._lanes, *counts])
        oldest_due = {name: await self._store.oldest_due(name) for name in names}
        gates = {name: _gates(lane) for name, lane in self._lanes.items()}
        nothing = Counts()
        return [SinkFacts(name, oldest_due[name], counts.get(name, nothing), gates.get(name)) for name in names]

    async def routing(self, since: float, after: int | None) -> RoutedPage:
        """Route a page of messages by the rules of this moment, whatever was done with them when they came.

        Args:
            since: Unix seconds; only messages received from then on.
            after: the seq at which the page before it ended; None begins.
        """
        if after is None:
            after = await self._store.first_since(since) - 1
        page = await self._store.received_since(since, after, _MOST_ROUTED, _MOST_ROUTED_BYTES)
        routed = []
        for number, message in enumerate(page.messages, 1):
            routed.append(self._routed(message))
            if number % _ROUTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        go_on = None if page.go_on_after is not None and page.go_on_after >= page.newest else page.go_on_after
        return RoutedPage(routed, self._router().sinks, go_on, after, page.newest)

    def _routed(self, message: ReceivedBody) -> Routed:
        event = events.decode(message.body)
        decision = self._router().route(event, message.source, message.facts) if isinstance(event, events.Event) else _NOBODY
        return Routed(message, decision.sinks, decision.routes)

    def _with_held(self, delivery: DeliveryFacts) -> DeliveryFacts:
        """Say why a queued delivery waits, if its sink is paused, gone, or behind an open breaker."""
        if delivery.state != "queued" or (held := held_by(self._lanes.get(delivery.sink))) is None:
            return delivery
        return structs.replace(delivery, held=held)


def held_by(lane: Lane | None) -> Held | None:
    """Return what holds back the deliveries of a lane; None if nothing does. No lane: its sink left the configuration."""
    if lane is None:
        return "no such sink"
    if lane.gates.paused:
        return "paused"
    return "breaker open" if lane.gates.breaker.is_open else None


def _gates(lane: Lane) -> GateFacts:
    kept, breaker = lane.gates.state, lane.gates.breaker
    return GateFacts(kept.paused_by, kept.paused_at, "open" if breaker.is_open else "closed", breaker.probe_at, lane.last_error)
