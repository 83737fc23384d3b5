"""Queries of people: by every kind of id, by state, sink and time, page by page to the end."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from gateway.core.outcome import Delivered, Reason, Reject
from gateway.core.selection import MessageStatus, Selection, Target
from tests.fakes import START
from tests.store.kit import AnyStore, Database, accepted, duplicate, new, serving, settlement

_FIRST = Target(0, "")


async def keep(store: AnyStore, sender: str, *, at: float = START, status: MessageStatus = "accepted", **fields: Any) -> int:
    message = new(sender, at=at, status=status, sinks=("erp", "crm") if status == "accepted" else ())
    return await accepted(store, msgspec.structs.replace(message, message=msgspec.structs.replace(message.message, **fields)))


async def found_by(store: AnyStore, text: str) -> list[int]:
    pages = [await store.named(text, 0, whole=whole) for whole in (True, False)]
    return sorted({seq for seqs, _ in pages for seq in seqs})


async def listed(store: AnyStore, selection: Selection, seqs: list[int] | None = None, limit: int = 100) -> list[str]:
    """Return the delivery ids of all pages."""
    found: list[str] = []
    after: Target | None = _FIRST
    for _ in range(1000):
        if after is None:
            return found
        begin = after
        page, after = await store.deliveries(selection, seqs, begin, limit)
        assert len(page) <= limit
        found += [f"{one.ids.id}-{one.delivery.sink}" for one in page]
    raise AssertionError("the pages have no end")


async def test_a_message_is_found_by_each_of_its_ids_and_by_how_the_first_three_begin(database: Database) -> None:
    async with serving(database) as store:
        one = await keep(store, "msg_abc", id="a" * 32, sr_uuid="5f1c-1")
        two = await keep(store, "msg_abd", id="b" * 32, sr_uuid="5f1c-2")
        for text, expected in [
            ("a" * 32, [one]),
            ("aaa", [one]),
            ("msg_abc", [one]),
            ("msg_ab", [one, two]),
            ("5f1c-2", [two]),
            ("5f1c", [one, two]),
            ("5f1c-3", []),
            ("msg_abcd", []),
            ("REF-1", [one, two]),
            ("REF-", []),
        ]:
            assert await found_by(store, text) == expected, text


@pytest.mark.parametrize("text", ["%", "_", "*", "msg%", "msg_%", "'", '"', "a' OR 1=1 --", "\x00", "\U0010ffff", "日本"])
async def test_no_character_of_an_id_is_a_wildcard(database: Database, text: str) -> None:
    async with serving(database) as store:
        await keep(store, "msg_abc", id="a" * 32, sr_uuid="sr-1")
        assert await found_by(store, text) == []
        own = await keep(store, f"{text}-own", id="b" * 32, sr_uuid="sr-2")
        assert await found_by(store, text) == [own]


async def test_a_prefix_in_another_script_finds_every_id_that_begins_with_it(database: Database) -> None:
    async with serving(database) as store:
        seqs = [await keep(store, f"注文{more}") for more in ("", "1", "\U0010ffff", "号")]
        await keep(store, "注")
        assert await found_by(store, "注文") == seqs


async def test_a_reference_id_is_found_by_its_index_from_the_oldest(database: Database) -> None:
    async with serving(database) as store:
        seqs = [await keep(store, f"m{n}", reference_id="BAG-1" if n in (1, 2, 8) else "other") for n in range(10)]
        found = await store.named("BAG-1", 0, whole=True)
        assert found == ([seqs[1], seqs[2], seqs[8]], None)
        assert await store.named("BAG-1", seqs[7], whole=True) == ([seqs[8]], None)
        assert await store.named("BAG", 0, whole=True) == ([], None)


async def test_an_empty_database_has_no_reference_and_no_page(database: Database) -> None:
    async with serving(database) as store:
        assert await store.named("x", 0, whole=True) == ([], None)
        assert await store.messages(Selection(), None, 0, 10) == ([], None)
        assert await listed(store, Selection()) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 14, 15, 100])
async def test_the_pages_hold_each_delivery_once_and_in_order(database: Database, limit: int) -> None:
    async with serving(database) as store:
        for number in range(7):
            await keep(store, f"m{number}", id=f"{number:032x}")
        expected = [f"{number:032x}-{sink}" for number in range(7) for sink in ("crm", "erp")]
        assert await listed(store, Selection(), limit=limit) == expected
        pages: list[str] = []
        after: int | None = 0
        while after is not None:
            page, after = await store.messages(Selection(), None, after, limit)
            pages += [one.ids.id for one in page]
        assert pages == [f"{number:032x}" for number in range(7)]


async def test_deliveries_are_chosen_by_state_sink_time_and_id_and_all_of_it_together(database: Database) -> None:
    async with serving(database) as store:
        seqs = [await keep(store, f"m{n}", id=f"{n:032x}", at=START + 10 * n) for n in range(4)]
        await store.settle(settlement(seqs[0], Delivered()))
        await store.settle(settlement(seqs[1], Reject(Reason.REJECTED)))
        await store.settle(settlement(seqs[2], Reject(Reason.REJECTED), sink="crm"))

        async def numbers(selection: Selection, only: list[int] | None = None) -> list[str]:
            return [f"{int(one[:32], 16)}{one[32:]}" for one in await listed(store, selection, only)]

        assert await numbers(Selection(state="delivered")) == ["0-erp"]
        assert await numbers(Selection(state="dead")) == ["1-erp", "2-crm"]
        assert await numbers(Selection(state="dead", sink="crm")) == ["2-crm"]
        assert await numbers(Selection(sink="erp", since=START + 10, until=START + 30)) == ["1-erp", "2-erp"]
        assert await numbers(Selection(state="dead", since=START + 20)) == ["2-crm"]
        assert await numbers(Selection(sink="erp"), [seqs[3]]) == ["3-erp"]
        assert await numbers(Selection(), []) == []
        assert await numbers(Selection(sink="no such")) == []


async def test_messages_are_chosen_by_status_and_time(database: Database) -> None:
    statuses: tuple[MessageStatus, ...] = ("accepted", "unrouted", "quarantined")
    async with serving(database) as store:
        for number, status in enumerate(statuses):
            await keep(store, f"m{number}", status=status, at=START + number)
        for status in statuses:
            selection = Selection(status=status)
            page, _ = await store.messages(selection, None, 0, 10)
            assert [one.status for one in page] == [status]
        selection = Selection(since=START + 1, until=START + 2)
        page, _ = await store.messages(selection, None, 0, 10)
        assert [one.ids.sender_id for one in page] == ["m1"]


async def test_a_slice_of_an_act_tells_which_messages_are_quarantined(database: Database) -> None:
    async with serving(database) as store:
        await keep(store, "m1", status="quarantined")
        await keep(store, "m2")
        for selection, expected in ((Selection(status="quarantined"), [True]), (Selection(), [True, False])):
            page, after = await store.chosen(selection, None, 0, 10)
            assert [one.quarantined for one in page] == expected and after is None


async def test_an_act_selects_the_same_deliveries_as_the_list(database: Database) -> None:
    async with serving(database) as store:
        seqs = [await keep(store, f"m{n}") for n in range(4)]
        await store.settle(settlement(seqs[1], Reject(Reason.REJECTED)))
        for state, sink in itertools.product((None, "dead", "queued"), (None, "erp")):
            selection = msgspec.convert({"state": state, "sink": sink}, Selection)
            chosen, _ = await store.targets(selection, None, _FIRST, 100, ())
            page, _ = await store.deliveries(selection, None, _FIRST, 100)
            assert [target.sink for target in chosen] == [one.delivery.sink for one in page]
            assert len(chosen) == len(page) > 0


async def test_a_story_has_deliveries_attempts_and_conflicting_duplicates(database: Database) -> None:
    async with serving(database) as store:
        seq = await keep(store, "m1")
        await store.settle(settlement(seq, Reject(Reason.HTTP_STATUS, "HTTP 410", 410)))
        await duplicate(store, new("m1", body=b'{"another": "\xff"}', at=START + 5))
        story = await store.story(seq)
        assert story is not None and await store.story(seq + 1) is None
        assert story.duplicates == 1 and story.body == "{}" and story.ids.sender_id == "m1"
        crm, erp = story.deliveries
        assert (crm.delivery.sink, crm.delivery.state, crm.attempts) == ("crm", "queued", ())
        assert (erp.delivery.state, erp.delivery.reason, erp.delivery.due_at) == ("dead", "rejected", None)
        (attempt,) = erp.attempts
        assert (attempt.number, attempt.outcome, attempt.status, attempt.detail) == (1, "reject", 410, "HTTP 410")
        (conflict,) = story.conflicts
        assert conflict.body == '{"another": "\ufffd"}'
