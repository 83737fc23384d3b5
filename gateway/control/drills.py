"""Drills: a message marked [TEST], sent through the real sinks of the running gateway. It leaves no row and moves no gate."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway.control.ids import Unknown
from gateway.core import events
from gateway.core.audit_events import SinkDrilled
from gateway.core.outcome import Delivered
from gateway.core.records import Attempt, delivery_id, message_about
from gateway.core.routing import Route
from gateway.core.samples import SAMPLES
from gateway.core.values import claim_of, rfc3339
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.sinks.base import Outgoing

_SOURCE = "drill"


class Drill(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to try one sink, or all sinks that a route names."""

    sink: str | None = None
    route: str | None = None
    event: str = "authentic"
    """The name of a sample."""
    actor: str = ""
    """Who acts: what a request claims, until the door says who it is from."""


class Drilled(Struct, frozen=True):
    """A message that a drill sent to one sink, and the attempt, with the sink's answer."""

    sink: str
    delivery: Outgoing
    attempt: Attempt


class Drills:
    """Sends drills through the lanes."""

    def __init__(self, *, lanes: Mapping[str, Lane], routes: Sequence[Route], audit: AuditLog, clock: Clock) -> None:
        self._lanes = lanes
        self._routes = routes
        self._audit = audit
        self._clock = clock

    def use(self, routes: Sequence[Route]) -> None:
        """Know other routes from the next drill on."""
        self._routes = routes

    async def run(self, drill: Drill) -> list[Drilled]:
        """Send once to each sink, to all at the same time. Returns the results in the order in which the route names the sinks.

        Raises Unknown, or ValueError if there is no such sample, or no sink to try.
        """
        if drill.event not in SAMPLES:
            raise ValueError(f'there is no sample "{drill.event}"')
        lanes = [self._lanes[name] for name in self._named(drill)]
        message_id = self._clock.new_id()
        body = _body(drill.event, self._clock)
        return await asyncio.gather(
            *(self._try(lane, _delivery(lane.name, message_id, body, self._clock), drill) for lane in lanes)
        )

    def _named(self, drill: Drill) -> Sequence[str]:
        if (drill.sink is None) == (drill.route is None):
            raise ValueError("a drill is of a sink or of a route")
        if drill.sink is not None:
            if drill.sink not in self._lanes:
                raise Unknown(f'there is no sink "{drill.sink}"', list(self._lanes))
            return (drill.sink,)
        named = {route.name: route.sinks for route in self._routes}
        if drill.route not in named:
            raise Unknown(f'there is no route "{drill.route}"', list(named))
        if not named[drill.route]:
            raise ValueError(f'the route "{drill.route}" names no sink: there is nothing to try')
        return list(dict.fromkeys(named[drill.route]))

    async def _try(self, lane: Lane, delivery: Outgoing, drill: Drill) -> Drilled:
        attempt = await lane.drill(delivery)
        outcome = attempt.outcome
        self._audit.step(
            SinkDrilled(
                sink=lane.name,
                delivery_id=delivery.delivery_id,
                status=outcome.status,
                duration_ms=attempt.duration_ms,
                reason=None if isinstance(outcome, Delivered) else outcome.reason.value,
                detail=outcome.detail or None,
                actor=str(drill.actor),
                claimed=claim_of(drill.actor),
            )
        )
        return Drilled(lane.name, delivery, attempt)


def _body(sample: str, clock: Clock) -> bytes:
    """Return the sample as it would come now, for a service request that does not exist and an item that is plainly a test."""
    values = {**SAMPLES[sample], "sr_uuid": str(uuid.UUID(clock.new_id())), "timestamp": rfc3339(clock.now())}
    values["reference_id"] = f"TEST-{values['reference_id']}"
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _delivery(sink: str, message_id: str, body: bytes, clock: Clock) -> Outgoing:
    decoded = events.decode(body)
    event = decoded if isinstance(decoded, events.Event) else None
    message = message_about(event, body, message_id=message_id, source=_SOURCE, received_at=clock.now())
    return Outgoing(delivery_id(message_id, sink), message, attempt=1, drill=True)
