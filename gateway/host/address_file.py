"""The file in which a running gateway names where it listens, for commands that can't know it from the configuration.

The configuration may have been edited since the start, name port 0, or a socket of systemd. The file is advice: whether anybody
answers there shows when it is dialled.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.host.environment import Environment

_LARGEST = 64 * 1024


class Addresses(Struct, frozen=True):
    """Where a gateway listens, each as `host:port` or `unix:/path`; `fd:NAME` for a socket of systemd."""

    admin: list[str]
    webhooks: list[str]


def write(database: Path, environment: Environment, addresses: Addresses) -> Path:
    """Leave the file, in one step; its path. Raises OSError."""
    path = _places(database, environment)[0]
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(addresses) + b"\n")
    new.replace(path)
    return path


def read(database: Path, environment: Environment) -> Addresses | None:
    """Return what the gateway of this database wrote last; None if there is no such file, or it can't be read."""
    for path in _places(database, environment):
        try:
            if path.stat().st_size <= _LARGEST:
                return msgspec.json.decode(path.read_bytes(), type=Addresses)
        except (OSError, ValueError):
            continue
    return None


def _places(database: Path, environment: Environment) -> list[Path]:
    """The folder that systemd makes for the run of a service, then the one of the database (systemd.exec(5))."""
    beside = database.with_name(f"{database.name}.addresses")
    folder = environment.directory("RUNTIME_DIRECTORY")
    return [beside] if folder is None else [folder / "addresses.json", beside]
