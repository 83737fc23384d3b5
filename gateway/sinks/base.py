"""The parts that all sinks share: settings, the delivery that a sink gets, and the definition of a sink type."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from msgspec import Struct, field, structs

from gateway.core.conversation import Conversation
from gateway.core.events import Event, decode
from gateway.core.lateness import OnStale
from gateway.core.outcome import Outcome
from gateway.core.records import Message
from gateway.core.retry import LEGITMARK_SCHEDULE
from gateway.core.routing import RECONCILE
from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import Duration, Rate
from gateway.host.clock import Clock
from gateway.sinks.checking import Files, Resolved, Say

_MARGIN_SECONDS = 0.25
"""Seconds between the last wait of a sink and the end of its attempt's time."""
_MOST_PROBE_SECONDS = 10.0

HIDDEN = "***"
"""Stands in a preview in place of each secret."""

Locale = Literal["en", "ja"]


class Breaker(Struct, frozen=True):
    failures: int = 3
    """The number of `Retry` outcomes in a row that open it; at least 1."""
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
    """The order of deliveries; None if the key is not written and the sink type decides."""
    on_stale: OnStale | None = None
    """The treatment of late events; None if the key is not written, and then it is `annotate`."""
    breaker: Breaker = Breaker()
    give_up_after: Duration = Duration("7d")
    failing_after: Duration = Duration("1h")
    """The time after which people are told of a breaker that is open, or opens again and again; 0 never tells."""

    @property
    def by_sr(self) -> bool:
        """True if the events of one service request are sent one after the other."""
        return self.ordering == "sr"

    @property
    def marks_late(self) -> bool:
        """True if a message says that its event is late."""
        return self.on_stale != "deliver"

    @property
    def late_unsaid(self) -> bool:
        """True if late events may leave the receiver in an old state, and no key says what becomes of them."""
        return False

    @property
    def joins(self) -> bool:
        """True if the sink writes messages for people, so that one of them can tell both events of a rejection."""
        return False

    @property
    def probe_seconds(self) -> float:
        """Seconds until a probe gives up: the sink's `timeout`, and at most 10, because an operator waits for it."""
        return min(self.timeout, _MOST_PROBE_SECONDS)

    def completed(self, locale: Locale, timezone: str, folder: Path) -> Self:
        """Fill in the keys that were left out.

        Args:
            locale: the default of `[defaults]`.
            timezone: likewise.
            folder: the folder of the file that the sink stands in.
        """
        return self


class ReadableSettings(SinkSettings, frozen=True, kw_only=True):
    """The keys of a sink whose messages people read."""

    locale: Locale | None = None
    """The language; like `timezone`, it is None until the default of `[defaults]` is filled in."""
    timezone: str | None = None
    link: str | None = None
    """A URL with placeholders (`language.LINK_FIELDS`)."""
    template: str | None = None
    """The file that replaces the built-in template; absolute once the configuration is loaded."""

    @property
    def joins(self) -> bool:
        return True

    def completed(self, locale: Locale, timezone: str, folder: Path) -> Self:
        return structs.replace(
            self,
            locale=self.locale or locale,
            timezone=timezone if self.timezone is None else self.timezone,
            template=None if self.template is None else str(folder / self.template),
        )


C = TypeVar("C", bound=SinkSettings)


class Outgoing(Struct, frozen=True, dict=True):
    """Everything that a sink may know of a delivery."""

    delivery_id: str
    """The idempotency key: the same for all attempts."""
    message: Message
    attempt: int
    """1-based."""
    drill: bool = False
    """True for a test that an operator sends: the message has to tell its readers."""
    partner: Message | None = None
    """The other half of the rejection that the message tells, to be told with it; None if there is none. Only a sink that joins
    events gets one."""

    @property
    def message_id(self) -> str:
        return self.message.id

    @property
    def sender_id(self) -> str | None:
        return self.message.sender_id

    @property
    def source(self) -> str:
        return self.message.source

    @property
    def reconciled(self) -> bool:
        """True if the event was made from an answer of Legitmark's API: no sender signed it, and each sink has to tell that."""
        return self.message.source == RECONCILE

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def sink(self) -> str:
        """The name of the sink that the delivery is for."""
        return self.delivery_id.removeprefix(f"{self.message.id}-")

    @property
    def milestone(self) -> str:
        """The milestone of the event; empty for a quarantined message that is replayed."""
        return self.message.milestone or ""

    @cached_property
    def event(self) -> Event | None:
        """The decoded content; None for a quarantined message that is replayed.

        The body is decoded when a sink first asks, because most sinks pass the bytes on, and an event takes many times the
        memory of its body.
        """
        return _decoded(self.message)

    @cached_property
    def partner_event(self) -> Event | None:
        """The decoded content of `partner`; None if there is none."""
        return None if self.partner is None else _decoded(self.partner)


