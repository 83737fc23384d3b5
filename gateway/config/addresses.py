"""The addresses of `listen`: "host:port", "unix:/path", or "fd:NAME" for a socket that systemd opened."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from msgspec import Struct

from gateway.config.paths import LONGEST_SOCKET, unfit_as_written
from gateway.core.urls import UrlError, parse_host

_FORMS = '"127.0.0.1:8080", "[::1]:8080", "unix:/path" or "fd:NAME"'
_RUNTIME_DIRECTORY = "$RUNTIME_DIRECTORY"
"""A variable that is replaced only under systemd. Elsewhere it stays as it is, so that a person can check a service's file."""
_DESCRIPTOR_NAME = re.compile(r"[ -9;-~]{1,255}")
"""A name that systemd accepts in FileDescriptorName= (systemd.socket(5)): printable ASCII without a colon."""


class Tcp(Struct, frozen=True):
    host: str
    """A name in lower-case ASCII, or an IP address without brackets."""
    port: int
    """0 to 65535. 0 takes any free port, for tests."""

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


def parse_address(text: str, base: Path) -> Address:
    """Parse an address of any form. A relative unix path starts at `base`. Raises ValueError, whose message quotes the text."""
    if text.startswith("unix:"):
        return _unix(text, base)
    if text.startswith("fd:"):
        return _inherited(text)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or "/" in host:
        raise ValueError(f'"{text}" is not an address; write {_FORMS}')
    if ":" in host and not host.startswith("["):
        meant = f'"[{host}]:{port}"' if _is_ipv6(host) else _FORMS
        raise ValueError(f'"{text}" is not an address: an IPv6 address needs brackets; write {meant}')
    if host == "*":
        raise ValueError(f'"{text}" is not an address; write "0.0.0.0:{port}" for all of IPv4, "[::]:{port}" for all of IPv6')
    try:
        found = parse_host(host)
    except UrlError as error:
        raise ValueError(f'"{text}" is not an address: it {error.wrong}; write {_FORMS}') from None
    if ":" in found and (mapped := ipaddress.IPv6Address(found).ipv4_mapped) is not None:
        raise ValueError(f'"{text}" is not an address that a socket can listen on; write "{mapped}:{port}"')
    return Tcp(found, int(port))


def is_local(address: Address) -> bool:
    """Return True if other machines cannot reach the address."""
    if not isinstance(address, Tcp):
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host.removesuffix(".") == "localhost"


def _unix(text: str, base: Path) -> Unix:
    written = text.removeprefix("unix:")
    if not written:
        raise ValueError("unix: needs a path")
    if (trouble := unfit_as_written(written.removeprefix(_RUNTIME_DIRECTORY) or "/")) is not None:
        raise ValueError(f'"{text}": its path {trouble}')
    path = base / written
    if len(str(path).encode()) > LONGEST_SOCKET:
        raise ValueError(f'"{text}": its path is longer than {LONGEST_SOCKET} bytes, the kernel\'s limit for a socket')
    return Unix(path)


def _inherited(text: str) -> Inherited:
    name = text.removeprefix("fd:")
    if not name:
        raise ValueError("fd: needs the name of a socket, as in FileDescriptorName= of the socket unit")
    if _DESCRIPTOR_NAME.fullmatch(name) is None:
        raise ValueError(f'"{text}" is not a name for a socket: systemd accepts only ASCII without a colon')
    return Inherited(name)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
