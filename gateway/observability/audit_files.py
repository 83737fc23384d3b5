"""The files of the audit log: the one that is written now, and those that it was rotated into. Reads them line by line."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from gateway.core.errors import StoreFailed

Skipped = Callable[[str, str], None]
"""Is told the path of a file that is not read, and why."""

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. A longer line comes from no gateway, and would not fit into memory."""
_UNREAD = (".bz2", ".xz", ".zst", ".lz4")


def whole_log(path: Path, files: ExitStack, skipped: Skipped, since: float = 0.0) -> list[BinaryIO]:
    """Open the log and the files it was rotated into, oldest first, without those that were last written before an instant.

    Args:
        files: closes the files.
        since: Unix seconds, UTC.
    """
    return [file for file in newest_first(path, files, skipped) if _written(Path(file.name)) >= since][::-1]


def newest_first(path: Path, files: ExitStack, skipped: Skipped) -> Iterator[BinaryIO]:
    """Open the log and the files it was rotated into, one after the other. A log that is a pipe or a device has nothing to read.

    Args:
        files: closes the files.
    """
    if path.is_file():
        yield (current := files.enter_context(path.open("rb")))
        seen = os.fstat(current.fileno())
    else:
        seen = None
    rotated = [other for other in path.parent.glob(f"{path.name}?*") if other.is_file()]
    for other in sorted(rotated, key=_written, reverse=True):
        try:
            if seen is not None and os.path.samestat(other.stat(), seen):
                continue  # rotated since it was opened above
            if other.suffix == ".gz":
                if not other.with_suffix("").exists():  # else it is being compressed right now
                    yield cast(BinaryIO, files.enter_context(gzip.GzipFile(other)))
            elif other.suffix in _UNREAD:
                skipped(str(other), f"only .gz is read; unpack it beside the log: {other.stem}")
            else:
                yield files.enter_context(other.open("rb"))
        except OSError as error:
            skipped(str(other), error.strerror or str(error))


def complete(file: BinaryIO) -> Iterator[bytes]:
    """Yield the complete lines from the current position on, without their line breaks."""
    for raw in file:
        if raw.endswith(b"\n"):
            yield raw[:-1]


def log_lines(file: BinaryIO, *, grows: bool) -> Iterator[bytes]:
    """Yield the lines of a file without their line breaks. Raises StoreFailed if it cannot be read to its end.

    Args:
        grows: the file may be written to meanwhile, so that a line without its line break is not complete.
    """
    try:
        while raw := file.readline(LONGEST_LINE):
            if raw.endswith(b"\n"):
                yield raw[:-1]
            elif len(raw) == LONGEST_LINE:
                raise StoreFailed(f"{file.name} is no audit log: a line has {LONGEST_LINE} bytes or more")
            elif not grows:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise StoreFailed(f"{file.name}: {error}") from None


def _written(file: Path) -> float:
    """Return when a file was last written to; 0 if it has been renamed or removed meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
