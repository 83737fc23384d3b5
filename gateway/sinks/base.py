"""What every sink has in common: its settings, what it may know of a delivery, and what it promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from msgspec import Struct, field

from gateway.core.conversation import Thread
from gateway.core.events import Event
from gateway.core.outcome import Outcome
from gateway.core.retry import LEGITMARK_SCHEDULE
from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import Duration, Rate
from gateway.host.clock import Clock

_MARGIN_SECONDS = 0.25
"""Seconds between the last thing that a sink waits for and the end of its attempt's time."""


Locale = Literal["en", "ja"]


class Breaker(Struct, frozen=True):
    failures: int = 3
    """`Retry` outcomes in a row that open it; at least 1."""
    probe: Duration = Duration("30s")


class SinkSettings(Struct, frozen=True, kw_only=True):
    """The keys of `[sinks.NAME]` that every type has."""

    timeout: Duration = Duration("30s")
    """The time of one attempt as a whole."""
    retry: list[Duration] = field(default_factory=lambda: [Duration(seconds) for seconds in LEGITMARK_SCHEDULE])
    """The wait before each attempt; at least one."""
    concurrency: int = 16
    rate: Rate | None = None
    ordering: Literal["none", "sr"] | None = "none"
    """None: not written, and the type of the sink decides."""
    breaker: Breaker = Breaker()
    give_up_after: Duration = Duration("7d")

    destination: ClassVar[tuple[str, ...]] = ()
    """The keys that say where deliveries go; each type of sink names its own."""

    @property
    def by_sr(self) -> bool:
        """One event of a service request after the other."""
        return self.ordering == "sr"


class ReadableSettings(SinkSettings, frozen=True, kw_only=True):
    """The keys of a sink whose messages people read."""

    locale: Locale | None = None
    """This and the next: None until they are taken from `[defaults]`."""
    timezone: str | None = None
    link: str | None = None
    """A URL with placeholders (`language.LINK_FIELDS`)."""
    template: str | None = None
    """A file in place of the built-in template; absolute in a configuration that was loaded."""


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
    drill: bool = False
    """Sent by an operator to try the sink: has to say so to whoever reads it."""

    @property
    def sink(self) -> str:
        """The name of the sink that it is owed to (docs/reference.md, "Delivery")."""
        return self.delivery_id.removeprefix(f"{self.message_id}-")

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


class Threads(Protocol):
    """What a sink that keeps a thread per service request remembers, across restarts. Both raise StoreError."""

    async def find(self, channel: str, sr: str) -> Thread | None: ...

    async def keep(self, channel: str, sr: str, thread: Thread) -> None:
        """Remember a thread, in place of the one before it."""


class Opening(Struct, frozen=True):
    """What a sink is opened with, beside its own settings."""

    name: str
    base: Path
    """The folder that relative paths start from."""
    secret: Callable[[SecretRef], Secret]
    clock: Clock
    threads: Threads | None = None
    """None: there is nothing that could remember any, and each message stands alone."""
