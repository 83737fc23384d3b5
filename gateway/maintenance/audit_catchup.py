"""Completes the audit log after an unclean end, when steps may be committed, and perhaps answered, without their lines.

The database keeps every step until its line is written. Each kept step gets its line once, in the order of the commits and with
the instant of the step itself, unless the log has it already. A power cut may have cost the log its end, because the kernel had
not put it on the disk; then the messages newer than the log's last line get their lines, too (docs/reference.md, "Audit log"). If
the log itself was taken away, nothing that it said is written again.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from gateway.core.audit_event_kinds import MessageEvent
from gateway.core.audit_events import DeliveryJoined, DeliverySuppressed, MessageAccepted, MessageQuarantined, MessageUnrouted
from gateway.core.delivery_events import DISCARDED, delivery_event, joined_event, suppressed_event
from gateway.core.documents import Ids, KeptMessage
from gateway.core.instants import parse_instant
from gateway.core.records import Message, Step, delivery_id
from gateway.core.selection import Target
from gateway.core.signature import signed_fields
from gateway.core.values import rfc3339
from gateway.observability.audit import AuditLog
from gateway.observability.audit_reading import Line, last_line, recent_lines
from gateway.store.base import CatchingUp

_PAGE = 500
_MARKS = 100
"""Commits whose steps are read at once."""
_Key = tuple[str, str | None, str | None, int | None]


async def catch_up(store: CatchingUp, audit: AuditLog, path: Path, *, unclean: bool) -> int:
    """Complete the log after an unclean end, and forget what the database kept for that. Returns the number of missing lines."""
    lines = await _CatchUp(store, audit, path).run() if unclean else 0
    await store.end_catch_up()
    return lines


class _CatchUp:
    def __init__(self, store: CatchingUp, audit: AuditLog, path: Path) -> None:
        self._store = store
        self._audit = audit
        self._path = path
        self._lines = 0
        self._there: set[_Key] = set()

    async def run(self) -> int:
        self._there = {_key(line) for line in recent_lines(self._path)}
        first = await self._first_kept()
        last = await self._last_logged()
        if last is not None:
            # The last message again: its line may be there without those of its suppressed and joined deliveries.
            await self._messages(last - 1, first)
        after = 0
        while page := await self._store.unlogged(after, _MARKS):
            for _, steps in page:
                for step in steps:
                    await self._tell(step)
                await self._audit.flush()
            after = page[-1][0]
        return self._lines

    async def _messages(self, after: int, before: int | None) -> None:
        """Write the lines of the messages after `after` and below `before`, whose steps the database no longer keeps."""
        while page := await self._store.messages_after(after, _PAGE):
            for kept in page:
                if before is not None and kept.seq >= before:
                    return
                self._tell_message(kept)
            await self._audit.flush()
            after = page[-1].seq

    async def _tell(self, step: Step) -> None:
        if not step.event:
            for kept in await self._store.messages_after(step.seq - 1, 1):
                if kept.seq == step.seq:  # else it was purged
                    self._tell_message(kept)
            return
        target = Target(step.seq, step.sink)
        ids = (await self._store.ids([target])).get(step.seq)
        if ids is None or (step.event, ids.id, step.sink, step.attempt) in self._there:
            return
        found = await self._store.attempt(step.seq, step.sink, step.attempt) if step.attempt is not None else None
        event = delivery_event(
            step.event,
            sink=step.sink,
            delivery_id=delivery_id(ids.id, step.sink),
            attempt=step.attempt,
            status=found.status if found else None,
            duration_ms=found.duration_ms if found else None,
            reason=step.reason,
            detail=DISCARDED if step.late else (found.detail or None) if found else None,
            next_attempt_at=rfc3339(self._store.wall_time(step.due_ms / 1000)) if step.due_ms is not None else None,
            actor=step.actor,
            claimed=step.claimed,
        )
        self._step(event, ids, step.at_ms / 1000)

    def _tell_message(self, kept: KeptMessage) -> None:
        """Add the lines of a message, without the routes that applied then: only the sinks are known."""
        status, message = kept.status, kept.message
        body, (key, timestamp) = sha256(message.body).hexdigest(), signed_fields(kept.signed)
        event: MessageQuarantined | MessageAccepted
        if status == "quarantined":
            event = MessageQuarantined(body_sha256=body, key=key, sender_timestamp=timestamp)
        else:
            event = MessageAccepted(sinks=kept.sinks, body_sha256=body, key=key, sender_timestamp=timestamp)
        if (event.name, message.id, None, None) not in self._there:
            self._step(event, message, message.received_at)
            if status == "unrouted":
                self._step(MessageUnrouted(), message, message.received_at)
        for sink in kept.suppressed:
            if (DeliverySuppressed.name, message.id, sink, None) not in self._there:
                self._step(suppressed_event(message, sink), message, message.received_at)
        for joined in kept.joined:
            if (DeliveryJoined.name, message.id, joined.sink, None) not in self._there:
                self._step(joined_event(message, joined), message, message.received_at)

    def _step(self, event: MessageEvent, message: Message | Ids, at: float) -> None:
        self._audit.step(event, message, at=at)
        self._lines += 1

    async def _first_kept(self) -> int | None:
        """The seq of the first message among the kept steps; None if there is none."""
        after = 0
        while page := await self._store.unlogged(after, _MARKS):
            for _, steps in page:
                for step in steps:
                    if not step.event:
                        return step.seq
            after = page[-1][0]
        return None

    async def _last_logged(self) -> int | None:
        """The seq of the last message that the log has as new; None if the log is gone."""
        last = last_line(self._path)
        if last.message_id is not None:
            message_id = last.message_id
            seq = await self._store.seq_of(message_id)
            if seq is not None:
                return seq
        if last.time is None:
            return None
        instant = parse_instant(last.time)
        return await self._store.first_since(instant) - 1


def _key(line: Line) -> _Key:
    return line.event, line.message_id, line.sink, line.attempt
