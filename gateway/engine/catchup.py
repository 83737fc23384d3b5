"""After an unclean end: messages that were committed, and perhaps answered, before their audit line was written."""

from __future__ import annotations

from pathlib import Path

from gateway.core.instants import parse_instant
from gateway.engine.audit import AuditLog, last_line
from gateway.store import reads
from gateway.store.sqlite import Store

_PAGE = 500


async def catch_up(store: Store, audit: AuditLog, path: Path) -> int:
    """Write the line of every message that is newer than the log's last one; how many there were.

    Which routes applied then is not known any more; the sinks are.
    """
    seq = await _last_logged(store, path)
    lines = 0
    while page := await store.messages_after(seq, _PAGE):
        for _, status, message, sinks in page:
            if status == "quarantined":
                audit.step("message.quarantined", message)
            else:
                audit.step("message.accepted", message, sinks=sinks)
                if status == "unrouted":
                    audit.step("message.unrouted", message)
        lines += len(page)
        seq = page[-1][0]
        await audit.flush()
    return lines


async def _last_logged(store: Store, path: Path) -> int:
    last = last_line(path)
    if last.message_id is not None:
        message_id = last.message_id
        seq = await store.read(lambda connection: reads.seq_of(connection, message_id))
        if seq is not None:
            return seq
    if last.time is None:
        return 0
    instant = parse_instant(last.time)
    return await store.read(lambda connection: reads.seq_before(connection, instant))
