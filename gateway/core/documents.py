"""Facts of the store about messages, deliveries and itself. The rooms that serve them give them their form.

Instants are Unix seconds, UTC.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gateway.core.events import Event
from gateway.core.ledger import Facts
from gateway.core.outcome import OutcomeName
from gateway.core.records import Counts, Joined, Message
from gateway.core.selection import Act, DeliveryState, MessageStatus, SinkAct, Target
from gateway.core.signature import Signed

Held = Literal["no such sink", "paused", "breaker open"]
"""Why a lane does not try a queued delivery."""


class Ids(Struct, frozen=True):
    """The fields of a message that an audit line shows: everything except the body, which may be large."""

    id: str
    sender_id: str | None
    source: str
    event_type: str | None
    milestone: str | None
    sr_uuid: str | None
    reference_id: str | None


class Chosen(Struct, frozen=True):
    """A message that matches a selection, without its body."""

    seq: int
    source: str
    quarantined: bool
    facts: Facts | None = None


class KeptMessage(Struct, frozen=True):
    """A message as the store keeps it."""

    seq: int
    status: MessageStatus
    message: Message
    sinks: tuple[str, ...]
    """The sinks that it is owed to."""
    suppressed: tuple[str, ...] = ()
    """The sinks that it was not sent to because it was late."""
    joined: tuple[Joined, ...] = ()
    """Its deliveries that a delivery of another message tells."""
    signed: Signed | None = None
    """The signature that fitted; None if there is none, or it was accepted by a version that did not keep it."""


class MessageSummary(Struct, frozen=True):
    """A message in a list."""

    ids: Ids
    received_at: float
    status: MessageStatus
    duplicates: int
    """How often it came again."""
    sinks: dict[str, DeliveryState]
    """The state of each of its deliveries, by sink."""


class DeliveryFacts(Struct, frozen=True):
    """One delivery of a message."""

    sink: str
    state: DeliveryState
    attempts: int
    """The number of its last attempt (1-based, counted for life); 0 before the first."""
    reason: str | None
    due_at: float | None
    """When its next attempt is due; None once it has ended."""
    ended_at: float | None
    held: Held | None = None
    """Filled in by `control.browse`, which knows the lanes; the store does not."""
    told_by: str | None = None
    """The id of the message whose delivery tells this one; None unless it was discarded for that."""
    tells: str | None = None
    """The id of the message that it tells as well; None if it is told alone."""
    waits: bool = False
    """It waits for the other half of its rejection."""


class DeliverySummary(Struct, frozen=True):
    """A delivery in a list, with the message that it belongs to."""

    ids: Ids
    received_at: float
    delivery: DeliveryFacts


class AttemptFacts(Struct, frozen=True):
    """One attempt at a delivery."""

    number: int
    """1-based, counted for life."""
    started_at: float
    duration_ms: int
    outcome: OutcomeName
    reason: str | None
    status: int | None
    detail: str
    answer: str
    """The beginning of the other side's answer; "" if there is none, or if the visitor may not see it."""


class DeliveryStory(Struct, frozen=True):
    """A delivery with its last attempts, oldest first."""

    delivery: DeliveryFacts
    attempts: tuple[AttemptFacts, ...]


class Conflict(Struct, frozen=True):
    """A duplicate whose body differs from that of the first message."""

    received_at: float
    sender_id: str | None
    body: str | None
    """Text; bytes that are not UTF-8 are replaced. None: the visitor may not see it."""


class Repeat(Struct, frozen=True):
    """One time at which a message came again."""

    at: float
    sender_id: str | None


class DeliveryAct(Struct, frozen=True):
    """An act of a person on a delivery."""

    sink: str
    at: float
    actor: str
    claimed: str | None
    """The name that the request gave for who acts."""
    act: Act
    was: DeliveryState | None
    """The state of the delivery before; None if the act made it."""
    becomes: DeliveryState


class ActOnDelivery(Struct, frozen=True):
    """An act of a person on a delivery, in the list of all acts."""

    id: int
    """A later act has a greater one."""
    sink: str
    at: float
    actor: str
    claimed: str | None
    act: Act


class ActOnSink(Struct, frozen=True):
    """An act of a person on a sink, on the gateway with a sample, or to ask Legitmark's API about a service request."""

    id: int
    at: float
    actor: str
    claimed: str | None
    act: SinkAct
    subject: str
    """The sink, the source of the sample, or the uuid of the service request."""
    detail: str
    """The result; "" if the act says everything, or while it goes on. Of a sample, it is the id of its message."""


class DeadDelivery(Struct, frozen=True):
    """A dead delivery, with the last answer to it."""

    seq: int
    sink: str
    ended_at: float
    reason: str | None
    """Why it ended."""
    request: int | None
    """The number of its service request in the ledger; None if it has none."""
    status: int | None
    """The status of the last answer, to which the next two belong as well."""
    detail: str
    answer: str


class DeadPage(Struct, frozen=True):
    """A page of dead deliveries, the newest message first."""

    deliveries: tuple[DeadDelivery, ...]
    go_on_before: Target | None
    """Where the next page begins; None after the last page."""


