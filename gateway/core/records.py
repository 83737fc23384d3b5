"""The records that go into the store and come out of it. Instants are Unix seconds, UTC; the store keeps milliseconds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gateway.core.breaker import CLOSED, BreakerState
from gateway.core.outcome import Outcome
from gateway.core.retry import Transition
from gateway.core.selection import MessageStatus


def delivery_id(message_id: str, sink: str) -> str:
    """Return the id of a delivery, which is also the idempotency key of all its attempts."""
    return f"{message_id}-{sink}"


class Message(Struct, frozen=True):
    """One webhook as received."""

    id: str
    source: str
    sender_id: str | None
    received_at: float
    content_type: str | None
    body: bytes
    event_type: str | None = None
    milestone: str | None = None
    sr_uuid: str | None = None
    reference_id: str | None = None


class NewMessage(Struct, frozen=True):
    """A message to commit, with all that it owes."""

    message: Message
    status: MessageStatus
    identity: str | None = None
    deliveries: tuple[tuple[str, float], ...] = ()
    """Sink, and when its first attempt is due."""
    in_order: frozenset[str] = frozenset()
    """Those among all sinks with `ordering = "sr"`."""
    event_at: float | None = None
    """The instant of the event's own timestamp; None where it has none: its arrival counts."""
    since: float | None = None
    """The instant from which `give_up_after` counts; None: its arrival."""


class Accepted(Struct, frozen=True):
    seq: int
    """Its place in the order of acceptance."""


class Duplicate(Struct, frozen=True):
    id: str
    """The id of the first message."""
    reason: Literal["message_id", "identity"]
    conflict: bool
    """Its body differs from the first one's."""


Stored = Accepted | Duplicate


BYTES_BESIDE_BODY = 2048
"""Bytes that a delivery in memory takes beside its body, about: its ids, its task, the head of its request."""


class Owed(Struct, frozen=True):
    """A delivery that may be attempted: what a lane works on."""

    seq: int
    sink: str
    message: Message
    since: float
    """When the delivery was accepted or replayed."""
    attempts: int = 0
    retries: int = 0

    @property
    def delivery_id(self) -> str:
        return delivery_id(self.message.id, self.sink)

    @property
    def size(self) -> int:
        """Bytes that it counts for in memory."""
        return len(self.message.body) + BYTES_BESIDE_BODY


class Claim(Struct, frozen=True):
    owed: tuple[Owed, ...]
    """Due, oldest first."""
    more: bool
    """There are further due ones in the store."""
    next_due: float | None
    """When the first one that isn't due yet will be; None: there is none, or `more` holds."""
    seen_to: int
    """The newest message that was there when this was read."""


class Attempt(Struct, frozen=True):
    number: int
    """1-based, counted for life."""
    started_at: float
    duration_ms: int
    outcome: Outcome


class Settlement(Struct, frozen=True):
    """The outcome of one claimed delivery; `attempt` is None if it ended without a request (expired)."""

    seq: int
    sink: str
    transition: Transition
    at: float
    attempt: Attempt | None


class Step(Struct, frozen=True, array_like=True, omit_defaults=True):
    """A committed step of one message or delivery whose audit line may not be written yet. Its instants are Unix milliseconds,
    UTC; they date its line."""

    seq: int
    event: str = ""
    """The event as in the audit log; empty if the message came in: its row says the rest."""
    at_ms: int = 0
    sink: str = ""
    attempt: int | None = None
    due_ms: int | None = None
    """When the next attempt is due, in the store's own time (see `store.base.CatchingUp.wall_time`)."""
    reason: str | None = None
    late: bool = False
    """A person had ended the delivery meanwhile."""
    actor: str | None = None
    claimed: str | None = None
    """Who acts, in the words of the request (see `values.Actor`)."""


class SinkState(Struct, frozen=True):
    """The state of a lane that survives restarts, beside its deliveries."""

    paused_at: float | None = None
    paused_by: str | None = None
    breaker: BreakerState = CLOSED
    held_until: float | None = None
    """A `Retry-After` holds the lane so long."""


class Counts(Struct, frozen=True):
    """Deliveries of one sink by state."""

    queued: int = 0
    delivered: int = 0
    dead: int = 0
    discarded: int = 0
