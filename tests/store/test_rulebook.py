"""The rules that routed messages are kept once, for as long as they may be asked for, and not without a bound."""

from __future__ import annotations

import pytest

from gateway.store import bounds
from tests.fakes import START
from tests.store.kit import DAY, Database, rows, serving


async def test_rules_that_come_back_keep_their_number(database: Database) -> None:
    async with serving(database) as store:
        first, second = [await store.keep_rules(text, START) for text in (b"[1]", b"[2]")]
        assert first != second and await store.keep_rules(b"[1]", START + DAY) == first
        kept = await store.kept_rules(first)
        assert kept is not None and (kept.snapshot, kept.since) == (b"[1]", START)
        assert await store.kept_rules(99) is None


async def test_rules_are_purged_some_time_after_others_replaced_them_and_never_while_they_are_in_use(database: Database) -> None:
    path = database
    async with serving(path) as store:
        first, second = [await store.keep_rules(text, START) for text in (b"[1]", b"[2]")]
        for number, at in ((first, START), (second, START + DAY), (first, START + 2 * DAY)):
            await store.use_rules(number, at)
        await store.purge(0, 10, START + 2 * DAY)
        assert [number for (number,) in rows(path, "SELECT number FROM rules ORDER BY number")] == [first, second]
        await store.purge(0, 10, START + 3 * DAY)
        assert [number for (number,) in rows(path, "SELECT number FROM rules")] == [first], "in use for a hundred days"


async def test_rules_that_come_back_are_not_purged_while_a_reload_takes_them_up(database: Database) -> None:
    path = database
    async with serving(path) as store:
        first, second = [await store.keep_rules(text, START) for text in (b"[1]", b"[2]")]
        for number, at in ((first, START), (second, START + DAY)):
            await store.use_rules(number, at)
        assert await store.keep_rules(b"[1]", START + 99 * DAY) == first
        await store.purge(0, 10, START + 9 * DAY)
        assert await store.kept_rules(first) is not None


async def test_rules_that_change_each_minute_fill_no_disk(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_RULES", 3)
    path = database
    async with serving(path) as store:
        for text in range(10):
            await store.use_rules(await store.keep_rules(b"[%d]" % text, START), START)
        for _ in range(5):
            await store.purge(0, 10, START - DAY)
        assert [number for (number,) in rows(path, "SELECT number FROM rules ORDER BY number")] == [8, 9, 10]
