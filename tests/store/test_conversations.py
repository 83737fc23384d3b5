"""The conversations of sinks are kept across restarts, and for `retention` after the last event."""

from __future__ import annotations

from gateway.core.conversation import Conversation
from gateway.store.sink_conversations import SinkConversations
from tests.fakes import START, FakeClock
from tests.store.kit import DAY, Database, accepted, new, serving

FIRST = Conversation("C01", "1772000000.000100", START + 0.123)


async def test_a_conversation_is_found_by_sink_channel_and_service_request_after_a_restart(database: Database) -> None:
    async with serving(database) as store:
        desk = SinkConversations(store, "desk", FakeClock())
        assert await desk.find("#desk", "sr-1") is None
        await desk.keep("#desk", "sr-1", FIRST)
    async with serving(database) as store:
        desk, other = SinkConversations(store, "desk", FakeClock()), SinkConversations(store, "other", FakeClock())
        assert await desk.find("#desk", "sr-1") == FIRST
        for conversations, channel, sr in ((other, "#desk", "sr-1"), (desk, "#other", "sr-1"), (desk, "#desk", "sr-2")):
            assert await conversations.find(channel, sr) is None


async def test_the_last_conversation_that_was_kept_counts(database: Database) -> None:
    second = Conversation("C01", "1772000000.000200", START - 86_400 * 365 * 80)
    async with serving(database) as store:
        desk = SinkConversations(store, "desk", FakeClock())
        await desk.keep("C01", "品\0", FIRST)
        await desk.keep("C01", "品\0", second)
        assert await desk.find("C01", "品\0") == second


async def test_a_conversation_is_forgotten_when_no_event_came_for_so_long_and_never_before(database: Database) -> None:
    clock = FakeClock()
    async with serving(database) as store:
        desk = SinkConversations(store, "desk", clock)
        await desk.keep("C01", "sr-old", FIRST)
        await desk.keep("C01", "sr-used", FIRST)
        clock.advance(DAY)
        await desk.keep("C01", "sr-used", FIRST)
        await store.purge(0, 100, START + DAY)
        assert await desk.find("C01", "sr-old") is None
        assert await desk.find("C01", "sr-used") == FIRST


async def test_conversations_are_forgotten_in_slices_with_the_oldest_first_and_messages_are_counted_alone(
    database: Database,
) -> None:
    clock = FakeClock()
    async with serving(database) as store:
        await accepted(store, new("a", sinks=()))
        desk = SinkConversations(store, "desk", clock)
        for number in range(5):
            await desk.keep("C01", f"sr-{number}", FIRST)
            clock.advance(1)
        assert await store.purge(0, 2, START + DAY) == (1, None)
        assert [await desk.find("C01", f"sr-{number}") is None for number in range(5)] == [True, True, False, False, False]
        await store.purge(0, 200, START + DAY)
        assert await desk.find("C01", "sr-4") is None
