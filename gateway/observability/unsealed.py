"""The lines that no seal covers yet, and the head of the chain of seals. Writes no line itself: the audit log does.

The head is kept in a file beside the database, so that a log that lost its end, or was taken away, is told from a new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.core.audit_events import AuditSealed
from gateway.core.merkle import Tree, leaf_hash
from gateway.observability.audit_reading import since_last_seal

_LARGEST = 64 * 1024
_AT_ONCE = 64
"""Lines that are hashed between two looks at the clock, and at most while the log is locked."""


class SealHead(Struct, frozen=True):
    """The last seal of the log."""

    number: int = 0
    """Its place in the chain; 0 if there is none yet."""
    seal: str = ""
    told: str = ""
    """The day (UTC) whose event `gateway.sealed` was the last."""


class Beginning(Struct, frozen=True):
    """The findings of a start about the chain."""

    read_back: int
    """Lines after the last seal: the process before this one did not seal them."""
    lost: int
    """Seals that were written, and that the log does not have any more."""


class Seals:
    """Collects the lines of the log until their seal is written.

    `wrote` and `event` are called while the log is locked; everything else only by the one that seals.
    """

    def __init__(self, file: Path) -> None:
        """`file` keeps the head."""
        self.head = SealHead()
        self._file = file
        self._lines: list[bytes] = []
        """The lines that are not hashed yet."""
        self._tree = Tree()
        self._read_back = 0

    def begin(self, log: Path) -> Beginning:
        """Go on with the chain, and read back the lines that no seal covers. Raises OSError if the log cannot be read."""
        self.head = kept = self._kept()
        last, lines = since_last_seal(log)
        if last is not None and last.number > kept.number:
            self.head = SealHead(last.number, last.seal, kept.told)
        self._lines = list(lines)
        self._read_back = len(lines)
        return Beginning(self._read_back, max(0, kept.number - last.number) if last is not None else 0)

    def wrote(self, lines: Sequence[bytes]) -> None:
        """Take lines that are in the file now, in their order. It costs no more than to remember them."""
        self._lines += lines

    @property
    def unsealed(self) -> int:
        """How many lines no seal covers yet."""
        return self._tree.size + len(self._lines)

    def take(self) -> list[bytes]:
        """Take out the lines that are not hashed yet, while the log is locked; the caller gives them to `hash`."""
        lines, self._lines = self._lines, []
        return lines

    def hash(self, lines: Sequence[bytes], pause: Callable[[], None] = lambda: None) -> None:
        """Hash lines into the tree. `pause` is called between some of them, so that other threads go first."""
        add = self._tree.add
        for at in range(0, len(lines), _AT_ONCE):
            for line in lines[at : at + _AT_ONCE]:
                add(leaf_hash(line))
            pause()

    def event(self) -> AuditSealed:
        """Return the seal of all lines so far, while the log is locked. Every line has to be hashed."""
        return AuditSealed(
            number=self.head.number + 1,
            lines=self._tree.size,
            read_back=self._read_back or None,
            root=self._tree.root().hex(),
            before=self.head.seal or None,
        )

    def sealed(self, seal: str) -> None:
        """Begin with the lines of the next seal, because this one is in the file."""
        self.head = msgspec.structs.replace(self.head, number=self.head.number + 1, seal=seal)
        self._tree, self._read_back = Tree(), 0

    def told(self, day: str) -> None:
        """Take note of the day that people were told the head. `keep` keeps it."""
        self.head = msgspec.structs.replace(self.head, told=day)

    def keep(self) -> None:
        """Keep the head on disk. Raises OSError; the chain goes on without."""
        new = self._file.with_name(f"{self._file.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self.head) + b"\n")
            file.flush()
            os.fsync(descriptor)
        new.replace(self._file)

    def _kept(self) -> SealHead:
        try:
            if self._file.stat().st_size <= _LARGEST:
                return msgspec.json.decode(self._file.read_bytes(), type=SealHead)
        except (OSError, ValueError):
            pass
        return SealHead()
