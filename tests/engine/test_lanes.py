"""The lanes of one configuration after another: a change is prepared whole, or not at all."""

from __future__ import annotations

import pytest
from msgspec import structs

from gateway.core.errors import StoreError
from gateway.core.records import Message, NewMessage
from gateway.core.retry import longest_wait
from tests.engine.bench import DAY, HOUR, Bench, spin
from tests.engine.lanes_bench import CRM, ERP, FullStore, LanesBench
from tests.fakes import FakeClock


@pytest.fixture
def bench(all_lanes: LanesBench) -> Bench:
    return all_lanes.bench


async def keep_one(bench: Bench) -> None:
    """Keep a message of a service request, by routes whose sink has no order."""
    message = Message(bench.clock.new_id(), "legitmark", None, bench.clock.now(), None, b"{}", sr_uuid="sr-1")
    message = structs.replace(message, body=message.id.encode())
    await bench.store.accept(NewMessage(message, "accepted", None, (("erp", bench.clock.now()),)))


async def test_a_full_disk_refuses_a_change_of_sinks_whole_and_disturbs_nothing_else(all_lanes: LanesBench, bench: Bench) -> None:
    await bench.accept()  # so that the store knows of erp
    assert isinstance(bench.store, FullStore)
    bench.store.full = True
    with pytest.raises(StoreError):
        await all_lanes.use(CRM)
    assert list(all_lanes.directory) == ["erp"]
    await all_lanes.use(ERP + 'give_up_after = "1h"\n')
    assert all_lanes.directory["erp"].policy.give_up_after == HOUR


async def test_an_event_that_arrives_while_ordering_is_switched_on_is_ordered_too(all_lanes: LanesBench, bench: Bench) -> None:
    await keep_one(bench)
    swap = await all_lanes.lanes.prepare(all_lanes.config(ERP + 'ordering = "sr"\n'))
    assert await bench.rows("sr IS NOT NULL") == [(1,)]
    await keep_one(bench)
    swap()
    await all_lanes.lanes.tidy()
    assert await bench.rows("sr IS NOT NULL") == [(1,), (1,)]


async def test_a_due_time_far_ahead_is_shortened_to_the_longest_wait_when_its_sink_is_back(
    all_lanes: LanesBench, bench: Bench, clock: FakeClock
) -> None:
    await bench.accept(due_in=HOUR)
    await all_lanes.use(CRM)
    clock.jump(-300 * DAY)
    await all_lanes.use(ERP)
    ((due,),) = await bench.rows("due_ms")
    assert due / 1000 - clock.now() <= longest_wait(all_lanes.directory["erp"].policy) + 0.01


async def test_a_sink_that_is_removed_and_added_again_keeps_one_lane_and_one_task(all_lanes: LanesBench, bench: Bench) -> None:
    erp = all_lanes.directory["erp"]
    async with all_lanes.running():
        for sinks in (CRM, ERP, CRM, ERP + CRM):
            await all_lanes.use(sinks)
            await spin()
        assert all_lanes.directory["erp"] is erp
        assert all_lanes.lanes.at_work == ["lane:crm", "lane:erp"]
    assert all_lanes.lanes.at_work == []


async def test_a_stop_also_ends_the_lanes_of_removed_sinks_and_none_begins(all_lanes: LanesBench) -> None:
    async with all_lanes.running():
        await all_lanes.use(CRM)
    with pytest.raises(StoreError, match="stopping"):
        await all_lanes.use(ERP + CRM)
    assert all_lanes.lanes.at_work == [] and list(all_lanes.directory) == ["crm"]
