"""The story of a service request as people are told it: what became of each event at each sink, and why somebody was not told."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from msgspec import structs

from gateway.control.ids import Unknown
from gateway.control.kept_rules import KeptRulesReader
from gateway.control.stories import ExplainedStory, NotTold, OwnEventsOnly, Requests
from gateway.core.events import Event, decode
from gateway.core.hindsight import Otherwise
from gateway.core.ledger import ServiceRequest
from gateway.core.outcome import Delivered
from gateway.core.patterns import compile_pattern
from gateway.core.records import message_about
from gateway.core.request_documents import KnownRequest, Owing, RequestSelection
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.core.rules_then import rules_then
from gateway.core.selection import Target
from gateway.core.values import rfc3339
from gateway.delivery.lane import Lane
from gateway.ingest.accept import Inbox, Rules
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.requests import MOST_IN_PAGE
from gateway.store.sqlite.store import SqliteStore
from gateway.web.admin.request_json import request_json
from tests.engine.bench import working
from tests.fakes import START, FakeClock
from tests.store.kit import settlement
from tests.support.webhooks import event

HOUR = 3600.0


def route(name: str, *sinks: str, **match: Any) -> Route:
    pattern, problems = compile_pattern(match)
    assert not problems
    return Route(name=name, sinks=sinks, match=(pattern,) if match else ())


EVERYTHING = route("everything", "archive")
VERDICTS = route("verdicts", "erp", milestone=["authentic", "counterfeit"])


class Desk:
    """A gateway without an edge: events are accepted by rules that tests change, and people ask."""

    def __init__(self, store: SqliteStore, audit: AuditLog, clock: FakeClock, sinks: Sequence[str]) -> None:
        self.store, self.clock = store, clock
        log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
        self.inbox = Inbox(
            store=store,
            audit=audit,
            rules=Rules(router=Router([]), policies={}),
            offer=lambda owed, due: None,
            metrics=Metrics(),
            clock=clock,
            log=log,
        )
        gates = SimpleNamespace(paused=False, breaker=SimpleNamespace(is_open=False))
        self.lanes = cast("Mapping[str, Lane]", {name: SimpleNamespace(gates=gates) for name in sinks})
        self.requests = Requests(
            store=store, kept=KeptRulesReader(store), rules=lambda: self.inbox.rules.number, lanes=self.lanes
        )

    async def use(self, *routes: Route, suppressing: Sequence[str] = ()) -> None:
        """Go by other rules from now on; each route is written on a line of its own."""
        places = [f"gateway.toml:{line}" for line in range(1, len(routes) + 1)]
        number = await self.store.keep_rules(rules_then(routes, places, suppressing).encode(), self.clock.now())
        self.inbox.use(
            Rules(
                router=Router(routes),
                policies={sink: RetryPolicy() for one in routes for sink in one.sinks},
                suppressing=frozenset(suppressing),
                number=number,
            )
        )

    async def accept(self, state: str, *, hour: float, sr: str = "sr-1", source: str = "legitmark") -> str:
        """Accept a state change that happened some hours after the start. Returns the id of its message."""
        primary, _, supplement = state.partition("/")
        body = event(
            sr,
            reference_id="BAG-1",
            state={"primary": primary, "supplement": supplement or None},
            timestamp=rfc3339(START + hour * HOUR),
        )
        decoded = decode(body)
        assert isinstance(decoded, Event)
        self.clock.advance(1)
        message = message_about(
            decoded, body, message_id=self.clock.new_id(), source=source, received_at=START + 24 * HOUR + self.clock.monotonic()
        )
        await self.inbox.put(message, decoded)
        return message.id

    async def deliver(self, message_id: str, sink: str) -> None:
        assert await self.store.settle(settlement(await self.seq(message_id), Delivered(200), sink=sink))

    async def seq(self, message_id: str) -> int:
        (seq,), _ = await self.store.named(message_id, 0, whole=True)
        return seq

    async def story(self, name: str = "bag-1", sinks: Sequence[str] = ()) -> ExplainedStory:
        (known,) = (await self.requests.find(name)).requests
        story = await self.requests.story(known.number, None, 100, sinks)
        assert story is not None
        return story


@asynccontextmanager
async def desk(folder: Path, clock: FakeClock, *sinks: str) -> AsyncIterator[Desk]:
    async with working(SqliteStore, folder, clock, structlog.testing.CapturingLogger()) as (store, audit):
        yield Desk(store, audit, clock, sinks or ("archive", "erp"))


def missing(story: ExplainedStory, sink: str) -> list[NotTold]:
    return [one for event in story.events for one in event.not_told if one.sink == sink]


async def test_a_sink_that_was_not_told_has_the_condition_that_failed_and_its_place(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING, VERDICTS)
        await here.accept("QC/APPROVED", hour=1)
        story = await here.story()
        assert [event.routes for event in story.events] == [("everything",)]
        ((one,)) = missing(story, "erp")
        assert one.then is not None and one.then == one.now
        (reason,) = one.then.reasons
        assert (reason.route, reason.place) == ("verdicts", "gateway.toml:2")
        assert reason.reason == 'milestone: expected ["authentic", "counterfeit"], is "qc_approved"'


async def test_the_rules_of_then_and_of_now_answer_each_for_themselves(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        await here.accept("QC/APPROVED", hour=1)
        await here.use(EVERYTHING, route("approvals", "erp", milestone="qc_approved"))
        ((one,)) = missing(await here.story(), "erp")
        assert one.then is not None and (one.then.routes, one.then.reasons) == ((), ())
        assert one.now.routes == ("approvals",)


async def test_of_many_routes_that_name_a_sink_five_are_told_and_the_others_counted(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING, *(route(f"never {number}", "erp", milestone="draft") for number in range(9)))
        await here.accept("QC/APPROVED", hour=1)
        ((one,)) = missing(await here.story(), "erp")
        assert (len(one.now.reasons), one.now.more) == (5, 4)


async def test_the_routes_are_asked_once_for_an_event_however_many_sinks_were_not_told(tmp_path: Path, clock: FakeClock) -> None:
    names = [f"sink {number}" for number in range(12)]
    asked = 0

    def count(frame: FrameType, kind: str, _: object) -> None:
        nonlocal asked
        asked += kind == "call" and frame.f_code is Router.explain.__code__

    async with desk(tmp_path, clock, *names) as here:
        await here.use(*(route(f"only {name}", name, milestone="draft") for name in names))
        await here.accept("QC/APPROVED", hour=1)
        sys.setprofile(count)
        try:
            story = await here.story()
        finally:
            sys.setprofile(None)
        reasons = [(one.sink, one.now.reasons[0].route) for one in story.events[0].not_told]
        assert reasons == [(name, f"only {name}") for name in names]
        assert asked == 2, "once by the rules of then, and once by those of now"


async def test_the_events_stand_in_the_order_in_which_they_happened(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        for state, hour in (("UNDERWAY/ASSIGNED", 3), ("QC/PENDING", 1), ("QC/APPROVED", 2)):
            await here.accept(state, hour=hour)
        story = await here.story()
        assert [one.traced.ids.milestone for one in story.events] == ["qc_pending", "qc_approved", "in_progress"]
        assert [one.traced.facts.stale if one.traced.facts else None for one in story.events] == [True, True, False]


async def test_a_story_speaks_of_all_sinks_only_while_they_are_few(tmp_path: Path, clock: FakeClock) -> None:
    names = [f"sink {number}" for number in range(20)]
    async with desk(tmp_path, clock, "archive", *names) as here:
        await here.use(EVERYTHING)
        await here.accept("QC/APPROVED", hour=1)
        assert (await here.story()).sinks == ("archive",)
        assert (await here.story(sinks=["sink 7"])).sinks == ("archive", "sink 7")
        with pytest.raises(Unknown, match="there is no sink"):
            await here.story(sinks=["nowhere"])


async def test_what_a_reconciliation_made_stands_in_the_story_of_the_senders_request(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        await here.accept("QC/APPROVED", hour=1)
        await here.accept("COMPLETE/APPROVED", hour=2, source="reconcile")
        story = await here.story()
        assert [(one.traced.ids.source, one.traced.ids.milestone) for one in story.events] == [
            ("legitmark", "qc_approved"),
            ("reconcile", "authentic"),
        ]
        assert story.known.source == "legitmark"


async def test_a_request_that_only_a_reconciliation_told_of_is_not_doubled_by_the_gateways_own_events(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        await here.accept("QC/APPROVED", hour=1, source="gateway")
        assert [one.source for one in (await here.requests.find("sr-1")).requests] == ["gateway"]
        await here.accept("QC/APPROVED", hour=1, source="reconcile")
        assert [one.source for one in (await here.requests.find("sr-1")).requests] == ["reconcile"]
        await here.accept("QC/APPROVED", hour=1)
        assert [one.source for one in (await here.requests.find("sr-1")).requests] == ["legitmark"]


def test_a_request_without_a_judged_event_has_no_first_and_no_last_arrival() -> None:
    own = KnownRequest(1, "gateway", "sr-1", None, ServiceRequest(), Owing(queued=0, dead=0))
    document = request_json(own)
    assert (document["events"], document["first_seen_at"], document["last_seen_at"]) == (0, None, None)


async def test_an_event_without_kept_rules_is_explained_by_those_of_now(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.accept("QC/APPROVED", hour=1)
        await here.use(VERDICTS)
        ((one,)) = missing(await here.story(), "erp")
        assert one.then is None and one.now.reasons


async def test_one_uuid_of_two_sources_stands_for_two_requests_until_one_source_is_named(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with desk(tmp_path, clock) as here:
        for source in ("old", "new"):
            await here.accept("QC/APPROVED", hour=1, source=source)
        assert {one.source for one in (await here.requests.find("sr-1")).requests} == {"old", "new"}
        assert [one.source for one in (await here.requests.find("sr-1", "new")).requests] == ["new"]
        assert (await here.requests.find("sr-1", "third")).requests == ()


async def test_a_blank_name_means_no_request(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        with pytest.raises(ValueError, match="not empty"):
            await here.requests.find("  ")


async def test_a_delivery_is_late_once_its_sink_was_told_of_something_that_happened_later(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(route("both", "archive", "erp"))
        newer = await here.accept("QC/APPROVED", hour=2)
        older = await here.accept("QC/PENDING", hour=1)
        other = await here.accept("QC/PENDING", hour=1, sr="sr-2")
        targets = [Target(await here.seq(one), sink) for one in (older, newer, other) for sink in ("archive", "erp")]
        assert await here.store.late(targets) == [False] * 6
        await here.deliver(newer, "erp")
        assert await here.store.late(targets) == [False, True, False, False, False, False]
        assert await here.store.late([Target(10**6, "erp")]) == [False], "a message that was purged"


async def test_a_verdict_is_late_only_beside_a_later_verdict(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(route("both", "archive", "erp"))
        told = await here.accept("COMPLETE/COMPLETE", hour=3)
        verdict = await here.accept("COMPLETE/APPROVED", hour=2)
        targets = [Target(await here.seq(verdict), "erp")]
        await here.deliver(told, "erp")
        assert await here.store.late(targets) == [False], "nobody told the sink yet whether the item is authentic"
        await here.deliver(await here.accept("COMPLETE/REJECTED", hour=4), "erp")
        assert await here.store.late(targets) == [True]


async def test_a_list_has_the_request_whose_state_began_last_first(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        for number, hour in enumerate((2, 3, 1)):
            await here.accept("QC/PENDING", hour=hour, sr=f"sr-{number}")
        page, after = await here.requests.list(RequestSelection(), None, 2)
        assert [one.sr_uuid for one in page] == ["sr-1", "sr-0"] and after is not None
        page, after = await here.requests.list(RequestSelection(), after, 2)
        assert [one.sr_uuid for one in page] == ["sr-2"]


async def test_a_sink_of_the_gateways_own_events_is_named_once_and_not_in_each_event(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock, "archive", "pager", "erp") as here:
        await here.use(
            EVERYTHING,
            structs.replace(route("alarms", "pager"), sources=("gateway",)),
            route("deaths", "pager", source="gateway", event_type={"prefix": "gateway."}),
            VERDICTS,
        )
        await here.accept("QC/PENDING", hour=1)
        await here.accept("QC/APPROVED", hour=2)
        story = await here.story()
        assert story.own_events_only == (OwnEventsOnly("pager", ("alarms", "deaths")),)
        assert story.sinks == ("archive", "erp")
        assert [[one.sink for one in event.not_told] for event in story.events] == [["erp"], ["erp"]]


async def test_a_sink_that_was_told_of_a_senders_events_then_keeps_its_reasons(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock, "archive", "pager") as here:
        await here.use(EVERYTHING, route("approvals", "pager", milestone="qc_approved"))
        await here.accept("QC/PENDING", hour=1)
        await here.use(EVERYTHING, structs.replace(route("alarms", "pager"), sources=("gateway",)))
        story = await here.story()
        assert (story.own_events_only, story.sinks) == ((), ("archive", "pager"))
        ((one,)) = missing(story, "pager")
        assert one.then is not None and [reason.route for reason in one.then.reasons] == ["approvals"]


async def test_the_story_says_what_would_be_judged_otherwise_by_what_is_known_now(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        for state, hour in (("QC/PENDING", 1), ("UNDERWAY/ASSIGNED", 7)):
            await here.accept(state, hour=hour)
        assert [event.hindsight for event in (await here.story()).events] == [(), ()]
        await here.accept("QC/APPROVED", hour=6)
        pending, approved, underway = (await here.story()).events
        assert pending.hindsight == ()
        assert approved.hindsight == (
            Otherwise("stale", True, False),
            Otherwise("state.before", "UNDERWAY/ASSIGNED", "QC/PENDING"),
        )
        assert underway.hindsight == (
            Otherwise("skipped", ("QC/APPROVED",), ()),
            Otherwise("state.before", "QC/PENDING", "QC/APPROVED"),
        )
        assert underway.traced.facts is not None and underway.traced.facts.skipped == ("QC/APPROVED",), "those of arrival stay"
        for event in (pending, approved, underway):
            assert await here.requests.hindsight(event.traced.ids, event.traced.seq) == event.hindsight


async def test_each_page_of_a_story_is_judged_again_by_all_of_its_events(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        for state, hour in (("UNDERWAY/ASSIGNED", 7), ("QC/PENDING", 1), ("QC/APPROVED", 6)):
            await here.accept(state, hour=hour)
        (known,) = (await here.requests.find("bag-1")).requests
        found, before = {}, None
        for _ in range(3):
            page = await here.requests.story(known.number, before, 1, ())
            assert page is not None and len(page.events) == 1
            found[page.events[0].traced.seq] = page.events[0].hindsight
            before = page.go_on_before
        assert before is None
        assert found == {event.traced.seq: event.hindsight for event in (await here.story()).events}


async def test_a_request_of_which_the_store_does_not_show_everything_is_not_judged_again(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        for number in range(MOST_IN_PAGE):
            await here.accept("QC/PENDING", hour=number)
        assert {event.hindsight for event in (await here.story()).events} == {()}
        await here.accept("QC/APPROVED", hour=200)
        assert {event.hindsight for event in (await here.story()).events} == {None}


async def test_what_a_reconciliation_made_is_judged_again_by_its_own_row(tmp_path: Path, clock: FakeClock) -> None:
    async with desk(tmp_path, clock) as here:
        await here.use(EVERYTHING)
        await here.accept("QC/PENDING", hour=1)
        await here.accept("COMPLETE/APPROVED", hour=2, source="reconcile")
        await here.accept("QC/APPROVED", hour=1.5, source="reconcile")
        changes = {event.traced.ids.milestone: event.hindsight for event in (await here.story()).events}
        assert changes["qc_pending"] == ()
        assert changes["authentic"] is not None and Otherwise("state.before", None, "QC/APPROVED") in changes["authentic"]
