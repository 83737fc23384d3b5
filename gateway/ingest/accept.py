"""The one way into the store, for webhooks and for the gateway's own events: commit, then the audit line, then the lanes.

No await stands between the three. The caller gets one answer, after the message is committed and its audit line is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from gateway.core.audit_events import MessageAccepted, MessageDuplicate, MessageQuarantined, MessageUnrouted
from gateway.core.events import Event
from gateway.core.records import Companion, Duplicate, Message, NewMessage, Owed, Stored
from gateway.core.retry import RetryPolicy, first_due
from gateway.core.routing import Decision, Router
from gateway.core.watches import Entered, Watch, entering
from gateway.host.clock import Clock
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log, Sparing
from gateway.observability.metrics import Metrics
from gateway.store.base import Accepting, Told

_NOBODY = Decision(sinks=(), routes=())


class Rules(Struct, frozen=True):
    """The part of the configuration that decides where a message goes, and when its deliveries are first tried."""

    router: Router
    policies: Mapping[str, RetryPolicy]
    """The retry policy of each sink."""
    in_order: frozenset[str] = frozenset()
    """The sinks with `ordering = "sr"`."""
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
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            offer: hands a fresh delivery to its lane, with the instant at which it is due (Unix seconds, UTC).
        """
        self._rules = rules
        self._store = store
        self._audit = audit
        self._offer = offer
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

    def route(self, event: Event, source: str, message_id: str | None = None) -> Decision:
        """Decide where an event goes by the current rules. A bug in them loses no message: it is kept, unrouted."""
        try:
            return self._rules.router.route(event, source)
        except Exception:
            self._say("exception", "routing.bug", source, source=source, message_id=message_id)
            return _NOBODY

    def put(
        self,
        message: Message,
        decision: Decision | None,
        *,
        event_at: float | None = None,
        identity: str | None = None,
        detail: str | None = None,
        entered: Entered | None = None,
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

        self.submit(
            message,
            decision,
            told,
            event_at=event_at,
            identity=identity,
            detail=detail,
            entered=entered,
            companions=companions,
        )
        return written

    def submit(
        self,
        message: Message,
        decision: Decision | None,
        told: Told,
        *,
        event_at: float | None = None,
        identity: str | None = None,
        detail: str | None = None,
        entered: Entered | None = None,
        companions: tuple[Companion, ...] = (),
    ) -> None:
        """Commit a message with everything that it owes.

        Args:
            decision: None quarantines the message; `detail` says why.
            told: called once, at once or later in the event loop, when that is on disk and in the audit log; or with StoreError
                if the message could not be committed, or its audit line could not be written. It must not raise.
            event_at: the instant of the event's own timestamp (Unix seconds, UTC).
            identity: the identity of the event; None if only the sender's id tells a duplicate.
            entered: the state that the event brings its service request into; None if it brings it into no other state, for
                example because a later event came before. The timers of the rules follow it in the same commit.
            companions: what else is committed with the message, unless it is a duplicate.
        """
        rules, since = self._rules, self._clock.planned(message.received_at)
        due = tuple(
            [
                (sink, first_due(rules.policies[sink], since, self._clock.jitter()))
                for sink in (decision.sinks if decision else ())
            ]
        )
        new = NewMessage(
            message=message,
            status="quarantined" if decision is None else "accepted" if decision.routes else "unrouted",
            since=since,
            event_at=event_at,
            identity=identity,
            deliveries=due,
            in_order=rules.in_order,
            companions=companions if entered is None else (*companions, *_timers(rules.watches, entered, since)),
        )
        bugs: list[Exception] = []

        def lines(stored: Stored) -> list[bytes]:
            try:
                return self._lines(message, decision, detail, stored)
            except Exception as bug:  # the store is the caller, and a bug with one message must not stop it
                bugs.append(bug)
                return []

        def committed(stored: Stored | Exception) -> None:
            if bugs:
                stored = bugs[0]
            if not isinstance(stored, Exception):
                try:
                    self._tell(new, decision, stored)
                except Exception as bug:
                    stored = bug
            if isinstance(stored, Exception):
                told(stored)
            else:
                self._audit.after(lambda refused: told(stored if refused is None else refused))

        self._store.submit(new, committed, lines)

    def _lines(self, message: Message, decision: Decision | None, detail: str | None, stored: Stored) -> list[bytes]:
        """Make the audit lines about a message that is on disk now. The thread of the store's writer calls this."""
        line = self._audit.line
        if isinstance(stored, Duplicate):
            # The line carries the id of the first message, so that its story is found under one id.
            first = msgspec.structs.replace(message, id=stored.id)
            return [line(MessageDuplicate(reason=stored.reason, conflict=True if stored.conflict else None), first)]
        if decision is None:
            return [line(MessageQuarantined(detail=detail), message)]
        accepted = line(MessageAccepted(routes=decision.routes, sinks=decision.sinks), message)
        return [accepted] if decision.routes else [accepted, line(MessageUnrouted(), message)]

    def _tell(self, new: NewMessage, decision: Decision | None, stored: Stored) -> None:
        """Count a message that is on disk now, and tell the lanes about it."""
        message = new.message
        if isinstance(stored, Duplicate):
            if stored.conflict:
                self._metrics.conflict(message.source)
            return
        if decision is not None and not decision.routes:
            self._metrics.unrouted(message.source)
        for sink, due in new.deliveries:
            self._offer(
                Owed(seq=stored.seq, sink=sink, message=message, since=message.received_at if new.since is None else new.since),
                due,
            )


def _timers(watches: tuple[Watch, ...], entered: Entered, arrived_at: float) -> tuple[Companion, ...]:
    """Return the timers that a state begins, by the clock that plans deliveries: the message came at `arrived_at` there."""
    jumped = arrived_at - entered.arrived_at
    planned = msgspec.structs.replace(entered, event_at=entered.event_at + jumped, arrived_at=arrived_at)
    begun = entering(watches, planned)
    return () if begun is None else (begun,)
