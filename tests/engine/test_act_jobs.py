"""Acts that go on in the background: once for each form, some at a time, and with an end whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from gateway.control.act_jobs import MOST_AT_ONCE, MOST_UNDER_WAY, ActJobs, TooManyJobs, Work
from gateway.control.bulk_acts import Slice
from gateway.core.errors import StoreError
from tests.fakes import FakeClock


@pytest.fixture
async def jobs(clock: FakeClock) -> AsyncIterator[ActJobs]:
    jobs = ActJobs(clock=clock, log=structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]))
    running = [asyncio.create_task(jobs.run()) for _ in range(MOST_AT_ONCE)]
    yield jobs
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def doing(*steps: Slice | Exception, wait: asyncio.Event | None = None) -> Work:
    async def work() -> AsyncIterator[Slice]:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            yield step
        if wait is not None:
            await wait.wait()

    return work


async def test_an_act_adds_up_its_slices(jobs: ActJobs) -> None:
    job = jobs.begin("form", "replay", {"sink": "erp"}, doing(Slice(200, 150, 3), Slice(10, 10, 0)), actor="alice", total=160)
    await job.over.wait()
    assert (job.looked_at, job.changed, job.late, job.failed, job.ended_at) == (210, 160, 3, None, job.began_at)
    assert jobs.job(job.id) is job and jobs.under_way() == []


async def test_a_form_that_is_sent_twice_begins_one_act_and_that_of_another_user_begins_another(jobs: ActJobs) -> None:
    first = jobs.begin("form", "replay", {}, doing(Slice(1, 1, 0)), actor="alice")
    assert jobs.begin("form", "replay", {}, doing(Slice(1, 1, 0)), actor="alice") is first
    assert jobs.begin("form", "replay", {}, doing(Slice(1, 1, 0)), actor="bob") is not first
    await first.over.wait()
    assert jobs.begin("form", "replay", {}, doing(Slice(1, 1, 0)), actor="alice") is first
    assert first.changed == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("the disk is full"), "the disk is full"),
        (ValueError("no such thing"), "no such thing"),
        (TypeError("x"), "a bug"),
    ],
)
async def test_an_act_that_fails_keeps_what_it_did_and_says_why_it_ended(jobs: ActJobs, error: Exception, said: str) -> None:
    failed = jobs.begin("1", "discard", {}, doing(Slice(1, 1, 0), error), actor="alice")
    await failed.over.wait()
    assert failed.changed == 1 and failed.failed is not None and said in failed.failed
    after = jobs.begin("2", "discard", {}, doing(Slice(1, 1, 0)), actor="alice")
    await after.over.wait()
    assert after.failed is None


async def test_a_long_act_holds_no_other_up_and_their_number_is_bounded(jobs: ActJobs) -> None:
    forever = asyncio.Event()
    long = jobs.begin("long", "replay", {}, doing(Slice(1, 1, 0), wait=forever), actor="alice")
    short = jobs.begin("short", "drill", {}, doing(Slice(1, 1, 0)), actor="alice")
    await short.over.wait()
    assert not long.over.is_set()
    for number in range(MOST_UNDER_WAY - 1):
        jobs.begin(str(number), "replay", {}, doing(wait=forever), actor="alice")
    with pytest.raises(TooManyJobs, match="under way"):
        jobs.begin("one more", "replay", {}, doing(), actor="alice")
    assert jobs.begin("long", "replay", {}, doing(), actor="alice") is long


async def test_old_jobs_are_forgotten_and_those_under_way_are_not(jobs: ActJobs) -> None:
    forever = asyncio.Event()
    first = jobs.begin("first", "replay", {}, doing(wait=forever), actor="alice")
    second = jobs.begin("second", "replay", {}, doing(), actor="alice")
    await second.over.wait()
    for number in range(210):
        job = jobs.begin(str(number), "replay", {}, doing(), actor="alice")
        await job.over.wait()
    assert jobs.job(first.id) is first and jobs.job(second.id) is None
