"""A reload leaves unchanged sinks alone, and lets the event loop go on between its steps (promise 10)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

from gateway.host.blocking import run_in_thread, short_turns
from tests.engine.lanes_bench import LanesBench
from tests.support.metric_values import metric_values


async def test_a_busy_thread_soon_gives_way_to_the_event_loop() -> None:
    before = sys.getswitchinterval()
    done = False

    def compute() -> int:
        found = 0
        while not done:
            found += 1
        return found

    with short_turns():
        assert sys.getswitchinterval() < 0.001 <= before
        computing = asyncio.ensure_future(run_in_thread(compute, "computes"))
        await asyncio.sleep(0)
        done = True
        assert await computing >= 0
    assert sys.getswitchinterval() == before


async def test_a_reload_that_changes_nothing_opens_no_sink_and_changes_no_lane(all_lanes: LanesBench) -> None:
    sinks = "".join(f'[sinks.s{number}]\ntype = "http"\nurl = "http://127.0.0.1:9/{number}"\n' for number in range(20))
    await all_lanes.use(sinks)
    before = dict(all_lanes.directory)
    written = all_lanes.bench.store.change
    changes = 0

    async def counted(*args: object) -> object:
        nonlocal changes
        changes += 1
        return await written(*args)  # type: ignore[arg-type]

    all_lanes.bench.store.change = counted  # type: ignore[method-assign,assignment]
    assert (await all_lanes.lanes.open_sinks(all_lanes.config(sinks))).sinks == {}
    await all_lanes.use(sinks)
    assert changes == 0
    assert all(all_lanes.directory[name] is lane and lane.waiting.changes == 0 for name, lane in before.items())


async def test_the_loop_goes_on_between_the_sinks_that_a_reload_opens_and_between_their_metrics(all_lanes: LanesBench) -> None:
    def sinks(first: int) -> str:
        return "".join(f'[sinks.s{at}]\ntype = "http"\nurl = "http://127.0.0.1:9/{at}"\n' for at in range(first, first + 20))

    await all_lanes.use(sinks(0))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    metrics, at = all_lanes.bench.metrics, list[int]()
    made = metrics.expect

    def noted(sources: Iterable[str], names: Iterable[str]) -> None:
        at.append(turns)
        made(sources, names)

    metrics.expect = noted  # type: ignore[method-assign,assignment]
    counting = asyncio.ensure_future(count())
    opened = await all_lanes.lanes.open_sinks(all_lanes.config(sinks(100)))
    counting.cancel()
    assert len(opened.sinks) == 20 and len(set(at)) == 20
    assert metric_values(all_lanes.bench.metrics, "deliveries_ended_total", sink="s100", state="delivered") == [0.0]
    for sink in opened.sinks.values():
        await sink.aclose()
