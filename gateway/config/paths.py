"""The rules about files that the gateway writes: the database, the audit log and JSONL sinks may not be one another's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.config.place import Finding, Findings, Place
from gateway.config.settings import Config
from gateway.sinks import JsonlConfig

_OF_THE_DATABASE = {"": "the database", "-wal": "the database's WAL", "-shm": "the database's shared memory"}
_OF_THE_DATABASE |= {"-journal": "the database's journal", ".lock": "the database's lock"}
"""What SQLite and the gateway keep beside the database, by what is added to its name (sqlite.org/tempfiles.html)."""


class _Written(NamedTuple):
    path: Path
    what: str


def check(config: Config, findings: Findings) -> None:
    """Add a finding for each file that two parts would write to."""
    if (trouble := _unfit(config.database)) is not None:
        findings.append(Finding(config.place("store", "path"), trouble, "name a file"))
    taken = [_Written(Path(f"{config.database}{suffix}"), what) for suffix, what in _OF_THE_DATABASE.items()]
    for path, what, where in _others(config):
        other = next((one for one in taken if _same(one.path, path)), None)
        if other is not None:
            findings.append(Finding(where, f"is the file of {other.what}", "give it a file of its own"))
        elif (trouble := _unfit(path, pipes=what != "the audit log")) is not None:
            findings.append(Finding(where, trouble, "name a file in it" if trouble == "is a folder" else "name a file"))
        taken.append(_Written(path, what))


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


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file: by links, `..` or a hard link too, and before either of them exists."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False
