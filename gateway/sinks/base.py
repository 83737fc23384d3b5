"""What every sink has in common: its settings, what it may know of a delivery, and what it promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct, field

from gateway.clock import Clock
from gateway.core.events import Event
from gateway.core.outcome import Outcome
from gateway.core.retry import LEGITMARK_SCHEDULE
from gateway.core.values import Duration, Rate, Secret, SecretRef

_MARGIN_SECONDS = 0.25
"""From the last thing that a sink waits for to the end of its attempt's time."""


class Breaker(Struct, frozen=True):
    failures: int = 3
    """`Retry` outcomes in a row that open it; at least 1."""
    probe: Duration = Duration("30s")


class SinkSettings(Struct, frozen=True, kw_only=True):
    """The keys of `[sinks.NAME]` that every type has."""

    timeout: Duration = Duration("30s")
    """Of one attempt as a whole."""
    retry: list[Duration] = field(default_factory=lambda: [Duration(seconds) for seconds in LEGITMARK_SCHEDULE])
    """The wait before each attempt; at least one."""
    concurrency: int = 16
    rate: Rate | None = None
    ordering: Literal["none", "sr"] = "none"
    breaker: Breaker = Breaker()
    give_up_after: Duration = Duration("7d")


class Outgoing(Struct, frozen=True):
    """All that a sink may know of a delivery."""

    delivery_id: str
    """The idempotency key: the same for all attempts."""
    message_id: str
    sender_id: str | None
    source: str
    received_at: float
    """Unix seconds, UTC."""
    event: Event | None
    """None for a quarantined message that was replayed."""
    body: bytes
    content_type: str | None
    attempt: int
    """1-based."""

    @property
    def milestone(self) -> str:
        return self.event.milestone.value if self.event else ""


class Deadline:
    """The end of an attempt that begins now: the lane calls it a timeout then, whatever the other side has said by that time."""

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds, of the attempt as a whole."""
        self._at = asyncio.get_running_loop().time() + timeout

    def spare(self, most: float) -> float:
        """How long to wait for what no longer changes the outcome: at most so many seconds, 0 where there is no time left."""
        left = self._at - asyncio.get_running_loop().time() - _MARGIN_SECONDS
        return max(min(most, left), 0.0)


class Sink(Protocol):
    async def send(self, delivery: Outgoing) -> Outcome:
        """Try once. Never raises for an answer that can be expected, never retries."""

    async def aclose(self) -> None:
        """Release connections and files; may be called twice."""


class Opening(Struct, frozen=True):
    """What a sink is opened with, beside its own settings."""

    name: str
    base: Path
    """The folder that relative paths start from."""
    secret: Callable[[SecretRef], Secret]
    clock: Clock
