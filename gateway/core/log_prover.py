"""Picks the lines about some messages out of an audit log, with what proves them. Reads no file."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from gateway.core.evidence_file import LineRecord, SealRecord
from gateway.core.merkle import inclusion_paths, leaf_hash
from gateway.core.seals import MOST_COVERED, SEAL_MARK, is_seal, read_seal

_MESSAGE_ID = re.compile(rb'"message_id":"([0-9a-f]{32})"')
_MOST_UNHASHED = 8 * 1024 * 1024
"""Bytes of lines that wait for a seal before they are hashed. Most seals cover no line that is asked for, and need no hash."""
_AT_ONCE = 64
"""Lines that are hashed between two pauses."""


class LogProver:
    """Yields the lines about some messages with their proofs, and every seal from the first of them on.

    It keeps the lines since the last seal, at most 8 MiB of them, and the hashes of those before, at most MOST_COVERED.
    """

    def __init__(self, message_ids: Collection[str], head: int = 0, pause: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            head: the number of the last seal that is wanted; 0 wants all.
            pause: is called often while a proof is computed, so that other threads go first.
        """
        self.ended = False
        """The head was there. Further lines are not looked at."""
        self._head = head
        self._pause = pause
        self._wanted = frozenset(one.encode() for one in message_ids)
        self._leaves: deque[bytes] = deque(maxlen=MOST_COVERED)
        self._unhashed: list[bytes] = []
        """The lines after those whose hashes are in `_leaves`."""
        self._bytes = 0
        self._since = 0
        """The number of lines since the last seal."""
        self._chosen: deque[tuple[int, bytes]] = deque()
        """The lines since the last seal that are about one of the messages, each with its place among them."""
        self._begun = False

    def add(self, lines: Sequence[bytes]) -> Iterator[LineRecord | SealRecord]:
        """Yield the records that the next lines of the log complete. The lines come without their line breaks."""
        text = b"\n".join(lines)
        if SEAL_MARK not in text and self._wanted.isdisjoint(_MESSAGE_ID.findall(text)):
            self._keep(lines, len(text))  # a look at all of them costs a tenth of a look at each
        else:
            for line in lines:
                if self.ended:
                    return
                yield from self._add(line)
        while self._chosen and self._since - self._chosen[0][0] > MOST_COVERED:  # no seal can prove it any more
            self._begun = True
            yield LineRecord(line=_text(self._chosen.popleft()[1]))

    def rest(self) -> Iterator[LineRecord]:
        """Yield the lines that no seal covers yet."""
        for _, line in self._chosen:
            yield LineRecord(line=_text(line))

    def _add(self, line: bytes) -> Iterator[LineRecord | SealRecord]:
        if not is_seal(line):
            found = _MESSAGE_ID.search(line)
            if found is not None and found[1] in self._wanted:
                self._chosen.append((self._since, line))
            self._keep([line], len(line))
            return
        if self._begun or self._chosen:
            self._begun = True
            yield from self._proven(line)
            yield SealRecord(line=_text(line))
        self._leaves.clear()
        self._chosen.clear()
        self._unhashed, self._bytes, self._since = [], 0, 0
        self.ended = self._head > 0 and (seal := read_seal(line)) is not None and seal.number == self._head

    def _keep(self, lines: Sequence[bytes], size: int) -> None:
        self._since += len(lines)
        self._unhashed += lines
        self._bytes += size
        if self._bytes > _MOST_UNHASHED:
            self._hash()

    def _hash(self) -> None:
        for at in range(0, len(self._unhashed), _AT_ONCE):
            self._leaves.extend(map(leaf_hash, self._unhashed[at : at + _AT_ONCE]))
            self._pause()
        self._unhashed, self._bytes = [], 0

    def _proven(self, line: bytes) -> Iterator[LineRecord]:
        if not self._chosen:
            return
        self._hash()
        seal = read_seal(line)
        covered = list(self._leaves)[-seal.lines :] if seal is not None and 0 < seal.lines <= len(self._leaves) else []
        begin = self._since - len(covered)
        places = [place - begin for place, _ in self._chosen if place >= begin]
        paths = iter(zip(places, inclusion_paths(places, covered, self._pause), strict=True))
        for place, chosen in self._chosen:
            if seal is None or place < begin:
                yield LineRecord(line=_text(chosen))
            else:
                index, path = next(paths)
                yield LineRecord(line=_text(chosen), seal=seal.number, index=index, path=tuple(one.hex() for one in path))


def _text(line: bytes) -> str:
    """Return a line as text. A torn one may not be UTF-8; its proof then fails, as it should."""
    return line.decode("utf-8", "replace")
