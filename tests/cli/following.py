"""`gateway tail -f`, whose lines a test waits for."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

from tests.cli.running import TIMEOUT, command, environment
from tests.support import forked_gateway

_LINE_SECONDS = TIMEOUT
"""Seconds until a line is shown, including the start of Python."""


class Following:
    """`gateway tail -f` in a process. A thread reads its lines, so that a test can wait for one with a time limit."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._lines: list[str] = []
        self._more = threading.Condition()
        self.process = forked_gateway.start(
            command("tail", "-f", *arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def until(self, text: str) -> list[str]:
        """Wait for a line that has the text, and return all lines so far."""
        with self._more:
            assert self._more.wait_for(lambda: any(text in line for line in self._lines), _LINE_SECONDS), self._lines
            return list(self._lines)

    def interrupt(self) -> tuple[int, str]:
        """Send Ctrl-C, and return the exit code and stderr."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(TIMEOUT)
        assert self.process.stderr is not None
        return status, self.process.stderr.read().decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reader.join(TIMEOUT)
        self.process.wait(TIMEOUT)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            with self._more:
                self._lines.append(raw.decode())
                self._more.notify_all()
