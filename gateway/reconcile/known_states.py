"""The knowledge of service requests that a reconciliation needs, as a narrow protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.reconciliation import KnownState


class KnownStates(Protocol):
    """The states of the service requests that the gateway heard of. Every method raises StoreError."""

    async def state(self, source: str, sr_uuid: str) -> KnownState | None:
        """Read the newest state of a service request; None if the gateway never heard of it.

        Events of the source count, and those that an earlier reconciliation made.
        """

    async def named(self, source: str, text: str) -> Sequence[str]:
        """Find the service requests that a person's text stands for: an SR uuid or its beginning, a reference id, or the id of
        a message. Returns their uuids, at most 100.
        """

    async def open_requests(self, source: str, most: int) -> Sequence[KnownState]:
        """Read the service requests that have not ended (complete or cancelled), oldest state first, at most `most`."""
