"""The acts of people are kept in the order in which they happen, and read from the newest on."""

from __future__ import annotations

import pytest

from gateway.control.act_list import ActList, ActsPlace, ListedAct
from gateway.core.outcome import Reason, Reject
from gateway.core.selection import Target
from gateway.core.values import Actor
from gateway.store import bounds
from tests.fakes import START
from tests.store.kit import AnyStore, Database, accepted, new, serving, settlement


async def dead(store: AnyStore, number: int) -> list[Target]:
    targets = []
    for at in range(number):
        seq = await accepted(store, new(f"message-{at}"))
        await store.settle(settlement(seq, Reject(Reason.HTTP_STATUS, "HTTP 410", 410)))
        targets.append(Target(seq, "erp"))
    return targets


async def replay(store: AnyStore, targets: list[Target], actor: str, at: float) -> None:
    await store.reopen(targets, ("dead",), add=False, now=START + at, actor=actor)


async def whole(store: AnyStore, limit: int) -> list[ListedAct]:
    found: list[ListedAct] = []
    place: ActsPlace | None = ActsPlace()
    while place is not None:
        page, place = await ActList(store).page(place, limit)
        found += page
    return found


def told(acts: list[ListedAct]) -> list[tuple[str, str, int | None]]:
    return [(one.act, one.actor, one.deliveries) for one in acts]


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_slices_of_one_act_are_one_row_and_acts_on_sinks_stand_between_in_the_order_of_time(
    database: Database, limit: int
) -> None:
    async with serving(database) as store:
        targets = await dead(store, 6)
        await replay(store, targets[:2], "alice", 10)
        await replay(store, targets[2:3], "alice", 40)
        await store.keep_act("pause", "erp", now=START + 50, actor=Actor("bob", "robert"))
        await replay(store, targets[3:4], "bob", 55)
        await replay(store, targets[4:5], "bob", 300)
        await store.discard(targets[5:], now=START + 301, actor="bob")
        found = await whole(store, limit)
    assert told(found) == [
        ("discard", "bob", 1),
        ("replay", "bob", 1),
        ("replay", "bob", 1),
        ("pause", "bob", None),
        ("replay", "alice", 3),
    ]
    assert (found[3].claimed, found[3].subjects) == ("robert", ("erp",))
    assert (found[4].first_at, found[4].last_at) == (START + 10, START + 40)


async def test_an_act_that_goes_on_gets_its_outcome_later(database: Database) -> None:
    async with serving(database) as store:
        ids = [await store.keep_act("ask", f"sr-{number}", now=START + number, actor="alice") for number in (1, 2)]
        await store.end_act(ids[0], "same QC/PENDING")
        acts = ActList(store, under_way=lambda: ids[1:])
        page, _ = await acts.page(ActsPlace(), 50)
        shown = [(one.act, one.subjects, one.detail, one.under_way) for one in page]
        assert shown == [("ask", ("sr-2",), "", True), ("ask", ("sr-1",), "same QC/PENDING", False)]
        await store.end_act(ids[1] + 1, "nothing has this id")
        assert len(await store.acts_on_sinks(None, 50)) == 2


async def test_acts_on_sinks_are_kept_up_to_a_bound_and_the_oldest_go_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_SINK_ACTS", 3)
    async with serving(database) as store:
        for number in range(5):
            await store.keep_act("drill", "erp", now=START + number, actor="alice", detail=str(number))
        assert [one.detail for one in await store.acts_on_sinks(None, 50)] == ["4", "3", "2"]
