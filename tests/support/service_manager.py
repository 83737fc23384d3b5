"""The parts of systemd that a test stands in for: sockets that listen, and the sockets that a service sends its state to."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Self

from tests.support.waiting import PATIENCE, until


def listening(where: str | Path = "127.0.0.1") -> socket.socket:
    """A listening socket on a free port of an address, or at a path."""
    if isinstance(where, Path):
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(where))
    else:
        opened = socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
        opened.bind((where, 0))
    opened.listen(1024)
    return opened


class NotifySocket:
    """The socket to which a process reports its state (sd_notify(3))."""

    def __init__(self, address: str) -> None:
        """`address` is a path, or an abstract address that begins with "@"."""
        self.address = address
        self.heard: list[dict[str, str]] = []
        """The messages that came, each as its variables."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def listen(self) -> list[dict[str, str]]:
        """Read what has come, and return all messages until now."""
        try:
            while True:
                message = self._socket.recv(65536).decode()
                self.heard.append(dict(line.split("=", 1) for line in message.split("\n")))
        except BlockingIOError:
            return self.heard

    def said(self, name: str, value: str | None = None) -> list[dict[str, str]]:
        """The messages that set a variable."""
        return [one for one in self.listen() if name in one and value in (None, one[name])]

    async def until_said(self, name: str, times: int = 1, seconds: float = PATIENCE) -> dict[str, str]:
        """Wait until `times` messages have set a variable, and return the last one."""
        await until(lambda: len(self.said(name)) >= times, seconds)
        return self.said(name)[-1]


class DescriptorStore:
    """Keeps the descriptors that a process hands over by FDSTORE=1, as systemd does (sd_notify(3)), until FDSTOREREMOVE=1."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.names: list[str] = []
        self.held: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._thread = threading.Thread(target=self._hear, name="systemd")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()
        self._let_go()

    def _hear(self) -> None:
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 253)
            lines = message.decode().split("\n")
            if "FDSTORE=1" in lines:
                (name,) = [line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")]
                self.names += [name] * len(descriptors)
                self.held += [socket.socket(fileno=descriptor) for descriptor in descriptors]
            if "FDSTOREREMOVE=1" in lines:
                self._let_go()
            if not message:
                return

    def _let_go(self) -> None:
        for one in self.held:
            one.close()
        self.held, self.names = [], []