class SinkAttempt(Struct, frozen=True):
    """An attempt at a sink, with the message that it was about."""

    message_id: str
    attempt: AttemptFacts


class Story(Struct, frozen=True):
    """All that is known of one message."""

    ids: Ids
    received_at: float
    status: MessageStatus
    duplicates: int
    content_type: str | None
    body: str | None
    """Text; bytes that are not UTF-8 are replaced. None: the visitor may not see it."""
    deliveries: tuple[DeliveryStory, ...]
    conflicts: tuple[Conflict, ...]
    """The earliest ones."""
    more_conflicts: bool
    """There are more of them than these."""
    facts: Facts | None = None
    rules: int | None = None
    """The number of the rules that routed it; None: accepted before this was kept."""
    signed: Signed | None = None
    """The signature that fitted; None: not verified, or accepted before this was kept."""
    repeats: tuple[Repeat, ...] = ()
    """When it came again, the first times."""
    acts: tuple[DeliveryAct, ...] = ()
    """The acts of people on its deliveries in the order in which they happened, at most 100."""


class ReceivedBody(Struct, frozen=True):
    """A message to be routed once more."""

    id: str
    source: str
    body: bytes
    facts: Facts | None = None


class RoutingPage(Struct, frozen=True):
    """A page of messages to be routed once more."""

    messages: tuple[ReceivedBody, ...]
    go_on_after: int | None
    """The seq after which the next page begins; None after the last page."""
    newest: int
    """The seq of the newest message of all."""


class UndecodedMessage(Struct, frozen=True):
    """A message that could not be decoded, or was not recognized, when it came."""

    seq: int
    message: Message
    quarantined: bool


class UndecodedPage(Struct, frozen=True):
    """A page of such messages."""

    messages: tuple[UndecodedMessage, ...]
    go_on_after: int | None
    """The seq after which the next page begins; None after the last page."""


class Redecoding(Struct, frozen=True):
    """The meaning of a message by the knowledge of this version."""

    seq: int
    event: Event
    identity: str | None
    """The identity of the event; None if only the sender's id tells a duplicate."""


class Redecoded(Struct, frozen=True):
    """A message whose meaning was written down."""

    seq: int
    facts: Facts | None
    """Its facts, as of an event that arrives now; None if it was not judged."""


class CounterPage(Struct, frozen=True):
    """A part of the deliveries, counted."""

    counters: dict[str, Counts]
    """The counters by sink, read at the same instant."""
    found: dict[tuple[str, str], int]
    """How many deliveries were found, by sink and state."""
    go_on_after: int | None
    """The seq after which the next page begins; None after the last page."""


class Recount(Struct, frozen=True):
    """The queued and dead deliveries of a sink, twice: the two numbers of each should agree."""

    kept_queued: int
    """The number of its counter."""
    kept_dead: int
    counted_queued: int
    """The number of its rows."""
    counted_dead: int


class Overview(Struct, frozen=True):
    """The numbers of all sinks at one instant."""

    counts: dict[str, Counts]
    """The counters by sink."""
    oldest: dict[str, float]
    """When the oldest queued delivery of each sink was accepted or replayed."""
    quarantined: int
    """Quarantined messages; the store counts no further than `attention.MOST_COUNTED`, also for `unrouted`."""
    unrouted: int
    free_bytes: int
    """Bytes inside the database that can be written again."""


class LastFailure(Struct, frozen=True):
    """An attempt that did not deliver."""

    at: float
    reason: str
    status: int | None
    detail: str


class LedgerProgress(Struct, frozen=True):
    """How far the ledger has got with the messages that an earlier version stored."""

    complete: bool
    """The ledger has every message. Until then, messages have no facts."""
    judged_to: int
    """The seq of the newest message that it has."""
    newest: int
    """The seq of the newest message of all."""


class FileSizes(Struct, frozen=True):
    """Bytes of the files of the store."""

    database: int
    wal: int


class Backup(Struct, frozen=True):
    """A copy of the database, and what is in it."""

    file: str
    size: int
    """Bytes."""
    schema: int
    messages: int
    newest: str | None
    """When its newest message was received (RFC 3339)."""


class SchemaUpgrade(Struct, frozen=True):
    """The upgrade of the schema of a PostgreSQL; 0 is a schema that is not there yet."""

    database: str
    """User, host, database and schema."""
    before: int
    after: int
    done: bool
    """False if it was only asked what would be done."""


class Health(Struct, frozen=True, kw_only=True):
    """The findings of a check of a database."""

    file: str
    size: int
    """Bytes, including the write-ahead log if it can be read."""
    schema: int | None = None
    newest_schema: int
    """The schema of this version of the gateway."""
    messages: int | None = None
    newest: str | None = None
    """When its newest message was received (RFC 3339)."""
    deliveries: dict[str, int] = {}
    """Deliveries by state, by the counters."""
    damage: list[str]
    """Defects of the file: it can no longer be trusted."""
    miscounted: list[str]
    """Counters that differ from what they count: a bug of the gateway, which costs no delivery."""
