"""The verbs of the store about service requests, as `base` explains: the ledger, and what is kept to prove what happened."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from gateway.core.documents import LedgerProgress
from gateway.core.request_documents import (
    FoundRequests,
    KeptRules,
    KnownRequest,
    LedgerMemory,
    OpenRequest,
    RequestPlace,
    RequestSelection,
    RequestStory,
)

MOST_CANDIDATES: Final = 20
"""Requests that a name may stand for; further ones are only mentioned."""
MOST_IN_PAGE: Final = 100
"""Requests or events in one page."""
MOST_OPEN_IN_PAGE: Final = 500
"""Open requests in one page, of which little is read."""


class Tracing(Protocol):
    """Answer questions about service requests, in pages of bounded cost, on a connection that no lane waits for.

    The answers include everything that is committed, whether or not the rows are flushed.
    """

    async def find_requests(self, name: str) -> FoundRequests:
        """Find the requests that a name stands for, at most MOST_CANDIDATES.

        The name is tried as a uuid, as a reference id in any case, as a whole id of a message (the gateway's or the sender's),
        then as the beginning of a uuid or of an id. The first kind that fits counts.
        """

    async def request_story(self, number: int, before: int | None = None, limit: int = MOST_IN_PAGE) -> RequestStory | None:
        """Read what a request went through and who was told, at most MOST_IN_PAGE events; None if it is not known.

        Args:
            number: the number of the request in the ledger.
            before: the seq before which the page begins; None begins with the newest messages.
        """

    async def requests(
        self, selection: RequestSelection, after: RequestPlace | None = None, limit: int = MOST_IN_PAGE
    ) -> tuple[list[KnownRequest], RequestPlace | None]:
        """Read a page of requests, the one whose present state began last first; at most MOST_IN_PAGE.

        A page looks at a bounded number of rows: it may be short, or empty, before the last one.
        """

    async def open_requests(
        self, sources: Collection[str], after: RequestPlace | None = None, limit: int = MOST_OPEN_IN_PAGE
    ) -> tuple[list[OpenRequest], RequestPlace | None]:
        """Read a page of the requests that have not ended, also those without any known state; at most MOST_OPEN_IN_PAGE.

        The one whose present state began first comes first; without one, its newest message counts. A page looks at a bounded
        number of rows: it may be short, or empty, before the last one.

        Args:
            sources: sources that tell of the same requests; one that has ended by any of them is left out.
        Raises StoreError while messages of an earlier version are missing in the ledger: some requests would be left out.
        """


class SurveyingLedger(Protocol):
    """Read what a scrape and `gateway status` show of the ledger."""

    async def ledger_progress(self) -> LedgerProgress:
        """Read how far the ledger has got with the messages of an earlier version."""

    def ledger_memory(self) -> LedgerMemory:
        """Return how much memory the rows of the ledger take."""


class Filling(Protocol):
    """Take the messages of an earlier version into the ledger, beside the traffic."""

    async def fill_ledger(self) -> LedgerProgress:
        """Take the next messages into the ledger, for about 20 ms. It may be repeated at any time, also after a restart."""

    def take_ledger_bug(self) -> Exception | None:
        """Return the last bug that kept a message from being judged, once; None if there was none since the last call."""


class Rulebook(Protocol):
    """Keep the rules by which messages are routed."""

    async def keep_rules(self, snapshot: bytes, now: float) -> int:
        """Keep rules that are coming into use, once however often they do. Returns their number, for `NewMessage.rules`."""

    async def use_rules(self, number: int, now: float) -> None:
        """Note that the rules of a number are in use now, and no others. Rules that are not are purged after `retention`."""

    async def kept_rules(self, number: int) -> KeptRules | None:
        """Read the rules of a number; None if there are none."""
