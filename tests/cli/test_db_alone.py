"""`gateway db backup` and `gateway db check` while no gateway runs: they act in its place, and leave no trace."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.sqlite import unlogged
from tests.cli.backups import ARCHIVED, admin, is_copying, names, post, started
from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.store.kit import fill, rows
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until


@pytest.fixture
def folder(folder: Path, free_port: Callable[[], int]) -> Path:
    """A folder with an admin address of its own: a gateway at the default address of this machine must not be asked."""
    with (folder / "gateway.toml").open("a") as config:
        config.write(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n')
    return folder


def offline(running: Running, *arguments: str | Path) -> Result:
    """Run `gateway db ...` while no gateway runs at the address in the configuration."""
    return command("db", *arguments, "--config", running.config, cwd=running.folder)


def unlogged_messages(database: Path) -> int:
    """Return how many messages the database keeps as perhaps missing in the audit log."""
    with closing(sqlite3.connect(database)) as connection:
        steps = [step for _, steps in unlogged.kept(connection, 0, 1_000) for step in steps]
    return sum(not step.event for step in steps)


async def killed_before_a_line_is_known_to_be_written(running: Running) -> int:
    """Post until the last commit holds messages, kill the gateway before the next commit, and return how many were posted.

    The sink is paused, because a settled delivery would be one more commit.
    """
    assert running.process is not None
    assert (await asyncio.to_thread(command, "pause", "archive", "--admin", admin(running), cwd=running.folder)).status == 0
    posted, state = 0, Path(f"/proc/{running.process.pid}/stat")
    while posted < 1_000:
        await post(running, 20)
        posted += 20
        running.process.send_signal(signal.SIGSTOP)
        await until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")  # stopped (proc_pid_stat(5))
        if unlogged_messages(running.database):
            break
        running.process.send_signal(signal.SIGCONT)
    await asyncio.to_thread(running.kill)
    return posted


class TestWhereNoneRuns:
    async def test_a_backup_holds_the_write_ahead_log_of_a_crash_and_the_next_start_still_learns_of_it(
        self, running: Running, free_port: Callable[[], int]
    ) -> None:
        messages = await killed_before_a_line_is_known_to_be_written(running)
        running.write_config(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n' + ARCHIVED)
        told = await asyncio.to_thread(offline, running, "backup", "backup.db")
        assert (told.status, "no gateway runs" in told.err) == (0, True)
        assert rows(running.folder / "backup.db", "SELECT count(*) FROM messages") == [(messages,)]
        assert (await asyncio.to_thread(offline, running, "check")).status == 0
        kept = unlogged_messages(running.folder / "backup.db")
        assert kept > 0
        running.audit_file.unlink()
        await asyncio.to_thread(running.start)
        assert len(running.audit("message.accepted")) == kept
        await until(lambda: "store.checked" in running.stderr())

    async def test_a_check_after_a_clean_end_leaves_no_trace(self, running: Running, free_port: Callable[[], int]) -> None:
        await post(running, 3)
        await until(lambda: len(running.audit("delivery.delivered")) == 3)
        assert await running.stop() == 0
        running.write_config(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n' + ARCHIVED)
        before = {each.name: each.read_bytes() for each in running.folder.iterdir()}
        told = await asyncio.to_thread(offline, running, "check", "--json")
        assert told.status == 0 and told.document()["deliveries"] == {"queued": 0, "delivered": 3, "dead": 0, "discarded": 0}
        assert {each.name: each.read_bytes() for each in running.folder.iterdir()} == before

    async def test_a_database_that_a_gateway_holds_is_left_to_it(self, running: Running, free_port: Callable[[], int]) -> None:
        """Its admin listener is elsewhere, because the configuration has changed, or it does not listen yet."""
        running.write_config(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n' + ARCHIVED)
        running.database.with_name("gateway.db.addresses").unlink()
        assert running.process is not None
        for arguments in (["backup", "backup.db"], ["check"]):
            told = await asyncio.to_thread(offline, running, *arguments)
            assert (told.status, told.out) == (69, "")
            assert f"pid {running.process.pid}" in told.err and "--admin" in told.err
        assert "backup.db" not in names(running.folder)

    def test_a_missing_database_is_69(self, folder: Path) -> None:
        for arguments in (["backup", "b.db"], ["check"]):
            told = command("db", *arguments, cwd=folder)
            assert (told.status, told.out) == (69, "")
            assert "gateway serve" in told.err and str(folder / "gateway.db") in told.err and "STATE_DIRECTORY" in told.err
        assert names(folder) == ["gateway.toml"]

    def test_an_empty_database_makes_no_backup(self, folder: Path) -> None:
        (folder / "gateway.db").touch()
        for arguments in (["backup", "b.db"], ["check"]):
            told = command("db", *arguments, cwd=folder)
            assert (told.status, told.out) == (65, "") and "is empty" in told.err and "Traceback" not in told.err
        assert names(folder) == ["gateway.db", "gateway.db.lock", "gateway.toml"]

    def test_a_gateway_that_is_named_and_does_not_run_is_69(self, folder: Path, free_port: Callable[[], int]) -> None:
        asyncio.run(fill(folder / "gateway.db", 1))
        assert command("db", "check", "--admin", f"127.0.0.1:{free_port()}", cwd=folder).status == 69

    def test_a_configuration_that_is_being_edited_does_not_prevent_a_backup(self, folder: Path) -> None:
        asyncio.run(fill(folder / "other.db", 1))
        (folder / "gateway.toml").write_text('[store]\npath = "other.db"\n[admin]\nlisten = ["127.0.0.1:1"]\n[sinks.x\n')
        assert command("db", "backup", "b.db", cwd=folder).status == 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user's helper")
    def test_files_that_root_makes_belong_to_the_gateways_user(self, folder: Path) -> None:
        asyncio.run(fill(folder / "gateway.db", 1))
        (folder / "gateway.db.lock").unlink()
        os.chown(folder / "gateway.db", 12345, 12345)
        assert command("db", "check", cwd=folder).status == 0
        assert {each.stat().st_uid for each in folder.glob("gateway.db*")} == {12345}

    @pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    async def test_a_signal_ends_a_backup_and_leaves_no_partial_file(
        self, folder: Path, large: Path, end: signal.Signals
    ) -> None:
        for each in (large, Path(f"{large}.lock")):
            shutil.copy(each, folder)
        person = started("db", "backup", "b.db", cwd=folder)
        await is_copying(folder / "b.db")
        person.send_signal(end)
        await asyncio.to_thread(person.communicate, timeout=60)
        assert person.returncode == 130
        assert names(folder) == ["gateway.db", "gateway.db.lock", "gateway.toml"]
        assert (folder / "gateway.db.lock").read_text().strip() == "clean"
        assert command("db", "check", cwd=folder).status == 0


class TestADatabaseBehindALink:
    """SQLite keeps the write-ahead log beside the target of a link. A reader beside the link would miss it."""

    async def test_it_is_served_backed_up_and_checked_with_its_log(self, tmp_path: Path, free_port: Callable[[], int]) -> None:
        shelf = tmp_path / "shelf"
        shelf.mkdir()
        (tmp_path / "gateway.db").symlink_to(shelf / "real.db")
        with Running(tmp_path, ARCHIVED) as running, no_traceback(running, alive=False):
            await post(running, 5)
            told = await asyncio.to_thread(command, "db", "check", "gateway.db", "--json", cwd=tmp_path)
            assert (told.status, told.document()["messages"]) == (0, 5)
            await asyncio.to_thread(running.kill)
            running.write_config(f'[admin]\nlisten = ["127.0.0.1:{free_port()}"]\n' + ARCHIVED)
            assert (await asyncio.to_thread(offline, running, "backup", "b.db")).status == 0
            assert rows(tmp_path / "b.db", "SELECT count(*) FROM messages") == [(5,)]
            assert {"real.db", "real.db-wal", "real.db.lock"} <= set(names(shelf))
            assert "gateway.db.lock" not in names(tmp_path)
