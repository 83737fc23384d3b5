"""The addresses of `listen`: "host:port", "unix:/path", or "fd:NAME" for a socket that systemd opened."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from msgspec import Struct


class Tcp(Struct, frozen=True):
    host: str
    port: int
    """0: any free one, for tests."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Unix(Struct, frozen=True):
    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


class Inherited(Struct, frozen=True):
    name: str

    def __str__(self) -> str:
        return f"fd:{self.name}"


Address = Tcp | Unix | Inherited


def parse(text: str, base: Path) -> Address:
    """Raises ValueError where it is none of the three. A relative unix path starts at `base`."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError("unix: needs a path")
        return Unix(base / path)
    if text == "fd:":
        raise ValueError("fd: needs the name of a socket, as in FileDescriptorName= of the socket unit")
    if text.startswith("fd:"):
        return Inherited(text.removeprefix("fd:"))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f'"{text}" is not an address; write "127.0.0.1:8080", "[::1]:8080", "unix:/path" or "fd:NAME"')
    return Tcp(match[1] or match[2], int(match[3]))


def is_local(address: Address) -> bool:
    """Whether nobody on another machine can reach it."""
    if not isinstance(address, Tcp):
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost"
