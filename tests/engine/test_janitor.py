"""The janitor: windows of rejections, the purge of old messages, and the checks of invariants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError, StoreFailed
from gateway.core.events import Event
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Attempt, Duplicate, KeptGates, Message, NewMessage, Settlement
from gateway.core.retry import RetryPolicy, decide
from gateway.core.selection import Target
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.ingest.rejections import MOST_NAMED, WINDOW
from gateway.maintenance import invariants
from tests.engine.janitor_bench import RETENTION, JanitorBench, alarms, an_hour, janitor_at_work, violations
from tests.fakes import FakeClock, FakeSink, own_events_for
from tests.store.kit import rows, run_sql
from tests.support.waiting import PATIENCE, until


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[JanitorBench]:
    async with janitor_at_work(tmp_path, clock) as bench:
        yield bench


# --- throughput


async def test_the_janitor_has_the_throughput_read_every_ten_seconds(bench: JanitorBench) -> None:
    for seconds, readings in ((10, 2), (5, 2), (5, 3)):
        bench.clock.advance(seconds)
        await bench.janitor.step()
        assert bench.throughput.readings == readings


# --- the ledger


async def test_a_bug_that_keeps_a_message_from_being_judged_is_in_the_log_once_with_its_traceback(bench: JanitorBench) -> None:
    def bug() -> Event:
        raise ZeroDivisionError("a bug in the ledger")

    message = Message(bench.clock.new_id(), "legitmark", "msg_1", bench.clock.now(), None, b"{}", sr_uuid="sr-1")
    await bench.store.accept(NewMessage(message, "unrouted", event=bug))
    for _ in range(3):
        await bench.janitor.step()
        bench.clock.advance(1.0)
    (said,) = alarms(bench, "ledger.bug")
    assert isinstance(said["exc_info"], ZeroDivisionError) and said["do"].startswith("report it: messages are kept and routed")
    assert bench.left() == {message.id}


# --- rejections


async def test_the_first_refusal_is_one_line_at_once_and_the_others_are_counted_in_one_line_per_window(
    bench: JanitorBench,
) -> None:
    for _ in range(1000):
        bench.rejections.add("legitmark", "bad_signature", "no signature fits")
    bench.rejections.flush()
    assert [line.get("count") for line in await bench.lines()] == [None]
    bench.clock.advance(WINDOW - 0.1)
    bench.rejections.flush()
    assert len(await bench.lines()) == 1
    bench.clock.advance(0.2)
    bench.rejections.flush()
    bench.rejections.flush()
    assert [line.get("count") for line in await bench.lines()] == [None, 999]
    for _ in range(5):
        bench.rejections.add("legitmark", "bad_signature", "another detail")
    bench.clock.advance(WINDOW)
    bench.rejections.flush()
    lines = await bench.lines()
    assert [line.get("count") for line in lines] == [None, 999, 5]
    assert {(line["event"], line["source"], line["reason"]) for line in lines} == {
        ("message.rejected", "legitmark", "bad_signature")
    }


async def test_after_a_quiet_window_the_next_refusal_comes_at_once(bench: JanitorBench) -> None:
    for _ in range(3):
        bench.rejections.add("legitmark", "bad_signature", "x")
        bench.clock.advance(WINDOW)
        bench.rejections.flush()
    assert [line.get("count") for line in await bench.lines()] == [None] * 3


async def test_a_steady_stream_of_forgeries_writes_one_line_in_ten_seconds(bench: JanitorBench) -> None:
    for _ in range(600):  # ten minutes, ten in a second
        for _ in range(10):
            bench.rejections.add("legitmark", "bad_signature", "x")
        bench.clock.advance(1.0)
        await bench.janitor.step()
    bench.rejections.flush(everything=True)
    lines = await bench.lines()
    assert len(lines) <= 62
    assert sum(line.get("count", 1) for line in lines) == 6000
    labels = {"source": "legitmark", "reason": "bad_signature"}
    assert bench.metrics.registry.get_sample_value("legitmark_gateway_rejections_total", labels) == 6000


async def test_each_source_and_reason_has_a_window_of_its_own(bench: JanitorBench) -> None:
    pairs = [("legitmark", "bad_signature"), ("legitmark", "stale_timestamp"), ("other", "bad_signature"), ("", "not_found")]
    for source, reason in pairs * 3:
        bench.rejections.add(source, reason, "x")
    bench.clock.advance(WINDOW)
    bench.rejections.flush()
    found = [(line.get("source", ""), line["reason"], line.get("count")) for line in await bench.lines()]
    assert found == [(*pair, None) for pair in pairs] + [(*pair, 2) for pair in pairs]


async def test_the_summary_line_counts_each_detail_and_names_ids_and_addresses(bench: JanitorBench) -> None:
    fits, malformed = "no signature fits this body, id and timestamp", "the message id is not 1 to 255 printable characters"
    for number in range(21):
        bench.rejections.add("legitmark", "bad_signature", fits, sender_id=f"msg_{number}", address="192.0.2.1")
    bench.rejections.add("legitmark", "bad_signature", malformed, address="192.0.2.2")
    bench.clock.advance(WINDOW)
    bench.rejections.flush()
    first, rest = await bench.lines()
    assert (first["detail"], first["sender_ids"], first["addresses"]) == (fits, ["msg_0"], ["192.0.2.1"])
    assert "count" not in first
    assert (rest["count"], rest["detail"]) == (21, f"20 x {fits}; 1 x {malformed}")
    assert rest["sender_ids"] == [f"msg_{number}" for number in range(1, 21)]
    assert rest["addresses"] == ["192.0.2.1", "192.0.2.2"] and "more_sender_ids" not in rest


async def test_texts_of_a_stranger_cannot_make_the_line_long(bench: JanitorBench) -> None:
    for number in range(5001):
        bench.rejections.add("legitmark", "bad_signature", f"detail {number}", sender_id=f"msg_{number}", address=f"a{number}")
    bench.clock.advance(WINDOW)
    bench.rejections.flush()
    _, rest = await bench.lines()
    assert rest["count"] == 5000 and len(json.dumps(rest)) < 4000
    assert (len(rest["sender_ids"]), rest["more_sender_ids"]) == (MOST_NAMED, 5000 - MOST_NAMED)


async def test_a_stop_writes_the_counts_of_open_windows(bench: JanitorBench) -> None:
    running = asyncio.create_task(bench.janitor.run())
    bench.rejections.add("legitmark", "bad_signature", "x")
    bench.rejections.add("legitmark", "bad_signature", "x")
    bench.janitor.stop()
    await asyncio.wait_for(running, PATIENCE)
    assert [line.get("count") for line in await bench.lines()] == [None, 1]


# --- purge


async def test_finished_messages_older_than_retention_are_purged_and_others_stay(bench: JanitorBench) -> None:
    old = {state: await bench.add(state) for state in ("delivered", "queued", "dead")}
    old["quarantined"] = await bench.add(None, "quarantined")
    old["unrouted"] = await bench.add(None, "unrouted")
    bench.clock.advance(RETENTION - 10)
    young = await bench.add("delivered")
    await bench.walk()
    assert bench.left() == {one for ids in (*old.values(), young) for one in ids}
    bench.clock.advance(60)
    await bench.walk()
    assert bench.left() == {*old["queued"], *old["dead"], *young}


async def test_a_message_to_two_sinks_stays_while_one_delivery_is_open(bench: JanitorBench) -> None:
    now = bench.clock.now()
    message = Message(bench.clock.new_id(), "legitmark", "msg_1", now, None, b"{}")
    stored = await bench.store.accept(NewMessage(message, "accepted", deliveries=(("erp", now), ("archive", now))))
    assert isinstance(stored, Accepted)
    transition = decide(Delivered(), retries=0, since=now, now=now, jitter=0.0, policy=RetryPolicy())
    await bench.store.settle(Settlement(stored.seq, "erp", transition, now, Attempt(1, now, 1, Delivered())))
    bench.clock.advance(RETENTION + 60)
    await bench.walk()
    assert bench.left() == {message.id}
    await bench.store.settle(Settlement(stored.seq, "archive", transition, now, Attempt(1, now, 1, Delivered())))
    bench.clock.advance(60)
    await bench.walk()
    assert bench.left() == set()


async def test_everything_that_belongs_to_a_message_is_purged_with_it_and_the_counters_follow(bench: JanitorBench) -> None:
    await bench.add("delivered", number=3)
    await bench.add("dead", number=2)
    bench.clock.advance(RETENTION + 60)
    await bench.walk()
    both = "SELECT (SELECT count(*) FROM deliveries), (SELECT count(*) FROM attempts)"
    assert rows(bench.store.path, both) == [(2, 2)]
    counts = (await bench.store.counts())["erp"]
    assert (counts.queued, counts.delivered, counts.dead) == (0, 0, 2)


async def test_a_purge_walks_in_slices_with_pauses_even_over_messages_that_stay(bench: JanitorBench) -> None:
    dead = await bench.add("dead", number=220)  # more than a slice: the walk must not end at it
    await bench.add("delivered", number=250)
    bench.clock.advance(RETENTION + 60)
    assert await bench.walk() == [0.1, 0.1]
    assert bench.left() == set(dead)


async def test_the_purge_walks_once_a_minute(bench: JanitorBench) -> None:
    bench.clock.advance(600)
    await bench.janitor.step()
    bench.clock.advance(1.0)
    await bench.add("delivered", age=RETENTION + 60)
    for _ in range(58):
        assert await bench.janitor.step() == 1.0
        bench.clock.advance(1.0)
    assert len(bench.left()) == 1
    bench.clock.advance(1.0)
    await bench.janitor.step()
    assert bench.left() == set()


async def test_a_start_with_a_clock_that_is_ahead_purges_nothing_until_the_clock_could_be_set(bench: JanitorBench) -> None:
    await bench.add("delivered", age=RETENTION + 60)
    for _ in range(599):
        await bench.janitor.step()
        bench.clock.advance(1.0)
    assert len(bench.left()) == 1
    bench.clock.advance(1.0)
    await bench.janitor.step()
    assert bench.left() == set()


async def test_a_purge_that_fails_is_logged_and_tried_again(bench: JanitorBench) -> None:
    await bench.add("delivered")
    bench.clock.advance(RETENTION + 60)
    bench.store.error = StoreError("the disk is full")
    assert await bench.janitor.step() == 1.0
    (call,) = bench.log.calls
    assert call.method_name == "error" and len(bench.left()) == 1
    bench.store.error = None
    bench.clock.advance(60)
    await bench.walk()
    assert bench.left() == set()


async def test_a_broken_disk_ends_the_janitor(bench: JanitorBench) -> None:
    bench.clock.advance(600)
    bench.store.error = StoreFailed("gone")
    with pytest.raises(StoreFailed):
        await asyncio.wait_for(bench.janitor.run(), PATIENCE)


async def test_after_retention_a_message_is_new_again_even_before_it_is_purged(bench: JanitorBench) -> None:
    message = Message(bench.clock.new_id(), "legitmark", "msg_1", bench.clock.now(), None, b"{}")
    await bench.store.accept(NewMessage(message, "accepted"))
    for after, kind in ((RETENTION - 1, Duplicate), (2.0, Accepted)):
        bench.clock.advance(after)
        again = Message(bench.clock.new_id(), "legitmark", "msg_1", bench.clock.now(), None, b"{}")
        assert isinstance(await bench.store.accept(NewMessage(again, "accepted")), kind)


async def test_the_janitor_runs_by_itself(bench: JanitorBench) -> None:
    await bench.add("delivered")
    bench.clock.advance(RETENTION + 60)
    running = asyncio.create_task(bench.janitor.run())
    await until(lambda: not bench.left())
    bench.janitor.stop()
    await until(running.done)


# --- what must hold


@pytest.fixture
def lane(bench: JanitorBench) -> Lane:
    """A lane that does nothing, although nothing holds it back."""
    log = structlog.wrap_logger(bench.log, processors=[])
    own_events = own_events_for(bench.store, bench.audit, bench.clock)
    world = LaneWorld(bench.store, bench.audit, own_events, bench.metrics, bench.clock, log)
    gates = Gates(KeptGates(), BreakerPolicy(3, 30.0), None, bench.clock)
    lane = Lane("erp", FakeSink(), LaneSettings(RetryPolicy(), 16, 30.0), gates, world)
    bench.lanes["erp"] = lane
    return lane


async def test_an_overdue_delivery_of_a_free_lane_is_an_error_line_and_a_metric(bench: JanitorBench, lane: Lane) -> None:
    await bench.add("queued")
    for _ in range(5):
        await bench.janitor.step()
        bench.clock.advance(1.0)
    assert alarms(bench, "invariant.overdue") == []  # a few seconds do not count
    for _ in range(7):
        await bench.janitor.step()
        bench.clock.advance(1.0)
    (alarm,) = alarms(bench, "invariant.overdue")
    assert alarm["sink"] == "erp" and 5.0 < alarm["seconds"] < 12.0
    assert violations(bench, "overdue") == 1.0


async def test_a_delivery_that_waits_for_a_held_lane_is_not_overdue(bench: JanitorBench, lane: Lane) -> None:
    await bench.add("queued")
    await lane.pause("ann")
    for _ in range(20):
        await bench.janitor.step()
        bench.clock.advance(1.0)
    assert alarms(bench, "invariant.overdue") == [] and violations(bench, "overdue") == 0.0


async def test_a_delivery_that_is_not_due_yet_is_not_overdue(bench: JanitorBench, lane: Lane) -> None:
    await bench.add("queued", age=-600.0)
    for _ in range(20):
        await bench.janitor.step()
        bench.clock.advance(1.0)
    assert alarms(bench, "invariant.overdue") == []


async def set_counter(bench: JanitorBench, column: str, by: int) -> None:
    await run_sql(bench.store, f"UPDATE counters SET {column} = {column} + {by} WHERE sink = 'erp'")


@pytest.mark.parametrize("column", ["queued", "delivered", "dead", "discarded"])
@pytest.mark.parametrize("by", [1, -1])
async def test_a_counter_that_is_off_by_one_is_an_error_line_and_a_metric(bench: JanitorBench, column: str, by: int) -> None:
    for state in ("queued", "delivered", "dead"):
        await bench.add(state, number=3)
    discarded = [Target(seq, "erp") for seq in (1, 4)]  # one queued and one delivered; the delivered one stays
    await bench.store.discard(discarded, now=bench.clock.now(), actor="ann")
    await an_hour(bench)
    assert alarms(bench, "invariant.counters") == [] and violations(bench, "counters") == 0.0
    await set_counter(bench, column, by)
    await an_hour(bench)
    said = alarms(bench, "invariant.counters")
    assert said and {alarm["sink"] for alarm in said} == {"erp"} and violations(bench, "counters") == len(said)
    assert any(column in alarm["what"] for alarm in said)


async def test_changes_while_the_table_is_counted_page_by_page_raise_no_alarm(
    bench: JanitorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "COUNTED_AT_ONCE", 4)
    await bench.add("delivered", number=10)
    await bench.add("queued", number=10)
    bench.clock.advance(3600.0)
    pages = 0
    while not await bench.invariants.check_counters():
        pages += 1
        await bench.add("delivered")
        await bench.add("queued")
        assert pages < 50
    assert pages > 5
    assert alarms(bench, "invariant.counters") == [] and violations(bench, "counters") == 0.0


async def test_a_replay_of_delivered_messages_in_the_middle_of_a_count_raises_no_alarm(
    bench: JanitorBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "COUNTED_AT_ONCE", 4)
    await bench.add("delivered", number=20)
    bench.clock.advance(3600.0)
    assert not await bench.invariants.check_counters()
    again = [Target(1, "erp"), Target(2, "erp")]
    await bench.store.reopen(again, ["delivered"], add=False, now=bench.clock.now(), actor="ann")
    for _ in range(20):
        await bench.invariants.check_counters()
    assert alarms(bench, "invariant.counters") == []


async def test_a_purge_waits_until_the_table_is_counted(bench: JanitorBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "COUNTED_AT_ONCE", 4)
    await bench.add("delivered", number=20)
    bench.clock.advance(RETENTION + 60)
    await bench.janitor.step()  # the first page
    assert len(bench.left()) == 20
    for _ in range(10):
        bench.clock.advance(1.0)
        await bench.janitor.step()
    assert bench.left() == set() and alarms(bench, "invariant.counters") == []


async def test_the_count_skips_gaps_that_a_purge_left(bench: JanitorBench) -> None:
    await bench.add("dead")
    await bench.add("delivered")

    await run_sql(
        bench.store,
        "PRAGMA defer_foreign_keys = ON",
        "UPDATE messages SET seq = 900000000 WHERE seq = 2",
        "UPDATE deliveries SET message = 900000000 WHERE message = 2",
        "UPDATE attempts SET message = 900000000 WHERE message = 2",
        "UPDATE entries SET message = 900000000 WHERE message = 2",
    )
    bench.clock.advance(3600.0)
    pages = 1
    while not await bench.invariants.check_counters():
        pages += 1
    assert pages == 2 and alarms(bench, "invariant.counters") == []
