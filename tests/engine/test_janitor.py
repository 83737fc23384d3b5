"""What happens now and then: the windows of rejections, and the purge of what is older than retention."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError, StoreFailed
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Attempt, Duplicate, Message, NewMessage, Settlement, SinkState
from gateway.core.retry import RetryPolicy, decide
from gateway.core.selection import Target
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.ingest.rejections import MOST_NAMED, WINDOW
from gateway.maintenance import invariants
from gateway.store.sqlite import operations
from gateway.store.sqlite.counting import Changes
from tests.engine.janitor_bench import RETENTION, House, alarms, an_hour, keeping_house, violations
from tests.fakes import FakeClock, FakeSink, notices_for
from tests.support.waiting import PATIENCE, until


@pytest.fixture
async def house(tmp_path: Path, clock: FakeClock) -> AsyncIterator[House]:
    async with keeping_house(tmp_path, clock) as house:
        yield house


# --- throughput


async def test_the_janitor_has_the_throughput_read_every_ten_seconds(house: House) -> None:
    for seconds, readings in ((10, 2), (5, 2), (5, 3)):
        house.clock.advance(seconds)
        await house.janitor.step()
        assert house.throughput.readings == readings


# --- rejections


async def test_the_first_refusal_has_its_line_at_once_and_the_others_a_count_each_window(house: House) -> None:
    for _ in range(1000):
        house.rejections.add("legitmark", "bad_signature", "no signature fits")
    house.rejections.flush()
    assert [line.get("count") for line in await house.lines()] == [None]
    house.clock.advance(WINDOW - 0.1)
    house.rejections.flush()
    assert len(await house.lines()) == 1
    house.clock.advance(0.2)
    house.rejections.flush()
    house.rejections.flush()
    assert [line.get("count") for line in await house.lines()] == [None, 999]
    for _ in range(5):
        house.rejections.add("legitmark", "bad_signature", "another detail")
    house.clock.advance(WINDOW)
    house.rejections.flush()
    lines = await house.lines()
    assert [line.get("count") for line in lines] == [None, 999, 5]
    assert {(line["event"], line["source"], line["reason"]) for line in lines} == {
        ("message.rejected", "legitmark", "bad_signature")
    }


async def test_after_a_quiet_window_the_next_refusal_comes_at_once(house: House) -> None:
    for _ in range(3):
        house.rejections.add("legitmark", "bad_signature", "x")
        house.clock.advance(WINDOW)
        house.rejections.flush()
    assert [line.get("count") for line in await house.lines()] == [None] * 3


async def test_a_steady_stream_of_forgeries_writes_one_line_in_ten_seconds(house: House) -> None:
    for _ in range(600):  # ten minutes, ten in a second
        for _ in range(10):
            house.rejections.add("legitmark", "bad_signature", "x")
        house.clock.advance(1.0)
        await house.janitor.step()
    house.rejections.flush(everything=True)
    lines = await house.lines()
    assert len(lines) <= 62
    assert sum(line.get("count", 1) for line in lines) == 6000
    labels = {"source": "legitmark", "reason": "bad_signature"}
    assert house.metrics.registry.get_sample_value("legitmark_gateway_rejections_total", labels) == 6000


async def test_sources_and_reasons_have_windows_of_their_own(house: House) -> None:
    pairs = [("legitmark", "bad_signature"), ("legitmark", "stale_timestamp"), ("other", "bad_signature"), ("", "not_found")]
    for source, reason in pairs * 3:
        house.rejections.add(source, reason, "x")
    house.clock.advance(WINDOW)
    house.rejections.flush()
    found = [(line.get("source", ""), line["reason"], line.get("count")) for line in await house.lines()]
    assert found == [(*pair, None) for pair in pairs] + [(*pair, 2) for pair in pairs]


async def test_the_line_that_sums_up_counts_each_detail_and_names_ids_and_addresses(house: House) -> None:
    fits, malformed = "no signature fits this body, id and timestamp", "the message id is not 1 to 255 printable characters"
    for number in range(21):
        house.rejections.add("legitmark", "bad_signature", fits, sender_id=f"msg_{number}", address="192.0.2.1")
    house.rejections.add("legitmark", "bad_signature", malformed, address="192.0.2.2")
    house.clock.advance(WINDOW)
    house.rejections.flush()
    first, rest = await house.lines()
    assert (first["detail"], first["sender_ids"], first["addresses"]) == (fits, ["msg_0"], ["192.0.2.1"])
    assert "count" not in first
    assert (rest["count"], rest["detail"]) == (21, f"20 x {fits}; 1 x {malformed}")
    assert rest["sender_ids"] == [f"msg_{number}" for number in range(1, 21)]
    assert rest["addresses"] == ["192.0.2.1", "192.0.2.2"] and "more_sender_ids" not in rest


async def test_what_a_stranger_sends_can_not_make_the_line_long(house: House) -> None:
    for number in range(5001):
        house.rejections.add("legitmark", "bad_signature", f"detail {number}", sender_id=f"msg_{number}", address=f"a{number}")
    house.clock.advance(WINDOW)
    house.rejections.flush()
    _, rest = await house.lines()
    assert rest["count"] == 5000 and len(json.dumps(rest)) < 4000
    assert (len(rest["sender_ids"]), rest["more_sender_ids"]) == (MOST_NAMED, 5000 - MOST_NAMED)


async def test_a_stop_writes_the_counts_of_open_windows(house: House) -> None:
    running = asyncio.create_task(house.janitor.run())
    house.rejections.add("legitmark", "bad_signature", "x")
    house.rejections.add("legitmark", "bad_signature", "x")
    house.janitor.stop()
    await asyncio.wait_for(running, PATIENCE)
    assert [line.get("count") for line in await house.lines()] == [None, 1]


# --- purge


async def test_what_is_finished_and_older_than_retention_goes_and_the_rest_stays(house: House) -> None:
    old = {state: await house.add(state) for state in ("delivered", "queued", "dead")}
    old["quarantined"] = await house.add(None, "quarantined")
    old["unrouted"] = await house.add(None, "unrouted")
    house.clock.advance(RETENTION - 10)
    young = await house.add("delivered")
    await house.walk()
    assert await house.left() == {one for ids in (*old.values(), young) for one in ids}
    house.clock.advance(60)
    await house.walk()
    assert await house.left() == {*old["queued"], *old["dead"], *young}


async def test_a_message_that_owes_to_two_sinks_stays_while_one_is_open(house: House) -> None:
    now = house.clock.now()
    message = Message(house.clock.new_id(), "legitmark", "msg_1", now, None, b"{}")
    stored = await house.store.accept(NewMessage(message, "accepted", deliveries=(("erp", now), ("archive", now))))
    assert isinstance(stored, Accepted)
    transition = decide(Delivered(), retries=0, since=now, now=now, jitter=0.0, policy=RetryPolicy())
    await house.store.settle(Settlement(stored.seq, "erp", transition, now, Attempt(1, now, 1, Delivered())))
    house.clock.advance(RETENTION + 60)
    await house.walk()
    assert await house.left() == {message.id}
    await house.store.settle(Settlement(stored.seq, "archive", transition, now, Attempt(1, now, 1, Delivered())))
    house.clock.advance(60)
    await house.walk()
    assert await house.left() == set()


async def test_what_belongs_to_a_message_goes_with_it_and_the_counters_follow(house: House) -> None:
    await house.add("delivered", number=3)
    await house.add("dead", number=2)
    house.clock.advance(RETENTION + 60)
    await house.walk()
    both = "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM attempts)"
    assert await house.store.read(lambda reader: reader.execute(both).fetchone()) == (2, 2)
    counts = (await house.store.counts())["erp"]
    assert (counts.queued, counts.delivered, counts.dead) == (0, 0, 2)


async def test_a_purge_goes_in_slices_with_pauses_even_over_what_stays(house: House) -> None:
    dead = await house.add("dead", number=220)  # more than a slice: the walk must not end at it
    await house.add("delivered", number=250)
    house.clock.advance(RETENTION + 60)
    assert await house.walk() == [0.1, 0.1]
    assert await house.left() == set(dead)


async def test_a_walk_comes_once_a_minute(house: House) -> None:
    house.clock.advance(600)
    await house.janitor.step()
    house.clock.advance(1.0)
    await house.add("delivered", age=RETENTION + 60)
    for _ in range(58):
        assert await house.janitor.step() == 1.0
        house.clock.advance(1.0)
    assert len(await house.left()) == 1
    house.clock.advance(1.0)
    await house.janitor.step()
    assert await house.left() == set()


async def test_a_start_by_a_clock_that_is_ahead_deletes_nothing_before_it_can_be_set(house: House) -> None:
    await house.add("delivered", age=RETENTION + 60)
    for _ in range(599):
        await house.janitor.step()
        house.clock.advance(1.0)
    assert len(await house.left()) == 1
    house.clock.advance(1.0)
    await house.janitor.step()
    assert await house.left() == set()


async def test_a_purge_that_fails_is_logged_and_tried_again(house: House) -> None:
    await house.add("delivered")
    house.clock.advance(RETENTION + 60)
    house.store.error = StoreError("the disk is full")
    assert await house.janitor.step() == 1.0
    (call,) = house.log.calls
    assert call.method_name == "error" and len(await house.left()) == 1
    house.store.error = None
    house.clock.advance(60)
    await house.walk()
    assert await house.left() == set()


async def test_a_disk_that_cannot_be_trusted_ends_the_janitor(house: House) -> None:
    house.clock.advance(600)
    house.store.error = StoreFailed("gone")
    with pytest.raises(StoreFailed):
        await asyncio.wait_for(house.janitor.run(), PATIENCE)


async def test_after_retention_a_message_is_new_again_even_before_it_is_purged(house: House) -> None:
    message = Message(house.clock.new_id(), "legitmark", "msg_1", house.clock.now(), None, b"{}")
    await house.store.accept(NewMessage(message, "accepted"))
    for after, kind in ((RETENTION - 1, Duplicate), (2.0, Accepted)):
        house.clock.advance(after)
        again = Message(house.clock.new_id(), "legitmark", "msg_1", house.clock.now(), None, b"{}")
        assert isinstance(await house.store.accept(NewMessage(again, "accepted")), kind)


async def test_the_janitor_runs_by_itself(house: House) -> None:
    await house.add("delivered")
    house.clock.advance(RETENTION + 60)
    running = asyncio.create_task(house.janitor.run())
    async with asyncio.timeout(PATIENCE):
        while await house.left():
            pass
    house.janitor.stop()
    await until(running.done)


# --- what must hold


@pytest.fixture
def lane(house: House) -> Lane:
    """One that does nothing, though nothing holds it back."""
    log = structlog.wrap_logger(house.log, processors=[])
    own_events = notices_for(house.store, house.audit, house.clock)
    world = LaneWorld(house.store, house.audit, own_events, house.metrics, house.clock, log)
    gates = Gates(SinkState(), BreakerPolicy(3, 30.0), None, house.clock)
    lane = Lane("erp", FakeSink(), LaneSettings(RetryPolicy(), 16, 30.0), gates, world)
    house.lanes["erp"] = lane
    return lane


async def test_a_delivery_that_stays_due_while_its_lane_is_free_is_an_error_line_and_a_number(house: House, lane: Lane) -> None:
    await house.add("queued")
    for _ in range(5):
        await house.janitor.step()
        house.clock.advance(1.0)
    assert alarms(house, "invariant.overdue") == []  # a few seconds are nothing
    for _ in range(7):
        await house.janitor.step()
        house.clock.advance(1.0)
    (alarm,) = alarms(house, "invariant.overdue")
    assert alarm["sink"] == "erp" and 5.0 < alarm["seconds"] < 12.0
    assert violations(house, "overdue") == 1.0


async def test_what_waits_for_a_lane_that_is_held_back_is_no_violation(house: House, lane: Lane) -> None:
    await house.add("queued")
    await lane.pause("ann")
    for _ in range(20):
        await house.janitor.step()
        house.clock.advance(1.0)
    assert alarms(house, "invariant.overdue") == [] and violations(house, "overdue") == 0.0


async def test_what_is_not_due_yet_is_no_violation(house: House, lane: Lane) -> None:
    await house.add("queued", age=-600.0)
    for _ in range(20):
        await house.janitor.step()
        house.clock.advance(1.0)
    assert alarms(house, "invariant.overdue") == []


async def set_counter(house: House, column: str, by: int) -> None:
    def work(connection: sqlite3.Connection, changes: Changes) -> None:
        connection.execute(f"UPDATE counters SET {column} = {column} + ? WHERE sink = 'erp'", (by,))

    await house.store.change(work)


@pytest.mark.parametrize("column", ["queued", "delivered", "dead", "discarded"])
@pytest.mark.parametrize("by", [1, -1])
async def test_a_counter_that_is_off_by_one_is_an_error_line_and_a_number(house: House, column: str, by: int) -> None:
    for state in ("queued", "delivered", "dead"):
        await house.add(state, number=3)
    discarded = [Target(seq, "erp") for seq in (1, 4)]  # one that was queued, one that was delivered: that one stays
    await house.store.change(lambda link, changes: operations.discard(link, discarded, house.clock.now(), changes))
    await an_hour(house)
    assert alarms(house, "invariant.counters") == [] and violations(house, "counters") == 0.0
    await set_counter(house, column, by)
    await an_hour(house)
    said = alarms(house, "invariant.counters")
    assert said and {alarm["sink"] for alarm in said} == {"erp"} and violations(house, "counters") == len(said)
    assert any(column in alarm["what"] for alarm in said)


async def test_the_table_is_counted_in_pages_and_what_happens_between_them_is_no_alarm(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "COUNTED_AT_ONCE", 4)
    await house.add("delivered", number=10)
    await house.add("queued", number=10)
    house.clock.advance(3600.0)
    pages = 0
    while not await house.invariants.check_counters():
        pages += 1
        await house.add("delivered")
        await house.add("queued")
        assert pages < 50
    assert pages > 5
    assert alarms(house, "invariant.counters") == [] and violations(house, "counters") == 0.0


async def test_a_replay_of_what_was_delivered_in_the_middle_of_a_count_is_no_alarm(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "COUNTED_AT_ONCE", 4)
    await house.add("delivered", number=20)
    house.clock.advance(3600.0)
    assert not await house.invariants.check_counters()
    again = [Target(1, "erp"), Target(2, "erp")]
    await house.store.change(lambda link, changes: operations.reopen(link, again, ["delivered"], house.clock.now(), changes))
    for _ in range(20):
        await house.invariants.check_counters()
    assert alarms(house, "invariant.counters") == []


async def test_while_the_table_is_counted_nothing_is_purged_and_then_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "COUNTED_AT_ONCE", 4)
    await house.add("delivered", number=20)
    house.clock.advance(RETENTION + 60)
    await house.janitor.step()  # the first page
    assert len(await house.left()) == 20
    for _ in range(10):
        house.clock.advance(1.0)
        await house.janitor.step()
    assert await house.left() == set() and alarms(house, "invariant.counters") == []


async def test_gaps_that_a_purge_left_are_not_walked_through(house: House) -> None:
    await house.add("dead")
    await house.add("delivered")

    def far(connection: sqlite3.Connection, changes: Changes) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("UPDATE messages SET seq = 900000000 WHERE seq = 2")
        connection.execute("UPDATE deliveries SET message = 900000000 WHERE message = 2")
        connection.execute("UPDATE attempts SET message = 900000000 WHERE message = 2")

    await house.store.change(far)
    house.clock.advance(3600.0)
    pages = 1
    while not await house.invariants.check_counters():
        pages += 1
    assert pages == 2 and alarms(house, "invariant.counters") == []
