"""The `jsonl` sink: one line of JSON per delivery, appended to a file.

At least once: a write that was given up (its `timeout`, a stop) may still succeed, and the next attempt writes its line again.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial

import msgspec

from gateway.core import events
from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.core.values import rfc3339
from gateway.files import AppendFile
from gateway.sinks.base import Opening, Outgoing, SinkSettings
from gateway.threads import started

_BREAKS = re.compile(rb"(?<![ \t\r\n])[ \t]*+[\r\n][ \t\r\n]*+")
"""White space that holds a line break; inside a JSON string a line break is always escaped (RFC 8259, section 7).
Possessive, and only from where the white space begins: a body of blanks would take minutes otherwise."""


class JsonlConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="jsonl"):
    path: str
    concurrency: int = 1


def render(delivery: Outgoing) -> bytes:
    """One line. A body that is JSON stands in it unchanged: numbers, the order of keys and doubled keys too."""
    event = delivery.event
    head = msgspec.json.encode(
        {
            "v": 1,
            "time": rfc3339(delivery.received_at),
            "message_id": delivery.message_id,
            "sender_id": delivery.sender_id,
            "source": delivery.source,
            "event_type": event.event_type if event else None,
            "milestone": event.milestone.value if event else None,
            "sr_uuid": event.sr_uuid if event else None,
            "reference_id": event.reference_id if event else None,
        }
    )
    if event is not None or events.is_json(delivery.body):
        body = _BREAKS.sub(b"", delivery.body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n"))
        return b'%b,"body":%b}\n' % (head[:-1], body)
    text = msgspec.json.encode(delivery.body.decode("utf-8", "replace"))
    return b'%b,"body_text":%b}\n' % (head[:-1], text)


class JsonlSink:
    def __init__(self, config: JsonlConfig, opening: Opening) -> None:
        self._file = AppendFile(opening.base / config.path)
        self._turn = asyncio.Lock()
        self._write: asyncio.Future[None] | None = None
        """While its thread has the file: two writes at once would mix their lines."""
        self._closed = False

    async def send(self, delivery: Outgoing) -> Outcome:
        """Write the line. Cancelled, it ends at once, and leaves the file to the thread, which nobody can stop."""
        line = render(delivery)
        async with self._turn:
            if self._write is not None:
                return Retry(Reason.UNAVAILABLE, f"{self._file.path}: an earlier write hangs; until it ends, no other is begun")
            self._write = started(partial(self._file.append, line), "jsonl")
            self._write.add_done_callback(self._written)
            try:
                await asyncio.shield(self._write)
            except OSError as error:
                return Retry(Reason.UNAVAILABLE, f"{self._file.path}: {error.strerror}")
        return Delivered()

    async def aclose(self) -> None:
        """Waits for no write: one that hangs keeps the file until it ends. Its descriptor must not be closed under it, else the
        rest of its line could go into whatever file gets that number."""
        self._closed = True
        if self._write is None:
            self._file.close()

    def _written(self, _: asyncio.Future[None]) -> None:
        self._write = None
        if self._closed:
            self._file.close()
