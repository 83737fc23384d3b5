"""This version reads every database that an earlier one wrote: it delivers, replays and recognizes duplicates."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gateway.core.documents import Health
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Duplicate, NewMessage
from gateway.core.selection import Target
from gateway.store.sqlite import operations
from gateway.store.sqlite.migrations import backup_before, scripts
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.golden import same
from tests.store import writing
from tests.store.kit import DAY, STATES, accepted, assert_counters_right, new, one, rows, serving, settlement

SCRIPTS = sorted((Path(__file__).parent / "written").glob("*.sql"))
KEPT = ("messages", "conflicts", "deliveries", "attempts", "counters", "sinks", "threads", "sqlite_sequence")
"""Tables of the first schema."""


@pytest.fixture(params=SCRIPTS, ids=lambda script: script.stem)
def script(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def path(tmp_path: Path, script: Path) -> Path:
    path = tmp_path / "gateway.db"
    writing.load(script, path)
    return path


def resent(made: NewMessage) -> NewMessage:
    """Return the same webhook as it comes again, with a new message id of the gateway."""
    return msgspec.structs.replace(made, message=msgspec.structs.replace(made.message, id=made.message.id[::-1]))


async def examined(store: SqliteStore) -> Health:
    return await store.examine().ended


async def test_there_is_a_database_of_every_schema_and_this_version_writes_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    await writing.write(path)
    text = writing.dump(path)
    same(text, Path(__file__).parent / "written" / f"{len(scripts()):04}.sql")
    assert [script.stem for script in SCRIPTS] == [f"{number:04}" for number in range(1, len(scripts()) + 1)]


async def test_the_text_files_describe_the_databases_exactly(tmp_path: Path) -> None:
    path, loaded = tmp_path / "gateway.db", tmp_path / "loaded.db"
    await writing.write(path)
    (tmp_path / "dump.sql").write_text(writing.dump(path), encoding="utf-8")
    writing.load(tmp_path / "dump.sql", loaded)
    for table in KEPT:
        assert rows(loaded, f"SELECT * FROM {table} ORDER BY 1, 2") == rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") != []


async def test_the_text_files_have_every_kind_of_row(path: Path) -> None:
    def kinds(column: str, table: str) -> set[object]:
        return {value for (value,) in rows(path, f"SELECT DISTINCT {column} FROM {table}")}

    assert kinds("state", "deliveries") == set(STATES)
    assert kinds("outcome", "attempts") == {"delivered", "retry", "defer", "reject"}
    assert kinds("status", "messages") == {"accepted", "unrouted", "quarantined"}
    for flag in ("sr IS NULL", "replayed"):
        assert kinds(flag, "deliveries") == {0, 1}, flag
    for flag in ("forgotten = 0", "duplicates = 0", "sender_id IS NULL", "identity IS NULL", "content_type IS NULL"):
        assert kinds(flag, "messages") == {0, 1}, flag
    for flag in ("paused_ms", "held_ms", "probe_ms", "absent_ms"):
        assert kinds(f"{flag} IS NULL", "sinks") == {0, 1}, flag
    assert kinds("in_order", "sinks") == {0, 1}
    assert one(path, "SELECT seq FROM sqlite_sequence WHERE name = 'messages'") > one(path, "SELECT max(seq) FROM messages")


async def test_the_upgrade_keeps_every_row_and_leaves_a_sound_database(path: Path, script: Path) -> None:
    before = {table: rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") for table in KEPT}
    async with serving(path) as store:
        for table, kept in before.items():
            now = rows(path, f"SELECT * FROM {table} ORDER BY 1, 2")
            assert [row[: len(kept[0])] for row in now] == kept, table  # columns are only added, at the end
        health = await examined(store)
        assert (health.damage, health.miscounted, health.schema) == ([], [], len(scripts()))
        await assert_counters_right(store)
    assert backup_before(path, int(script.stem)).exists() == (int(script.stem) < len(scripts()))


async def test_every_message_is_read_as_it_came_together_with_its_story(path: Path) -> None:
    async with serving(path) as store:
        kept = {each.message.id: each.message for each in await store.messages_after(0, 1000)}
        for name, made in writing.messages().items():
            assert kept[made.message.id] == made.message, name
        for each in await store.messages_after(0, 1000):
            story = await store.story(each.seq)
            assert story is not None and (story.ids.id, story.status) == (each.message.id, each.status)
            assert sorted(told.delivery.sink for told in story.deliveries) == sorted(each.sinks)


async def test_queued_deliveries_are_made_in_their_order(path: Path) -> None:
    queued = defaultdict(set)
    for seq, sink in rows(path, "SELECT message, sink FROM deliveries WHERE state = 'queued'"):
        queued[sink].add(seq)
    assert queued.keys() >= {"erp", "slack", "ordered", "ends", "added", "gone"}
    async with serving(path) as store:
        for sink, seqs in queued.items():
            turns = []
            while owed := (await store.claim(sink, START + DAY, 100, (), by_sr=sink == "ordered")).owed:
                for each in owed:
                    turns.append(each.seq)
                    done = settlement(each.seq, Delivered(200), sink=sink, number=each.attempts + 1, retries=each.retries)
                    assert await store.settle(done)
            assert set(turns) == seqs and len(turns) == len(seqs)
            if sink == "ordered":
                assert turns == sorted(turns, reverse=True)  # by the events' own time
        assert all(counts.queued == 0 for counts in (await store.counts()).values())
        health = await examined(store)
        assert (health.damage, health.miscounted) == ([], [])


async def test_dead_deliveries_are_replayed_and_missing_ones_are_added(path: Path) -> None:
    dead = [Target(*row) for row in rows(path, "SELECT message, sink FROM deliveries WHERE state = 'dead'")]
    everything = [Target(seq, "new_sink") for (seq,) in rows(path, "SELECT seq FROM messages")]
    assert dead
    async with serving(path) as store:
        reopen = partial(operations.add_or_reopen, targets=[*dead, *everything], states=("dead",), now=START)
        changed = await store.change(lambda connection, changes: reopen(connection, changes=changes))
        assert set(changed) == {*dead, *everything}
        for target in changed:
            owed = (await store.claim(target.sink, START + DAY, 1000, ())).owed
            assert target.seq in [each.seq for each in owed]
        await assert_counters_right(store)


async def test_messages_that_an_earlier_version_received_make_duplicates(path: Path) -> None:
    async with serving(path, writing.RETENTION) as store:
        for name, made in writing.messages().items():
            first = made.message.id
            assert await store.accept(resent(made)) == Duplicate(first, "message_id", False), name
            if made.identity is not None:
                again = await store.accept(new(f"other {name}", identity=made.identity))
                assert isinstance(again, Duplicate) and (again.id, again.reason) == (first, "identity"), name
        before = one(path, "SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
        assert await accepted(store, new("never seen")) > before  # no seq is given twice, not even a purged one


async def test_the_state_of_lanes_and_conversations_is_read(path: Path) -> None:
    async with serving(path) as store:
        assert (await store.all_gates())["slack"] == writing.PAUSED
        assert await store.find_conversation("slack", "#fraud", writing.SR) == writing.CONVERSATION


async def test_retention_goes_on_after_an_upgrade(path: Path) -> None:
    async with serving(path) as store:
        later = START + 200 * DAY
        await store.purge(0, 1000, later)
        left = {each.seq for each in await store.messages_after(0, 1000)}
        assert left == {seq for (seq,) in rows(path, "SELECT message FROM deliveries WHERE state IN ('queued', 'dead')")}
        assert isinstance(await store.accept(resent(writing.messages()["delivered"])), Accepted)
        health = await examined(store)
        assert (health.damage, health.miscounted) == ([], [])


async def test_an_upgraded_database_equals_one_that_this_version_wrote(path: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.db"
    await writing.write(fresh)
    async with serving(path):
        pass
    for table in (
        *KEPT[:-1],
        "timeline",
    ):  # sqlite_sequence has a row for each table of a later schema that was written to
        columns = f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')"
        assert rows(path, columns) == rows(fresh, columns), table
        assert rows(path, f"SELECT * FROM {table} ORDER BY 1, 2") == rows(fresh, f"SELECT * FROM {table} ORDER BY 1, 2"), table
    schema = "SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2"
    assert rows(path, schema) == rows(fresh, schema)
