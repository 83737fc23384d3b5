"""The part of evidence that only the running gateway has: a message as it was received, and a seal over the log of now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.control.ids import seqs_of
from gateway.core.evidence_file import EvidenceMessage
from gateway.observability.unsealed import SealHead
from gateway.store.people import Proving


class Evidence:
    """The facts behind `gateway evidence export`; that command reads the audit log itself."""

    def __init__(self, *, store: Proving, seal: Callable[[], Awaitable[SealHead]]) -> None:
        """`seal` seals at once what no seal of the audit log covers yet."""
        self._store = store
        self._seal = seal

    async def seal(self) -> SealHead:
        """Seal the audit log now, if a line needs it, and return its last seal; the number is 0 if there is none."""
        return await self._seal()

    async def message(self, message_id: str) -> EvidenceMessage:
        """Read one message. Raises KeyError if there is none with this id, ValueError if the id stands for several."""
        seqs = await seqs_of(self._store, message_id, 0) or []
        if len(seqs) > 1:
            raise ValueError(f'the id "{message_id}" stands for several messages: name one by its message_id')
        found = await self._store.evidence(seqs[0]) if seqs else None
        if found is None:
            raise KeyError(f'message with the id "{message_id}"')
        return found
