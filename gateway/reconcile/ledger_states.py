"""The states of service requests by the store's ledger, which has a row for each."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.reconciliation import KnownState
from gateway.core.request_documents import KnownRequest, OpenRequest, RequestPlace
from gateway.core.routing import RECONCILE
from gateway.reconcile.stored_states import StoredStates
from gateway.store.requests import Tracing


class LedgerStates:
    """Every method raises StoreError.

    While messages of an earlier version are still missing in the ledger, a request that it does not have is looked for in the
    messages themselves.
    """

    def __init__(self, store: Tracing, messages: StoredStates) -> None:
        self._store = store
        self._messages = messages

    async def state(self, source: str, sr_uuid: str) -> KnownState | None:
        """Read the newest state of a service request; None if the gateway never heard of it."""
        found = await self._store.find_requests(sr_uuid)
        states = [_state(one) for one in found.requests if one.sr_uuid == sr_uuid and one.source in (source, RECONCILE)]
        if not states:
            return None if found.complete else await self._messages.state(source, sr_uuid)
        newest = max(states, key=lambda one: (one.at is not None, one.at or 0.0))
        return KnownState(
            sr_uuid=sr_uuid,
            reference_id=next((one.reference_id for one in states if one.reference_id), None),
            state=newest.state,
            at=newest.at,
            invalidated=any(one.invalidated for one in states),
        )

    async def named(self, source: str, text: str) -> Sequence[str]:
        """Find the service requests that a text stands for, as `KnownStates` explains it."""
        found = await self._store.find_requests(text)
        uuids = dict.fromkeys(one.sr_uuid for one in found.requests if one.source in (source, RECONCILE))
        return list(uuids) if uuids or found.complete else await self._messages.named(source, text)

    async def open_requests(self, source: str, most: int) -> Sequence[KnownState]:
        """Read the service requests that have not ended, oldest state first, at most `most`.

        Those that an earlier reconciliation brought count, too.
        """
        found: dict[str, KnownState] = {}
        after: RequestPlace | None = None
        while True:
            page, after = await self._store.open_requests((source, RECONCILE), after)
            for one in page:
                found.setdefault(one.sr_uuid, _state(one))
                if len(found) == most:
                    return list(found.values())
            if after is None:
                return list(found.values())


def _state(known: KnownRequest | OpenRequest) -> KnownState:
    row = known.request
    return KnownState(
        sr_uuid=known.sr_uuid,
        reference_id=known.reference_id,
        state=row.state,
        at=None if row.state_at_ms is None else row.state_at_ms / 1000,
        invalidated=row.invalidated,
    )
