"""What people do to a gateway: replay, backfill, discard, pause, and looking at what there is."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.control import ids
from gateway.control.browse import Browse
from gateway.control.replay import Act, Operator, Progress
from gateway.core.breaker import BreakerPolicy
from gateway.core.outcome import Delivered, Reason, Reject
from gateway.core.records import Accepted, Message, NewMessage, SinkState
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.core.selection import MessageStatus, Selection, Target
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.sqlite import named_messages
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START, FakeClock, FakeSink, own_events_for

_BAD = Reject(Reason.HTTP_STATUS, "HTTP 410", 410)
_FIRST = Target(0, "")


class _Bench:
    """An operator with two lanes, `erp` and `crm`, that work when they are told to; `gone` is no sink any more."""

    def __init__(self, store: SqliteStore, audit: AuditLog, clock: FakeClock) -> None:
        self.store, self.audit, self.clock = store, audit, clock
        log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
        own_events = own_events_for(store, audit, clock)
        world = LaneWorld(store, audit, own_events, Metrics(), clock, log)
        self.sinks = {name: FakeSink() for name in ("erp", "crm")}
        self.lanes = {
            name: Lane(
                name,
                sink,
                LaneSettings(RetryPolicy(), 4, 30.0),
                Gates(SinkState(), BreakerPolicy(failures=1000), None, clock),
                world,
            )
            for name, sink in self.sinks.items()
        }
        self.operator = self.routed(Route(name="all", sinks=("crm",)))
        self.browse = Browse(store=store, router=lambda: Router([]), lanes=self.lanes)

    def routed(self, *routes: Route) -> Operator:
        self.operator = Operator(
            store=self.store, audit=self.audit, router=lambda: Router(routes), lanes=self.lanes, clock=self.clock
        )
        return self.operator

    async def keep(self, sender: str, *sinks: str, status: MessageStatus = "accepted", **more: Any) -> Message:
        now = self.clock.now()
        message = Message(self.clock.new_id(), "legitmark", sender, now, None, more.pop("body", b"{}"), **more)
        stored = await self.store.accept(NewMessage(message, status, None, tuple((sink, now) for sink in sinks)))
        assert isinstance(stored, Accepted)
        return message

    async def work(self) -> None:
        for lane in self.lanes.values():
            for _ in range(200):
                async with asyncio.TaskGroup() as sends:
                    if await lane.step(sends) != 0 and lane.oldest_in_flight is None:
                        break
        self.clock.advance(0.01)

    async def dead(self, number: int = 3, *sinks: str) -> list[Message]:
        """Messages whose deliveries all ended dead; a second passes after each."""
        for sink in self.sinks.values():
            sink.answer = _BAD
        kept = []
        for _ in range(number):
            kept.append(await self.keep(f"msg_{self.clock.new_id()}", *(sinks or ("erp",))))
            self.clock.advance(1.0)
        for lane in self.lanes.values():
            lane.refresh()
        await self.work()
        for sink in self.sinks.values():
            sink.answer = Delivered(200)
            sink.sent.clear()
        return kept

    async def states(self) -> list[tuple[Any, ...]]:
        return await self.store.read(
            lambda reader: reader.execute("SELECT message, sink, state FROM deliveries ORDER BY message, sink").fetchall()
        )

    async def replay(self, act: Act) -> int:
        """All slices; how many were changed."""
        return await self._all(self.operator.replay, act)

    async def discard(self, act: Act) -> int:
        return await self._all(self.operator.discard, act)

    async def _all(self, do: Callable[[Act], Awaitable[Progress]], act: Act) -> int:
        changed, after = 0, act.after
        for _ in range(100):
            progress = await do(_with(act, after))
            changed, after = changed + progress.changed, progress.after
            if after is None:
                return changed
        raise AssertionError("the slices have no end")

    async def lines(self, name: str) -> list[dict[str, Any]]:
        await self.audit.flush()
        if not self.audit.path.exists():
            return []
        return [line for raw in self.audit.path.read_bytes().splitlines() if (line := json.loads(raw))["event"] == name]


def _with(act: Act, after: Target | None) -> Act:
    return Act(
        selection=act.selection,
        to=act.to,
        reroute=act.reroute,
        delivered=act.delivered,
        dry_run=act.dry_run,
        actor=act.actor,
        after=after,
    )


def few_to_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one page of the messages that an id stands for hold three of them."""
    for module in (ids, named_messages):
        monkeypatch.setattr(module, "MOST_NAMED", 3)


def of(**selection: Any) -> Selection:
    return Selection(**selection)


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[_Bench]:
    store = await SqliteStore.open(tmp_path / "gateway.db", 90 * 86400.0)
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    audit = AuditLog(tmp_path / "audit.jsonl", clock, log)
    beside = [asyncio.create_task(store.run()), asyncio.create_task(audit.run())]
    try:
        yield _Bench(store, audit, clock)
    finally:
        audit.finish()
        store.finish()
        await asyncio.gather(*beside)
        audit.close()
        await store.close()


# --- replay


