"""Group commit: one transaction for everything that waits, and no job fails with its neighbour (docs/design.md, "The store")."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import StoreError, StoreFailed, StoreOverloaded
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Stored
from gateway.store.base import MOST_WAITING
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import (
    HANG,
    RETENTION,
    Trap,
    accepted,
    assert_counters_right,
    new,
    one,
    raising,
    rows,
    serving,
    settlement,
    sqlite_error,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def idle(path: Path) -> AsyncIterator[SqliteStore]:
    """A store whose writer does not run."""
    store = await SqliteStore.open(path, RETENTION)
    yield store
    await store.close()


async def submit(store: SqliteStore, *sender_ids: str) -> list[asyncio.Task[object]]:
    """Submit messages in this order, and let each one reach the queue."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(store.accept(new(sender_id))) for sender_id in sender_ids]
    await asyncio.sleep(0)
    return tasks


async def test_accepts_and_settles_that_wait_together_are_one_commit(idle: SqliteStore) -> None:
    tasks = await submit(idle, *(f"msg_{number}" for number in range(200)))
    while await idle.commits.step():
        pass
    await asyncio.gather(*tasks)
    commits: list[int] = []
    idle.commits.on_commit = lambda jobs, seconds: commits.append(jobs)

    settles = [idle.settle(settlement(seq, Delivered(200))) for seq in range(1, 201)]
    tasks = await submit(idle, *(f"msg_{number}" for number in range(200, 400)))
    while await idle.commits.step():
        pass

    assert commits == [400]
    assert all(await asyncio.gather(*settles))
    assert all(isinstance(answer, Accepted) for answer in await asyncio.gather(*tasks))
    await assert_counters_right(idle)


async def test_sixty_four_clients_take_far_fewer_commits_than_messages(path: Path) -> None:
    async with serving(path) as store:
        commits: list[tuple[int, float]] = []
        store.commits.on_commit = lambda jobs, seconds: commits.append((jobs, seconds))

        async def client(name: int) -> None:
            for number in range(10):
                seq = await accepted(store, new(f"msg_{name}_{number}"))
                assert await store.settle(settlement(seq, Delivered(200)))

        await asyncio.gather(*(client(name) for name in range(64)))

        assert sum(jobs for jobs, _ in commits) == 64 * 10 * 2
        assert len(commits) < 64 * 10 * 2 / 8
        assert all(seconds >= 0 for _, seconds in commits)
        await assert_counters_right(store)


async def test_a_lone_message_is_committed_at_once_and_not_after_a_timer(idle: SqliteStore) -> None:
    (task,) = await submit(idle, "msg_1")
    assert await idle.commits.step()
    assert isinstance(await task, Accepted)
    assert not await idle.commits.step()


async def after_a_shared_commit(idle: SqliteStore) -> list[int]:
    """Let the last commit be one of several jobs. Returns the sizes of those that follow."""
    tasks = await submit(idle, "first_1", "first_2")
    await idle.commits.step()
    await asyncio.gather(*tasks)
    sizes: list[int] = []
    idle.commits.on_commit = lambda jobs, seconds: sizes.append(jobs)
    return sizes


async def test_under_load_a_commit_takes_what_the_loop_is_about_to_read(idle: SqliteStore) -> None:
    sizes = await after_a_shared_commit(idle)
    told: list[Stored | Exception] = []

    def read(number: int) -> None:
        """Submit a message, and find another one two turns later, as a loop does that has bytes to read."""
        idle.submit(new(f"msg_{number}"), told.append)
        if number < 10:
            loop.call_soon(loop.call_soon, read, number + 1)

    loop = asyncio.get_running_loop()
    read(1)
    assert await idle.commits.step()
    assert sizes == [10] and len(told) == 10


async def test_a_loop_that_never_rests_delays_a_commit_by_milliseconds(idle: SqliteStore) -> None:
    sizes = await after_a_shared_commit(idle)
    numbers = itertools.count()

    def read() -> None:
        idle.submit(new(f"msg_{next(numbers)}"), lambda stored: None)
        if not sizes:
            loop.call_soon(read)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    read()
    assert await idle.commits.step()
    assert sizes and loop.time() - begun < 1.0


