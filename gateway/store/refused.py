"""The verbs of the place where refused requests are kept: beside the store, because nothing in it is authentic.

Every verb blocks on the disk, and belongs to one thread. Each raises StoreError while the disk or the file refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.core.kept_requests import KeptRequests, RefusedRequest


class RefusedStore(Protocol):
    """Keeps requests without fsync: a crash of the process loses nothing, a power cut may."""

    def keep(self, requests: Sequence[RefusedRequest], limits: Mapping[str, int]) -> None:
        """Add requests, and delete the oldest ones of each source beyond its limit in bytes.

        Of several attempts at one message (the same source, id and body) the first and the last are kept: the sender signs each
        again, perhaps with another secret, and a stranger who repeats a request with a wrong signature cannot push out the first.
        """

    def kept(self) -> dict[str, KeptRequests]:
        """Read how much is kept, by source."""

    def page(self, source: str, after: int, last: int, most: int, most_bytes: int) -> list[RefusedRequest]:
        """Read some requests of a source beyond one seq and up to another, in the order of their arrival."""

    def remove(self, seqs: Sequence[int]) -> None:
        """Delete requests by their seqs."""

    def forget(self, sources: Sequence[str], before: float) -> None:
        """Delete everything of these sources, and of all sources what arrived before an instant (Unix seconds)."""

    def close(self) -> None:
        """Close the file; it may be used again."""
