"""The messages and deliveries that a person names: a selection, or one target."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from gateway.core.values import EARLIEST, LATEST

MessageStatus = Literal["accepted", "unrouted", "quarantined"]
"""The status of a message: a route applied, no route applied, or its body is not a JSON object."""
MESSAGE_STATUSES: tuple[MessageStatus, ...] = get_args(MessageStatus)
DeliveryState = Literal["queued", "delivered", "dead", "discarded"]
"""The state of a delivery: the gateway still tries, the sink took it, the gateway gave up, or a person ended it."""
DELIVERY_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)

Act = Literal["replay", "discard"]
"""An act of a person on a delivery."""
SinkAct = Literal["pause", "resume", "probe", "drill", "sample", "ask"]
"""An act of a person on a sink. A sample is an act on the gateway; `ask` asks Legitmark's API about a service request."""

Instant = Annotated[float, Meta(ge=EARLIEST, le=LATEST)]
"""Unix seconds, UTC, of the years 1 to 9999."""


class Selection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of messages or deliveries. All given conditions must hold. Instants are Unix seconds, UTC."""

    id: str | None = None
    """The gateway's id, the sender's id, an SR uuid or a reference id. The first three may be shortened to their beginning."""
    state: DeliveryState | None = None
    sink: str | None = None
    status: MessageStatus | None = None
    source: str | None = None
    since: Instant | None = None
    until: Instant | None = None


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """One delivery of one message, which exists or will be made."""

    seq: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    sink: str
    wait: float = 0.0
    """Seconds until its first attempt, if it is queued again."""