async def test_no_caller_has_an_answer_before_the_commit(idle: SqliteStore, path: Path) -> None:
    (task,) = await submit(idle, "msg_1")
    seen: list[int] = []
    task.add_done_callback(lambda _: seen.append(one(path, "SELECT count(*) FROM messages")))
    assert not task.done()
    await idle.commits.step()
    await task
    await asyncio.sleep(0)
    assert seen == [1]


class TestABug:
    async def test_a_job_that_raises_fails_alone(self, path: Path) -> None:
        async with serving(path) as store:
            bug = new(raising(RuntimeError("a bug")))
            answers = await asyncio.gather(
                *(store.accept(new(f"msg_{number}")) for number in range(5)),
                store.accept(bug),
                *(store.accept(new(f"msg_{number}")) for number in range(5, 10)),
                return_exceptions=True,
            )

            assert isinstance(answers[5], RuntimeError)
            assert sum(isinstance(answer, Accepted) for answer in answers) == 10
            assert one(path, "SELECT count(*) FROM messages") == 10
            await assert_counters_right(store)

    async def test_the_writes_of_a_failing_job_are_rolled_back(self, path: Path) -> None:
        async with serving(path) as store:
            seq = await accepted(store, new("msg_0"))
            answers = await asyncio.gather(
                store.settle(settlement(seq, Delivered(200))),
                store.accept(new("msg_1", sinks=("erp", "erp"))),
                store.accept(new("msg_2")),
                return_exceptions=True,
            )

            assert answers[0] is True
            assert isinstance(answers[1], sqlite3.IntegrityError)
            assert isinstance(answers[2], Accepted)
            assert rows(path, "SELECT sender_id FROM messages ORDER BY seq") == [(b"msg_0",), (b"msg_2",)]
            await assert_counters_right(store)

    async def test_the_writer_goes_on_after_a_failing_job(self, path: Path) -> None:
        async with serving(path) as store:
            for number in range(3):
                with pytest.raises(RuntimeError):
                    await store.accept(new(raising(RuntimeError("a bug"))))
                await accepted(store, new(f"msg_{number}"))

    async def test_a_disk_error_while_jobs_are_tried_alone_leaves_no_caller_waiting(self, idle: SqliteStore) -> None:
        bug, trouble = raising(RuntimeError("a bug")), raising(sqlite_error(sqlite3.SQLITE_IOERR))
        tasks = await submit(idle, "msg_1", bug, trouble, "msg_2", "msg_3")
        with pytest.raises(StoreFailed):
            await idle.commits.step()

        async with asyncio.timeout(HANG):
            first, second, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, Accepted | StoreFailed)
        assert isinstance(second, RuntimeError | StoreFailed)
        assert [type(other) for other in others] == [StoreFailed] * 3


class TestOverload:
    async def test_messages_beyond_the_bound_are_refused_and_those_before_them_kept(self, idle: SqliteStore, path: Path) -> None:
        tasks = await submit(idle, *(f"msg_{number}" for number in range(MOST_WAITING)))
        async with asyncio.timeout(HANG):
            with pytest.raises(StoreOverloaded) as refused:
                await idle.accept(new("one too many"))
        assert refused.value.code == "overloaded"

        idle.finish()
        await idle.run()
        async with asyncio.timeout(HANG):
            answers = await asyncio.gather(*tasks)
        assert all(isinstance(answer, Accepted) for answer in answers)
        assert one(path, "SELECT count(*) FROM messages") == MOST_WAITING

    async def test_messages_are_accepted_again_after_an_overload(self, idle: SqliteStore) -> None:
        tasks = await submit(idle, *(f"msg_{number}" for number in range(MOST_WAITING)))
        await idle.commits.step()
        await asyncio.gather(*tasks)
        (task,) = await submit(idle, "one more")
        await idle.commits.step()
        assert isinstance(await task, Accepted)

    async def test_outcomes_are_settled_even_during_an_overload(self, idle: SqliteStore) -> None:
        (first,) = await submit(idle, "msg_first")
        await idle.commits.step()
        await first
        tasks = await submit(idle, *(f"msg_{number}" for number in range(MOST_WAITING)))
        settled = idle.settle(settlement(1, Delivered(200)))
        idle.finish()
        await idle.run()
        async with asyncio.timeout(HANG):
            assert await settled
            await asyncio.gather(*tasks)


