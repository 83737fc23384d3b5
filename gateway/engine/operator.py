"""What people do to a running gateway, through the admin listener: look, replay, discard, pause. Each act is audited."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from gateway.clock import Clock
from gateway.core import events
from gateway.core.retry import first_due
from gateway.core.routing import Router
from gateway.core.values import rfc3339
from gateway.engine.audit import AuditLog
from gateway.engine.lane import Lane
from gateway.store import operations, queries, reads
from gateway.store.operations import Selection, Target
from gateway.store.records import Message
from gateway.store.sqlite import Store

_SLICE = 200
"""Deliveries changed in one transaction: ingest does not notice."""
_FIRST = Target(0, "")
_OURS_OR_UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Act(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay or a discard, a slice at a time: the caller goes on with `after` until there is none."""

    selection: Selection
    to: str | None = None
    """Replay: also make a delivery to this sink where there is none."""
    reroute: bool = False
    """Replay: also make the deliveries that the rules of today name."""
    delivered: bool = False
    """Replay: delivered ones too."""
    dry_run: bool = False
    actor: str = "admin"
    after: Target | None = None


class Progress(Struct, frozen=True):
    looked_at: int
    changed: int
    """Deliveries, or how many would be, in a dry run."""
    after: Target | None
    """Where to go on; None: done."""


