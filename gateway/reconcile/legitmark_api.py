"""Asks Legitmark's API about one service request. Retries nothing, and shows no secret.

`GET /api/v2/sr/{uuid}` with the key in a header: `Authorization: Bearer leo_...` in today's documents, `x-api-key` in older ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gateway.core.outcome import Reason, Retry
from gateway.core.proxies import Proxy
from gateway.core.reconciliation import MOST_ANSWER, Reply, Unanswered, read_reply
from gateway.core.secrets import Secret
from gateway.host.clock import Clock
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.http_client import Transport, seconds_after
from gateway.sinks.net.http_failures import status_text

_MOST_DETAIL = 200
"""Characters of an answer that are shown beside its status."""


class ApiAccess(Struct, frozen=True, kw_only=True):
    """How the API is reached."""

    url: str
    """The URL of all service requests; a slash and the uuid follow it."""
    header: str
    scheme: str
    """The word before the key, such as `Bearer`; empty if the header holds the key alone."""
    key: Secret
    timeout: float
    """Seconds, for a question as a whole."""
    proxy: Proxy | None = None
    allow_networks: Sequence[str] | None = None

    def same_as(self, other: ApiAccess) -> bool:
        """Return True if both reach the API in the same way with the same key."""
        return self._comparable() == other._comparable()

    def _comparable(self) -> tuple[object, ...]:
        proxy = self.proxy and (self.proxy.place, self.proxy.authorization)
        return (self.url, self.header.lower(), self.scheme, self.key.reveal(), self.timeout, proxy, self.allow_networks)


class LegitmarkApi:
    """One way to the API, over one connection at a time."""

    def __init__(self, access: ApiAccess, clock: Clock) -> None:
        key = access.key.reveal()
        self._url = access.url.rstrip("/")
        self._clock = clock
        self._transport = Transport(
            AddressGuard.of(access.allow_networks),
            1,
            access.timeout,
            headers={access.header: f"{access.scheme} {key}".strip(), "accept": "application/json"},
            secrets=[key],
            most_answer=MOST_ANSWER + 1,
            read_seconds=access.timeout,
            proxy=access.proxy,
        )

    async def ask(self, sr_uuid: str) -> Reply:
        """Ask once. The uuid must have the form of one, because it becomes a part of the URL."""
        answer = await self._transport.request("GET", f"{self._url}/{sr_uuid}", b"", {})
        if isinstance(answer, Retry):
            return Unanswered(_unanswered(answer))
        said = status_text(answer.status)
        if answer.status != 200 and (excerpt := " ".join(answer.excerpt.split())):
            said = f"{said}: {excerpt[:_MOST_DETAIL]}"
        after = seconds_after(answer.retry_after, self._clock.now())
        return read_reply(sr_uuid, answer.status, said, answer.body, after)

    async def aclose(self) -> None:
        """Close the connection; may be called twice."""
        await self._transport.aclose()


def _unanswered(failed: Retry) -> str:
    if failed.reason is Reason.BLOCKED:
        return "the API's address is one that may not be dialled; see allow_networks in [reconcile]"
    return failed.detail
