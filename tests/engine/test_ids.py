"""An id names messages: a message id, a sender id, a service request, a reference, or the beginning of one of these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.control import ids
from gateway.control.interventions import Act
from gateway.core.selection import Target
from gateway.store.sqlite import named_messages
from tests.engine.interventions_bench import InterventionsBench, of, operating
from tests.fakes import FakeClock

_FIRST = Target(0, "")


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[InterventionsBench]:
    async with operating(tmp_path, clock) as bench:
        yield bench


def few_to_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one page of the messages that an id stands for hold three of them."""
    for module in (ids, named_messages):
        monkeypatch.setattr(module, "MOST_NAMED", 3)


async def test_all_messages_with_a_reference_id_are_found_however_far_apart(bench: InterventionsBench) -> None:
    """The events of one item come over days, with thousands of others between them."""
    for number in range(12):
        await bench.keep(f"m{number}", "erp", reference_id="BAG-7" if number % 5 == 0 else "other")
    story, more = await bench.browse.show("BAG-7")
    assert not more
    assert [message.story.ids.sender_id for message in story] == ["m0", "m5", "m10"]


async def test_a_reference_id_is_found_even_if_other_ids_begin_with_it(bench: InterventionsBench) -> None:
    one = await bench.keep("m1", "erp", reference_id="0")  # as the ids of the gateway do
    story, _ = await bench.browse.show("0")
    assert one.id in [message.story.ids.id for message in story]
    number = await bench.keep("m2", "erp", reference_id="m1")
    assert number.id in [message.story.ids.id for message in (await bench.browse.show("m1"))[0]]


async def test_an_empty_id_names_no_message(bench: InterventionsBench) -> None:
    """`gateway discard "$ID" --yes` with the variable unset must not discard every delivery."""
    await bench.keep("m1", "erp")
    try:
        changed = await bench.discard(Act(selection=of(id="")))
    except ValueError:
        changed = 0
    assert changed == 0
    assert await bench.states() == [(1, "erp", "queued")]


@pytest.mark.parametrize("text", ["sr-7", "BAG-7", "msg_"], ids=["service request", "reference", "beginning"])
async def test_an_id_may_name_more_messages_than_are_read_at_a_time(
    bench: InterventionsBench, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    few_to_a_page(monkeypatch)
    for number in range(20):
        if number % 3 == 0:
            await bench.keep(f"other-{number}", "erp", "crm", sr_uuid="sr-8", reference_id="other")
        else:
            await bench.keep(f"msg_{number}", "erp", "crm", sr_uuid="sr-7", reference_id="BAG-7")
    expected = [f"msg_{number}" for number in range(20) if number % 3]
    for limit in (1, 2, 3, 4, 100):
        found: list[str | None] = []
        after: int | None = 0
        while after is not None:
            page, after = await bench.browse.messages(of(id=text), after, limit)
            found += [message.ids.sender_id for message in page]
        assert found == expected
        told: list[str] = []
        place: Target | None = _FIRST
        while place is not None:
            rows, place = await bench.browse.deliveries(of(id=text), place, limit)
            told += [f"{row.ids.sender_id} {row.delivery.sink}" for row in rows]
        assert told == [f"{sender} {sink}" for sender in expected for sink in ("crm", "erp")]
    assert await bench.discard(Act(selection=of(id=text, sink="crm"), dry_run=True)) == len(expected)
    assert await bench.discard(Act(selection=of(id=text))) == 2 * len(expected)
    assert await bench.replay(Act(selection=of(id=text), to="erp")) == 0
    await bench.work()
    assert {sent.sender_id for sent in bench.sinks["erp"].sent} == {f"other-{number}" for number in range(0, 20, 3)}


async def test_an_exact_id_never_finds_messages_whose_ids_only_begin_with_it(
    bench: InterventionsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_to_a_page(monkeypatch)
    for number in range(3):
        await bench.keep(f"m{number}", "erp", sr_uuid="sr-7")
    await bench.keep("another", "erp", sr_uuid="sr-70")
    assert await bench.discard(Act(selection=of(id="sr-7"))) == 3
    assert [state for _, _, state in await bench.states()] == ["discarded"] * 3 + ["queued"]


async def test_a_backfill_by_an_id_reaches_every_message_of_that_id(
    bench: InterventionsBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_to_a_page(monkeypatch)
    for number in range(8):
        await bench.keep(f"m{number}", "erp", sr_uuid="sr-7", reference_id="BAG-7")
    for act in (Act(selection=of(id="sr-7"), to="crm", dry_run=True), Act(selection=of(id="BAG-7"), reroute=True)):
        assert await bench.replay(act) == 8
    assert sum(sink == "crm" for _, sink, _ in await bench.states()) == 8


async def test_a_story_that_leaves_things_out_says_so(bench: InterventionsBench) -> None:
    for number in range(101):
        await bench.keep(f"m{number}", sr_uuid="sr-7")
    stories, more = await bench.browse.show("sr-7")
    assert [shown.story.ids.sender_id for shown in stories] == [f"m{number}" for number in range(100)] and more
    stories, more = await bench.browse.show("m100")
    assert len(stories) == 1 and not more
