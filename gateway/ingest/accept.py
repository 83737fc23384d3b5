"""The one way into the store, for webhooks and for the gateway's own events: commit, then the audit line, then the lanes.

The caller gets one answer, after the message is committed and its audit line is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec
from msgspec import Struct

from gateway.core.audit_event_kinds import MessageEvent
from gateway.core.audit_events import MessageAccepted, MessageDuplicate, MessageQuarantined, MessageUnrouted
from gateway.core.delivery_events import joined_event, suppressed_event
from gateway.core.events import Event, decode
from gateway.core.lateness import withheld
from gateway.core.ledger import Facts
from gateway.core.records import Companion, Duplicate, Message, NewMessage, Owed, Owes, Stored
from gateway.core.retry import RetryPolicy, first_due
from gateway.core.routing import GATEWAY, Decision, Router
from gateway.core.signature import Signed, signed_fields
from gateway.core.watches import Watch
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.store.base import Accepting, Told

_NOBODY = Decision(sinks=(), routes=())
KEPT_DECODED = 64 * 1024
"""Bytes of the largest body that stays decoded until its message is committed; a larger one is decoded again."""


class Rules(Struct, frozen=True):
    """The part of the configuration that decides where a message goes, and when its deliveries are first tried."""

    router: Router
    policies: Mapping[str, RetryPolicy]
    """The retry policy of each sink."""
    in_order: frozenset[str] = frozenset()
    """The sinks with `ordering = "sr"`."""
    suppressing: frozenset[str] = frozenset()
    """The sinks with `on_stale = "suppress"`."""
    number: int | None = None
    """The number by which the store keeps these rules; None if it does not keep them."""
    watches: tuple[Watch, ...] = ()
    """The rules that say how long a service request may stay in a state."""


class Inbox:
    """Routes events, and commits messages with everything that they owe."""

    def __init__(
        self,
        *,
        store: Accepting,
        audit: AuditLog,
        rules: Rules,
        offer: Callable[[Owed, float], None],
        expect: Callable[[str, float], None] = lambda sink, due: None,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            offer: hands a fresh delivery to its lane, with the instant at which it is due (Unix seconds, UTC).
            expect: tells the lane of a sink that a delivery in the store is due at an instant.
        """
        self._rules = rules
        self._store = store
        self._audit = audit
        self._offer = offer
        self._expect = expect
        self._metrics = metrics
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say

    @property
    def rules(self) -> Rules:
        """The rules for the next message."""
        return self._rules

    def router(self) -> Router:
        """The router for the next message."""
        return self._rules.router

    def use(self, rules: Rules) -> None:
        """Go by other rules from the next message on."""
        self._rules = rules

    def route(
        self,
        event: Event,
        source: str,
        message_id: str | None = None,
        facts: Facts | None = None,
        rules: Rules | None = None,
    ) -> Decision:
        """Decide where an event goes. A bug in the rules loses no message: it is kept, unrouted.

        Args:
            facts: what the ledger found out about it; None if it was not judged.
            rules: None means the current ones.
        """
        try:
            by = rules or self._rules
            return withheld(by.router.route(event, source, facts), facts, by.suppressing)
        except Exception:
            self._say("exception", "routing.bug", source, source=source, message_id=message_id)
            return _NOBODY

    def put(
        self,
        message: Message,
        event: Event | None,
        *,
        decision: Decision | None = None,
        identity: str | None = None,
        companions: tuple[Companion, ...] = (),
    ) -> asyncio.Future[Stored]:
        """Submit a message. The future gets what `submit` tells, or raises it."""
        written: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

        def told(stored: Stored | Exception) -> None:
            if written.done():
                return
            if isinstance(stored, Exception):
                written.set_exception(stored)
            else:
                written.set_result(stored)

        self.submit(message, event, told, decision=decision, identity=identity, companions=companions)
        return written

    def submit(
        self,
        message: Message,
        event: Event | None,
        told: Told,
        *,
        decision: Decision | None = None,
        identity: str | None = None,
        detail: str | None = None,
        signed: Signed | None = None,
        companions: tuple[Companion, ...] = (),
    ) -> None:
        """Commit a message with everything that it owes. The ledger judges its event first, then the rules route it.

        Args:
            event: None quarantines the message; `detail` says why.
            told: called once, at once or later in the event loop, when that is on disk and in the audit log; or with StoreError
                if the message could not be committed, or its audit line could not be written. It must not raise.
            decision: where it goes; None asks the rules.
            identity: the identity of the event; None if only the sender's id tells a duplicate.
            companions: what else is committed with the message, unless it is a duplicate.
        """
        coming = _Coming(self, message, event, decision, self._clock.planned(message.received_at), self._rules)
        judged = event is not None and message.source != GATEWAY
        new = NewMessage(
            message=message,
            status="quarantined",
            since=coming.since,
            event_at=event.instant() if event else None,
            identity=identity,
            in_order=self._rules.in_order,
            event=coming.event if judged else None,
            decide=None if event is None else coming.decide,
            signed=signed,
            rules=self._rules.number,
            watches=self._rules.watches,
            companions=companions,
        )

        def lines(stored: Stored) -> list[bytes]:
            try:
                return self._lines(coming, signed, detail, stored)
            except Exception as bug:  # the store is the caller, and a bug with one message must not stop it
                coming.bug = bug
                return []

        def committed(stored: Stored | Exception) -> None:
            if isinstance(stored, Exception):
                told(stored)
                return
            try:
                self._tell(coming, stored)  # whatever happened to the line, the deliveries are on disk
            except Exception as bug:
                coming.bug = bug
            if coming.bug is not None:
                told(coming.bug)
            else:
                self._audit.after(lambda refused: told(stored if refused is None else refused))

        self._store.submit(new, committed, lines)

    def first_due(self, sink: str, since: float, rules: Rules) -> float:
        """Return when the first attempt at a delivery is due."""
        policy = rules.policies[sink]
        # Nearly every schedule begins at once, and then there is nothing to spread.
        return first_due(policy, since, self._clock.jitter()) if policy.schedule[0] else since

    def _lines(self, coming: _Coming, signed: Signed | None, detail: str | None, stored: Stored) -> list[bytes]:
        """Make the audit lines about a message that is on disk now. The thread of the store's writer calls this."""
        line, message, decision = self._audit.line, coming.message, coming.decision
        if isinstance(stored, Duplicate):
            # The line carries the id of the first message, so that its story is found under one id.
            first = msgspec.structs.replace(message, id=stored.id)
            return [line(MessageDuplicate(reason=stored.reason, conflict=True if stored.conflict else None), first)]
        body, (key, timestamp) = sha256(message.body).hexdigest(), signed_fields(signed)
        if decision is None:
            return [line(MessageQuarantined(body_sha256=body, key=key, sender_timestamp=timestamp, detail=detail), message)]
        event = MessageAccepted(
            routes=decision.routes, sinks=decision.sinks, body_sha256=body, key=key, sender_timestamp=timestamp
        )
        accepted = line(event, message)
        if not decision.routes:
            return [accepted, line(MessageUnrouted(), message)]
        ended: list[MessageEvent] = [suppressed_event(message, sink) for sink in decision.suppressed]
        ended += [joined_event(message, joined) for joined in stored.joined]
        return [accepted, *(line(event, message) for event in ended)]

    def _tell(self, coming: _Coming, stored: Stored) -> None:
        """Count a message that is on disk now, and tell the lanes about it."""
        message, decision = coming.message, coming.decision
        if isinstance(stored, Duplicate):
            if stored.conflict:
                self._metrics.conflict(message.source)
            return
        if decision is not None and not decision.routes:
            self._metrics.unrouted(message.source)
        waiting, joined = stored.waiting, {one.sink for one in stored.joined}
        for sink, due in coming.deliveries:
            if sink in joined:
                self._expect(sink, due)  # the delivery that tells this message waits no longer
            elif sink in waiting:
                owed = Owed(seq=stored.seq, sink=sink, message=message, since=coming.since, joins=True)
                self._offer(owed, max(due, coming.since + coming.waits[sink]))
            else:
                self._offer(Owed(seq=stored.seq, sink=sink, message=message, since=coming.since), due)


