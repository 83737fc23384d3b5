"""Facts of the store about service requests: what was found, what is listed, and the whole story of one.

Instants are Unix seconds, UTC.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gateway.core.documents import AttemptFacts, DeliveryAct, DeliveryFacts, Ids, Repeat
from gateway.core.events import Milestone
from gateway.core.ledger import Facts, Flag, ServiceRequest
from gateway.core.selection import MessageStatus
from gateway.core.signature import Signed

FoundBy = Literal["sr_uuid", "reference_id", "message_id", "beginning"]
"""The kind of name by which a request was found. `beginning`: how its uuid, or the id of a message of it, begins."""


class Owing(Struct, frozen=True):
    """The deliveries of a request that wait for something. Counted when the question was asked, over its newest 256 messages."""

    queued: int
    dead: int


class KnownRequest(Struct, frozen=True):
    """The ledger's knowledge of one service request."""

    number: int
    """Its number in the ledger, in the order in which requests were first heard of."""
    source: str
    sr_uuid: str
    reference_id: str | None
    """The first reference id that a message gave."""
    request: ServiceRequest
    owing: Owing


class OpenRequest(Struct, frozen=True):
    """A service request of which something is still expected."""

    source: str
    sr_uuid: str
    reference_id: str | None
    request: ServiceRequest


class FoundRequests(Struct, frozen=True):
    """The requests that a name stands for, or what may help if it stands for none."""

    requests: tuple[KnownRequest, ...]
    more: bool
    """There are more of them than these."""
    by: FoundBy | None
    """The kind of name that fitted; None if nothing was found."""
    nearest: tuple[str, ...]
    """Reference ids that are spelled much like the name, the nearest first; only if nothing was found."""
    reaches_back_to: float | None
    """When the oldest message that the store has came; None if it has none."""
    complete: bool
    """False: messages of an earlier version are still missing in the ledger."""


class RequestSelection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A choice of service requests. All given conditions must hold."""

    milestones: tuple[Milestone, ...] = ()
    """The meanings of the present state; empty: any."""
    flag: Flag | None = None
    """A flag that the request has, and perhaps others."""
    source: str | None = None
    stalled: bool = False
    """Only those that a `[[watch]]` rule told people about, and that did not move on since."""
    since: float | None = None
    """The present state began at this instant or later."""
    until: float | None = None
    """The present state began before this instant: with the milestones that are no ends, the request is stalled."""


class RequestPlace(Struct, frozen=True, forbid_unknown_fields=True):
    """A place in a list of requests, which begins with the one whose present state began last."""

    entered_ms: int
    number: int


class TracedDelivery(Struct, frozen=True):
    """The fate of one event at one sink."""

    delivery: DeliveryFacts
    last: AttemptFacts | None
    """The last attempt."""


class TracedEvent(Struct, frozen=True):
    """One event of a request, with what became of it at each sink."""

    seq: int
    ids: Ids
    happened_at: float
    """The event's own timestamp; its arrival if that is missing or in the future."""
    received_at: float
    status: MessageStatus
    facts: Facts | None
    """The facts as judged on arrival; None if the event was not judged."""
    rules: int | None
    """The number of the rules of then; None: accepted before this was kept."""
    signed: Signed | None
    """The signature that fitted; None: not verified, or accepted before this was kept."""
    duplicates: int
    """How often it came again."""
    repeats: tuple[Repeat, ...]
    """The first times."""
    deliveries: tuple[TracedDelivery, ...]
    """The deliveries, by the name of the sink."""
    acts: tuple[DeliveryAct, ...]
    """The acts of people in the order in which they happened, at most 100."""
    body: bytes | None = None
    """The body as it came; None if it is longer than 64 KiB."""


class RequestStory(Struct, frozen=True):
    """A page of the story of a request."""

    known: KnownRequest
    events: tuple[TracedEvent, ...]
    """The events of the page in the order in which they happened. Pages go by arrival."""
    go_on_before: int | None
    """The seq before which the next page begins, with messages that arrived earlier; None after the last page."""
    purged: bool
    """Messages before these were deleted after their retention."""


class KeptRules(Struct, frozen=True):
    """The rules of a configuration that was in use."""

    number: int
    since: float
    """When they were first used."""
    snapshot: bytes


class LedgerMemory(Struct, frozen=True):
    """The rows of the ledger in memory."""

    rows: int
    bytes: int
    """Roughly."""
    limit: int
    """Bytes that they may take."""
    unflushed: int
    """Rows that the file does not have yet, or has in an older form."""
    unjudged: int
    """Messages that a bug kept from being judged, since the start."""
    complete: bool
    """The ledger has every message; False while those of an earlier version are read in."""
