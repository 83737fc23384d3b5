"""The rules of then: read from the store by their number, and kept ready, because many messages went by the same."""

from __future__ import annotations

from functools import partial

from gateway.core.rules_then import RulesThen, read_rules
from gateway.host.blocking import run_in_thread, short_turns
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
        rules = self._ready[number] = await run_in_thread(partial(_ready, kept.snapshot), "rules")
        return rules


def _ready(snapshot: bytes) -> RulesThen:
    """Read rules, and compile their patterns: a thousand routes take 50 ms."""
    with short_turns():
        rules = read_rules(snapshot)
        _ = rules.router, rules.naming, rules.places  # they are kept with the rules
        return rules
