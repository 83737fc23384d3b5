"""Applies what this version knows to stored messages that an earlier one could not decode or did not recognize.

It goes a slice at a time. The messages keep their bodies and ids; their deliveries stay as they are, and new ones are made only
if the act asks for it, by the rules of the moment.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from gateway.control.interventions import Interventions
from gateway.core import events
from gateway.core.audit_events import MessageRedecoded
from gateway.core.documents import Redecoded, Redecoding, UndecodedMessage
from gateway.core.ledger import Facts
from gateway.core.selection import Target
from gateway.core.values import claim_of
from gateway.host.clock import Clock
from gateway.ingest.accept import Rules
from gateway.ingest.receive import Source
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.store.people import RedecodingStore

_SLICE = 100
"""Messages of one slice."""
_SLICE_BYTES = 1024 * 1024
"""Bytes of the bodies of one slice, beyond which it ends."""
_AT_ONCE = 10
"""Messages decoded between two turns of the event loop, so that ingest does not notice."""


class RedecodeAct(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slice of the work: the caller repeats it with `after` of the progress until the end."""

    since: float
    """Only messages received since this instant (Unix seconds, UTC)."""
    route: bool = False
    """Also make the deliveries that the rules of the moment name."""
    dry_run: bool = False
    actor: str = ""
    """Who acts: what a request claims, until the door says who it is from."""
    after: int | None = None


class RedecodeProgress(Struct, frozen=True):
    """One slice of the work."""

    looked_at: int
    """Messages that could not be decoded, or were not recognized, before."""
    changed: int
    """Messages that are known better now, or would be, in a dry run."""
    milestones: dict[str, int]
    """How many of those have which milestone now."""
    deliveries: int
    """Deliveries that were made, or would be, in a dry run."""
    after: int | None
    """Where to go on; None if the work is done."""


class Redecode:
    """The work that people ask for through the admin listener."""

    def __init__(
        self,
        *,
        store: RedecodingStore,
        interventions: Interventions,
        rules: Callable[[], Rules],
        sources: Mapping[str, Source],
        audit: AuditLog,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            rules: returns the rules of the moment.
            sources: the sources of the configuration, by name.
            clock: the one by which messages begin the times of `[[watch]]` rules.
        """
        self._store = store
        self._interventions = interventions
        self._rules = rules
        self._sources = sources
        self._audit = audit
        self._clock = clock
        self._log = log

    def use(self, sources: Mapping[str, Source]) -> None:
        """Use the sources of another configuration."""
        self._sources = sources

    async def redecode(self, act: RedecodeAct) -> RedecodeProgress:
        """Decode a slice of messages once more, and write down what is known now. Raises StoreError."""
        after = act.after
        if after is None:
            after = await self._store.first_since(act.since) - 1
        page = await self._store.undecoded(act.since, after, _SLICE, _SLICE_BYTES)
        known: list[tuple[UndecodedMessage, Redecoding]] = []
        for number, one in enumerate(page.messages, 1):
            if (found := self._known(one)) is not None:
                known.append((one, found))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        milestones = dict(Counter(found.event.milestone.value for _, found in known))
        if act.dry_run or not known:
            # The facts are not known before: routes that ask for them may take some further ones.
            targets = self._targets(known, {found.seq: None for _, found in known}) if act.route else []
            made = await self._interventions.missing(targets)
            return RedecodeProgress(len(page.messages), len(known), milestones, len(made), page.go_on_after)
        changed = await self._write(known, act.actor)
        made_now = await self._interventions.add(self._targets(known, changed) if act.route else [], act.actor)
        return RedecodeProgress(len(page.messages), len(changed), milestones, made_now, page.go_on_after)

    def _known(self, one: UndecodedMessage) -> Redecoding | None:
        """Return what a message means now; None if that is what it meant before."""
        decoded = events.decode(one.message.body)
        if not isinstance(decoded, events.Event):
            return None
        message = one.message
        before = (message.event_type, message.milestone, message.sr_uuid, message.reference_id)
        if not one.quarantined and before == (decoded.event_type, decoded.milestone, decoded.sr_uuid, decoded.reference_id):
            return None
        source = self._sources.get(message.source)
        identity = events.identity(decoded, source.identity) if source is not None else None
        return Redecoding(one.seq, decoded, identity)

    def _targets(self, known: Sequence[tuple[UndecodedMessage, Redecoding]], facts: Mapping[int, Facts | None]) -> list[Target]:
        """Return the deliveries that the rules of the moment name for messages whose facts are given."""
        router = self._rules().router
        targets: list[Target] = []
        for one, found in known:
            if one.seq in facts:
                sinks = router.route(found.event, one.message.source, facts[one.seq]).sinks
                targets += [Target(one.seq, sink) for sink in sinks]
        return targets

    async def _write(self, known: Sequence[tuple[UndecodedMessage, Redecoding]], actor: str) -> dict[int, Facts | None]:
        """Write down what is known, and audit each message that changed. Returns their facts by seq."""
        before = {one.seq: one for one, _ in known}
        now = {found.seq: found.event for _, found in known}

        def told(changed: list[Redecoded]) -> None:
            for seq in (redecoded.seq for redecoded in changed):
                one, event = before[seq], now[seq]
                was = "quarantined" if one.quarantined else one.message.milestone
                message = msgspec.structs.replace(
                    one.message,
                    event_type=event.event_type,
                    milestone=event.milestone.value,
                    sr_uuid=event.sr_uuid,
                    reference_id=event.reference_id,
                )
                detail = f"{was} before, {event.milestone.value} now"
                self._audit.step(MessageRedecoded(detail=detail, actor=str(actor), claimed=claim_of(actor)), message)

        redecodings = [found for _, found in known]
        changed = await self._store.redecode(redecodings, told, watches=self._rules().watches, now=self._clock.now())
        await self._audit.flush()
        self._log.info("messages.redecoded", count=len(changed), actor=str(actor))
        return {redecoded.seq: redecoded.facts for redecoded in changed}
