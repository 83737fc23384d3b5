"""All attempts at a sink share one timer. Each ends at its own time, and an attempt that is cut stays cut."""

from __future__ import annotations

import asyncio

import pytest

from gateway.host.deadlines import Deadlines
from tests.support.waiting import PATIENCE


async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


def after(seconds: float) -> float:
    """Return an instant of the loop."""
    return asyncio.get_running_loop().time() + seconds


async def keep(deadlines: Deadlines, seconds: float) -> float:
    """Return the seconds after which work that never ends was ended."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError):
        await deadlines.keep(hang(), after(seconds))
    return loop.time() - begun


async def test_work_that_ends_in_time_returns_its_result_and_nothing_happens_later() -> None:
    deadlines = Deadlines()

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    assert [await deadlines.keep(work(number), after(0.01)) for number in range(3)] == [0, 1, 2]
    assert await keep(deadlines, 0.05) > 0.049


async def test_each_attempt_ends_at_its_own_time_whatever_the_order_in_which_they_began() -> None:
    deadlines, ended = Deadlines(), []

    async def one(seconds: float) -> None:
        assert await keep(deadlines, seconds) > 0.99 * seconds
        ended.append(seconds)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*map(one, (0.3, 0.1, 0.2)))
    assert ended == [0.1, 0.2, 0.3]


async def test_work_that_is_too_late_is_cancelled_and_its_task_goes_on() -> None:
    cancelled = False

    async def work() -> None:
        nonlocal cancelled
        try:
            await hang()
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(TimeoutError):
        await Deadlines().keep(work(), after(0.01))
    task = asyncio.current_task()
    assert cancelled and task is not None and task.cancelling() == 0


async def test_work_that_answers_although_it_was_cancelled_keeps_its_answer() -> None:
    async def work() -> str:
        try:
            return await hang()
        except asyncio.CancelledError:
            return "an answer"

    assert await Deadlines().keep(work(), after(0.01)) == "an answer"
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_an_attempt_that_is_cut_before_its_time_is_no_timeout() -> None:
    task = asyncio.create_task(Deadlines().keep(hang(), after(PATIENCE)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_attempt_that_is_cut_at_the_very_end_of_its_time_stays_cut() -> None:
    async def work() -> None:
        try:
            await hang()
        finally:
            task.cancel()

    task = asyncio.create_task(Deadlines().keep(work(), after(0.01)))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_bug_is_passed_on() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    deadlines = Deadlines()
    with pytest.raises(ZeroDivisionError):
        await deadlines.keep(work(), after(0.01))
    assert await keep(deadlines, 0.01) > 0.009