async def test_a_replayed_delivery_is_sent_again_with_the_same_ids_and_told_in_the_audit_log(bench: _Bench) -> None:
    one, *_ = await bench.dead(2)
    assert await bench.replay(Act(selection=of(id=one.id), actor="ann")) == 1
    await bench.work()
    (sent,) = bench.sinks["erp"].sent
    assert (sent.delivery_id, sent.message_id, sent.attempt) == (f"{one.id}-erp", one.id, 2)
    (line,) = await bench.lines("delivery.replayed")
    assert (line["delivery_id"], line["sink"], line["actor"], line["message_id"]) == (f"{one.id}-erp", "erp", "ann", one.id)
    assert [state for _, _, state in await bench.states()] == ["delivered", "dead"]


async def test_a_replay_chooses_by_sink_and_window(bench: _Bench) -> None:
    await bench.dead(4, "erp", "crm")
    assert await bench.replay(Act(selection=of(sink="crm", since=START + 1, until=START + 3))) == 2
    queued = [(seq, sink) for seq, sink, state in await bench.states() if state == "queued"]
    assert queued == [(2, "crm"), (3, "crm")]


async def test_what_was_delivered_is_replayed_only_where_that_is_asked_for(bench: _Bench) -> None:
    message = await bench.keep("m1", "erp")
    await bench.work()
    assert await bench.replay(Act(selection=of(id=message.id))) == 0
    assert await bench.replay(Act(selection=of(id=message.id), delivered=True)) == 1
    await bench.work()
    assert [sent.delivery_id for sent in bench.sinks["erp"].sent] == [f"{message.id}-erp"] * 2


async def test_a_backfill_makes_what_does_not_exist_and_reopens_what_is_dead_once_per_message(bench: _Bench) -> None:
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


async def test_a_reroute_goes_by_the_rules_of_today(bench: _Bench) -> None:
    (one,) = await bench.dead(1, "erp")
    assert await bench.replay(Act(selection=of(id=one.id), reroute=True)) == 2, "what is dead, and what the rules add"
    assert await bench.states() == [(1, "crm", "queued"), (1, "erp", "queued")]
    bench.routed(Route(name="both", sinks=("crm", "erp")))
    assert await bench.replay(Act(selection=of(id=one.id), reroute=True)) == 0
    assert await bench.states() == [(1, "crm", "queued"), (1, "erp", "queued")]


@pytest.mark.parametrize("status", ["unrouted", "quarantined"])
async def test_unrouted_and_quarantined_messages_are_replayed_by_the_rules_of_today(bench: _Bench, status: MessageStatus) -> None:
    await bench.keep("m1", status=status, body=b"\xff" if status == "quarantined" else b"{}")
    await bench.keep("m2", "erp")
    act = Act(selection=of(status=status), reroute=True)
    assert await bench.replay(act) == 1
    await bench.work()
    assert [sent.sender_id for sent in bench.sinks["crm"].sent] == ["m1"]
    assert await bench.replay(act) == 0


async def test_more_than_a_slice_is_replayed_to_the_last_one(bench: _Bench) -> None:
    for number in range(203):
        await bench.keep(f"m{number}", "erp", "crm")
    await bench.work()
    assert await bench.replay(Act(selection=of(sink="erp"), delivered=True, dry_run=True)) == 203
    assert await bench.replay(Act(selection=of(sink="erp"), delivered=True)) == 203
    assert len(await bench.lines("delivery.replayed")) == 203


@pytest.mark.parametrize("to", [None, "crm"])
async def test_a_dry_run_says_what_would_be_and_changes_nothing(bench: _Bench, to: str | None) -> None:
    await bench.dead(3)
    before = await bench.states()
    act = Act(selection=of(since=START), to=to, dry_run=True)
    assert await bench.replay(act) == 3
    assert await bench.discard(Act(selection=of(state="dead"), dry_run=True)) == 3
    assert await bench.states() == before
    assert await bench.lines("delivery.replayed") == [] and await bench.lines("delivery.discarded") == []
    assert await bench.replay(_with(Act(selection=of(since=START), to=to), None)) == 3


async def test_a_replay_to_a_sink_that_does_not_exist_says_so(bench: _Bench) -> None:
    with pytest.raises(LookupError, match="no sink"):
        await bench.replay(Act(selection=of(since=START), to="nowhere"))


async def test_all_messages_with_a_reference_id_are_found_however_far_apart(bench: _Bench) -> None:
    """The events of one item come over days, with thousands of others between them."""
    for number in range(12):
        await bench.keep(f"m{number}", "erp", reference_id="BAG-7" if number % 5 == 0 else "other")
    story, more = await bench.browse.show("BAG-7")
    assert not more
    assert [message.ids.sender_id for message in story] == ["m0", "m5", "m10"]


async def test_a_reference_id_is_found_though_other_ids_begin_like_it(bench: _Bench) -> None:
    one = await bench.keep("m1", "erp", reference_id="0")  # as the ids of the gateway do
    story, _ = await bench.browse.show("0")
    assert one.id in [message.ids.id for message in story]
    number = await bench.keep("m2", "erp", reference_id="m1")
    assert number.id in [message.ids.id for message in (await bench.browse.show("m1"))[0]]


