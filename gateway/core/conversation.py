"""A conversation about one service request: the facts that a sink keeps in order to continue it. Slack calls it a thread."""

from __future__ import annotations

from msgspec import Struct


class Conversation(Struct, frozen=True):
    """The place of a conversation, and the state that its first message shows."""

    channel: str
    """The id of the channel, as Slack answered it."""
    ts: str
    """The id of its first message: Slack's `ts`."""
    shown_at: float
    """The timestamp of the event that the first message shows, in Unix seconds, UTC. An older event does not replace it."""
