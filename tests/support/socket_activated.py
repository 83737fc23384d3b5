"""A gateway that receives its listening sockets as systemd hands them over: they stay open while it restarts."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.gateway_process import Running

_HAND_OVER = """
import fcntl, os, sys
at, *command = sys.argv[1:]
# Every socket moves to a high number first, so that none is overwritten before it has its place. No second copy stays open.
given = [int(held) for held in at.split(",")]
high = [fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, 1000) for held in given]
for held in given:
    os.close(held)
for number, held in enumerate(high):
    os.dup2(held, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(command[0], command)
"""
"""It becomes the gateway: the sockets are descriptor 3 and up, for the process LISTEN_PID alone (sd_listen_fds(3))."""


class SocketActivated(Running):
    def __init__(self, folder: Path, toml: str, sockets: Mapping[str, socket.socket], *, listening: bool = True) -> None:
        """`sockets` are bound sockets by the NAME of `listen = ["fd:NAME"]`; the first one becomes the address `webhooks`."""
        super().__init__(folder, toml)
        self.variables = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
        self.passed = [held.fileno() for held in sockets.values()]
        self._webhooks = next(iter(sockets.values()))
        for held in sockets.values() if listening else ():
            held.listen(1024)

    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", "-c", _HAND_OVER, ",".join(map(str, self.passed)), *super().command()]

    def address_from(self, text: str) -> tuple[str, int] | Path:
        if not text.startswith("fd:"):
            return super().address_from(text)
        address = self._webhooks.getsockname()
        return Path(address) if isinstance(address, str) else (address[0], address[1])
