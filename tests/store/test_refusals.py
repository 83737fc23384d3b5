"""A file that cannot be trusted is refused with exit code 65, and stays exactly as it is (docs/design.md, "The store")."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.errors import StoreCorrupt
from gateway.store.sqlite.migrations import scripts
from gateway.store.sqlite.store import SqliteStore
from tests.store.kit import RETENTION, crash_copy, files, fill, refusal

pytestmark = pytest.mark.usefixtures("threads_ended")
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def big(path: Path) -> Path:
    """A closed database with rows in every table, and more pages than a start looks at."""
    await fill(path, 1500, body=bytes(range(256)) * 4)
    return path


async def refused(path: Path) -> StoreCorrupt:
    """The error with which this file is refused; its bytes have to stay as they are."""
    before = files(path)
    error = await refusal(path, StoreCorrupt)
    assert files(path).keys() == before.keys(), "the refusal removed a file or made one"
    assert files(path) == before, "the refusal changed the file"
    assert error.exit_code == 65
    return error


def damage(path: Path, page: int, garbage: bytes = b"\xa5" * PAGE) -> None:
    """Overwrite a page, 1-based."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(garbage)


class TestNotADatabase:
    @pytest.mark.parametrize(
        "content",
        [b"{}\n", b"SQLite", b"\0" * 8192, b"SQLite format 2\0" + b"\0" * 4096, b"%PDF-1.7\n" * 500],
        ids=["JSON", "a part of the header", "zeros", "another SQLite", "PDF"],
    )
    async def test_a_file_that_is_not_a_database_is_refused_with_its_path(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert str(path) in str(await refused(path))

    async def test_a_header_with_nothing_behind_it_is_refused(self, path: Path) -> None:
        path.write_bytes(b"SQLite format 3\0" + b"\xff" * 500)
        await refused(path)


class TestOfAnother:
    @pytest.mark.parametrize("application_id", [0, 0x4C4D4758])
    @pytest.mark.parametrize("journal", ["DELETE", "WAL"])
    async def test_the_database_of_another_program_is_refused(self, path: Path, application_id: int, journal: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute("CREATE TABLE bookmarks (url)")
        assert "another program" in str(await refused(path))

    async def test_a_foreign_database_with_a_write_ahead_log_is_refused_and_left_alone(self, path: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE bookmarks (url)")
            copy = crash_copy(path, tmp_path / "left")
        assert "another program" in str(await refused(copy))

    async def test_a_foreign_database_that_is_in_use_is_refused(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE bookmarks (url)")
            assert "another program" in str(await refusal(path, StoreCorrupt))
            connection.execute("INSERT INTO bookmarks VALUES ('x')")
            connection.commit()
            assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("bookmarks",)]


class TestOfALaterVersion:
    async def test_a_newer_schema_is_refused_with_both_versions(self, big: Path) -> None:
        with closing(sqlite3.connect(big)) as connection:
            connection.execute("PRAGMA user_version = 99")
        text = str(await refused(big))
        assert "99" in text
        assert str(len(scripts())) in text

    async def test_a_newer_schema_after_an_unclean_end_is_refused_too(self, path: Path, tmp_path: Path) -> None:
        """The write-ahead log of the newer version is a part of its database."""
        store = await SqliteStore.open(path, RETENTION)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
            copy = crash_copy(path, tmp_path / "left")
        await store.close()
        await refused(copy)


class TestDamage:
    @pytest.mark.parametrize(
        "name",
        [
            "messages",
            "conflicts",
            "deliveries",
            "attempts",
            "counters",
            "messages_by_sender_id",
            "messages_by_identity",
            "messages_by_body",
            "messages_by_status",
            "messages_by_time",
            "sinks",
            "deliveries_due",
            "deliveries_dead",
            "deliveries_by_sr",
            "deliveries_discarded",
            "deliveries_by_since",
            "timeline",
            "threads",
            "unlogged",
            "threads_by_use",
            "rules",
            "entries",
            "requests",
            "requests_by_uuid",
            "requests_by_reference",
            "standings",
            "standings_by_milestone",
            "standings_flagged",
            "signing_keys",
            "loose_references",
            "loose_references_by_reference",
            "ledger",
            "arrivals",
            "repeats",
            "acts",
            "acts_by_message",
            "sink_acts",
            "watch_timers",
            "watch_timers_due",
            "watch_timers_told",
            "lasting",
            "joins",
            "joins_by_message",
            "joins_by_partner",
            "known_words",
            "sqlite_autoindex_rules_1",
            "sqlite_autoindex_signing_keys_1",
            "sqlite_autoindex_messages_1",
            "sqlite_autoindex_conflicts_1",
        ],
    )
    async def test_a_damaged_root_of_a_table_or_index_is_found_at_start(self, big: Path, name: str) -> None:
        with closing(sqlite3.connect(big)) as connection:
            ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchall()
        damage(big, page)
        assert "restore a backup" in str(await refused(big))

    async def test_the_test_of_damaged_roots_covers_every_table_and_index(self, big: Path) -> None:
        with closing(sqlite3.connect(big)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name <> 'sqlite_sequence'")}
        (mark,) = (m for m in TestDamage.test_a_damaged_root_of_a_table_or_index_is_found_at_start.pytestmark)  # type: ignore[attr-defined]
        assert names == set(mark.args[1])

    async def test_a_damaged_schema_is_found_at_start(self, big: Path) -> None:
        content = big.read_bytes()
        damage(big, 1, content[:100] + b"\xa5" * (PAGE - 100))
        await refused(big)

    async def test_a_file_cut_in_half_is_found_at_start(self, big: Path) -> None:
        content = big.read_bytes()
        big.write_bytes(content[: len(content) // 2 // PAGE * PAGE])
        await refused(big)

    async def test_damage_at_start_is_left_alone_with_a_write_ahead_log_beside_it(self, big: Path, tmp_path: Path) -> None:
        store = await SqliteStore.open(big, RETENTION)
        with closing(sqlite3.connect(big)) as connection, connection:
            connection.execute("UPDATE messages SET duplicates = 1 WHERE seq = 1000")
            ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'attempts'").fetchall()
            connection.commit()
            copy = crash_copy(big, tmp_path / "left")
        await store.close()
        damage(copy, page)
        await refused(copy)

    async def test_garbage_in_a_page_in_the_middle_is_found_by_the_quick_check(self, big: Path) -> None:
        damage(big, middle_leaf(big))
        before = files(big)
        store = await SqliteStore.open(big, RETENTION)  # a start reads a small part of the file
        try:
            with pytest.raises(StoreCorrupt) as found:
                await store.quick_check()
        finally:
            await store.close()
        assert found.value.exit_code == 65
        assert "backup" in str(found.value)
        assert files(big) == before

    async def test_a_sound_file_passes_the_quick_check_beside_the_traffic(self, big: Path) -> None:
        store = await SqliteStore.open(big, RETENTION)
        await store.quick_check()
        await store.close()

    async def test_a_read_that_meets_damage_says_so(self, big: Path) -> None:
        damage(big, middle_leaf(big))
        store = await SqliteStore.open(big, RETENTION)
        with pytest.raises(StoreCorrupt):
            await store.read(lambda connection: connection.execute("SELECT sum(length(body)) FROM messages").fetchone())
        await store.close()


def middle_leaf(path: Path) -> int:
    """A page with rows of `messages`, far from both ends of the file."""
    content = path.read_bytes()
    pages = len(content) // PAGE
    return next(page for page in range(pages // 2, pages) if content[(page - 1) * PAGE] == 0x0D)