def _decoded(message: Message) -> Event | None:
    decoded = decode(message.body)
    return decoded if isinstance(decoded, Event) else None


class Deadline:
    """The end of an attempt that begins now. The lane calls the attempt a timeout then, even if the other side has answered."""

    def __init__(self, timeout: float) -> None:
        """Args: timeout: seconds, for the attempt as a whole."""
        self.at = asyncio.get_running_loop().time() + timeout
        """The end, in the time of the event loop."""

    def spare(self, most: float) -> float:
        """Seconds to wait for something that cannot change the outcome any more: at most `most`, and 0 if no time is left."""
        left = self.at - asyncio.get_running_loop().time() - _MARGIN_SECONDS
        return max(min(most, left), 0.0)


class Sink(Protocol):
    async def send(self, delivery: Outgoing) -> Outcome:
        """Try once. Never raises for an expected answer, and never retries."""

    async def aclose(self) -> None:
        """Release connections and files; may be called twice."""


class Conversations(Protocol):
    """The conversations of a sink, one per service request; they survive restarts. Both methods raise StoreError."""

    async def find(self, channel: str, sr: str) -> Conversation | None: ...

    async def keep(self, channel: str, sr: str, conversation: Conversation) -> None:
        """Keep a conversation, in place of the one before it."""


class Opening(Struct, frozen=True):
    """Everything that a sink needs to open, beside its own settings."""

    name: str
    base: Path
    """The folder that relative paths start from."""
    secret: Callable[[SecretRef], Secret]
    clock: Clock
    conversations: Conversations | None = None
    """The memory of threads; None if there is none, and then each message stands alone."""


class Found(Struct, frozen=True):
    """The result of a probe."""

    ok: bool
    detail: str
    """Where the sink connects to; or what failed, on what, and what to do. Never a secret."""
    seconds: float


def _skip_secrets(settings: Any, say: Say, resolved: Resolved) -> None:
    """Check nothing: the type has no secrets with rules of their own."""


class SinkType(Struct, Generic[C], frozen=True, kw_only=True):
    """One kind of sink, as the folder `sinks/<type>/` defines it. `SINK_TYPES` lists all of them."""

    config: type[C]
    """The struct of `[sinks.NAME]`. Its `tag` is the name of the type."""
    open: Callable[[C, Opening], Sink]
    """Builds a sink and connects to nothing yet. Raises ValueError if the settings cannot work."""
    check: Callable[[C, Say, Files], None]
    """Reports every value that decodes and still cannot work. It must depend on nothing but its arguments, because a reload
    reuses the findings of an unchanged sink."""
    check_secrets: Callable[[C, Say, Resolved], None] = _skip_secrets
    """Reports every secret and certificate of an unusable form, and shows nothing of their content."""
    probe: Callable[[C, Opening], Awaitable[Found]]
    """Opens the sink as a delivery would, closes it again and sends nothing. Takes at most 11 seconds. Raises nothing for an
    expected failure."""
    preview: Callable[[C, Outgoing, float], bytes]
    """Returns what the sink would send, byte for byte, with `***` for each secret. The number is the time: Unix seconds, UTC."""
    destination: tuple[str, ...]
    """The keys that say where deliveries go. A reload that changes one of them warns about the deliveries that wait."""
    reads: Mapping[str, Callable[[Path], str]] = {}
    """The keys that name a file to read, each with its reader, which raises ValueError if the file cannot be read."""
    writes: tuple[str, ...] = ()
    """The keys that name a file to write. No two parts of the gateway may write to one file."""
    schema: Mapping[str, Mapping[str, Any]] = {}
    """Rules in JSON Schema for single keys, for editors: what `check` asks of a value beyond its type."""

    def __post_init__(self) -> None:
        named = {*self.destination, *self.reads, *self.writes, *self.schema}
        if unknown := named - set(self.config.__struct_fields__):
            raise TypeError(f"the sink type {self.name} names keys that {self.config.__name__} does not have: {unknown}")

    @property
    def name(self) -> str:
        """The word behind `type =`."""
        return str(self.config.__struct_config__.tag)

    @property
    def paths(self) -> tuple[str, ...]:
        """The keys that name a file."""
        return (*self.writes, *self.reads)
