"""The rules for new messages: which ones are in use, and by which number the store keeps them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from msgspec import structs

from gateway.app.derive import rules_of, rules_to_keep
from gateway.config import Config
from gateway.core.errors import StoreError
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox, Rules
from gateway.store.requests import Rulebook


class RulesInUse:
    """Follows the configuration. The rules are kept before a message is routed by them, so that it can be told why later."""

    def __init__(self, *, inbox: Inbox, store: Rulebook, clock: Clock) -> None:
        self._inbox = inbox
        self._store = store
        self._clock = clock

    async def begin(self, config: Config) -> None:
        """Keep the rules of the start. Raises StoreError."""
        (await self.prepare(config))()
        await self.tidy()

    async def prepare(self, config: Config) -> Callable[[], None]:
        """Keep the rules of a configuration. Returns what makes new messages go by them. Raises StoreError."""
        number = await self._store.keep_rules(rules_to_keep(config).encode(), self._clock.now())
        rules: Rules = structs.replace(rules_of(config, self._inbox.rules), number=number)
        return partial(self._inbox.use, rules)

    async def tidy(self) -> None:
        """Note that the rules before are no longer in use."""
        if (number := self._inbox.rules.number) is not None:
            with suppress(StoreError):  # then they are kept for longer, until the next start or reload
                await self._store.use_rules(number, self._clock.now())
