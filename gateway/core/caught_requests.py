"""The requests that somebody watches as they come: bounded in number and in memory, and never written anywhere.

Pure: who watches, and when, is decided above.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from msgspec import Struct, structs

MOST_REQUESTS = 200
MOST_BYTES = 4 * 1024 * 1024
"""Bytes of all requests together, their headers and the answers included."""
_OVERHEAD = 512
"""Bytes that an entry takes beside its texts, rounded up."""
_HEADER_OVERHEAD = 130
"""Bytes that a header takes beside its texts: a tuple and two objects."""
_LONGEST_TARGET = 1024
"""Characters of a target that stay if a request is far too long."""


class Forwarded(Struct, frozen=True):
    """The result of a request that was passed on to another server."""

    seconds: float
    status: int | None = None
    """The status of its answer; None if it gave none."""
    detail: str = ""
    """Why there was no answer, or what could not be passed on as it came."""


class Answered(Struct, frozen=True):
    """The answer that the sender got."""

    status: int
    body: bytes = b""


class CaughtRequest(Struct, frozen=True, kw_only=True):
    """One request as it came. Its headers may hold credentials: whatever shows them asks a `Mask` first."""

    number: int
    """Counts from 1, without gaps for requests that were only counted."""
    at: float
    """Unix seconds, UTC."""
    method: str
    target: str
    """The path with its query, as it came."""
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes | None
    """The body; None if it did not come, or was too long to be kept."""
    length: int
    """Bytes of the body, as far as they were read."""
    source: str | None = None
    """The source whose path it came to; None if there is none."""
    answered: Answered | None = None
    """The answer that the sender got; None while it waits."""
    forwarded: Forwarded | None = None
    passed_by: int = 0
    """How many requests came between the one before and this one, and were only counted."""

    @property
    def size(self) -> int:
        """The bytes that it takes in memory, rounded up."""
        texts = sum(len(name) + len(value) + _HEADER_OVERHEAD for name, value in self.headers)
        answer = 0 if self.answered is None else len(self.answered.body)
        return _OVERHEAD + len(self.target) + texts + len(self.body or b"") + answer


class RequestRing:
    """The newest requests. An older one goes when a newer one needs its place."""

    def __init__(self, most: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[CaughtRequest] = deque()
        self._bytes = 0
        self.newest = 0
        """The number of the newest request that was ever put in."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """The bytes of all requests together."""
        return self._bytes

    def put(self, request: CaughtRequest) -> None:
        """Keep a request; its number is higher than every one before. One that is too long is kept without its body."""
        self._kept.append(self._cut(request))
        self.newest = request.number
        self._bytes += self._kept[-1].size
        self._shrink()

    def change(self, request: CaughtRequest) -> bool:
        """Put a request in the place of the one with its number. Return False if that has gone."""
        place = self._place(request.number)
        if place is None:
            return False
        cut = self._cut(request)
        self._bytes += cut.size - self._kept[place].size
        self._kept[place] = cut
        self._shrink()
        return True

    def get(self, number: int) -> CaughtRequest | None:
        """Return a request; None if it has gone, or never was."""
        place = self._place(number)
        return None if place is None else self._kept[place]

    def newest_first(self, limit: int, before: int | None = None) -> list[CaughtRequest]:
        """Return a page of requests.

        Args:
            before: begin with the one before this number; None begins with the newest.
        """
        older = (one for one in reversed(self._kept) if before is None or one.number < before)
        return list(islice(older, limit))

    def clear(self) -> None:
        """Forget every request."""
        self._kept.clear()
        self._bytes = 0

    def _cut(self, request: CaughtRequest) -> CaughtRequest:
        if request.size > self._most_bytes:
            answered = None if request.answered is None else Answered(request.answered.status)
            request = structs.replace(request, body=None, answered=answered)
        if request.size > self._most_bytes:
            request = structs.replace(request, headers=(), target=request.target[:_LONGEST_TARGET])
        return request

    def _place(self, number: int) -> int | None:
        # Numbers have no gaps, so the place follows from the first one.
        place = number - self._kept[0].number if self._kept else -1
        return place if 0 <= place < len(self._kept) else None

    def _shrink(self) -> None:
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._kept.popleft().size
