"""The rules of then: read from the store by their number, and kept ready, because many messages went by the same."""

from __future__ import annotations

from gateway.core.rules_then import RulesThen, read_rules
from gateway.store.requests import Rulebook

_MOST = 8
"""Numbers of rules that are kept ready."""


class KeptRulesReader:
    """Reads rules by their number."""

    def __init__(self, store: Rulebook) -> None:
        self._store = store
        self._ready: dict[int, RulesThen] = {}

    async def of(self, number: int | None) -> RulesThen | None:
        """Return the rules of a number; None if there is no number, or if they are no longer kept."""
        if number is None:
            return None
        if (known := self._ready.get(number)) is not None:
            return known
        kept = await self._store.kept_rules(number)
        if kept is None:
            return None
        while len(self._ready) >= _MOST:
            del self._ready[next(iter(self._ready))]
        rules = self._ready[number] = read_rules(kept.snapshot)
        return rules
