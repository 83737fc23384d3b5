"""A thread of messages about one service request: what a sink has to know again to go on with it."""

from __future__ import annotations

from msgspec import Struct


class Thread(Struct, frozen=True):
    channel: str
    """Where it is, by the id that the other side gave."""
    ts: str
    """Its first message, by the other side's id: Slack's `ts`."""
    shown_at: float
    """The instant of the event that the first message shows, in Unix seconds, UTC: an older one does not replace it."""
