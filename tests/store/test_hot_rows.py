"""The rows of the ledger in memory, which questions copy in one thread while the writer changes them in another."""

from __future__ import annotations

from collections.abc import Callable

from gateway.store.hot_rows import HotRows, Standing

KEY = ("legitmark", "sr-1")


class Watched(bytes):
    """A row that calls whenever its length is asked for, in the middle of a change."""

    look: Callable[[], object]

    def __len__(self) -> int:
        self.look()
        return super().__len__()


def row(content: bytes, look: Callable[[], object]) -> Standing:
    watched = Watched(content)
    watched.look = look
    return Standing(1, 1, watched, None, own=False, filed=False)


def test_a_row_that_changes_is_never_missing_in_between() -> None:
    hot = HotRows()
    hot.put({KEY: row(b"old", lambda: None)})
    seen: list[bool] = []
    hot.put({KEY: row(b"older", lambda: seen.append(KEY in hot.unflushed()))})
    hot.put({KEY: row(b"newer", lambda: seen.append(KEY in hot.unflushed()))})
    assert seen and all(seen)


def test_the_sizes_are_those_of_the_rows_that_are_there() -> None:
    hot, once = HotRows(), HotRows()
    once.put({KEY: (first := row(b"a row", lambda: None))})
    hot.put({KEY: row(b"another", lambda: None)})
    hot.put({KEY: first})
    assert (hot.size, hot.unflushed_size) == (once.size, once.unflushed_size)
    hot.flushed(KEY, first)
    assert (hot.size, hot.unflushed_size, len(hot)) == (once.size, 0, 1)
    hot.put({KEY: first})
    assert (hot.size, hot.unflushed_size, len(hot)) == (once.size, once.unflushed_size, 1)
    hot.put({KEY: None})
    assert (hot.size, hot.unflushed_size, len(hot)) == (0, 0, 0)


def test_a_reference_id_that_comes_later_counts_for_the_size() -> None:
    hot, once = HotRows(), HotRows()
    named = Standing(1, 1, b"a row", "BAG-2041", own=False, filed=False)
    once.put({KEY: named})
    hot.put({KEY: row(b"a row", lambda: None)})
    hot.put({KEY: named})
    assert (hot.size, hot.unflushed_size) == (once.size, once.unflushed_size)


def test_a_row_that_was_flushed_is_one_that_the_file_knows() -> None:
    hot = HotRows()
    standing = row(b"a row", lambda: None)
    hot.put({KEY: standing})
    assert not standing.filed
    hot.flushed(KEY, standing)
    assert standing.filed and hot.get(KEY) is standing
