"""Checking the end of the write-ahead log: the last committed frame has to stand where the writer put it.

SQLite never reads again what it has just written. A log that another process cuts is as long as before after the next commit,
with a hole in place of acknowledged messages, so that its size proves nothing. This file knows only bytes; `file_watch` says what
they mean.

The header of the index tells where the end is (sqlite.org/walformat.html, section 2.1). A frame stands there, with the salts and
the checksum that the header repeats (sqlite.org/fileformat2.html, section 4).
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

_INDEX = struct.Struct("=I8xBBHI4xII8s")
"""Version, set up, byte order of the checksums, page size, last frame, its checksum (2), salts; in this host's byte order."""
_VERSION = 3007000
_WAL_HEADER = 32
_SALTS_AT = 16
_FRAME_HEADER = 24
_LARGEST_PAGE = 65536


class _Frame(NamedTuple):
    number: int
    """1-based."""
    salts: bytes
    """They change when the log begins again over its old bytes."""
    at: int
    """The offset of its first byte."""
    size: int
    """Bytes of a frame, including its header."""
    checksum: bytes


class WalEnd:
    """The end of the log as its only writer left it. Only the writer's thread uses it, between transactions, except `close`."""

    def __init__(self, wal: Path, index: Path) -> None:
        """Open the log and the index of a database that SQLite has open. Raises OSError."""
        self._paths = wal, index
        self._wal = os.open(wal, os.O_RDONLY | os.O_CLOEXEC)
        # It stays open for as long as SQLite has it open: closing it would drop SQLite's locks.
        self._index = os.open(index, os.O_RDONLY | os.O_CLOEXEC)
        self._known: tuple[_Frame, int] | None = None
        """The remembered last frame, and the CRC of its bytes."""
        self._index_size = 0

    @property
    def frames(self) -> int:
        """Frames in the log, a page each, as of the last `remember`."""
        return self._known[0].number if self._known is not None else 0

    def remember(self) -> Path | None:
        """Remember the end as it is now. Returns what `damaged` returns. Few system calls, because every commit makes them."""
        damaged, frame, index_size = self._compared()
        if damaged is not None:
            return damaged
        self._index_size = index_size
        self._known = None
        if frame is None or not frame.number:
            return None
        held = os.pread(self._wal, frame.size, frame.at)
        if len(held) < frame.size or held[8:16] != frame.salts or held[16:_FRAME_HEADER] != frame.checksum:
            return self._paths[0]
        self._known = frame, zlib.crc32(held)
        return None

    def damaged(self) -> Path | None:
        """Return the log or its index if it no longer holds what was remembered; None if both do.

        A log that has begun again since then does not need the remembered frame.
        """
        return self._compared()[0]

    def size(self) -> int:
        """Return the bytes of the log."""
        return os.fstat(self._wal).st_size

    def close(self) -> None:
        """Close the files; only after SQLite has closed them. May be called again."""
        for fd in (self._wal, self._index):
            if fd >= 0:
                os.close(fd)
        self._wal = self._index = -1

    def _compared(self) -> tuple[Path | None, _Frame | None, int]:
        """Compare the files with what was remembered. Returns what is damaged, the last frame, and the bytes of the index."""
        index = self._paths[1]
        size = os.fstat(self._index).st_size
        # SQLite has the index mapped: reading beyond its end ends the process by SIGBUS.
        if size < self._index_size or (now := self._last_frame()) is None:
            return index, None, size
        return self._damaged(now), now, size

    def _damaged(self, now: _Frame) -> Path | None:
        wal, index = self._paths
        if not now.number:
            return None
        salts = os.pread(self._wal, len(now.salts), _SALTS_AT)
        known, crc = self._known or (None, 0)
        if salts != now.salts:
            return index if known is not None and salts == known.salts else wal
        if known is None or known.salts != now.salts:
            return None
        if now.number < known.number:
            return index
        return None if zlib.crc32(os.pread(self._wal, known.size, known.at)) == crc else wal

    def _last_frame(self) -> _Frame | None:
        """Read the last committed frame from the index: number 0 if the log is empty, None if the index is not a valid one."""
        header = os.pread(self._index, _INDEX.size, 0)
        if len(header) < _INDEX.size:
            return None
        version, set_up, _, page, last, first_sum, second_sum, salts = _INDEX.unpack(header)
        if version != _VERSION or not set_up:
            return None
        size = _FRAME_HEADER + (_LARGEST_PAGE if page == 1 else page)
        return _Frame(last, salts, _WAL_HEADER + (last - 1) * size, size, struct.pack(">II", first_sum, second_sum))
