"""Composes what people see of requests as they come to the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from gateway.app.derive import webhook_urls_of
from gateway.config import Config
from gateway.core.caught_facts import CaughtFacts
from gateway.core.caught_requests import CaughtRequest, RequestRing
from gateway.core.errors import StoreError
from gateway.core.routing import Router
from gateway.core.signature_findings import Suspect
from gateway.host.clock import Clock
from gateway.web.pages.live_streams import LIVE_PATH, PLAY_LIVE_PATH
from gateway.web.play.onlookers import Onlookers
from gateway.web.play.pasted_secrets import PastedSecrets
from gateway.web.play.shown_requests import ShownRequests, SourceSecrets

Judged = Callable[[CaughtRequest, str | None], Awaitable[CaughtFacts | None]]
"""Finds the facts of the event in a request, given the id of the message that it became."""


class Play(Struct, frozen=True):
    """The parts that show requests."""

    onlookers: Onlookers
    shown: ShownRequests
    pasted: PastedSecrets
    judged: Judged

    def look(self) -> None:
        """Say that somebody looks."""
        self.onlookers.look()

    async def facts(self, request: CaughtRequest) -> CaughtFacts | None:
        """Return the facts of its event; None if nothing is known of its service request, or if the store fails."""
        try:
            return await self.judged(request, self.shown.picture(request).message_id)
        except StoreError:
            return None

    def streams(self, others: Callable[[], int]) -> dict[str, Callable[[], int]]:
        """Return the streams of live pages; `others` counts the changes of all pages but those that show requests."""
        return {LIVE_PATH: others, PLAY_LIVE_PATH: self.onlookers.changes}


def play_of(
    config: Callable[[], Config],
    addresses: Callable[[], Sequence[str]],
    router: Callable[[], Router],
    judged: Judged,
    clock: Clock,
) -> Play:
    """Build the parts.

    Args:
        config: returns the configuration in effect.
        addresses: returns where the gateway listens for webhooks.
        router: returns the rules in effect.
    """
    ring = RequestRing()
    shown = ShownRequests(
        ring,
        suspects_of(config()),
        base=lambda: _base(webhook_urls_of(config(), addresses())),
        passed_by=lambda: onlookers.passed_by,
        route=lambda event, source: router().route(event, source),
    )
    onlookers = Onlookers(ring, gone=shown.forget, clock=clock)
    return Play(onlookers, shown, PastedSecrets(shown), judged)


def suspects_of(config: Config) -> dict[str | None, SourceSecrets]:
    """Return the secrets that may have signed the requests of each source."""
    return {
        name: SourceSecrets([Suspect(str(ref), config.secret(ref)) for ref in settings.secrets], settings.tolerance)
        for name, settings in config.sources.items()
    }


def _base(urls: Sequence[str]) -> str:
    """Return the scheme, host and port of the first URL; "" if there is none with them."""
    scheme, mark, rest = urls[0].partition("://") if urls else ("", "", "")
    return f"{scheme}{mark}{rest.partition('/')[0]}" if mark else ""
