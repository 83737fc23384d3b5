"""A log that nobody reads, or whose disk is full, does not stop the gateway."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.configurations import http_sink, route
from tests.support.forked_gateway import CODE
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until, until_answer
from tests.support.webhooks import event, new_id, signed

LISTEN = '[server]\nlisten = ["unix:in.sock"]\n[admin]\nlisten = ["unix:admin.sock"]\n'
STREAMS = ("reader gone", "full disk", "full pipe", "closed")


class Deaf(Running):
    """A gateway whose stderr is closed, full, or read by nobody."""

    how = ""
    reading_end = -1

    def start(self) -> None:
        self.launch()
        self.addresses = {"webhooks": self.folder / "in.sock", "admin": self.folder / "admin.sock"}

    def launch(self) -> None:
        with ExitStack() as opened:
            stderr, before = _stream(self.how, opened, self), self.command()
            if self.how == "closed":
                before = ["sh", "-c", 'exec "$@" 2>&-', "sh", *before]
            environment = {name: value for name, value in os.environ.items() if not name.endswith("_DIRECTORY")}
            environment |= {**self.secrets, "PYTHONPATH": str(CODE)}
            self.process = subprocess.Popen(
                before, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
            )

    async def ready(self) -> None:
        await until_answer(self._status, lambda status: status == 200)

    async def _status(self) -> int:
        assert self.alive
        try:
            return (await self.admin("/-/ready")).status
        except OSError:
            return 0


def _stream(how: str, opened: ExitStack, running: Deaf) -> int:
    if how == "full disk":
        return os.open("/dev/full", os.O_WRONLY) if stat.S_ISCHR(os.stat("/dev/full").st_mode) else -1
    if how == "closed":
        return os.open(os.devnull, os.O_WRONLY)
    reading, writing = os.pipe()
    if how == "reader gone":
        os.close(reading)
    else:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 512)
        os.set_blocking(writing, True)
        running.reading_end = reading  # stays open, and is never read
    opened.callback(os.close, writing)
    return writing


@pytest.mark.parametrize("how", STREAMS)
async def test_the_gateway_works_as_usual_if_its_log_cannot_be_written(tmp_path: Path, receiver: Receiver, how: str) -> None:
    receiver.script.extend([(500, {})])
    sink = http_sink(receiver, "erp", 'retry = ["0s", "0s"]\nbreaker = { failures = 1, probe = "1s" }')
    running = Deaf(tmp_path, LISTEN + sink + route("erp"))
    running.how = how
    with running:
        await running.ready()
        assert (await running.post(event())).outcome == (200, "accepted")  # and the breaker opens
        await until(lambda: running.audit("sink.closed"))
        for number in range(4):  # stale ones with right signatures, which are logged
            stale = await running.post(body := event(), signed(body, new_id(), age=3600 + number))
            assert stale.outcome == (401, "stale_timestamp")
        for _ in range(3):
            assert (await running.post(event())).outcome == (200, "accepted")
        assert (await running.post(b"not JSON")).outcome == (200, "quarantined")
        running.config.write_text(running.config.read_text() + "\n# another one\n")
        assert running.process is not None
        running.process.send_signal(signal.SIGHUP)
        await until(lambda: running.audit("config.reloaded"))
        running.config.write_text("nonsense = 1\n")
        running.process.send_signal(signal.SIGHUP)
        await until(lambda: running.audit("config.refused"))
        assert (await running.post(event())).outcome == (200, "accepted")
        await until(lambda: len(running.audit("delivery.delivered")) == 5)
        metrics = (await running.admin("/metrics")).body.decode()
        dropped = next(line for line in metrics.splitlines() if line.startswith("legitmark_gateway_log_lines_dropped_total "))
        assert how == "full pipe" or float(dropped.split()[1]) > 3
        running.terminate()
        assert await running.exit_code() == 0
    assert running.audit("gateway.stopped")


@pytest.mark.parametrize("how", STREAMS)
async def test_a_warning_that_cannot_be_written_does_not_prevent_the_start(tmp_path: Path, how: str) -> None:
    running = Deaf(tmp_path, LISTEN)  # "[[routes]]: there are no routes"
    running.how = how
    with running:
        await running.ready()
        assert (await running.post(event())).status == 200
        running.terminate()
        assert await running.exit_code() == 0


@pytest.mark.parametrize("how", STREAMS)
@pytest.mark.parametrize(("more", "status"), [("nonsense = 1\n", 78), ('[store]\npath = "damaged.db"\n', 65)])
async def test_a_last_error_that_cannot_be_written_does_not_change_the_exit_code(
    tmp_path: Path, how: str, more: str, status: int
) -> None:
    (tmp_path / "damaged.db").write_bytes(b"SQLite format 3\0" + bytes(8000))
    running = Deaf(tmp_path, more + LISTEN)
    running.how = how
    running.launch()
    try:
        assert await running.exit_code() == status
    finally:
        running.kill()
