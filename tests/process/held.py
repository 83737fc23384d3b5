"""A gateway that is handed its sockets, as systemd does: they stay open while it restarts."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.process.running import Running

_HAND_OVER = """
import fcntl, os, sys
at, *command = sys.argv[1:]
# First to high numbers, so that none is overwritten before it has its place. No second copy of any stays open.
given = [int(held) for held in at.split(",")]
high = [fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, 1000) for held in given]
for held in given:
    os.close(held)
for number, held in enumerate(high):
    os.dup2(held, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(command[0], command)
"""
"""sd_listen_fds(3): the sockets are 3 and those above it, and only the process with that id may take them."""


class Held(Running):
    def __init__(self, folder: Path, toml: str, sockets: Mapping[str, socket.socket], *, listening: bool = True) -> None:
        """`sockets` are bound, by the names that `listen = ["fd:NAME"]` calls them by; the first is `webhooks` to a test."""
        super().__init__(folder, toml)
        self.variables = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
        self.passed = [held.fileno() for held in sockets.values()]
        self._webhooks = next(iter(sockets.values()))
        for held in sockets.values() if listening else ():
            held.listen(1024)

    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", _HAND_OVER, ",".join(map(str, self.passed)), *super().command()]

    def _address(self, text: str) -> tuple[str, int] | Path:
        if not text.startswith("fd:"):
            return super()._address(text)
        address = self._webhooks.getsockname()
        return Path(address) if isinstance(address, str) else (address[0], address[1])
