"""Joins in the store: which of two events waits, which delivery tells both, and what happens when one is alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.core.events import Event, decode
from gateway.core.joins import may_wait
from gateway.core.ledger import Facts
from gateway.core.outcome import Delivered, Reason, Retry
from gateway.core.records import Accepted, Joined, NewMessage, Owed, Owes, message_about
from gateway.core.selection import Target
from gateway.core.values import Actor
from tests.fakes import START
from tests.store.kit import (
    DAY,
    AnyStore,
    Database,
    assert_counters_right,
    counted,
    crash_copy,
    opened,
    rows,
    serving,
    settlement,
)
from tests.support.stories import BEGINNING, bodies

SR = "b16c763b-5a4c-4f0e-8b3e-1f1f1f1f1f1f"
NOW = START + 3600
WAIT = 30.0
_numbers = itertools.count(1)


def event(
    text: str,
    *,
    sr: str = SR,
    waits: Sequence[str] = ("desk",),
    sinks: Sequence[str] = ("desk",),
    at: float = NOW,
    in_order: Sequence[str] = (),
) -> NewMessage:
    """Return an event such as `M21`: its letter and its second."""
    (values,) = bodies(text, sr)
    body = json.dumps(values).encode()
    decoded = decode(body)
    assert isinstance(decoded, Event)
    number = next(_numbers)
    message = message_about(
        decoded, body, message_id=f"{number:032x}", source="legitmark", received_at=at, sender_id=f"msg_{number}"
    )

    def decide(facts: Facts | None) -> Owes:
        waiting = tuple((sink, WAIT) for sink in waits) if text[0] in "RM" and may_wait(facts) else ()
        return Owes("accepted", tuple((sink, at) for sink in sinks), waits=waiting)

    return NewMessage(
        message,
        "accepted",
        event_at=BEGINNING + int(text[1:]),
        event=lambda: decoded,
        decide=decide,
        in_order=frozenset(in_order),
    )


async def accept(store: AnyStore, new: NewMessage) -> Accepted:
    stored = await store.accept(new)
    assert isinstance(stored, Accepted)
    return stored


async def due(store: AnyStore, at: float = NOW, sink: str = "desk", *, by_sr: bool = False) -> tuple[Owed, ...]:
    return (await store.claim(sink, at, 100, (), by_sr=by_sr)).owed


def states(path: Database) -> list[tuple[int, str, str, str | None]]:
    return rows(path, "SELECT message, sink, state, reason FROM deliveries ORDER BY message, sink")


@pytest.fixture
def path(database: Database) -> Database:
    return database


@pytest.mark.parametrize("order", [("R20", "M21"), ("M21", "R20"), ("M19", "R20"), ("R20", "M20")])
async def test_the_second_of_two_events_is_told_by_the_delivery_of_the_first_in_either_order(
    path: Database, order: tuple[str, str]
) -> None:
    async with serving(path) as store:
        await accept(store, event("P10"))
        await store.settle(settlement(1, Delivered(), sink="desk"))
        first, second = event(order[0]), event(order[1])
        assert await accept(store, first) == Accepted(2, waiting=("desk",))
        assert await due(store, NOW + WAIT - 1) == ()
        assert await accept(store, second) == Accepted(3, joined=(Joined("desk", first.message.id),))
        assert states(path)[1:] == [(2, "desk", "queued", None), (3, "desk", "discarded", "joined")]
        (owed,) = await due(store)
        assert owed.seq == 2 and owed.joins
        partner = await store.close_join(2, "desk")
        assert partner is not None and partner.id == second.message.id and partner.body == second.message.body
        assert await store.close_join(2, "desk") == partner
        await assert_counters_right(store)


async def test_a_partner_that_comes_after_the_first_attempt_began_goes_out_alone_and_at_once(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("R20"))
        assert await due(store) == ()
        (first,) = await due(store, NOW + WAIT)
        assert await store.close_join(first.seq, "desk") is None
        assert await accept(store, event("M21", at=NOW + WAIT)) == Accepted(2)
        assert [owed.seq for owed in await due(store, NOW + WAIT)] == [1, 2]
        assert await store.close_join(1, "desk") is None


async def test_a_partner_still_joins_after_the_wait_if_the_first_one_was_not_sent_yet(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("R20"))
        assert (await accept(store, event("M21", at=NOW + 900))).joined
        assert [owed.seq for owed in await due(store, NOW + 900)] == [1]


async def test_a_third_event_of_the_round_goes_out_alone_and_at_once(path: Database) -> None:
    async with serving(path) as store:
        for text in ("P10", "P15", "R20", "M21"):
            await accept(store, event(text))
        assert await accept(store, event("M22")) == Accepted(5)
        assert [owed.seq for owed in await due(store)] == [1, 2, 3, 5]


async def test_two_events_of_one_kind_are_not_joined(path: Database) -> None:
    async with serving(path) as store:
        for text in ("P10", "P15", "M20"):
            await accept(store, event(text))
        assert await accept(store, event("M21")) == Accepted(4)
        assert (await accept(store, event("R20"))).joined  # the first one still waits
        assert [owed.seq for owed in await due(store)] == [1, 2, 3, 4]


@pytest.mark.parametrize("order", list(itertools.permutations(["R20", "M21", "R40", "M41"])))
async def test_no_order_of_two_rounds_joins_events_of_different_rounds_or_leaves_one_untold(
    path: Database, order: tuple[str, ...]
) -> None:
    async with serving(path) as store:
        for text in ("P10", "P30"):
            await accept(store, event(text))
        seqs = {text: (await accept(store, event(text))).seq for text in order}
        told: dict[str, set[int]] = {}
        for owed in await due(store, NOW + WAIT):
            partner = await store.close_join(owed.seq, "desk") if owed.joins else None
            told[owed.message.id] = {owed.seq} | {
                int(partner.id, 16) - int(owed.message.id, 16) + owed.seq if partner else owed.seq
            }
        for seq in (1, 2):
            assert {seq} in told.values()
        assert set().union(*told.values()) == {1, 2, *seqs.values()}
        rounds = [{seqs["R20"], seqs["M21"]}, {seqs["R40"], seqs["M41"]}]
        assert all(len(together) == 1 or together in rounds for together in told.values())
        await assert_counters_right(store)


async def test_each_sink_joins_for_itself_and_others_get_both_at_once(path: Database) -> None:
    sinks = ("desk", "erp", "mail")
    async with serving(path) as store:
        first = event("R20", sinks=sinks, waits=("desk", "mail"))
        assert await accept(store, first) == Accepted(1, waiting=("desk", "mail"))
        assert [owed.seq for owed in await due(store, sink="erp")] == [1]
        await store.close_join(1, "mail")
        assert await accept(store, event("M21", sinks=sinks, waits=("desk", "mail"))) == Accepted(
            2, joined=(Joined("desk", first.message.id),)
        )
        assert [owed.seq for owed in await due(store, sink="erp")] == [1, 2]
        assert [owed.seq for owed in await due(store, NOW + WAIT, "mail")] == [2, 1]


async def test_requests_do_not_join_each_other(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("R20"))
        assert await accept(store, event("M21", sr="another")) == Accepted(2, waiting=("desk",))


async def test_two_events_of_one_commit_are_joined(path: Database) -> None:
    store = await opened(path)
    told: list[object] = []
    for number in range(40):  # more than one statement takes
        for text in ("R20", "M21"):
            store.submit(event(text, sr=f"sr {number}"), told.append)
    store.finish()
    await store.run()
    assert counted(path)["desk"] == msgspec.structs.replace(counted(path)["desk"], queued=40, discarded=40)
    assert [owed.seq for owed in await due(store)] == list(range(1, 80, 2))
    await store.close()


@pytest.mark.sqlite_only
async def test_a_join_survives_a_crash_between_the_two_events_and_after_them(path: Path, tmp_path: Path) -> None:
    first, second = event("M21"), event("R20")
    async with serving(path) as store:
        await accept(store, first)
        copy = crash_copy(path, tmp_path / "first")
    async with serving(copy) as store:
        assert (await accept(store, second)).joined == (Joined("desk", first.message.id),)
        later = crash_copy(copy, tmp_path / "second")
    async with serving(later) as store:
        (owed,) = await due(store)
        partner = await store.close_join(owed.seq, "desk")
        assert partner is not None and partner.id == second.message.id
        retried = Retry(Reason.TIMEOUT)
        await store.settle(settlement(owed.seq, retried, sink="desk", at=NOW))
        last = crash_copy(later, tmp_path / "third")
    async with serving(last) as store:
        (again,) = await due(store, NOW + DAY)
        assert again.joins and await store.close_join(again.seq, "desk") == partner


async def test_a_partner_of_a_discarded_delivery_goes_out_alone_and_so_does_one_of_a_replayed_one(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("R20"))
        await store.discard([Target(1, "desk")], now=NOW, actor=Actor("ann"))
        assert await accept(store, event("M21")) == Accepted(2)
        await accept(store, event("R20", sr="another"))
        await store.discard([Target(3, "desk")], now=NOW, actor=Actor("ann"))
        await store.reopen([Target(3, "desk")], ["discarded"], add=False, now=NOW, actor=Actor("ann"))
        assert await accept(store, event("M21", sr="another")) == Accepted(4)


async def test_a_replay_of_the_delivery_tells_both_again(path: Database) -> None:
    async with serving(path) as store:
        for text in ("R20", "M21"):
            await accept(store, event(text))
        partner = await store.close_join(1, "desk")
        await store.settle(settlement(1, Delivered(), sink="desk"))
        await store.reopen([Target(1, "desk")], ["delivered"], add=False, now=NOW, actor=Actor("ann"))
        (owed,) = await due(store)
        assert owed.joins and await store.close_join(1, "desk") == partner is not None


async def test_in_order_a_joined_event_holds_nothing_back_and_a_waiting_one_is_not_overtaken(path: Database) -> None:
    ordered = ("desk",)
    async with serving(path) as store:
        await store.sync_sinks(["desk"], ["desk"], NOW)
        await accept(store, event("R20", in_order=ordered))
        await accept(store, event("P30", in_order=ordered))
        assert await due(store, by_sr=True) == ()  # the P30 stands behind what waits
        await accept(store, event("P10", in_order=ordered))
        assert [owed.seq for owed in await due(store, by_sr=True)] == [3]
        await store.settle(settlement(3, Delivered(), sink="desk"))
        assert (await accept(store, event("M21", in_order=ordered))).joined == ()  # a P30 came before it: it is late
        await accept(store, event("R40", in_order=ordered))
        assert (await accept(store, event("M41", in_order=ordered))).joined
        for seq in (1, 4, 2, 5):
            assert [owed.seq for owed in await due(store, NOW + WAIT, by_sr=True)] == [seq]
            await store.settle(settlement(seq, Delivered(), sink="desk"))
        assert counted(path)["desk"].queued == 0


async def test_a_sink_that_can_no_longer_join_tells_the_two_apart(path: Database) -> None:
    async with serving(path) as store:
        await store.sync_sinks(["desk"], ["desk"], NOW)
        for text in ("R20", "M21", "P30"):
            await accept(store, event(text, in_order=("desk",)))
        assert await store.part(1, "desk", NOW) is True
        assert await store.part(1, "desk", NOW) is False
        assert states(path) == [(seq, "desk", "queued", None) for seq in (1, 2, 3)]
        await assert_counters_right(store)
        for seq in (1, 2, 3):
            assert [owed.seq for owed in await due(store, by_sr=True)] == [seq]
            await store.settle(settlement(seq, Delivered(), sink="desk"))
        assert await store.close_join(1, "desk") is None


async def test_a_delivery_that_waits_alone_has_none_to_tell_apart(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("R20"))
        assert await store.part(1, "desk", NOW) is False
        assert await accept(store, event("M21")) == Accepted(2)


async def test_a_joined_message_is_kept_until_the_delivery_that_tells_it_has_ended(path: Database) -> None:
    async with serving(path) as store:
        first, second = event("M21"), event("R20", at=NOW)
        for new in (first, second):
            await accept(store, new)
        old = NOW + 100 * DAY
        assert await store.purge(0, 100, old) == (0, None)
        await store.settle(settlement(1, Delivered(), sink="desk"))
        assert await store.purge(0, 100, old) == (2, None)
        assert rows(path, "SELECT * FROM joins") == []
        await assert_counters_right(store)


async def test_without_its_partner_a_purged_join_is_forgotten(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("M21"))
        await store.settle(settlement(1, Delivered(), sink="desk"))
        assert await store.purge(0, 100, NOW + 100 * DAY) == (1, None)
        assert await accept(store, event("R20", at=NOW + 100 * DAY)) == Accepted(2, waiting=("desk",))


async def test_the_story_of_each_message_names_the_other(path: Database) -> None:
    async with serving(path) as store:
        first, second = event("R20"), event("M21")
        await accept(store, first)
        (waiting,) = (await store.story(1)).deliveries  # type: ignore[union-attr]
        assert waiting.delivery.waits and waiting.delivery.tells is None
        await accept(store, second)
        (tells,), (told,) = [(await store.story(seq)).deliveries for seq in (1, 2)]  # type: ignore[union-attr]
        assert (tells.delivery.waits, tells.delivery.tells, tells.delivery.told_by) == (False, second.message.id, None)
        assert (told.delivery.state, told.delivery.reason, told.delivery.told_by) == ("discarded", "joined", first.message.id)
        kept = await store.messages_after(0, 10)
        assert [one.joined for one in kept] == [(), (Joined("desk", first.message.id),)]
        assert [one.sinks for one in kept] == [("desk",), ("desk",)]


async def test_after_a_jump_of_the_clock_a_waiting_delivery_waits_as_long_as_before(path: Database) -> None:
    async with serving(path) as store:
        await accept(store, event("R20"))
        store.shift_clock(7200.0)
        assert await due(store, NOW + 7200 + WAIT - 1) == ()
        assert (await accept(store, event("M21", at=NOW + 7200 + 5))).joined
        assert [owed.seq for owed in await due(store, NOW + 7200 + 5)] == [1]
