"""The requests in the ring, as the page shows them: each with the findings about its signature, which are made once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType

from gateway.core import events
from gateway.core.caught_requests import Answered, CaughtRequest, Forwarded, RequestRing
from gateway.core.request_pictures import Painter, RequestPicture
from gateway.core.routing import Decision
from gateway.core.secrets import Secret
from gateway.core.signature import TOLERANCE
from gateway.core.signature_findings import Suspect

PASTED = "the pasted secret"
"""The label of a secret that a person has pasted."""
_MOST_PASTED = 4


class SourceSecrets(Struct, frozen=True):
    """The secrets that may have signed the requests of one source."""

    suspects: Sequence[Suspect]
    tolerance: float = TOLERANCE
    """Seconds that a timestamp may be away."""


class ShownDetails(Struct, frozen=True, kw_only=True):
    """One request, and where the rules send its event."""

    request: RequestPicture
    headers: Sequence[tuple[str, str]] | UnsetType = UNSET
    body: str | UnsetType | None = UNSET
    curl: str | UnsetType = UNSET
    routes: Sequence[str] | None = None
    """The routes that its event takes by today's rules; None if there are no rules, or no event."""
    sinks: Sequence[str] | None = None


class ShownRequests:
    """Makes pictures of the requests in a ring."""

    def __init__(
        self,
        ring: RequestRing,
        secrets: Mapping[str | None, SourceSecrets],
        *,
        base: Callable[[], str],
        passed_by: Callable[[], int] = lambda: 0,
        route: Callable[[events.Event, str], Decision] | None = None,
    ) -> None:
        """
        Args:
            secrets: by source; None stands for requests without one.
            base: returns scheme, host and port of the place that requests come to.
            passed_by: returns how many requests came since the newest in the ring, and were only counted.
            route: decides by today's rules where an event of a source goes; None if there are no rules.
        """
        self.ring = ring
        self.passed_by = passed_by
        self._base = base
        self._route = route
        self._pasted: list[Suspect] = []
        self._known: dict[int, tuple[Answered | None, Forwarded | None, RequestPicture]] = {}
        """The pictures of requests of the ring, by number, each with what may change about its request. The findings in it may
        have cost some hashes of the body, and a live page asks for it again and again."""
        self.use(secrets)

    @property
    def pasted(self) -> int:
        """How many secrets were pasted."""
        return len(self._pasted)

    def use(self, secrets: Mapping[str | None, SourceSecrets]) -> None:
        """Try these secrets from now on, also on requests that came before."""
        self._secrets = secrets
        self._renew()

    def paste(self, secret: Secret) -> None:
        """Try one more secret on every request. It is kept in memory alone, at most four of them, and until `forget`."""
        self._pasted = [*self._pasted, Suspect(PASTED, secret)][-_MOST_PASTED:]
        self._renew()

    def forget(self) -> None:
        """Forget the secrets that were pasted."""
        self._pasted = []
        self._renew()

    async def newest_first(self, limit: int, before: int | None = None) -> list[RequestPicture]:
        """Return a page of pictures; see `RequestRing.newest_first`. The event loop goes on between them."""
        pictures = []
        for request in self.ring.newest_first(limit, before):
            pictures.append(self.picture(request))
            await asyncio.sleep(0)
        return pictures

    def painter(self, source: str | None) -> Painter:
        """Return the painter for the requests of a source; None stands for requests without one."""
        return self._painters.get(source) or self._other

    def picture(self, request: CaughtRequest) -> RequestPicture:
        """Return the picture of a request."""
        known = self._known.get(request.number)
        if known is not None and known[0] is request.answered and known[1] is request.forwarded:
            return known[2]
        if len(self._known) >= 2 * len(self.ring):
            self._known = {number: one for number, one in self._known.items() if self.ring.get(number) is not None}
        picture = self.painter(request.source).picture(request)
        self._known[request.number] = (request.answered, request.forwarded, picture)
        return picture

    def details(self, request: CaughtRequest, *, bodies: bool) -> ShownDetails:
        """Return everything about a request.

        Args:
            bodies: with its headers and its body.
        """
        painter = self.painter(request.source)
        decision = self._decision(request)
        routes, sinks = (None, None) if decision is None else (decision.routes, decision.sinks)
        if not bodies:
            return ShownDetails(request=self.picture(request), routes=routes, sinks=sinks)
        return ShownDetails(
            request=self.picture(request),
            headers=painter.mask.headers(request.headers),
            body=painter.body(request),
            curl=painter.curl(request, self._base()),
            routes=routes,
            sinks=sinks,
        )

    def _decision(self, request: CaughtRequest) -> Decision | None:
        if self._route is None or not request.body or request.source is None:
            return None
        event = events.decode(request.body)
        return self._route(event, request.source) if isinstance(event, events.Event) else None

    def _renew(self) -> None:
        self._known = {}
        hidden = [suspect.secret.reveal() for one in self._secrets.values() for suspect in one.suspects]
        self._other = Painter(self._pasted, secrets=hidden)
        self._painters = {
            source: Painter([*one.suspects, *self._pasted], tolerance=one.tolerance, secrets=hidden)
            for source, one in self._secrets.items()
        }
