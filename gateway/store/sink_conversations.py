"""The conversations of one sink, as the sink asks for them."""

from __future__ import annotations

from gateway.core.conversation import Conversation
from gateway.host.clock import Clock
from gateway.store.base import KeptConversations


class SinkConversations:
    """Finds and keeps the conversations of one sink (see `gateway.sinks.base.Conversations`)."""

    def __init__(self, store: KeptConversations, sink: str, clock: Clock) -> None:
        self._store = store
        self._sink = sink
        self._clock = clock

    async def find(self, channel: str, sr: str) -> Conversation | None:
        """Read the conversation of a service request; None if there is none."""
        return await self._store.find_conversation(self._sink, channel, sr)

    async def keep(self, channel: str, sr: str, conversation: Conversation) -> None:
        """Keep a conversation, in place of the one before it."""
        await self._store.keep_conversation(self._sink, channel, sr, conversation, self._clock.now())
