"""The file in which a running gateway names its addresses, for commands that cannot learn them from the configuration.

The configuration may have been edited since the start, or may name port 0 or a socket of systemd. The file is only advice,
because the gateway may have ended since it was written.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.host.environment import Environment

_LARGEST = 64 * 1024


class Addresses(Struct, frozen=True):
    """The addresses of a running gateway, each as `host:port` or `unix:/path`, or as `fd:NAME` for a socket of systemd."""

    admin: list[str]
    webhooks: list[str]


def write(database: Path, environment: Environment, addresses: Addresses) -> Path:
    """Write the file atomically and return its path. Raises OSError."""
    path = _places(database, environment)[0]
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(addresses) + b"\n")
    new.replace(path)
    return path


def read(database: Path, environment: Environment) -> Addresses | None:
    """Return the addresses that the gateway of this database wrote last; None if the file is missing or unreadable."""
    for path in _places(database, environment):
        try:
            if path.stat().st_size <= _LARGEST:
                return msgspec.json.decode(path.read_bytes(), type=Addresses)
        except (OSError, ValueError):
            continue
    return None


def _places(database: Path, environment: Environment) -> list[Path]:
    """Return the possible paths, best first: the runtime folder of the systemd service (systemd.exec(5)), then the database's."""
    beside = database.with_name(f"{database.name}.addresses")
    folder = environment.directory("RUNTIME_DIRECTORY")
    return [beside] if folder is None else [folder / "addresses.json", beside]
