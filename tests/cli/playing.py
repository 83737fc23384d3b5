"""`gateway play` in a process of its own: with pipes, as scripts run it, or at a real pseudo-terminal, as people do."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.cli.running import command, environment
from tests.cli.serving import SECONDS, wait_until
from tests.support import forked_gateway

_ADDRESS = re.compile(r"http://127\.0\.0\.1:[0-9]+")


class Piped:
    """A receiver whose output goes into pipes."""

    def __init__(self, *arguments: str | Path, cwd: Path, variables: Mapping[str, str] | None = None) -> None:
        self.process = forked_gateway.start(
            command("play", "--port", "0", *arguments),
            cwd=cwd,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.out, self.err = _Reader(self.process.stdout), _Reader(self.process.stderr)
        wait_until(lambda: "Ctrl-C ends it" in self.err.text, f"it does not listen: {self.err.text}")
        self.address = _first_address(self.err.text)

    def __enter__(self) -> Piped:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        self.out.close()
        self.err.close()

    def lines(self, number: int) -> list[str]:
        """The lines on stdout once there are so many."""
        wait_until(lambda: len(self.out.text.splitlines()) >= number, f"there are only these lines: {self.out.text}")
        return self.out.text.splitlines()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


class AtATerminal:
    """A receiver that a shell runs at a pseudo-terminal."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.text = ""

    @property
    def address(self) -> str:
        return _first_address(self.text)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def until(self, words: str, *, since: int = 0) -> str:
        """Read until the terminal shows the words, and return everything that it showed from a place on."""
        deadline = time.monotonic() + SECONDS
        while words not in self.text[since:]:
            assert time.monotonic() < deadline, f"the terminal shows no {words!r}: {self.text!r}"
            self.read(0.2)
        return self.text[since:]

    def read(self, seconds: float) -> bool:
        """Read what there is; False if the other side has closed."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return True
        try:
            self.text += os.read(self.descriptor, 65536).decode(errors="replace")
        except OSError:  # EIO: nobody has the other side any more
            return False
        return True

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.descriptor)

    @property
    def is_raw(self) -> bool:
        """The terminal does not echo, and hands keys on one by one."""
        return not self.modes[3] & (termios.ECHO | termios.ICANON)


@contextmanager
def at_a_shell(cwd: Path, variables: Mapping[str, str] | None = None) -> Iterator[AtATerminal]:
    """A shell with job control at a terminal of its own."""
    pid, ours = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment({"TERM": "xterm-256color", "PS1": "ready> ", **(variables or {})}))
        os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])
    terminal = AtATerminal(ours)
    try:
        terminal.until("ready> ")
        yield terminal
    finally:
        os.killpg(pid, signal.SIGHUP)
        os.close(ours)
        os.waitpid(pid, 0)


async def post(
    url: str, body: bytes, headers: Sequence[tuple[str, str | bytes]] = (), method: str = "POST"
) -> tuple[int, bytes, Mapping[str, str]]:
    """Send a request; its status, body and headers."""
    given = [
        (name, value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")) for name, value in headers or []
    ]
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS), auto_decompress=False) as session,
        session.request(method, url, data=body, headers=given, allow_redirects=False) as response,
    ):
        return response.status, await response.read(), response.headers


class _Reader:
    """Reads a pipe to its end, beside everything else."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self.data = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return self.data.decode(errors="replace")

    def close(self) -> None:
        self._thread.join(SECONDS)
        self._pipe.close()

    def _run(self) -> None:
        while data := os.read(self._pipe.fileno(), 65536):
            self.data += data


def _first_address(text: str) -> str:
    found = _ADDRESS.search(text)
    assert found is not None, text
    return found[0]
