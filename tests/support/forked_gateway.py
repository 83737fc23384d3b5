"""Starts gateway processes quickly: each is forked from an interpreter that has the code loaded (see `fork_server`).

It is a process of its own as any other: it has a pid, signals end it, a kill loses what it did not write. Only the import of the
code, which takes most of the time of a short command, is not done again. Tests of the start itself, of the command line that
others see and of Python's own settings start an interpreter.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gateway
from tests.support.fork_server import MOST_BYTES

CODE = Path(gateway.__file__).parent.parent
"""The folder that holds the package under test; every process is told to import it from there."""
PROGRAM = [sys.executable, "-m", "gateway"]
_READ_AT_THE_START = ("PYTHON", "LANG", "LC_", "SSL_CERT_")
"""Beginnings of the names of variables that Python reads at its start, and aiohttp when it is imported (its default contexts)."""
_FREE = ("PYTHON", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
"""The first is a variable of make. The others, of buffers and compiled files, make no difference to a process that is forked."""
_WAIT = 0.005
"""Seconds between two looks for the end of a process."""


def start(command: Sequence[str], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a gateway. The arguments are those of `subprocess.Popen`."""
    ours = {**os.environ, "PYTHONPATH": str(CODE)}
    without = {name: value for name, value in ours.items() if not name.startswith("SSL_CERT_")}
    can_fork = list(command[: len(PROGRAM)]) == PROGRAM and _settings(env) in (_settings(ours), _settings(without))
    kind: Callable[..., subprocess.Popen[bytes]] = Forked if can_fork else subprocess.Popen
    return kind(command, env=env, **options)


def _settings(environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """The variables that are read before a command runs."""
    return frozenset(one for one in environment.items() if one[0].startswith(_READ_AT_THE_START) and one[0] not in _FREE)


class Forked(subprocess.Popen[bytes]):
    """A gateway that was forked. It is used as any `Popen`, but it is no child of this process, so that `os.waitpid` has none."""

    def _execute_child(self, args: Sequence[str], *options: Any) -> None:
        # The order of the parameters is that of CPython 3.11 to 3.13: executable, preexec_fn, close_fds, pass_fds, cwd, env,
        # startupinfo, creationflags, shell, and the ends of the three pipes, of which -1 means that there is none.
        _, _, _, passed, folder, environment, _, _, _, *pipes = options
        streams = [here if end == -1 else end for here, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._server = _server(_settings(environment))
        self.pid = self._server.fork(args[len(PROGRAM) :], folder or Path.cwd(), environment, streams, passed)
        self._child_created = True
        self._close_pipe_fds(*pipes[:6])  # type: ignore[attr-defined]

    def _try_wait(self, flags: int) -> tuple[int, int]:
        status = self._server.ended(self.pid)
        if status is None:
            if not flags & os.WNOHANG:
                time.sleep(_WAIT)
            return 0, 0
        return self.pid, status

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None and hasattr(self, "_server") and (status := self._server.ended(self.pid)) is not None:
            self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


class _Server:
    """The interpreter that forks, and what it has told about the ends of its children."""

    def __init__(self, settings: frozenset[tuple[str, str]]) -> None:
        others = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_THE_START) or name in _FREE}
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._ended: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
                cwd=CODE,
                env={**others, **dict(settings)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(
        self,
        arguments: Sequence[str],
        folder: str | Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
        passed: Sequence[int],
    ) -> int:
        """Start `gateway` with these arguments and standard streams, and return its pid. It inherits the descriptors `passed`."""
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "places": [0, 1, 2, *passed],
        }
        with self._lock:
            socket.send_fds(self._connection, [json.dumps(request).encode()], [*streams, *passed])
            while True:
                told = self._receive()
                if "started" in told:
                    return int(told["started"])

    def ended(self, pid: int) -> int | None:
        """The status that `os.waitpid` would have had for this child, once; None while it runs."""
        with self._lock:
            self._connection.setblocking(False)
            try:
                while True:
                    self._receive()
            except BlockingIOError:
                pass
            finally:
                self._connection.setblocking(True)
            return self._ended.pop(pid, None)

    def _receive(self) -> dict[str, int]:
        message = self._connection.recv(MOST_BYTES)
        assert message, "the interpreter that forks has ended: its traceback stands above"
        told: dict[str, int] = json.loads(message)
        if "ended" in told:
            self._ended[told["ended"]] = told["status"]
        return told


@cache
def _server(settings: frozenset[tuple[str, str]]) -> _Server:
    return _Server(settings)
