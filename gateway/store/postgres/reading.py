"""The verbs that only read, for people, on a session that no lane waits for. Owns no SQL itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from gateway.core.documents import (
    ActOnDelivery,
    ActOnSink,
    AttemptFacts,
    Chosen,
    CounterPage,
    DeadPage,
    DeliverySummary,
    FileSizes,
    Ids,
    LastFailure,
    LedgerProgress,
    MessageSummary,
    Overview,
    Recount,
    RoutingPage,
    SinkAttempt,
    Story,
    UndecodedPage,
)
from gateway.core.evidence_file import EvidenceMessage
from gateway.core.records import Counts
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
from gateway.core.selection import DeliveryState, Selection, Target
from gateway.store.postgres import (
    act_rows,
    counting,
    dead_deliveries,
    heard_newer,
    named_messages,
    open_requests,
    paging,
    queries,
    request_questions,
    request_stories,
    rulebook,
    undecoded_messages,
)
from gateway.store.postgres import overview as surveys
from gateway.store.postgres.connection import Connection, Session
from gateway.store.requests import MOST_IN_PAGE, MOST_OPEN_IN_PAGE

_T = TypeVar("_T")


class PostgresReading:
    """The part of a store that answers people. The verbs are described in `store.people`, `store.requests` and `store.base`.

    A row of the ledger is written with the messages that change it, so an answer has everything that is committed.
    """

    def __init__(self, questions: Session, unjudged: Callable[[], int] = lambda: 0) -> None:
        """
        Args:
            unjudged: returns how many messages a bug kept from being judged, since the start.
        """
        self._questions = questions
        self._unjudged = unjudged
        self._size = 0

    async def oldest_due(self, sink: str, *, by_sr: bool = False) -> float | None:
        return await self.ask(lambda connection: counting.oldest_due(connection, sink, by_sr=by_sr))

    async def counts(self) -> dict[str, Counts]:
        return await self.ask(counting.counts)

    async def count_page(self, after: int, size: int) -> CounterPage:
        return await self.ask(lambda connection: counting.count_page(connection, after, size))

    async def recount(self, sink: str) -> Recount:
        return await self.ask(lambda connection: counting.recount(connection, sink))

    async def named(self, text: str, after: int, *, whole: bool) -> tuple[list[int], int | None]:
        look = named_messages.exactly if whole else named_messages.begun
        return await self.ask(lambda connection: look(connection, text, after))

    async def ids(self, targets: Sequence[Target]) -> dict[int, Ids]:
        return await self.ask(lambda connection: queries.ids(connection, targets))

    async def first_since(self, instant: float) -> int:
        return await self.ask(lambda connection: queries.first_since(connection, instant))

    async def seq_of(self, message_id: str) -> int | None:
        return await self.ask(lambda connection: queries.seq_of(connection, message_id))

    async def messages(
        self, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
    ) -> tuple[list[MessageSummary], int | None]:
        return await self.ask(lambda connection: queries.messages(connection, selection, seqs, after, limit))

    async def newest_messages(
        self, selection: Selection, seqs: Sequence[int] | None, before: int | None, limit: int
    ) -> tuple[list[MessageSummary], int | None]:
        return await self.ask(lambda connection: queries.newest_messages(connection, selection, seqs, before, limit))

    async def deliveries(
        self, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int
    ) -> tuple[list[DeliverySummary], Target | None]:
        return await self.ask(lambda connection: queries.deliveries(connection, selection, seqs, after, limit))

    async def story(self, seq: int) -> Story | None:
        return await self.ask(lambda connection: queries.story(connection, seq))

    async def body(self, seq: int) -> bytes | None:
        return await self.ask(lambda connection: queries.body(connection, seq))

    async def attempt(self, seq: int, sink: str, number: int) -> AttemptFacts | None:
        return await self.ask(lambda connection: queries.attempt(connection, seq, sink, number))

    async def attempts(self, seq: int, sink: str, after: int, limit: int) -> tuple[list[AttemptFacts], int | None]:
        return await self.ask(lambda connection: queries.attempts(connection, seq, sink, after, limit))

    async def last_attempts(self, sink: str, limit: int) -> list[SinkAttempt]:
        return await self.ask(lambda connection: dead_deliveries.last_attempts(connection, sink, limit))

    async def received_since(self, instant: float, after: int, limit: int, most_bytes: int) -> RoutingPage:
        return await self.ask(lambda connection: queries.received_since(connection, instant, after, limit, most_bytes))

    async def undecoded(self, instant: float, after: int, limit: int, most_bytes: int) -> UndecodedPage:
        return await self.ask(lambda connection: undecoded_messages.undecoded(connection, instant, after, limit, most_bytes))

    async def evidence(self, seq: int) -> EvidenceMessage | None:
        return await self.ask(lambda connection: queries.evidence(connection, seq))

    async def acts_on_deliveries(self, before: int | None, limit: int) -> list[ActOnDelivery]:
        return await self.ask(lambda connection: act_rows.acts_on_deliveries(connection, before, limit))

    async def acts_on_sinks(self, before: int | None, limit: int) -> list[ActOnSink]:
        return await self.ask(lambda connection: act_rows.acts_on_sinks(connection, before, limit))

    async def chosen(
        self, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
    ) -> tuple[list[Chosen], int | None]:
        return await self.ask(lambda connection: queries.chosen(connection, selection, seqs, after, limit))

    async def targets(
        self, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int, states: Sequence[DeliveryState]
    ) -> tuple[list[Target], Target | None]:
        return await self.ask(lambda connection: paging.deliveries(connection, selection, seqs, after, limit, states))

    async def dead(self, sink: str | None, before: Target | None, limit: int) -> DeadPage:
        return await self.ask(lambda connection: dead_deliveries.dead(connection, sink, before, limit))

    async def states(self, targets: Sequence[Target]) -> list[DeliveryState | None]:
        return await self.ask(lambda connection: queries.states(connection, targets))

    async def late(self, targets: Sequence[Target]) -> list[bool]:
        return await self.ask(lambda connection: heard_newer.late(connection, targets))

    async def owed(self, seqs: Sequence[int], sink: str | None) -> list[Target]:
        return await self.ask(lambda connection: queries.owed(connection, seqs, sink))

    async def overview(self) -> Overview:
        self._size = await self.ask(surveys.size)
        return await self.ask(surveys.overview)

    def sizes(self) -> FileSizes:
        """Return the size of the tables and their indexes, as the last overview found it."""
        return FileSizes(self._size, 0)

    async def last_failures(self, sinks: Sequence[str]) -> dict[str, LastFailure]:
        return await self.ask(lambda connection: surveys.last_failures(connection, sinks))

    async def find_requests(self, name: str) -> FoundRequests:
        return await self.ask(lambda connection: request_questions.find(connection, name))

    async def request_story(self, number: int, before: int | None = None, limit: int = MOST_IN_PAGE) -> RequestStory | None:
        most = min(limit, MOST_IN_PAGE)
        return await self.ask(lambda connection: request_stories.story(connection, number, before, most))

    async def requests(
        self, selection: RequestSelection, after: RequestPlace | None = None, limit: int = MOST_IN_PAGE
    ) -> tuple[list[KnownRequest], RequestPlace | None]:
        most = min(limit, MOST_IN_PAGE)
        return await self.ask(lambda connection: request_questions.requests(connection, selection, after, most))

    async def open_requests(
        self, sources: Collection[str], after: RequestPlace | None = None, limit: int = MOST_OPEN_IN_PAGE
    ) -> tuple[list[OpenRequest], RequestPlace | None]:
        most = min(limit, MOST_OPEN_IN_PAGE)
        return await self.ask(lambda connection: open_requests.page(connection, sources, after, most))

    async def ledger_progress(self) -> LedgerProgress:
        newest = await self.ask(lambda connection: connection.fetchval("SELECT coalesce(max(seq), 0) FROM messages"))
        return LedgerProgress(True, newest, newest)

    async def fill_ledger(self) -> LedgerProgress:
        """Return that the ledger is complete: no earlier version left messages to be read in."""
        return await self.ledger_progress()

    def ledger_memory(self) -> LedgerMemory:
        """Return that no row waits in memory."""
        return LedgerMemory(rows=0, bytes=0, limit=0, unflushed=0, unjudged=self._unjudged(), complete=True)

    async def kept_rules(self, number: int) -> KeptRules | None:
        return await self.ask(lambda connection: rulebook.kept(connection, number))

    async def ask(self, query: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Run a query for a person, on a session that no lane waits for."""
        return await self._questions.run(query)
