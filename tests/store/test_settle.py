"""Settling: every way out of `queued`, its attempt row, and counters that are never wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.records import Accepted, Counts, Settlement
from gateway.core.retry import RetryPolicy, Transition, expired
from tests.fakes import START
from tests.store.kit import (
    DAY,
    POLICY,
    STATES,
    Database,
    accepted,
    assert_counters_right,
    new,
    rows,
    serving,
    settlement,
)
from tests.store.settlements import DISCARDED, ONCE, RETRY, random_settlement

DELIVERY = "SELECT state, attempts, retries, due_ms, ended_ms, reason FROM deliveries WHERE message = ? AND sink = 'erp'"
ATTEMPTS = "SELECT sink, attempt, started_ms, duration_ms, outcome, reason, status, detail FROM attempts ORDER BY 1, 2"
LATER = START + 60
LATER_MS = round(LATER * 1000)


@pytest.fixture
def path(database: Database) -> Database:
    return database


WAYS: list[Any] = [
    pytest.param(
        Delivered(204, "ok"), POLICY, ("delivered", 1, 0, None, LATER_MS, None), ("delivered", None, 204, "ok"), id="delivered"
    ),
    pytest.param(
        RETRY,
        POLICY,
        ("queued", 1, 1, LATER_MS + 5000, None, "timeout"),
        ("retry", "timeout", None, "no outcome within 30 s"),
        id="retry",
    ),
    pytest.param(
        Retry(Reason.HTTP_STATUS, "", 500),
        ONCE,
        ("dead", 1, 1, None, LATER_MS, "attempts_exhausted"),
        ("retry", "http_status", 500, ""),
        id="last retry",
    ),
    pytest.param(
        Defer(Reason.RATE_LIMITED, 120.0, "in 2 minutes", 429),
        POLICY,
        ("queued", 1, 0, LATER_MS + 120_000, None, "rate_limited"),
        ("defer", "rate_limited", 429, "in 2 minutes"),
        id="defer",
    ),
    pytest.param(
        Reject(Reason.HTTP_STATUS, "gone\x00 for good", 410),
        POLICY,
        ("dead", 1, 0, None, LATER_MS, "rejected"),
        ("reject", "http_status", 410, "gone\x00 for good"),
        id="reject",
    ),
]


@pytest.mark.parametrize(("outcome", "policy", "delivery", "attempt"), WAYS)
async def test_an_outcome_becomes_a_state_an_attempt_and_a_count(
    path: Database, outcome: Outcome, policy: RetryPolicy, delivery: tuple[object, ...], attempt: tuple[object, ...]
) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1", sinks=("erp", "slack")))
        assert await store.settle(settlement(seq, outcome, at=LATER, policy=policy))

        assert rows(path, DELIVERY, seq) == [delivery]
        # PostgreSQL's texts hold no NUL.
        kept = [
            part if isinstance(path, Path) or not isinstance(part, str) else part.replace("\0", "\N{REPLACEMENT CHARACTER}")
            for part in attempt
        ]
        assert rows(path, ATTEMPTS) == [("erp", 1, LATER_MS, 7, *kept)]
        assert rows(path, "SELECT state, attempts, retries FROM deliveries WHERE sink = 'slack'") == [("queued", 0, 0)]
        await assert_counters_right(store)
        assert (await store.counts())["slack"] == Counts(1, 0, 0, 0)


@pytest.mark.parametrize(("transition", "reason"), [(expired(0), "expired"), (DISCARDED, None)], ids=["expired", "discarded"])
async def test_a_delivery_can_end_without_a_request(path: Database, transition: Transition, reason: str | None) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1"))
        await store.settle(settlement(seq, RETRY))
        assert await store.settle(Settlement(seq, "erp", transition, LATER, None))

        assert rows(path, DELIVERY, seq) == [(transition.state, 1, 0, None, LATER_MS, reason)]
        assert len(rows(path, ATTEMPTS)) == 1
        await assert_counters_right(store)


FINAL = [
    pytest.param(Delivered(200), POLICY, id="delivered"),
    pytest.param(Reject(Reason.HTTP_STATUS), POLICY, id="rejected"),
    pytest.param(RETRY, ONCE, id="exhausted"),
]


@pytest.mark.parametrize(("outcome", "policy"), FINAL)
@pytest.mark.parametrize("second", [Delivered(200), RETRY, Reject(Reason.HTTP_STATUS)], ids=["delivered", "retry", "reject"])
async def test_a_delivery_that_left_the_queue_does_not_move_again(
    path: Database, outcome: Outcome, policy: RetryPolicy, second: Outcome
) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1"))
        assert await store.settle(settlement(seq, outcome, policy=policy, at=START + 1))
        before, counts = rows(path, DELIVERY, seq), await store.counts()

        assert not await store.settle(settlement(seq, second, at=LATER))
        assert not await store.settle(Settlement(seq, "erp", DISCARDED, LATER, None))

        assert rows(path, DELIVERY, seq) == before
        assert await store.counts() == counts
        assert len(rows(path, ATTEMPTS)) == 1


async def test_the_same_outcome_twice_in_one_commit_counts_once(path: Database) -> None:
    commits: list[int] = []
    async with serving(path) as store:
        store.commits.on_commit = lambda jobs, seconds: commits.append(jobs)
        seq = await accepted(store, new("msg_1"))
        first, second = store.settle(settlement(seq, Delivered(200))), store.settle(settlement(seq, Delivered(200)))
        assert (await first, await second) == (True, False)
        assert commits == [1, 2]
        assert await store.counts() == {"erp": Counts(0, 1, 0, 0)}


async def test_an_attempt_at_a_delivery_that_a_person_has_ended_is_still_recorded(path: Database) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1"))
        await store.settle(Settlement(seq, "erp", DISCARDED, START + 1, None))
        assert not await store.settle(settlement(seq, Delivered(200), at=LATER))
        assert [row[4] for row in rows(path, ATTEMPTS)] == ["delivered"]
        assert await store.counts() == {"erp": Counts(0, 0, 0, 1)}


@pytest.mark.parametrize("with_attempt", [True, False], ids=["after an attempt", "without one"])
async def test_settling_a_delivery_that_was_discarded_and_purged_returns_false(path: Database, with_attempt: bool) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1"))
        await store.settle(Settlement(seq, "erp", DISCARDED, START + 1, None))
        assert await store.purge(0, 100, START + DAY) == (1, None)

        late = settlement(seq, Delivered(200)) if with_attempt else Settlement(seq, "erp", expired(0), LATER, None)
        assert await store.settle(late) is False
        await assert_counters_right(store)


async def test_the_attempts_of_a_delivery_are_numbered_and_kept_apart_by_sink(path: Database) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1", sinks=("erp", "slack")))
        for number in (1, 2, 3):
            assert await store.settle(settlement(seq, RETRY, number=number, retries=number - 1, at=START + number))
        assert await store.settle(settlement(seq, Delivered(), sink="slack"))

        assert [row[:2] for row in rows(path, ATTEMPTS)] == [("erp", 1), ("erp", 2), ("erp", 3), ("slack", 1)]
        ((_, attempts, retries, *_),) = rows(path, DELIVERY, seq)
        assert (attempts, retries) == (3, 3)


async def test_a_settlement_is_on_disk_before_its_caller_is_answered(path: Database) -> None:
    async with serving(path) as store:
        seq = await accepted(store, new("msg_1"))
        await store.settle(settlement(seq, Delivered(200)))
        assert rows(path, "SELECT state FROM deliveries") == [("delivered",)]


@pytest.mark.parametrize("seed", range(5))
async def test_the_counters_agree_with_a_count_after_any_sequence(path: Database, seed: int) -> None:
    chance = random.Random(seed)
    sinks = ("erp", "slack", "email")
    attempts: dict[tuple[int, str], int] = {}
    async with serving(path) as store:
        for round_number in range(12):
            now = START + round_number * 10 * DAY
            for _ in range(10):
                owed = tuple(chance.sample(sinks, chance.randint(0, 3)))
                answer = await store.accept(new(f"msg_{chance.randrange(40)}", sinks=owed, at=now))
                if isinstance(answer, Accepted):
                    attempts |= {(answer.seq, sink): 0 for sink in owed}
            for key in chance.sample(sorted(attempts), min(15, len(attempts))):
                attempts[key] += 1
                await store.settle(random_settlement(chance, key, attempts[key], now))
            if round_number % 3 == 2:
                await store.purge(0, 500, now - 30 * DAY)
                left = set(rows(path, "SELECT message, sink FROM deliveries"))
                attempts = {key: number for key, number in attempts.items() if key in left}
            await assert_counters_right(store)
        counts = await store.counts()
        totals = [sum(getattr(sink, state) for sink in counts.values()) for state in STATES]
        assert min(totals) > 0, "the test did too little"
    async with serving(path) as store:
        assert await store.counts() == counts
