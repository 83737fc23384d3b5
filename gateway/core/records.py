"""The records that the store takes and returns. Instants are Unix seconds, UTC; the store keeps milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from gateway.core.breaker import CLOSED, BreakerState
from gateway.core.drift import Learned
from gateway.core.events import Event
from gateway.core.lasting import Lasting
from gateway.core.ledger import Facts
from gateway.core.outcome import Outcome
from gateway.core.retry import Transition
from gateway.core.selection import MessageStatus
from gateway.core.signature import Signed
from gateway.core.watches import Entering, StallsTold, Watch

Companion = Entering | StallsTold | Lasting | Learned
"""A fact that is committed together with the message that it comes from, or that tells about it."""


def delivery_id(message_id: str, sink: str) -> str:
    """Return the id of a delivery, which is also the idempotency key of all its attempts."""
    return f"{message_id}-{sink}"


class Message(Struct, frozen=True):
    """One webhook as the gateway received it."""

    id: str
    source: str
    sender_id: str | None
    received_at: float
    content_type: str | None
    body: bytes
    event_type: str | None = None
    milestone: str | None = None
    """The milestone of its event; None if the body cannot be decoded."""
    sr_uuid: str | None = None
    reference_id: str | None = None
    facts: Facts | None = None
    """The facts about its event; None for a message without a service request, for the gateway's own events, and until the
    ledger has judged it."""


def message_about(
    event: Event | None,
    body: bytes,
    *,
    message_id: str,
    source: str,
    received_at: float,
    sender_id: str | None = None,
    content_type: str | None = "application/json",
    facts: Facts | None = None,
) -> Message:
    """Return the message that brings an event.

    Args:
        event: the decoded body; None if it cannot be decoded.
    """
    return Message(
        id=message_id,
        source=source,
        sender_id=sender_id,
        received_at=received_at,
        content_type=content_type,
        body=body,
        event_type=event.event_type if event else None,
        milestone=event.milestone.value if event else None,
        sr_uuid=event.sr_uuid if event else None,
        reference_id=event.reference_id if event else None,
        facts=facts,
    )


class Owes(Struct, frozen=True):
    """The status of a message and its deliveries, by the rules."""

    status: MessageStatus
    deliveries: tuple[tuple[str, float], ...] = ()
    """Each sink, with the instant at which its first attempt is due."""
    suppressed: tuple[str, ...] = ()
    """Sinks that are not told because the event is late: their deliveries are discarded from the start."""
    waits: tuple[tuple[str, float], ...] = ()
    """Sinks at which the message waits for the other half of its rejection, or is told with it; each with the seconds."""


class NewMessage(Struct, frozen=True):
    """A message to commit, with everything that it owes."""

    message: Message
    status: MessageStatus
    identity: str | None = None
    deliveries: tuple[tuple[str, float], ...] = ()
    """Each sink, with the instant at which its first attempt is due."""
    in_order: frozenset[str] = frozenset()
    """The sinks of the configuration with `ordering = "sr"`."""
    event_at: float | None = None
    """The instant of the event's own timestamp; None if it has none, and then its arrival counts."""
    since: float | None = None
    """The instant from which `give_up_after` counts; None means its arrival."""
    event: Callable[[], Event] | None = None
    """Returns the decoded event, for the ledger; None if it is not to be judged. The writer's thread calls it."""
    decide: Callable[[Facts | None], Owes] | None = None
    """Routes the message once its facts are known (None: it has none), in place of `status` and `deliveries`.

    The writer's thread calls it, once or twice; the last answer counts. It must not raise.
    """
    signed: Signed | None = None
    """The signature that fitted; None if the source is not verified."""
    rules: int | None = None
    """The number of the rules in use (see `store.requests.Rulebook`)."""
    watches: tuple[Watch, ...] = ()
    """The rules whose timers follow the state that the message brings its service request into."""
    companions: tuple[Companion, ...] = ()
    """Written in the same transaction, unless the message is a duplicate."""


class Joined(Struct, frozen=True):
    """A delivery that ended before its first attempt, because another delivery tells its message."""

    sink: str
    by: str
    """The id of the message whose delivery tells it."""


class Accepted(Struct, frozen=True):
    seq: int
    """Its place in the order of acceptance."""
    waiting: tuple[str, ...] = ()
    """The sinks at which it waits for the other half of its rejection."""
    joined: tuple[Joined, ...] = ()
    """Its deliveries that another delivery tells: those are due as soon as these would be."""


class Duplicate(Struct, frozen=True):
    id: str
    """The id of the first message."""
    reason: Literal["message_id", "identity"]
    conflict: bool
    """The duplicate has another body than the first message."""


Stored = Accepted | Duplicate


BYTES_BESIDE_BODY = 2048
"""Bytes that a delivery in memory takes beside its body, roughly: its ids, its task, the head of its request."""


class Owed(Struct, frozen=True):
    """A delivery that may be attempted: the unit of work of a lane."""

    seq: int
    sink: str
    message: Message
    since: float
    """When the delivery was accepted or replayed."""
    attempts: int = 0
    retries: int = 0
    joins: bool = False
    """Another message may go out with it: the store says which one."""

    @property
    def delivery_id(self) -> str:
        return delivery_id(self.message.id, self.sink)

    @property
    def size(self) -> int:
        """The bytes that the delivery counts for in memory."""
        return len(self.message.body) + BYTES_BESIDE_BODY


class Claimed(Struct, frozen=True):
    owed: tuple[Owed, ...]
    """The deliveries that are due, the oldest first."""
    more: bool
    """The store has further deliveries that are due."""
    next_due: float | None
    """The instant at which the next delivery is due; None if there is none, or if `more` is true."""
    seen_to: int
    """The newest message at the time of this read."""


class Attempt(Struct, frozen=True):
    number: int
    """1-based, counted over the whole life of the delivery."""
    started_at: float
    duration_ms: int
    outcome: Outcome


class Settlement(Struct, frozen=True):
    """The result of one claimed delivery. `attempt` is None if it expired without a request."""

    seq: int
    sink: str
    transition: Transition
    at: float
    attempt: Attempt | None


class Step(Struct, frozen=True, array_like=True, omit_defaults=True):
    """A committed step of one message or delivery whose audit line may not be written yet.

    Its instants are Unix milliseconds, UTC. The line gets the instant of the step.
    """

    seq: int
    event: str = ""
    """The name of the audit event; empty if the message came in, and then its row says the rest."""
    at_ms: int = 0
    sink: str = ""
    attempt: int | None = None
    due_ms: int | None = None
    """The instant of the next attempt, in the store's own time (see `store.base.CatchingUp.wall_time`)."""
    reason: str | None = None
    late: bool = False
    """A person had ended the delivery before the sink took it."""
    actor: str | None = None
    claimed: str | None = None
    """The name that the request gave for who acts (see `values.Actor`)."""


class KeptGates(Struct, frozen=True):
    """The gates of a lane as the store keeps them, so that they survive a restart."""

    paused_at: float | None = None
    paused_by: str | None = None
    breaker: BreakerState = CLOSED
    held_until: float | None = None
    """A `Retry-After` holds the lane until this instant."""


class Counts(Struct, frozen=True):
    """How many deliveries a sink has in each state."""

    queued: int = 0
    delivered: int = 0
    dead: int = 0
    discarded: int = 0
