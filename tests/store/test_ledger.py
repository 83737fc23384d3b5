"""The ledger in the store: facts with the message, rows in memory, flushes, crashes, older databases and people's questions."""

from __future__ import annotations

import itertools
import sqlite3
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gateway.core.errors import StoreError
from gateway.core.events import Event, Milestone
from gateway.core.ledger import Facts, Flag, ServiceRequest
from gateway.core.outcome import Delivered, Reason, Reject
from gateway.core.packed_rows import unpack_request
from gateway.core.records import Accepted, Message, NewMessage, Owes
from gateway.core.request_documents import RequestSelection
from gateway.core.selection import Target
from gateway.core.signature import Signed
from gateway.core.values import Actor, Duration
from gateway.core.watches import Watch
from gateway.store.columns import pack_signed
from gateway.store.sqlite import filling, judging
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import DAY, RETENTION, accepted, crash_copy, one, rows, run_sql, serving, settlement
from tests.store.state_changes import SR, event, judged, rejected_photos
from tests.support.small_disk import fill


async def known(store: SqliteStore, sr: str = SR) -> ServiceRequest:
    (found,) = (await store.find_requests(sr)).requests
    return found.request


async def facts_of(store: SqliteStore) -> list[Facts | None]:
    return [kept.message.facts for kept in await store.messages_after(0, 1000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


async def test_the_facts_of_an_event_are_stored_with_it_and_routing_knows_them(path: Path) -> None:
    seen: list[Facts | None] = []

    def decide(facts: Facts | None) -> Owes:
        seen.append(facts)
        stale = facts is not None and facts.stale
        return Owes("unrouted" if stale else "accepted", () if stale else (("erp", START),))

    async with serving(path) as store:
        for new in (event("P", 10), event("U", 70), event("A", 60)):
            await accepted(store, msgspec.structs.replace(new, decide=decide))
        assert seen == await facts_of(store)
        assert [facts.stale for facts in seen if facts] == [False, False, True]
        assert rows(path, "SELECT status FROM messages ORDER BY seq") == [("accepted",), ("accepted",), ("unrouted",)]
        assert (await store.counts())["erp"].queued == 2
        assert await known(store) == judged([event("P", 10), event("U", 70), event("A", 60)])


async def test_a_lane_gets_the_facts_with_the_delivery(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, event("P", 10))
        (owed,) = (await store.claim("erp", START + DAY, 10, ())).owed
        assert owed.message.facts is not None and owed.message.facts.round == 1


async def test_a_duplicate_in_the_same_commit_is_not_judged(path: Path) -> None:
    store = await SqliteStore.open(path, RETENTION)
    first, repeated, last = event("P", 10, sender_id="m"), event("P", 11, sender_id="m"), event("R", 20)
    answers: list[object] = []
    for new in (first, repeated, last):
        store.submit(new, answers.append)
    await store.commits.step()
    assert [type(answer).__name__ for answer in answers] == ["Accepted", "Duplicate", "Accepted"]
    assert await known(store) == judged([first, last])
    (story,) = [await store.request_story(1)]
    assert story is not None and [one.duplicates for one in story.events] == [1, 0]
    assert [repeat.sender_id for repeat in story.events[0].repeats] == ["m"]
    await store.close()


async def test_an_event_is_suppressed_by_what_came_before_it_and_not_by_a_duplicate_beside_it(path: Path) -> None:
    def decide(facts: Facts | None) -> Owes:
        stale = facts is not None and facts.stale
        return Owes("accepted", () if stale else (("erp", START),), ("erp",) if stale else ())

    store = await SqliteStore.open(path, RETENTION)
    answers: list[object] = []
    # The same message comes again with another body, to which the rejected photos beside it would belong.
    conflicting = event("R", 40, sender_id="m")
    for batch in ((event("P", 10), event("A", 25, sender_id="m")), (conflicting, rejected_photos(20))):
        for new in batch:
            store.submit(msgspec.structs.replace(new, decide=decide), answers.append)
        await store.commits.step()
    assert [type(answer).__name__ for answer in answers] == ["Accepted", "Accepted", "Duplicate", "Accepted"]
    assert rows(path, "SELECT state FROM deliveries ORDER BY message") == [("queued",), ("queued",), ("discarded",)]
    await store.close()


async def test_messages_of_one_commit_are_judged_in_the_order_in_which_a_start_judges_them(path: Path, tmp_path: Path) -> None:
    store = await SqliteStore.open(path, RETENTION)
    # The first of the second commit repeats a message older than retention. SQLite passes it by, so it comes after the other.
    late = START + RETENTION + DAY
    for batch in ([event("P", 10, sender_id="m")], [event("A", 40, sender_id="m", at=late), event("P", 20, at=late)]):
        for new in batch:
            store.submit(new, lambda told: None)
        await store.commits.step()
    before = await known(store)
    assert [facts.stale for facts in await facts_of(store) if facts] == [False, False, False]
    async with serving(crash_copy(path, tmp_path / "crashed")) as again:
        assert await known(again) == before
        story = await again.request_story(1)
        assert story is not None and [one.seq for one in story.events] == [1, 3, 4]
    await store.close()


def buggy(new: NewMessage) -> NewMessage:
    """Return a message that meets a bug when it is judged."""

    def event() -> Event:
        raise ZeroDivisionError("a bug in the ledger")

    return msgspec.structs.replace(new, event=event)


async def test_a_bug_in_the_ledger_loses_no_message_and_is_counted_and_told_once(path: Path) -> None:
    store = await SqliteStore.open(path, RETENTION)
    # A duplicate in the same commit: the messages beside it are judged twice.
    for new in (event("P", 10, sender_id="m"), event("P", 11, sender_id="m"), buggy(event("R", 20))):
        store.submit(new, lambda told: None)
    await store.commits.step()
    facts = await facts_of(store)
    assert [one is None for one in facts] == [False, True]
    assert store.ledger_memory().unjudged == 1
    assert isinstance(store.take_ledger_bug(), ZeroDivisionError)
    assert store.take_ledger_bug() is None
    story = await store.request_story(1)
    assert story is not None and len(story.events) == 2, "the message is in the story of its request all the same"
    await store.close()


class BrokenWatch(Watch, frozen=True):
    """A rule with a bug."""

    def watches(self, state: str) -> bool:
        raise ZeroDivisionError("a bug in a rule")


async def test_a_bug_in_the_timers_of_an_event_leaves_the_row_as_it_was_judged(path: Path) -> None:
    store = await SqliteStore.open(path, RETENTION)
    news = event("P", 10), event("R", 20), event("P", 30)
    broken = (BrokenWatch("broken", ("QC",), Duration("1h")),)
    for new in (news[0], msgspec.structs.replace(news[1], watches=broken), news[2]):
        store.submit(new, lambda told: None)
    await store.commits.step()
    assert [facts.round for facts in await facts_of(store) if facts] == [1, 1, 2]
    assert await known(store) == judged(list(news))
    assert isinstance(store.take_ledger_bug(), ZeroDivisionError)
    await store.close()


async def test_a_reference_id_that_comes_later_names_the_request(path: Path, tmp_path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, event("P", 10, reference=None))
        await store.commits.flush_ledger()
        await accepted(store, event("A", 20, reference="ITEM-7"))
        after_a_crash = crash_copy(path, tmp_path / "crashed")
        assert [one.reference_id for one in (await store.find_requests("item-7")).requests] == ["ITEM-7"]
    for database in (path, after_a_crash):
        async with serving(database) as store:
            assert [one.reference_id for one in (await store.find_requests("item-7")).requests] == ["ITEM-7"]
        assert rows(database, "SELECT reference_id FROM requests") == [(b"ITEM-7",)]


@pytest.mark.parametrize(
    "signature",
    [
        b"v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        b"v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkx=",  # other bits behind the digest
        b"v1,AAAA v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        b"v1,abc",
        b"",
    ],
)
@pytest.mark.parametrize("timestamp", [b"1649367553", b"0001649367553"[:12], b"0"])
async def test_a_signature_is_kept_to_the_letter(path: Path, signature: bytes, timestamp: bytes) -> None:
    signed = Signed(signature, timestamp, "file /run/secret")
    assert len(pack_signed(signed)) <= 2 + len(signature) + len(timestamp)
    async with serving(path) as store:
        seq = await accepted(store, event("P", 10, signed=signed))
        story = await store.story(seq)
        assert story is not None and story.signed == signed


async def test_a_message_that_is_committed_again_after_a_failure_keeps_its_new_key(path: Path) -> None:
    signed = Signed(b"v1,abc", b"1", "env NEW")
    told: list[object] = []

    def fail(connection: sqlite3.Connection, changes: object) -> None:
        raise ZeroDivisionError("a bug in another job of the commit")

    async with serving(path) as store:
        store.submit(event("P", 10, signed=signed), told.append)
        with pytest.raises(ZeroDivisionError):
            await store.change(fail)
        (first,) = told
        assert isinstance(first, Accepted)
        story = await store.story(first.seq)
        assert story is not None and story.signed == signed


async def test_a_failed_commit_changes_no_row(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, event("P", 10))
        before = await known(store)

        def fail(facts: Facts | None) -> Owes:
            raise ZeroDivisionError("a bug in the rules")

        with pytest.raises(ZeroDivisionError):
            await store.accept(msgspec.structs.replace(event("R", 20), decide=fail))
        assert await known(store) == before
        await accepted(store, event("R", 20))
        assert (await known(store)).events == 2


@pytest.mark.parametrize("flush_every", [1, 2, 3, 1000])
async def test_a_crash_at_any_point_gives_the_rows_that_judging_gives(
    path: Path, tmp_path: Path, flush_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST_UNFLUSHED", flush_every)
    monkeypatch.setattr(judging, "FLUSHED_AT_ONCE", 0)  # one row for each message, so that a flush takes several commits
    letters = enumerate(zip("PRPAUCPPRA", "1121312223", strict=True))
    feed = [event(letter, minute, sr=f"sr-{sr}") for minute, (letter, sr) in letters]
    store = await SqliteStore.open(path, RETENTION)
    for number, new in enumerate(feed, 1):
        store.submit(new, lambda told: None)
        await store.commits.step()
        copy = crash_copy(path, tmp_path / f"after {number}")
        async with serving(copy) as again:
            for sr in {one.message.sr_uuid for one in feed[:number]}:
                assert sr is not None
                assert await known(again, sr) == judged([one for one in feed[:number] if one.message.sr_uuid == sr])
            assert (await again.find_requests("sr-1")).requests[0].number == 1
    await store.close()
    assert one(path, "SELECT flushed FROM ledger") == len(feed)
    assert sorted(unpack_request(row).events for (row,) in rows(path, "SELECT row FROM standings")) == [2, 4, 4]


async def test_a_disk_that_fills_up_while_rows_are_flushed_leaves_no_row_behind_and_none_ahead(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST_UNFLUSHED", 4)
    monkeypatch.setattr(judging, "FLUSHED_AT_ONCE", 0)  # one row for each message, so that most commits are within a flush
    stories = enumerate(itertools.product("PRPAUC", "1234"))
    feed = [event(letter, minute, sr=f"sr-{sr}") for minute, (letter, sr) in stories]
    path, refused, large = small_disk / "gateway.db", 0, b" " * 100_000
    feed = [msgspec.structs.replace(new, message=with_body(new.message, new.message.body + large)) for new in feed]
    async with serving(path) as store:
        for number, new in enumerate(feed):
            if number % 3 == 2:
                filler = fill(small_disk, leave=40_000)
                try:
                    await accepted(store, new)
                except StoreError:
                    refused += 1
                finally:
                    filler.unlink()
                await store.try_disk()
            if await store.accept(new):
                crashed = crash_copy(path, tmp_path / f"after {number}")
                async with serving(crashed) as again:
                    for sr in {one.message.sr_uuid for one in feed[: number + 1]}:
                        assert sr is not None
                        assert await known(again, sr) == judged([one for one in feed[: number + 1] if one.message.sr_uuid == sr])
        assert refused >= 5
    assert one(path, "SELECT flushed FROM ledger") == one(path, "SELECT max(seq) FROM messages")
    assert sorted(unpack_request(row).events for (row,) in rows(path, "SELECT row FROM standings")) == [6, 6, 6, 6]


def with_body(message: Message, body: bytes) -> Message:
    return msgspec.structs.replace(message, body=body)


async def test_a_crash_after_a_purge_loses_nothing_that_the_purged_messages_told(path: Path, tmp_path: Path) -> None:
    feed = [event("P", 10), event("U", 70), event("C", 80)]
    async with serving(path) as store:
        seqs = [await accepted(store, new) for new in feed]
        for seq in seqs[:2]:
            await store.settle(settlement(seq, Delivered()))
        await store.purge(0, 100, START + DAY)
        assert store.ledger_memory().unflushed == 1
        async with serving(crash_copy(path, tmp_path / "after the purge")) as again:
            assert await known(again) == judged(feed)
            story = await again.request_story(1)
            assert story is not None and [one.seq for one in story.events] == seqs[2:]


async def test_a_reference_that_comes_after_a_purge_finds_its_request_after_a_restart(path: Path) -> None:
    async with serving(path) as store:
        for number in range(2):
            seq = await accepted(store, event("P", number, reference=None))
            if number == 0:
                await store.settle(settlement(seq, Delivered()))
        await store.purge(0, 100, START + DAY)
        await accepted(store, event("A", 9, reference="ITEM-7"))
    async with serving(path) as store:
        assert [one.sr_uuid for one in (await store.find_requests("item-7")).requests] == [SR]


async def test_a_slice_takes_some_messages_however_slow_the_disk_is(path: Path) -> None:
    async with serving(path) as store:
        for number in range(20):
            await accepted(store, event("P", number, sr=f"sr-{number}"))
    async with serving(path) as store:
        await run_sql(store, "DELETE FROM entries", "DELETE FROM requests", "UPDATE ledger SET live = 0, flushed = 0")
    async with serving(path) as store:
        hours = itertools.count(0.0, 3600.0)
        slices = 1
        while not await store.change(partial(filling.fill_slice, ledger=store.ledger, seconds=lambda: next(hours))):
            slices += 1
        assert slices == 3, "16 messages, 4 messages, and the end"


async def test_an_older_database_is_filled_beside_new_messages_and_comes_to_the_same_rows(path: Path, tmp_path: Path) -> None:
    feed = [event(letter, minute) for minute, letter in enumerate("PRPAUC")]
    async with serving(path) as store:
        for new in feed[:4]:
            await accepted(store, new)
    old = tmp_path / "old.db"
    path.rename(old)
    async with serving(old) as store:
        await run_sql(store, "DELETE FROM entries", "DELETE FROM requests", "UPDATE ledger SET live = 0, flushed = 0")
    async with serving(old) as store:
        assert not (await store.ledger_progress()).complete
        await accepted(store, feed[4])
        assert await facts_of(store) == [None] * 5, "facts are absent until then"
        assert await store.named(SR, 0, whole=True) == ([1, 2, 3, 4, 5], None)
        while not (await store.fill_ledger()).complete:
            pass
        await accepted(store, feed[5])
        assert await known(store) == judged(feed)
        assert None not in await facts_of(store)
        story = await store.request_story(1)
        assert story is not None and [one.seq for one in story.events] == [1, 2, 3, 4, 5, 6]


async def test_a_request_is_found_by_each_of_its_names(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, event("P", 10, sender_id="msg_abc"))
        await accepted(store, event("P", 10, sr="c0ffee00-1", reference="ITEM-1002"))
        names = {SR: "sr_uuid", SR.upper(): "sr_uuid", " item-1001 ": "reference_id", "ＩＴＥＭ-1001": "reference_id"}
        for name, by in (names | {"msg_abc": "message_id", "b16c": "beginning", "msg_ab": "beginning"}).items():
            found = await store.find_requests(name)
            assert ([one.sr_uuid for one in found.requests], found.by) == ([SR], by), name
        nothing = await store.find_requests("ITEM-10O1")
        assert (nothing.requests, nothing.by) == ((), None)
        assert set(nothing.nearest) == {"ITEM-1001", "ITEM-1002"}
        assert (await store.find_requests("item")).nearest == ("ITEM-1001", "ITEM-1002")
        assert (await store.find_requests("ite")).nearest == ()
        assert nothing.reaches_back_to == START + 3600


async def test_names_are_found_whether_or_not_the_rows_are_flushed(path: Path) -> None:
    async with serving(path) as store:
        await accepted(store, event("P", 10))
        assert store.ledger_memory().unflushed == 1
    async with serving(path) as store:
        assert store.ledger_memory().unflushed == 0
        assert [one.sr_uuid for one in (await store.find_requests("item-1001")).requests] == [SR]
        await accepted(store, event("A", 20))
        (found,) = (await store.find_requests("item-1001")).requests
        assert found.request.milestone is Milestone.QC_APPROVED and found.owing.queued == 2


async def test_the_story_tells_events_as_they_happened_with_what_became_of_each(path: Path) -> None:
    signed = Signed(b"v1,abc", b"%d" % START, "env SECRET")
    async with serving(path) as store:
        rules = await store.keep_rules(b"[]", START)
        assert await store.keep_rules(b"[]", START + 9) == rules
        first = await accepted(store, msgspec.structs.replace(event("U", 70, signed=signed), rules=rules))
        second = await accepted(store, event("P", 10))
        await store.settle(settlement(first, Reject(Reason.HTTP_STATUS, "HTTP 500", 500)))
        await store.settle(settlement(second, Delivered(200)))
        await store.reopen([Target(first, "erp")], ["dead"], add=False, now=START, actor=Actor("ops1", "taro"))
        await store.discard([Target(first, "erp")], now=START + 1, actor=Actor("ops1"))
        story = await store.request_story(1)
        assert story is not None
        late, early = story.events
        assert (late.seq, early.seq) == (second, first) and late.facts is not None and late.facts.stale
        assert (early.signed, early.rules, late.signed) == (signed, rules, None)
        assert [(act.act, act.actor, act.claimed, act.was, act.becomes) for act in early.acts] == [
            ("replay", "ops1", "taro", "dead", "queued"),
            ("discard", "ops1", None, "queued", "discarded"),
        ]
        (delivery,) = early.deliveries
        assert delivery.delivery.state == "discarded" and delivery.last is not None and delivery.last.status == 500
        kept = await store.kept_rules(rules)
        assert kept is not None and kept.snapshot == b"[]"


@pytest.mark.parametrize("flushed", [True, False])
async def test_requests_are_listed_by_state_flag_and_time_in_pages(path: Path, flushed: bool) -> None:
    async with serving(path) as store:
        for number in range(7):
            await accepted(store, event("P", number, sr=f"sr-{number}", reference=None))
        for number in (0, 3):
            await accepted(store, event("U", 30 + number, sr=f"sr-{number}", reference=None))
        if flushed:
            await store.commits.flush_ledger()

        async def listed(**conditions: object) -> list[str]:
            found, after = [], None
            for _ in range(20):
                page, after = await store.requests(msgspec.convert(conditions, RequestSelection), after, 2)
                found += [one.sr_uuid for one in page]
                if after is None:
                    return found
            raise AssertionError("the pages have no end")

        assert await listed() == ["sr-3", "sr-0", "sr-6", "sr-5", "sr-4", "sr-2", "sr-1"]
        assert await listed(milestones=["in_progress"]) == ["sr-3", "sr-0"]
        assert await listed(flag=Flag.SKIPPED) == ["sr-3", "sr-0"]
        assert await listed(milestones=["qc_pending"], until=START + 60 * 4) == ["sr-2", "sr-1"]
        assert await listed(since=START + 60 * 5, source="legitmark") == ["sr-3", "sr-0", "sr-6", "sr-5"]
        assert await listed(source="other") == []
        await accepted(store, event("P", -60 * 24 * 365 * 60, sr="sr-old", reference=None))
        assert (await listed())[-1] == "sr-old", "also what happened before 1970"


async def test_a_crash_takes_nothing_from_a_row_that_a_purged_message_gave_it(path: Path, tmp_path: Path) -> None:
    feed = [event("P", 0), event("R", 1), event("P", 2), event("A", 3)]
    async with serving(path) as store:
        for new in feed:
            await store.settle(settlement(await accepted(store, new), Delivered()))
        await store.purge(0, 2, START + DAY)
        assert one(path, "SELECT count(*) FROM messages") == 2
        copy = crash_copy(path, tmp_path / "crashed")
        async with serving(copy) as again:
            assert await known(again) == await known(store) == judged(feed)


async def test_a_request_that_a_purge_wrote_is_found_by_the_reference_id_that_comes_later(path: Path) -> None:
    async with serving(path) as store:
        for minute, letter in enumerate("PA"):
            await store.settle(settlement(await accepted(store, event(letter, minute, reference=None)), Delivered()))
        await store.purge(0, 1, START + DAY)
        await accepted(store, event("U", 2, reference="ITEM-9"))
    async with serving(path) as store:
        assert [one.sr_uuid for one in (await store.find_requests("item-9")).requests] == [SR]


async def test_a_request_is_forgotten_with_its_last_message_and_a_held_message_stays_in_its_story(path: Path) -> None:
    async with serving(path) as store:
        seqs = [await accepted(store, event("PRA"[number], number)) for number in range(3)]
        await store.settle(settlement(seqs[0], Reject(Reason.REJECTED)))
        for seq in seqs[1:]:
            await store.settle(settlement(seq, Delivered()))
        await store.purge(0, 100, START + DAY)
        story = await store.request_story(1)
        assert story is not None and [one.seq for one in story.events] == [seqs[0]]
        await store.discard([Target(seqs[0], "erp")], now=START, actor="ann")
        await store.purge(0, 100, START + DAY)
        assert (await store.find_requests(SR)).requests == ()
        assert rows(path, "SELECT * FROM requests") == rows(path, "SELECT * FROM standings") == []
        assert rows(path, "SELECT * FROM entries") == []
        assert isinstance(await store.accept(event("P", 1)), Accepted)
        assert (await known(store)).events == 1
