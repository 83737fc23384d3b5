"""A kill at any of the first syncs of a start, on an empty folder or on a restored backup: the next start serves."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, new_id, signed

SYNCS = 8
SINK = '[sinks.archive]\ntype = "jsonl"\npath = "events.jsonl"\n'


@pytest.fixture(scope="module")
def strace() -> str:
    """The path of strace. Skips the test if strace is missing or may not trace here."""
    path = shutil.which("strace")
    if path is None:
        pytest.skip("there is no strace")
    tried = subprocess.run([path, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode != 0:
        pytest.skip(f"strace can't trace here: {tried.stderr.strip()}")
    return path


class Killed(Running):
    """A gateway that is killed as it enters its n-th sync."""

    tracer: tuple[str, ...] = ()

    def command(self) -> list[str]:
        return [*self.tracer, *super().command()]

    def start_and_die(self, strace: str, nth: int) -> bool:
        """Start the gateway and wait for the kill. Returns False if the start needed fewer syncs."""
        log = self.folder / "strace.log"
        inject = f"inject=fdatasync,fsync:signal=KILL:when={nth}"
        self.tracer = (strace, "-D", "-f", "-qq", "-o", str(log), "-e", "trace=fdatasync,fsync", "-e", inject)
        try:
            self.launch()
        finally:
            self.tracer = ()
        assert self.process is not None
        for _ in range(600):
            with suppress(subprocess.TimeoutExpired):
                assert self.process.wait(0.1) == -signal.SIGKILL, self.stderr()
                return True
            if self.is_listening() and self.is_ready():
                self.terminate()
                assert self.process.wait(PATIENCE) in (0, -signal.SIGKILL), self.stderr()  # a stop syncs, too
                return False
        raise AssertionError(f"neither killed nor ready: {self.stderr()}")


async def serves(running: Running) -> None:
    await asyncio.to_thread(running.start)
    answer = await running.post(event())
    assert answer.outcome == (200, "accepted")
    await until(lambda: running.audit("delivery.delivered"))
    assert await running.stop() == 0
    assert running.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("nth", range(1, SYNCS + 1))
async def test_the_start_after_a_first_start_that_was_killed_at_any_sync_serves(strace: str, tmp_path: Path, nth: int) -> None:
    running = Killed(tmp_path, SINK + route("archive"))
    try:
        assert running.start_and_die(strace, nth) or nth > 4
        await serves(running)
    finally:
        running.kill()


@pytest.mark.parametrize("nth", range(1, SYNCS + 1))
async def test_the_start_after_one_killed_at_any_sync_on_a_backup_serves_the_backup(
    strace: str, tmp_path: Path, nth: int
) -> None:
    running = Killed(tmp_path, SINK + route("archive"))
    body, sender_id = event(), new_id()
    try:
        await asyncio.to_thread(running.start)
        kept = (await running.post(body, signed(body, sender_id))).json()["id"]
        assert await running.stop() == 0
        copy = tmp_path / "copy.db"
        with closing(sqlite3.connect(running.database)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        copy.replace(running.database)
        assert running.database.read_bytes()[18:20] == b"\1\1"  # in rollback mode, as every backup is
        running.start_and_die(strace, nth)
        await asyncio.to_thread(running.start)
        again = await running.post(body, signed(body, sender_id))
        assert again.outcome == (200, "duplicate") and again.json()["id"] == kept
        assert await running.stop() == 0
    finally:
        running.kill()


HALF_STATES = {
    "an empty database": ("", b""),
    "an empty log": ("-wal", b""),
    "an empty index of the log": ("-shm", b""),
    "an index of another log": ("-shm", b"\xaa" * 32768),
    "an empty journal": ("-journal", b""),
    "a journal whose header was not written": ("-journal", bytes(512)),
    "a journal that is rubbish": ("-journal", b"rubbish" * 99),
}


@pytest.mark.parametrize("before", ["nothing", "stopped"])
@pytest.mark.parametrize("state", HALF_STATES)
async def test_a_start_serves_whatever_files_a_kill_left(tmp_path: Path, state: str, before: str) -> None:
    running = Running(tmp_path, SINK + route("archive"))
    try:
        if before == "stopped":
            await serves(running)
            running.audit_file.unlink()
        suffix, content = HALF_STATES[state]
        running.database.with_name(running.database.name + suffix).write_bytes(content)
        await serves(running)
    finally:
        running.kill()
