"""Shows users without the right to bodies the facts alone: no part of a body, and no answer of a receiver.

A receiver may repeat in its answer what it was sent, and the reason of a route quotes the values that it looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from gateway.control.browse import ShownStory
from gateway.control.stories import ExplainedEvent, ExplainedStory, NotTold, RouteReason, RulesAnswer
from gateway.core.attention import GatewayStatus, SinkStatus, attention
from gateway.core.documents import AttemptFacts
from gateway.core.request_documents import TracedDelivery
from gateway.core.users import Visitor


def status_for(visitor: Visitor, status: GatewayStatus) -> GatewayStatus:
    """Return the status of the gateway as the visitor may see it: what needs a person quotes no answer either."""
    if visitor.sees_bodies:
        return status
    told = structs.replace(status, sinks=tuple(map(_sink, status.sinks)))
    return structs.replace(told, attention=attention(told))


def story_for(visitor: Visitor, shown: ShownStory) -> ShownStory:
    """Return the story of a message as the visitor may see it."""
    if visitor.sees_bodies:
        return shown
    story = shown.story
    deliveries = tuple(structs.replace(one, attempts=attempts_for(visitor, one.attempts)) for one in story.deliveries)
    conflicts = tuple(structs.replace(one, body=None) for one in story.conflicts)
    return structs.replace(shown, story=structs.replace(story, body=None, deliveries=deliveries, conflicts=conflicts))


def request_story_for(visitor: Visitor, story: ExplainedStory) -> ExplainedStory:
    """Return the story of a service request as the visitor may see it."""
    if visitor.sees_bodies:
        return story
    return structs.replace(story, events=tuple(_event(visitor, one) for one in story.events))


def attempts_for(visitor: Visitor, attempts: Sequence[AttemptFacts]) -> tuple[AttemptFacts, ...]:
    """Return attempts as the visitor may see them. Their details are words of the gateway, and stay."""
    if visitor.sees_bodies:
        return tuple(attempts)
    return tuple(structs.replace(one, answer="") for one in attempts)


def _sink(sink: SinkStatus) -> SinkStatus:
    return sink if sink.last_death is None else structs.replace(sink, last_death=structs.replace(sink.last_death, answer=""))


def _event(visitor: Visitor, explained: ExplainedEvent) -> ExplainedEvent:
    deliveries = tuple(_delivery(visitor, one) for one in explained.traced.deliveries)
    traced = structs.replace(explained.traced, deliveries=deliveries, body=None)
    not_told = tuple(_not_told(one) for one in explained.not_told)
    return structs.replace(explained, traced=traced, not_told=not_told)


def _delivery(visitor: Visitor, traced: TracedDelivery) -> TracedDelivery:
    if traced.last is None:
        return traced
    (last,) = attempts_for(visitor, [traced.last])
    return structs.replace(traced, last=last)


def _not_told(missing: NotTold) -> NotTold:
    return NotTold(missing.sink, None if missing.then is None else _answer(missing.then), _answer(missing.now))


def _answer(answer: RulesAnswer) -> RulesAnswer:
    return structs.replace(answer, reasons=tuple(map(_reason, answer.reasons)))


def _reason(reason: RouteReason) -> RouteReason:
    if reason.why is None or not reason.why.quotes_body:
        return reason
    why = reason.why.without_value()
    return structs.replace(reason, reason=why.text, why=why)