async def test_an_empty_id_stands_for_nothing(bench: _Bench) -> None:
    """`gateway discard "$ID" --yes` with the variable unset must not end every delivery there is."""
    await bench.keep("m1", "erp")
    try:
        changed = await bench.discard(Act(selection=of(id="")))
    except ValueError:
        changed = 0
    assert changed == 0
    assert await bench.states() == [(1, "erp", "queued")]


@pytest.mark.parametrize("text", ["sr-7", "BAG-7", "msg_"], ids=["service request", "reference", "beginning"])
async def test_an_id_may_stand_for_more_messages_than_are_resolved_at_a_time(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch, text: str
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


async def test_after_the_last_of_many_messages_with_an_id_come_none_whose_ids_only_begin_so(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_to_a_page(monkeypatch)
    for number in range(3):
        await bench.keep(f"m{number}", "erp", sr_uuid="sr-7")
    await bench.keep("another", "erp", sr_uuid="sr-70")
    assert await bench.discard(Act(selection=of(id="sr-7"))) == 3
    assert [state for _, _, state in await bench.states()] == ["discarded"] * 3 + ["queued"]


async def test_a_backfill_by_an_id_reaches_all_that_it_stands_for(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    few_to_a_page(monkeypatch)
    for number in range(8):
        await bench.keep(f"m{number}", "erp", sr_uuid="sr-7", reference_id="BAG-7")
    for act in (Act(selection=of(id="sr-7"), to="crm", dry_run=True), Act(selection=of(id="BAG-7"), reroute=True)):
        assert await bench.replay(act) == 8
    assert sum(sink == "crm" for _, sink, _ in await bench.states()) == 8


async def test_a_story_says_that_there_is_more_than_it_tells(bench: _Bench) -> None:
    for number in range(101):
        await bench.keep(f"m{number}", sr_uuid="sr-7")
    stories, more = await bench.browse.show("sr-7")
    assert [story.ids.sender_id for story in stories] == [f"m{number}" for number in range(100)] and more
    stories, more = await bench.browse.show("m100")
    assert len(stories) == 1 and not more


async def test_no_more_than_one_body_is_in_memory_whatever_is_replayed_and_some_when_it_is_shown(bench: _Bench) -> None:
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
    bench: _Bench, selection: Selection, act: dict[str, Any]
) -> None:
    await bench.dead(1)
    with pytest.raises(ValueError, match="exist"):
        await bench.replay(Act(selection=selection, **act))
    assert await bench.states() == [(1, "erp", "dead")]


async def test_a_count_tells_what_the_deliveries_are(bench: _Bench) -> None:
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
        progress = await bench.operator.replay(act)
        assert (progress.kinds, progress.changed) == (kinds, sum(kinds.values()))
    progress = await bench.operator.discard(Act(selection=window, dry_run=True))
    assert progress.kinds == {"dead": 2, "queued": 1}


# --- discard, pause, a sink that is gone


async def test_discarded_deliveries_are_told_and_their_messages_kept(bench: _Bench) -> None:
    await bench.dead(2)
    await bench.keep("queued", "crm")
    assert await bench.discard(Act(selection=of(sink="erp"), actor="bob")) == 2
    assert await bench.states() == [(1, "erp", "discarded"), (2, "erp", "discarded"), (3, "crm", "queued")]
    lines = await bench.lines("delivery.discarded")
    assert [(line["sink"], line["actor"]) for line in lines] == [("erp", "bob")] * 2
    messages, _ = await bench.browse.messages(of(), 0, 10)
    assert len(messages) == 3


async def test_what_is_owed_to_a_sink_that_left_the_configuration_is_held_and_never_given_up(bench: _Bench) -> None:
    await bench.keep("m1", "gone", "erp")
    await bench.work()
    bench.clock.advance(30 * 86400.0)
    await bench.work()
    page, _ = await bench.browse.deliveries(of(sink="gone"), _FIRST, 10)
    assert [(one.delivery.state, one.delivery.held) for one in page] == [("queued", "no such sink")]
    (gone,) = [sink for sink in await bench.browse.sinks() if sink.sink == "gone"]
    assert (gone.gates, gone.counts.queued) == (None, 1)
    assert await bench.discard(Act(selection=of(sink="gone"))) == 1


async def test_a_pause_shows_at_the_sink_and_at_its_deliveries(bench: _Bench) -> None:
    assert await bench.operator.pause("erp", "ann")
    await bench.keep("m1", "erp")
    page, _ = await bench.browse.deliveries(of(), _FIRST, 10)
    assert page[0].delivery.held == "paused"
    erp = next(sink for sink in await bench.browse.sinks() if sink.sink == "erp")
    assert erp.gates is not None and (erp.gates.paused_by, erp.gates.breaker, erp.counts.queued) == ("ann", "closed", 1)
    with pytest.raises(LookupError):
        await bench.operator.pause("nowhere", "ann")