class Operator:
    def __init__(self, *, store: Store, audit: AuditLog, router: Router, lanes: Mapping[str, Lane], clock: Clock) -> None:
        self._store = store
        self._audit = audit
        self._router = router
        self._lanes = lanes
        self._clock = clock

    async def messages(self, selection: Selection, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """A page of messages, and where to go on."""
        seqs = await self._seqs(selection.id)
        return await self._store.ask(lambda connection: queries.messages(connection, selection, seqs, after, limit))

    async def deliveries(self, selection: Selection, after: Target, limit: int) -> tuple[list[dict[str, Any]], Target | None]:
        """A page of deliveries, and where to go on; one to a sink that left the configuration says so."""
        seqs = await self._seqs(selection.id)
        page, go_on = await self._store.ask(lambda connection: queries.deliveries(connection, selection, seqs, after, limit))
        for document in page:
            if document["state"] == "queued" and document["sink"] not in self._lanes:
                document["held"] = "no such sink"
            elif document["state"] == "queued" and self._lanes[document["sink"]].gates.paused:
                document["held"] = "paused"
        return page, go_on

    async def show(self, text: str) -> list[dict[str, Any]]:
        """All that is known of the messages that an id stands for, oldest first; at most 100."""
        seqs = await self._seqs(text) or []
        return await self._store.ask(lambda connection: [queries.story(connection, seq) for seq in seqs[:100]])

    async def replay(self, act: Act) -> Progress:
        """Re-open, and where asked for make, a slice of deliveries, with the same keys and a fresh budget."""
        if act.to is not None and act.to not in self._lanes:
            raise ValueError(f'there is no sink "{act.to}"')
        if act.to is None and not act.reroute and act.selection.status is None:
            return await self._reopen(act)
        return await self._make(act)

    async def discard(self, act: Act) -> Progress:
        """End a slice of queued or dead deliveries."""
        targets = await self._targets(act)
        go_on = targets[-1] if len(targets) == _SLICE else None
        if act.dry_run:
            return Progress(len(targets), await self._count(targets, ("queued", "dead")), go_on)
        messages, now = await self._messages(targets), self._clock.now()
        changed = await self._store.change(lambda connection, changes: operations.discard(connection, targets, now, changes))
        await self._done("delivery.discarded", changed, messages, act.actor)
        return Progress(len(targets), len(changed), go_on)

    async def pause(self, sink: str, actor: str) -> bool:
        """Hold a sink's deliveries; False where they are held already. Raises KeyError where there is no such sink."""
        return await self._lanes[sink].pause(actor)

    async def resume(self, sink: str, actor: str) -> bool:
        return await self._lanes[sink].resume(actor)

    async def sinks(self) -> list[dict[str, Any]]:
        """Each sink: depth, oldest, pause, breaker, last error. Those that left the configuration, too."""
        counts = await self._store.counts()
        names = dict.fromkeys([*self._lanes, *counts])
        oldest_due = await self._store.ask(lambda connection: {name: reads.oldest_due(connection, name) for name in names})
        documents = []
        for name in names:
            lane, number = self._lanes.get(name), counts.get(name)
            oldest = oldest_due[name]
            document: dict[str, Any] = {"sink": name, "oldest_due": rfc3339(oldest) if oldest is not None else None}
            for state in ("queued", "delivered", "dead", "discarded"):
                document[state] = getattr(number, state) if number else 0
            if lane is None:
                document["held"] = "no such sink"
            else:
                state_kept = lane.gates.state
                document |= {
                    "paused_by": state_kept.paused_by,
                    "paused_at": rfc3339(state_kept.paused_at) if state_kept.paused_at is not None else None,
                    "breaker": "open" if lane.gates.breaker.is_open else "closed",
                    "next_probe_at": rfc3339(at) if (at := lane.gates.breaker.probe_at) is not None else None,
                    "last_error": lane.last_error,
                }
            documents.append(document)
        return documents

    async def _reopen(self, act: Act) -> Progress:
        targets = self._with_waits(await self._targets(act))
        go_on = Target(targets[-1].seq, targets[-1].sink) if len(targets) == _SLICE else None
        return await self._queue(act, targets, len(targets), go_on)

    async def _make(self, act: Act) -> Progress:
        """Make deliveries that do not exist yet, and re-open those that are dead, message by message."""
        selection, after = act.selection, (act.after or _FIRST).seq
        seqs = await self._seqs(selection.id)
        page = await self._store.ask(lambda connection: queries.bodies(connection, selection, seqs, after, _SLICE))
        go_on = Target(page[-1][0], "") if len(page) == _SLICE else None
        named = [Target(seq, sink) for seq, source, body in page for sink in self._sinks_for(act, source, body)]
        if act.to is None:
            owed = await self._store.ask(lambda connection: queries.owed(connection, [seq for seq, _, _ in page]))
            named = list(dict.fromkeys([*named, *owed]))
        return await self._queue(act, self._with_waits(named), len(page), go_on, make=True)

    async def _queue(
        self, act: Act, targets: list[Target], looked_at: int, go_on: Target | None, *, make: bool = False
    ) -> Progress:
        states = ("dead", "delivered") if act.delivered else ("dead",)
        if act.dry_run:
            missing = await self._store.ask(lambda connection: queries.missing(connection, targets)) if make else []
            return Progress(looked_at, len(missing) + await self._count(targets, states), go_on)
        messages, now = await self._messages(targets), self._clock.now()
        change = operations.add_or_reopen if make else operations.reopen
        changed = await self._store.change(lambda connection, changes: change(connection, targets, states, now, changes))
        await self._done("delivery.replayed", changed, messages, act.actor)
        return Progress(looked_at, len(changed), go_on)

    async def _targets(self, act: Act) -> list[Target]:
        selection, after = act.selection, act.after or _FIRST
        seqs = await self._seqs(selection.id)
        return await self._store.ask(lambda connection: queries.targets(connection, selection, seqs, after, _SLICE))

    def _with_waits(self, targets: list[Target]) -> list[Target]:
        """With the wait before a first attempt that each sink's schedule asks for."""
        return [
            Target(target.seq, target.sink, first_due(self._lanes[target.sink].policy, 0.0, self._clock.jitter()))
            if target.sink in self._lanes
            else target
            for target in targets
        ]

    def _sinks_for(self, act: Act, source: str, body: bytes) -> tuple[str, ...]:
        if act.to is not None:
            return (act.to,)
        decoded = events.decode(body)
        event = decoded if isinstance(decoded, events.Event) else events.event_of({})
        return self._router.route(event, source).sinks

    async def _count(self, targets: list[Target], states: tuple[str, ...]) -> int:
        return await self._store.ask(lambda connection: queries.count(connection, targets, states))

    async def _messages(self, targets: list[Target]) -> dict[int, Message]:
        return await self._store.ask(lambda connection: queries.ids(connection, targets))

    async def _done(self, event: str, targets: list[Target], messages: dict[int, Message], actor: str) -> None:
        # The lanes first: what they have in memory is worth nothing any more, whatever becomes of the audit log.
        for sink in {target.sink for target in targets} & self._lanes.keys():
            self._lanes[sink].refresh()
        for target in targets:
            if (message := messages.get(target.seq)) is not None:
                self._audit.step(event, message, sink=target.sink, delivery_id=f"{message.id}-{target.sink}", actor=actor)
        await self._audit.flush()

    async def _seqs(self, text: str | None) -> list[int] | None:
        """The messages that an id stands for; None: no id was given. Exact ones first: a beginning is meant only if none is.

        Raises ValueError where it is empty: a variable that is not set must not mean everything.
        """
        if text is None:
            return None
        if not text:
            raise ValueError("an id is not empty")
        found = await self._store.ask(partial(queries.named, text=text))
        if found and _OURS_OR_UUID.fullmatch(text):
            return found  # nobody's reference id looks like that, so the slow look for one is spared
        below: int | None = None
        while True:
            part, below = await self._store.ask(partial(queries.by_reference, reference=text, below=below))
            found += part
            if below is None or len(found) >= queries.MOST_NAMED:
                break
        return sorted(set(found)) or await self._store.ask(partial(queries.begun, text=text))
