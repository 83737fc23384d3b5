"""What a test has in place of systemd: sockets that listen, and somebody who hears what the gateway says of itself."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self

from tests.flow.running import until


def listening(where: str | Path = "127.0.0.1") -> socket.socket:
    """A socket that listens: on any free port of an address, or at a path."""
    if isinstance(where, Path):
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(where))
    else:
        opened = socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
        opened.bind((where, 0))
    opened.listen(1024)
    return opened


class NotifySocket:
    """Hears what a process tells its service manager."""

    def __init__(self, address: str) -> None:
        """A path, or an abstract address that begins with "@"."""
        self.address = address
        self.heard: list[dict[str, str]] = []
        """Each message, by variable."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def listen(self) -> list[dict[str, str]]:
        """All that was said until now."""
        try:
            while True:
                message = self._socket.recv(65536).decode()
                self.heard.append(dict(line.split("=", 1) for line in message.split("\n")))
        except BlockingIOError:
            return self.heard

    def said(self, name: str, value: str | None = None) -> list[dict[str, str]]:
        """The messages that hold a variable."""
        return [one for one in self.listen() if name in one and value in (None, one[name])]

    async def until_said(self, name: str, times: int = 1, seconds: float = 10.0) -> dict[str, str]:
        """Wait for so many messages with a variable; the last of them."""
        await until(lambda: len(self.said(name)) >= times, seconds)
        return self.said(name)[-1]
