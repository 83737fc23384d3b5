"""Messages that were not understood when they came are found, and what a later version knows of them is written down once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from msgspec import structs

from gateway.core.documents import Redecoded, Redecoding
from gateway.core.events import IDENTITY as FIELDS
from gateway.core.events import Event, event_of, identity
from gateway.core.ledger import Flag, ServiceRequest
from gateway.core.records import NewMessage
from gateway.core.selection import Target
from gateway.core.values import Duration
from gateway.core.watches import Watch
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import AnyStore, Database, accepted, crash_copy, new, one, rows, run_sql, serving
from tests.store.state_changes import SR, event, judged

EVENT = event_of(
    {
        "event_type": "state_change",
        "sr_uuid": "sr-1",
        "reference_id": "BAG-1",
        "timestamp": "2026-02-25T00:00:00Z",
        "state": {"primary": "QC", "supplement": "PENDING"},
    }
)
ALL = "SELECT event_type, milestone, sr_uuid, reference_id, status FROM messages WHERE seq = ?"


def unknown(sender_id: str, *, quarantined: bool = False, sinks: tuple[str, ...] = (), source: str = "legitmark") -> NewMessage:
    made = new(
        sender_id, body=sender_id.encode(), sinks=sinks, source=source, status="quarantined" if quarantined else "accepted"
    )
    milestone = None if quarantined else "unrecognized"
    event_type = None if quarantined else "sr_reopened"
    message = structs.replace(made.message, milestone=milestone, event_type=event_type, sr_uuid=None, reference_id=None)
    return structs.replace(made, message=message)


def known(seq: int, event: Event = EVENT) -> Redecoding:
    return Redecoding(seq, event, identity(event, FIELDS))


async def test_only_messages_of_senders_that_were_not_understood_are_found_a_page_at_a_time(database: Database) -> None:
    async with serving(database) as store:
        await accepted(store, new("msg_known"))
        first = await accepted(store, unknown("msg_1"))
        second = await accepted(store, unknown("msg_2", quarantined=True))
        await accepted(store, unknown("own", source="gateway"))
        page = await store.undecoded(START, 0, 1, 10**6)
        assert ([message.seq for message in page.messages], page.go_on_after) == ([first], first)
        page = await store.undecoded(START, first, 10, 10**6)
        assert [(message.seq, message.quarantined) for message in page.messages] == [(second, True)]
        assert page.messages[0].message.body == b"msg_2"
        assert (await store.undecoded(START + 1, 0, 10, 10**6)).messages == ()
        assert len((await store.undecoded(START, 0, 10, 3)).messages) == 1


async def test_what_a_message_means_now_is_written_once_and_deliveries_stay(database: Database) -> None:
    path = database
    async with serving(path) as store:
        seq = await accepted(store, unknown("msg_1", sinks=("erp",)))
        told: list[list[Redecoded]] = []
        assert [one.seq for one in await store.redecode([known(seq)], told.append, now=START)] == [seq]
        assert rows(path, ALL, seq) == [(b"state_change", "qc_pending", b"sr-1", b"BAG-1", "accepted")]
        assert await store.redecode([known(seq)], now=START) == []
        assert [[one.seq for one in some] for some in told] == [[seq]]
        assert rows(path, "SELECT state FROM deliveries") == [("queued",)]
        assert one(path, "SELECT event_ms FROM messages") == 1_771_977_600_000


async def test_a_quarantined_message_is_unrouted_then_or_accepted_if_it_was_replayed(database: Database) -> None:
    path = database
    async with serving(path) as store:
        bare = await accepted(store, unknown("msg_1", quarantined=True))
        replayed = await accepted(store, unknown("msg_2", quarantined=True))
        await store.reopen([Target(replayed, "erp")], ("dead",), add=True, now=START, actor="admin")
        other = event_of({**EVENT.values, "sr_uuid": "sr-2"})
        done = await store.redecode([known(bare), known(replayed, other)], now=START)
        assert [one.seq for one in done] == [bare, replayed]
        assert [rows(path, ALL, seq)[0][4] for seq in (bare, replayed)] == ["unrouted", "accepted"]


async def test_an_identity_that_came_with_another_message_meanwhile_stays_with_that(database: Database) -> None:
    path = database
    async with serving(path) as store:
        seq = await accepted(store, unknown("msg_1"))
        await accepted(store, new("msg_2", identity=identity(EVENT, FIELDS)))
        assert len(await store.redecode([known(seq)], now=START)) == 1
        assert rows(path, "SELECT identity IS NULL FROM messages ORDER BY seq") == [(1,), (0,)]


async def test_a_message_that_comes_again_after_it_was_redecoded_is_a_duplicate_by_its_identity(database: Database) -> None:
    async with serving(database) as store:
        seq = await accepted(store, unknown("msg_1"))
        await store.redecode([known(seq)], now=START)
        again = await store.accept(new("msg_other", identity=identity(EVENT, FIELDS)))
        assert getattr(again, "reason", None) == "identity"


# Redecoded messages in the ledger.

Misunderstanding = Literal["quarantined", "unknown type", "unknown type without a request"]
KINDS: tuple[Misunderstanding, ...] = ("quarantined", "unknown type", "unknown type without a request")


def misunderstood(new: NewMessage, kind: Misunderstanding) -> NewMessage:
    """Return a message as an earlier version took it, which could not decode it or did not know its type."""
    if kind == "quarantined":
        nothing = structs.replace(new.message, event_type=None, milestone=None, sr_uuid=None, reference_id=None)
        return structs.replace(new, message=nothing, status="quarantined", deliveries=(), event=None)
    assert new.event is not None
    values = {**new.event().values, "event_type": "sr_moved"}
    unknown = structs.replace(new.message, event_type="sr_moved", milestone="unrecognized")
    if kind == "unknown type without a request":
        unknown, values = structs.replace(unknown, sr_uuid=None), {**values, "sr_uuid": None}
    return structs.replace(new, message=unknown, event=lambda: event_of(values))


def understood(seq: int, new: NewMessage) -> Redecoding:
    assert new.event is not None
    return known(seq, new.event())


async def row_of(store: AnyStore) -> ServiceRequest:
    (found,) = (await store.find_requests(SR)).requests
    return found.request


async def chain_of(store: AnyStore) -> list[int]:
    story = await store.request_story((await store.find_requests(SR)).requests[0].number)
    assert story is not None
    return [one.seq for one in story.events]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("flushed", [True, False])
async def test_the_ledger_becomes_what_it_would_be_if_the_message_had_been_understood(
    database: Database, tmp_path: Path, kind: Misunderstanding, place: int, flushed: bool
) -> None:
    path = database
    feed = [event(letter, 10 * number, at=START + 3600 + number) for number, letter in enumerate("PRAU")]
    async with serving(path) as store:
        came = [misunderstood(new, kind) if number == place else new for number, new in enumerate(feed)]
        seqs = [await accepted(store, new) for new in came]
        if flushed and isinstance(store, SqliteStore):
            await store.commits.flush_ledger()
        (done,) = await store.redecode([understood(seqs[place], feed[place])], now=START)
        assert done.facts is not None and done.facts.stale is (place < 3)
        assert (await row_of(store), await chain_of(store)) == (judged(feed), seqs)
        if isinstance(path, Path):
            async with serving(crash_copy(path, tmp_path / "after a crash")) as again:
                assert (await row_of(again), await chain_of(again)) == (judged(feed), seqs)
        assert await accepted(store, event("C", 50)) == 5
        assert await chain_of(store) == [*seqs, 5]
        by_then = await row_of(store)
    if not isinstance(path, Path):
        return  # a row is never written later than its messages, and so none is ever read in
    async with serving(path) as store:
        await run_sql(store, "DELETE FROM entries", "DELETE FROM requests", "UPDATE ledger SET live = 0, flushed = 0")
    async with serving(path) as store:
        while not (await store.fill_ledger()).complete:
            pass
        assert await row_of(store) == by_then


@pytest.mark.parametrize("flushed", [True, False])
async def test_a_reference_that_a_redecoded_message_brings_finds_its_request(
    database: Database, tmp_path: Path, flushed: bool
) -> None:
    path = database
    first, second = event("P", 1, reference=None), event("A", 2, reference="ITEM-7")
    async with serving(path) as store:
        await accepted(store, first)
        seq = await accepted(store, misunderstood(second, "quarantined"))
        if flushed and isinstance(store, SqliteStore):
            await store.commits.flush_ledger()
        await store.redecode([understood(seq, second)], now=START)
        assert [one.sr_uuid for one in (await store.find_requests("item-7")).requests] == [SR]
        if isinstance(path, Path):
            async with serving(crash_copy(path, tmp_path / "after a crash")) as again:
                assert [one.sr_uuid for one in (await again.find_requests("item-7")).requests] == [SR]
    async with serving(path) as store:
        assert [one.sr_uuid for one in (await store.find_requests("item-7")).requests] == [SR]


async def test_the_mark_of_drift_stays_while_another_message_bears_it(database: Database) -> None:
    feed = [event(letter, number, at=START + 3600 + number) for number, letter in enumerate("PRA")]
    async with serving(database) as store:
        seqs = [await accepted(store, misunderstood(new, "unknown type")) for new in feed]
        for seq, new in zip(seqs, feed, strict=True):
            assert Flag.DRIFT in (await row_of(store)).flags
            await store.redecode([understood(seq, new)], now=START)
        assert await row_of(store) == judged(feed)


async def test_a_message_of_an_older_database_is_judged_when_its_turn_comes(database: Database) -> None:
    path = database
    feed = [event(letter, number, at=START + 3600 + number) for number, letter in enumerate("PRA")]
    async with serving(path) as store:
        seqs = [await accepted(store, misunderstood(new, "quarantined")) for new in feed]
    if not isinstance(path, Path):
        return  # a row is never written later than its messages, and so none is ever read in
    async with serving(path) as store:
        await run_sql(store, "DELETE FROM entries", "DELETE FROM requests", "UPDATE ledger SET live = 0, flushed = 0")
    async with serving(path) as store:
        done = await store.redecode([understood(seqs[0], feed[0])], now=START)
        assert [one.facts for one in done] == [None]
        while not (await store.fill_ledger()).complete:
            pass
        assert await row_of(store) == judged(feed[:1])
        await store.redecode([understood(seq, new) for seq, new in zip(seqs, feed, strict=True)], now=START)
        assert await row_of(store) == judged(feed)


async def test_times_begin_if_the_request_is_in_another_state_now(database: Database) -> None:
    watch = Watch("photos", ("QC/PENDING", "QC/APPROVED"), Duration("1h"))
    feed = [event(letter, 10 * number, at=START + 3600) for number, letter in enumerate("PRA")]
    async with serving(database) as store:
        seqs = [await accepted(store, misunderstood(new, "quarantined")) for new in feed]
        day = START + 86_400
        for seq, new, expected in zip(seqs, feed, [["QC/PENDING"], [], ["QC/APPROVED"]], strict=True):
            await store.redecode([understood(seq, new)], watches=[watch], now=day)
            timers = await store.due_timers([watch], day + 60, 10)
            assert [timer.entered.state for timer in timers] == expected
            assert await store.due_timers([watch], day + 59, 10) == [], "the next state may be redecoded at once"
        assert timers[0].entered.event_at == START + 20 * 60
