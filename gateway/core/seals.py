"""Seals of the audit log: one line that holds the Merkle root of the lines since the seal before, and the hash of that seal.

A seal covers every line between the seal before and itself, in the order of the file. Its own hash, `seal`, stands at the end of
its line and covers every byte before it. So the hash of one seal stands for every line and every seal before it.
"""

from __future__ import annotations

import re
from collections import deque
from hashlib import sha256

import msgspec
from msgspec import Struct

from gateway.core.audit_events import AuditSealed
from gateway.core.merkle import leaf_hash, root_of

SEAL_MARK = b'","event":"%b",' % AuditSealed.name.encode()
_LATEST = 64
"""Bytes at the beginning of a line among which its event stands. No text of a sender comes before it."""
_ENDING = re.compile(rb'(.*),"seal":"([0-9a-f]{64})"\}', re.DOTALL)
_HASH = re.compile(r"[0-9a-f]{64}")
MOST_COVERED = 262_144
"""Lines between two seals that a check looks at. A seal comes every minute, or after 10,000 lines."""


class Seal(Struct, frozen=True):
    """The line of a seal, read. Hashes are SHA-256 in lower-case hex."""

    time: str
    number: int
    """Its place in the chain, from 1."""
    lines: int
    """How many lines it covers: the last ones before it that are no seals."""
    root: str
    """The Merkle root of these lines (RFC 6962, section 2.1); a line is a leaf without its line break."""
    seal: str
    """The hash of its line before `,"seal":`."""
    before: str | None = None
    """The `seal` of the seal before; None if it is the first."""
    read_back: int = 0
    """How many of the first lines a start read from the file: another process wrote them, or nobody knows who."""


def with_seal(line: bytes) -> tuple[bytes, str]:
    """Return the line of a seal with its own hash at the end, and that hash."""
    body = line[:-1]
    seal = sha256(body).hexdigest()
    return body + b',"seal":"%b"}' % seal.encode(), seal


def is_seal(line: bytes) -> bool:
    """Return True if a line claims to be a seal."""
    return SEAL_MARK in line[:_LATEST]


def read_seal(line: bytes) -> Seal | None:
    """Return the seal that a line holds; None if the line is damaged, or if its hash is not its own."""
    found = _ENDING.fullmatch(line)
    if found is None or sha256(found[1]).hexdigest().encode() != found[2] or not is_seal(line):
        return None
    try:
        seal = msgspec.json.decode(line, type=Seal)
    except (ValueError, RecursionError):
        return None
    hashes = (seal.root, seal.before if seal.before is not None else seal.root)
    plausible = seal.number >= 1 and seal.lines >= 0 and all(_HASH.fullmatch(text) for text in hashes)
    return seal if plausible else None


def is_hash(text: str) -> bool:
    """Return True if a text has the form of a seal's hash."""
    return _HASH.fullmatch(text) is not None


