"""Requests that fitted no secret when they came, as they are kept until a secret fits them (`gateway reverify`)."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from gateway.core.signature import Claim

_ROW_BYTES = 256
"""Bytes that a request takes on disk beside its texts, roughly, indexes included."""


class RefusedRequest(Struct, frozen=True):
    """A well-formed request that fitted no secret when it came. Nothing in it is authentic."""

    source: str
    arrived_at: float
    """Unix seconds, UTC."""
    claim: Claim
    content_type: str | None
    body: bytes
    seq: int = 0
    """Its place in the order of arrival, once it is kept."""

    @property
    def size(self) -> int:
        """The bytes that it counts as."""
        claim = self.claim
        texts = len(claim.raw_id) + len(claim.raw_timestamp) + len(claim.signatures) + len(self.content_type or "")
        return len(self.body) + texts + _ROW_BYTES

    @property
    def digest(self) -> bytes:
        """A digest of its source, id and body: the same for every attempt at one message."""
        name = self.source.encode()
        head = b"%d %b %d %b " % (len(name), name, len(self.claim.raw_id), self.claim.raw_id)
        return hashlib.sha256(head + self.body).digest()[:16]


class KeptRequests(Struct, frozen=True):
    """How much is kept of one source."""

    count: int = 0
    bytes: int = 0
    oldest: float | None = None
    """When the oldest one arrived, Unix seconds, UTC."""
    newest: float | None = None
    last: int = 0
    """The highest `seq`."""