class _Coming:
    """A message on its way into the store. The writer's thread calls `event` and `decide`."""

    def __init__(
        self, inbox: Inbox, message: Message, event: Event | None, decision: Decision | None, since: float, rules: Rules
    ) -> None:
        """
        Args:
            since: the instant from which the schedule of its deliveries counts.
            rules: the rules in use when it came.
        """
        self.message = message
        """The message, with its facts once they are known."""
        self.decision = decision
        self.deliveries: tuple[tuple[str, float], ...] = ()
        self.waits: dict[str, float] = {}
        """The seconds that it may wait at a sink for the other half of its rejection."""
        self.since = since
        self.bug: Exception | None = None
        self._inbox = inbox
        self._given = decision
        self._rules = rules
        # A decoded event takes many times the memory of its body, and many messages may wait for a slow disk.
        self._event = event if len(message.body) <= KEPT_DECODED else None

    def event(self) -> Event:
        """Return the decoded event."""
        event = self._event or decode(self.message.body)
        assert isinstance(event, Event), "a body that was decoded before"
        return event

    def decide(self, facts: Facts | None) -> Owes:
        """Decide where the message goes, now that its facts are known."""
        inbox, rules = self._inbox, self._rules
        self.message = msgspec.structs.replace(self.message, facts=facts)
        self.decision = decision = self._given or inbox.route(
            self.event(), self.message.source, self.message.id, facts, rules=rules
        )
        self.deliveries = tuple([(sink, inbox.first_due(sink, self.since, rules)) for sink in decision.sinks])
        self.waits = dict(decision.waits)
        return Owes("accepted" if decision.routes else "unrouted", self.deliveries, decision.suppressed, decision.waits)