class LogPlace(Struct, frozen=True):
    """A line of a file; the number is 1-based."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Deviation(Struct, frozen=True):
    """One thing that a check found."""

    place: str
    text: str
    """The end of a sentence that the place begins."""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class Chain:
    """Checks that each seal follows the one before it."""

    def __init__(self) -> None:
        self.last: Seal | None = None
        self.first: Seal | None = None
        self._damaged = False

    def damaged(self) -> None:
        """Take note of a seal that cannot be read: the next one cannot be compared with it."""
        self._damaged = True

    def wrong(self, seal: Seal) -> str | None:
        """Add a seal. Returns why it cannot follow the one before; None if it can."""
        last, damaged = self.last, self._damaged
        self.last, self._damaged = seal, False
        if self.first is None:
            self.first = seal
            return None
        if last is None or seal.before == last.seal:
            number = None if last is None else last.number + 1
            return None if number in (None, seal.number) else f"this seal has number {seal.number}, not {number}"
        if seal.before is None:
            return f"a new chain begins here, although seal {last.number} stands before it"
        missing = seal.number - last.number - 1
        if damaged and missing == 1:
            return None  # the damaged one was reported, and stands between the two
        if missing > 0:
            between = f"seal {last.number + 1}" if missing == 1 else f"seals {last.number + 1} to {seal.number - 1}"
            return f"{between} dropped before this one"
        return f"seal {seal.number} does not follow seal {last.number}: seals were changed, dropped or swapped"


class LogCheck:
    """Checks the lines of an audit log against its seals, in the order of the files. Memory is bounded (`MOST_COVERED`)."""

    def __init__(self) -> None:
        self.problems: list[Deviation] = []
        """Everything that was changed, added, dropped or swapped."""
        self.notes: list[str] = []
        """Lines that could not be checked, and why; and lines that a start read back."""
        self.lines = 0
        """Lines that are no seals."""
        self.seals = 0
        self.proven = 0
        """Lines whose seal has the root that they make."""
        self.chain = Chain()
        self._open: deque[bytes] = deque(maxlen=MOST_COVERED)
        """The leaf hashes of the lines since the last seal."""
        self._since = 0
        """The number of those lines, also of the ones that the bound dropped."""
        self._from: LogPlace | None = None
        self._cut = False
        """A seal before these lines is damaged or missing, so they may belong to it."""

    def add(self, line: bytes, place: LogPlace) -> Seal | None:
        """Check the next line, without its line break. Returns the seal, if the line is one that can be read."""
        if not is_seal(line):
            self.lines += 1
            self._since += 1
            self._open.append(leaf_hash(line))
            self._from = self._from or place
            return None
        self.seals += 1
        seal = read_seal(line)
        if seal is None:
            self._report(place, "this seal was changed: its bytes do not have the hash that it names")
            self.chain.damaged()
            self._cut = True
            return None
        starts = self.chain.first is None
        wrong = self.chain.wrong(seal)
        if wrong is not None:
            self._report(place, wrong)
            self._cut = True
        self._check(seal, place, starts=starts)
        self._open.clear()
        self._since, self._from, self._cut = 0, None, False
        return seal

    def finish(self) -> None:
        """Say what follows the last seal."""
        if self._since and self.chain.last is not None:
            self.notes.append(f"{_lines(self._since)} after the last seal: not sealed yet")
        elif self._since:
            self._report(self._from or "", f"{_lines(self._since)} from here on, and no seal: nothing is proven")

    def _check(self, seal: Seal, place: LogPlace, *, starts: bool) -> None:
        extra = self._since - seal.lines
        begin = self._from or place
        span = f"{begin} to {place}"
        if extra < 0 and (starts and seal.number > 1):
            self.notes.append(f"the files begin among the lines of seal {seal.number}: {_lines(self._since)} not checked")
            return
        if extra < 0:
            self._report(span, f"{_lines(-extra)} dropped: seal {seal.number} covers {seal.lines}, and {self._since} are here")
            return
        if seal.lines > len(self._open):
            self._report(span, f"seal {seal.number} covers more lines than a check looks at ({MOST_COVERED})")
            return
        leaves = list(self._open)[len(self._open) - seal.lines :]
        if root_of(leaves).hex() != seal.root:
            what = "changed or swapped" if not extra else f"changed, added or swapped ({extra} more than the seal covers)"
            self._report(span, f"lines were {what}: they do not make the root of seal {seal.number}")
            return
        self.proven += seal.lines
        if seal.read_back:
            self.notes.append(f"{place}: {_lines(seal.read_back)} of seal {seal.number} read back at a start, not as written")
        if not extra:
            return
        if starts and seal.before is None:
            self.notes.append(f"{_lines(extra)} before the first seal: written before the log was sealed")
        elif self._cut:
            self.notes.append(f"{_lines(extra)} before {place} not checked: a seal of theirs was reported above")
        else:
            self._report(span, f"{_lines(extra)} added, or lost from what a seal would cover: no seal covers them")

    def _report(self, place: LogPlace | str, text: str) -> None:
        self.problems.append(Deviation(str(place), text))


def _lines(number: int) -> str:
    return f"{number} line" if number == 1 else f"{number} lines"
