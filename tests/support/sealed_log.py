"""Reads audit logs and their seals, and checks the one against the other."""

from __future__ import annotations

import gzip
from pathlib import Path

from gateway.core.seals import LogCheck, LogPlace, Seal, read_seal


def lines_of(*files: Path) -> list[bytes]:
    """Return the complete lines of some files, plain or .gz, without their line breaks."""
    found = []
    for file in files:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        found += data.split(b"\n")[:-1]
    return found


def seals_of(*files: Path) -> list[Seal]:
    """Return the seals of a log in their order."""
    return [seal for line in lines_of(*files) if (seal := read_seal(line)) is not None]


def checked(*files: Path) -> LogCheck:
    """Check the files of a log, oldest first."""
    check = LogCheck()
    for file in files:
        for number, line in enumerate(lines_of(file), 1):
            check.add(line, LogPlace(file.name, number))
    check.finish()
    return check
