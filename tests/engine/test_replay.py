"""Replays, backfills, discards and pauses by a person."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.control.interventions import Act
from gateway.core.routing import Route
from gateway.core.selection import MessageStatus, Selection, Target
from tests.engine.interventions_bench import InterventionsBench, going_on_after, of, operating
from tests.fakes import START, FakeClock

_FIRST = Target(0, "")


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[InterventionsBench]:
    async with operating(tmp_path, clock) as bench:
        yield bench


async def test_a_replayed_delivery_is_sent_again_with_the_same_ids_and_has_an_audit_line(bench: InterventionsBench) -> None:
    one, *_ = await bench.dead(2)
    assert await bench.replay(Act(selection=of(id=one.id), actor="ann")) == 1
    await bench.work()
    (sent,) = bench.sinks["erp"].sent
    assert (sent.delivery_id, sent.message_id, sent.attempt) == (f"{one.id}-erp", one.id, 2)
    (line,) = await bench.lines("delivery.replayed")
    assert (line["delivery_id"], line["sink"], line["actor"], line["message_id"]) == (f"{one.id}-erp", "erp", "ann", one.id)
    assert [state for _, _, state in await bench.states()] == ["delivered", "dead"]


async def test_a_replay_chooses_by_sink_and_window(bench: InterventionsBench) -> None:
    await bench.dead(4, "erp", "crm")
    assert await bench.replay(Act(selection=of(sink="crm", since=START + 1, until=START + 3))) == 2
    queued = [(seq, sink) for seq, sink, state in await bench.states() if state == "queued"]
    assert queued == [(2, "crm"), (3, "crm")]


async def test_delivered_messages_are_replayed_only_on_request(bench: InterventionsBench) -> None:
    message = await bench.keep("m1", "erp")
    await bench.work()
    assert await bench.replay(Act(selection=of(id=message.id))) == 0
    assert await bench.replay(Act(selection=of(id=message.id), delivered=True)) == 1
    await bench.work()
    assert [sent.delivery_id for sent in bench.sinks["erp"].sent] == [f"{message.id}-erp"] * 2


async def test_a_backfill_adds_missing_deliveries_and_reopens_dead_ones_once_per_message(bench: InterventionsBench) -> None:
    await bench.dead(2, "erp")
    await bench.keep("routed", "crm")
    act = Act(selection=of(since=START), to="crm")
    assert await bench.replay(act) == 2
    assert await bench.replay(act) == 0
    await bench.work()
    assert await bench.replay(act) == 0
    states = await bench.states()
    assert [(seq, sink) for seq, sink, state in states if state == "delivered"] == [(1, "crm"), (2, "crm"), (3, "crm")]
    assert [(seq, sink) for seq, sink, state in states if state == "dead"] == [(1, "erp"), (2, "erp")]
    assert await bench.replay(Act(selection=of(since=START), to="erp")) == 3
    assert len(bench.sinks["crm"].sent) == 3


async def test_a_reroute_follows_the_present_rules(bench: InterventionsBench) -> None:
    (one,) = await bench.dead(1, "erp")
    assert await bench.replay(Act(selection=of(id=one.id), reroute=True)) == 2, "what is dead, and what the rules add"
    assert await bench.states() == [(1, "crm", "queued"), (1, "erp", "queued")]
    bench.routed(Route(name="both", sinks=("crm", "erp")))
    assert await bench.replay(Act(selection=of(id=one.id), reroute=True)) == 0
    assert await bench.states() == [(1, "crm", "queued"), (1, "erp", "queued")]


@pytest.mark.parametrize("status", ["unrouted", "quarantined"])
async def test_unrouted_and_quarantined_messages_are_replayed_by_the_present_rules(
    bench: InterventionsBench, status: MessageStatus
) -> None:
    await bench.keep("m1", status=status, body=b"\xff" if status == "quarantined" else b"{}")
    await bench.keep("m2", "erp")
    act = Act(selection=of(status=status), reroute=True)
    assert await bench.replay(act) == 1
    await bench.work()
    assert [sent.sender_id for sent in bench.sinks["crm"].sent] == ["m1"]
    assert await bench.replay(act) == 0


async def test_a_replay_of_more_than_a_slice_reaches_the_last_delivery(bench: InterventionsBench) -> None:
    for number in range(203):
        await bench.keep(f"m{number}", "erp", "crm")
    await bench.work()
    assert await bench.replay(Act(selection=of(sink="erp"), delivered=True, dry_run=True)) == 203
    assert await bench.replay(Act(selection=of(sink="erp"), delivered=True)) == 203
    assert len(await bench.lines("delivery.replayed")) == 203


@pytest.mark.parametrize("to", [None, "crm"])
async def test_a_dry_run_says_what_would_change_and_changes_nothing(bench: InterventionsBench, to: str | None) -> None:
    await bench.dead(3)
    before = await bench.states()
    act = Act(selection=of(since=START), to=to, dry_run=True)
    assert await bench.replay(act) == 3
    assert await bench.discard(Act(selection=of(state="dead"), dry_run=True)) == 3
    assert await bench.states() == before
    assert await bench.lines("delivery.replayed") == [] and await bench.lines("delivery.discarded") == []
    assert await bench.replay(going_on_after(Act(selection=of(since=START), to=to), None)) == 3


async def test_a_replay_to_a_sink_that_does_not_exist_says_so(bench: InterventionsBench) -> None:
    with pytest.raises(LookupError, match="no sink"):
        await bench.replay(Act(selection=of(since=START), to="nowhere"))


async def test_a_replay_holds_one_body_in_memory_at_a_time_and_a_list_only_a_few(bench: InterventionsBench) -> None:
    """`max_body` may be 64 MiB, and a slice is 200 messages."""
    size, number = 1024 * 1024, 30
    for n in range(number):
        await bench.keep(f"m{n}", "erp", body=b'{"x": "%s"}' % (b"y" * size), sr_uuid="sr-7")
    tracemalloc.start()
    try:
        for act in (
            Act(selection=of(sink="erp"), dry_run=True),
            Act(selection=of(since=START), to="crm"),
            Act(selection=of(id="sr-7"), reroute=True, dry_run=True),
        ):
            await bench.replay(act)
        assert await bench.discard(Act(selection=of(id="sr-7"))) == 2 * number
        assert await bench.replay(Act(selection=of(since=START), reroute=True)) == 0
        acting = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        stories, more = await bench.browse.show("sr-7")
        showing = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert acting < 6 * size, f"{acting / size:.1f} bodies"
    assert 1 < len(stories) < number and more and showing < 20 * size, f"{showing / size:.1f} bodies"


@pytest.mark.parametrize("selection", [of(state="dead"), of(sink="erp"), of(state="dead", id="m1")])
@pytest.mark.parametrize("act", [{"to": "crm"}, {"reroute": True}])
async def test_a_backfill_of_chosen_deliveries_makes_no_sense_and_does_nothing(
    bench: InterventionsBench, selection: Selection, act: dict[str, Any]
) -> None:
    await bench.dead(1)
    with pytest.raises(ValueError, match="exist"):
        await bench.replay(Act(selection=selection, **act))
    assert await bench.states() == [(1, "erp", "dead")]


async def test_a_dry_run_counts_the_deliveries_by_kind(bench: InterventionsBench) -> None:
    await bench.dead(2, "crm")
    await bench.keep("made", "crm")
    bench.lanes["crm"].refresh()
    await bench.work()
    await bench.keep("new", "erp")
    window = of(since=START)
    for act, kinds in (
        (Act(selection=window, dry_run=True), {"dead": 2}),
        (Act(selection=window, to="crm", dry_run=True), {"dead": 2, "new": 1}),
        (Act(selection=window, to="crm", delivered=True, dry_run=True), {"dead": 2, "delivered": 1, "new": 1}),
    ):
        progress = await bench.interventions.replay(act)
        assert (progress.kinds, progress.changed) == (kinds, sum(kinds.values()))
    progress = await bench.interventions.discard(Act(selection=window, dry_run=True))
    assert progress.kinds == {"dead": 2, "queued": 1}


# --- discard, pause, a sink that is gone


async def test_discarded_deliveries_have_audit_lines_and_their_messages_are_kept(bench: InterventionsBench) -> None:
    await bench.dead(2)
    await bench.keep("queued", "crm")
    assert await bench.discard(Act(selection=of(sink="erp"), actor="bob")) == 2
    assert await bench.states() == [(1, "erp", "discarded"), (2, "erp", "discarded"), (3, "crm", "queued")]
    lines = await bench.lines("delivery.discarded")
    assert [(line["sink"], line["actor"]) for line in lines] == [("erp", "bob")] * 2
    messages, _ = await bench.browse.messages(of(), 0, 10)
    assert len(messages) == 3


async def test_deliveries_to_a_removed_sink_are_held_and_never_given_up(bench: InterventionsBench) -> None:
    await bench.keep("m1", "gone", "erp")
    await bench.work()
    bench.clock.advance(30 * 86400.0)
    await bench.work()
    page, _ = await bench.browse.deliveries(of(sink="gone"), _FIRST, 10)
    assert [(one.delivery.state, one.delivery.held) for one in page] == [("queued", "no such sink")]
    (gone,) = [sink for sink in await bench.browse.sinks() if sink.sink == "gone"]
    assert (gone.gates, gone.counts.queued) == (None, 1)
    assert await bench.discard(Act(selection=of(sink="gone"))) == 1


async def test_a_pause_shows_at_the_sink_and_at_its_deliveries(bench: InterventionsBench) -> None:
    assert await bench.interventions.pause("erp", "ann")
    await bench.keep("m1", "erp")
    page, _ = await bench.browse.deliveries(of(), _FIRST, 10)
    assert page[0].delivery.held == "paused"
    erp = next(sink for sink in await bench.browse.sinks() if sink.sink == "erp")
    assert erp.gates is not None and (erp.gates.paused_by, erp.gates.breaker, erp.counts.queued) == ("ann", "closed", 1)
    with pytest.raises(LookupError):
        await bench.interventions.pause("nowhere", "ann")
