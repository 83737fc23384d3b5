"""A gateway that is handed its sockets, as systemd does: they stay open while it restarts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.flow import running

_HAND_OVER = """
import os, sys
at, *command = sys.argv[1:]
for number, held in enumerate(at.split(",")):
    os.dup2(int(held), 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(command[0], command)
"""
"""sd_listen_fds(3): the sockets are 3 and those above it, and only the process with that id may take them."""


class Held(running.Running):
    def __init__(self, folder: Path, toml: str, sockets: Mapping[str, socket.socket]) -> None:
        """`sockets` are bound, by the names that `listen = ["fd:NAME"]` calls them by; the first is `webhooks` to a test."""
        names = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
        super().__init__(folder, toml, names)
        self._sockets = list(sockets.values())
        for held in self._sockets:
            held.listen(128)

    def launch(self) -> None:
        # High numbers, so that none is overwritten before it has its place.
        high = [os.dup(held.fileno()) for held in self._sockets]
        try:
            environment = {name: value for name, value in os.environ.items() if not name.endswith("_DIRECTORY")}
            environment |= {**self.secrets, "PYTHONPATH": str(running._CODE)}
            serve = [sys.executable, "-m", "gateway", "serve", "--config", str(self.config)]
            with self.stderr_file.open("ab") as stderr:
                self._log_from = stderr.tell()
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _HAND_OVER, ",".join(map(str, high)), *serve],
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    pass_fds=high,
                )
        finally:
            for copy in high:
                os.close(copy)

    def _address(self, text: str) -> tuple[str, int] | Path:
        if not text.startswith("fd:"):
            return super()._address(text)
        host, port = self._sockets[0].getsockname()[:2]
        return host, port
