"""The rules about files that the gateway writes: the database, the audit log and JSONL sinks may not be one another's."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterator
from contextlib import suppress
from pathlib import Path

from gateway.config.place import Finding, Findings, Place
from gateway.config.settings import Config
from gateway.sinks import JsonlConfig

_OF_THE_DATABASE = {"": "the database", "-wal": "the database's WAL", "-shm": "the database's shared memory"}
_OF_THE_DATABASE |= {"-journal": "the database's journal", ".lock": "the database's lock"}
"""What SQLite and the gateway keep beside the database, by what is added to its name (sqlite.org/tempfiles.html)."""


def check(config: Config, findings: Findings) -> None:
    """Add a finding for each file that two parts would write to."""
    if (trouble := _unfit(config.database)) is not None:
        findings.append(Finding(config.place("store", "path"), trouble, "name a file"))
    taken: dict[Hashable, str] = {}
    for suffix, what in _OF_THE_DATABASE.items():
        _first_of_file(taken, Path(f"{config.database}{suffix}"), what)
    for path, what, where in _others(config):
        other = _first_of_file(taken, path, what)
        if other is not None:
            findings.append(Finding(where, f"is the file of {other}", "give it a file of its own"))
        elif (trouble := _unfit(path, pipes=what != "the audit log")) is not None:
            findings.append(Finding(where, trouble, "name a file in it" if trouble == "is a folder" else "name a file"))


def _others(config: Config) -> Iterator[tuple[Path, str, Place]]:
    yield config.audit_log, "the audit log", config.place("audit", "path")
    for name, sink in config.sinks.items():
        if isinstance(sink, JsonlConfig) and sink.path:
            where = config.sink_places[name] / "path"
            yield config.base / sink.path, f"the sink {name}", where


def _unfit(path: Path, *, pipes: bool = False) -> str | None:
    """Say why nothing can be kept at a path; None if there is a regular file, or nothing yet, or what can't be looked at.

    Args:
        pipes: a pipe will do, since its reader takes the lines.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return None
    return "is a folder" if stat.S_ISDIR(mode) else "is a pipe, a socket or a device, which keeps nothing"


def _first_of_file(taken: dict[Hashable, str], path: Path, what: str) -> str | None:
    """Return what wrote to this file before, and note `what` as one that does.

    Two paths may lead to one file by links, `..` or a hard link too, and before either of them exists.
    """
    names: list[Hashable] = [os.path.realpath(path)]
    with suppress(OSError):
        found = path.stat()
        names.append((found.st_dev, found.st_ino))
    before = next((taken[name] for name in names if name in taken), None)
    for name in names:
        taken.setdefault(name, what)
    return before
