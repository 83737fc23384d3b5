"""A reload replaces the sink of a lane: each sink is closed exactly once, and never under an attempt that uses it."""

from __future__ import annotations

import structlog

from gateway.delivery.sink_slot import SinkSlot
from gateway.observability.logs import Sparing
from tests.fakes import FakeSink


def slot_with(sink: FakeSink) -> SinkSlot:
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    return SinkSlot("erp", sink, Sparing(log, lambda: 0.0))


async def test_a_sink_in_use_is_closed_by_the_last_attempt_that_uses_it() -> None:
    old, new = FakeSink(), FakeSink()
    slot = slot_with(old)
    first, second = slot.take(), slot.take()
    assert first is old and second is old
    assert slot.use(new) is None, "the caller has nothing to close yet"
    assert slot.take() is new
    await slot.give_back(old)
    assert old.closed == 0
    await slot.give_back(old)
    assert (old.closed, new.closed) == (1, 0)


async def test_an_idle_sink_is_closed_by_the_caller() -> None:
    old, new = FakeSink(), FakeSink()
    slot = slot_with(old)
    assert slot.use(new) is old
    assert slot.use(None) is new and slot.empty and slot.take() is None
    assert slot.use(None) is None


async def test_a_sink_that_comes_back_while_it_is_in_use_stays_open() -> None:
    sink = FakeSink()
    slot = slot_with(sink)
    assert slot.take() is sink
    assert slot.use(None) is None and slot.use(sink) is None
    await slot.give_back(sink)
    assert sink.closed == 0


async def test_the_end_of_a_lane_closes_an_idle_sink_and_leaves_a_busy_one_to_its_attempt() -> None:
    idle, busy = FakeSink(), FakeSink()
    await slot_with(idle).aclose()
    assert idle.closed == 1
    slot = slot_with(busy)
    assert slot.take() is busy
    await slot.aclose()
    assert busy.closed == 0
    await slot.give_back(busy)
    assert busy.closed == 1