class TestTheEnd:
    async def test_finish_lets_run_end_after_all_jobs_that_wait(self, idle: SqliteStore, path: Path) -> None:
        tasks = await submit(idle, *(f"msg_{number}" for number in range(MOST_WAITING)))
        idle.finish()
        await idle.run()
        async with asyncio.timeout(HANG):
            assert all(isinstance(answer, Accepted) for answer in await asyncio.gather(*tasks))
        assert one(path, "SELECT count(*) FROM messages") == MOST_WAITING

    async def test_close_refuses_waiting_jobs_and_all_later_ones(self, path: Path) -> None:
        store = await SqliteStore.open(path, RETENTION)
        (task,) = await submit(store, "msg_1")
        await store.close()
        async with asyncio.timeout(HANG):
            with pytest.raises(StoreError):
                await task
            with pytest.raises(StoreError):
                await store.accept(new("msg_2"))
            with pytest.raises(StoreError):
                await store.settle(settlement(1, Delivered(200)))
        assert one(path, "SELECT count(*) FROM messages") == 0

    async def test_close_may_be_called_twice(self, path: Path) -> None:
        store = await SqliteStore.open(path, RETENTION)
        await store.close()
        await store.close()

    async def test_a_caller_cancelled_while_it_waits_harms_no_other_and_its_message_is_kept(self, path: Path) -> None:
        async with serving(path) as store:
            tasks = await submit(store, "msg_1", "msg_2")
            tasks[0].cancel()
            async with asyncio.timeout(HANG):
                assert isinstance(await tasks[1], Accepted)
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            assert await store.messages_after(0, 10)

    async def test_a_cancelled_writer_leaves_no_caller_waiting(self, path: Path) -> None:
        """A crash in any task takes the group down, and a lane that waits for its settle must not hold it up."""
        store = await SqliteStore.open(path, RETENTION)
        running = asyncio.create_task(store.run())
        (task,) = await submit(store, "msg_0")
        await task
        held = asyncio.Event()
        loop = asyncio.get_running_loop()
        (in_hand,) = await submit(store, Trap("msg_in_hand", lambda: loop.call_soon_threadsafe(held.set)))
        await held.wait()
        settled = store.settle(settlement(1, Delivered(200), at=START + 1))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        try:
            async with asyncio.timeout(HANG):
                await asyncio.gather(asyncio.shield(in_hand), asyncio.shield(settled), return_exceptions=True)
        finally:
            await store.close()
            in_hand.cancel()
            await asyncio.gather(in_hand, settled, return_exceptions=True)


async def test_a_caller_with_a_bug_keeps_no_other_one_of_the_commit_waiting(idle: SqliteStore) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    bug, told = RuntimeError("a bug"), list[bool | Exception]()

    def raise_it(stored: object) -> None:
        raise bug

    idle.submit(new("msg_1"), raise_it)
    answers = await submit(idle, "msg_2")
    assert await idle.commits.step()
    (stored,) = await asyncio.gather(*answers)
    assert isinstance(stored, Accepted)
    idle.submit_settlement(settlement(1, Delivered(200)), raise_it)
    idle.submit_settlement(settlement(2, Delivered(200)), told.append)
    assert await idle.commits.step()
    assert told == [True] and reported == [bug, bug]


async def test_a_caller_is_told_once_that_the_writer_has_ended(path: Path) -> None:
    store = await SqliteStore.open(path, RETENTION)
    told: list[object] = []
    store.submit(new("msg_1"), told.append)
    store.submit_settlement(settlement(1, Delivered(200)), told.append)
    store.commits.refuse()
    await store.close()
    assert [type(error) for error in told] == [StoreError, StoreError]
