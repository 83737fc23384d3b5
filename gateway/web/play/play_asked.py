"""The part that pages ask about requests as they come."""

from __future__ import annotations

from typing import Protocol

from gateway.core.caught_facts import CaughtFacts
from gateway.core.caught_requests import CaughtRequest
from gateway.web.play.shown_requests import ShownRequests


class PlayAsked(Protocol):
    """The requests that are kept while somebody looks."""

    @property
    def shown(self) -> ShownRequests:
        """The requests, as the page shows them."""
        ...

    def look(self) -> None:
        """Say that somebody looks."""
        ...

    async def facts(self, request: CaughtRequest) -> CaughtFacts | None:
        """Return the facts of the event in a request; None if nothing is known of its service request."""
        ...
