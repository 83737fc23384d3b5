"""The verbs that only read, on two read-only connections: the lanes read on one, people on the other.

No lane waits for a person's question that way. Owns no SQL itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.core.conversation import Conversation
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
    KeptMessage,
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
from gateway.core.drift import DriftKind
from gateway.core.errors import StoreCorrupt, StoreError, StoreFailed
from gateway.core.evidence_file import EvidenceMessage
from gateway.core.lasting import Lasting
from gateway.core.records import Claimed, Counts, KeptGates, Owed, Step
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
from gateway.core.watches import Timer, Watch
from gateway.store.base import MOST_CLAIMED_BYTES
from gateway.store.requests import MOST_IN_PAGE, MOST_OPEN_IN_PAGE
from gateway.store.sqlite import (
    act_rows,
    claims,
    conversation_rows,
    counting,
    dead_deliveries,
    heard_newer,
    named_messages,
    open_requests,
    paging,
    queries,
    redecoding,
    request_questions,
    request_stories,
    rulebook,
    sink_rows,
    unlogged,
    watch_rows,
)
from gateway.store.sqlite import overview as surveys
from gateway.store.sqlite.connection import Connection
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.overlay import Rows
from gateway.store.timeline import Timeline

_T = TypeVar("_T")


class Reading:
    """The reading half of `SqliteStore`. The verbs are described in `store.base`."""

    def __init__(
        self,
        path: Path,
        reader: Connection,
        questions: Connection,
        timeline: Timeline,
        look_at_files: Callable[[], Awaitable[None]],
        ledger: Ledger,
    ) -> None:
        """
        Args:
            look_at_files: raises StoreFailed if something happened to the files.
        """
        self.path = path
        self.timeline = timeline
        self._reader = reader
        self._questions = questions
        self._look_at_files = look_at_files
        self.ledger = ledger

    async def claim(
        self,
        sink: str,
        now: float,
        limit: int,
        busy: Collection[int],
        *,
        by_sr: bool = False,
        room: int = MOST_CLAIMED_BYTES,
    ) -> Claimed:
        due = self.timeline.stored(now)
        claimed = await self.read(lambda connection: claims.claim(connection, sink, due, limit, busy, by_sr=by_sr, room=room))
        return self.timeline.claim(claimed)

    async def expired(self, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
        since = self.timeline.stored(before)
        return self.timeline.owed(await self.read(lambda connection: claims.expired(connection, sink, since, limit, busy)))

    async def oldest_due(self, sink: str, *, by_sr: bool = False) -> float | None:
        due = await self.read(lambda connection: claims.oldest_due(connection, sink, by_sr=by_sr))
        return None if due is None else self.timeline.shown(due)

    async def counts(self) -> dict[str, Counts]:
        return await self.read(counting.counts)

    async def all_gates(self) -> dict[str, KeptGates]:
        return await self.read(sink_rows.all_gates)

    async def find_conversation(self, sink: str, channel: str, sr: str) -> Conversation | None:
        return await self.read(lambda connection: conversation_rows.find(connection, sink=sink, channel=channel, sr=sr))

    async def count_page(self, after: int, size: int) -> CounterPage:
        return await self.ask(lambda connection: counting.count_page(connection, after, size))

    async def recount(self, sink: str) -> Recount:
        return await self.read(lambda connection: counting.recount(connection, sink))

    async def unlogged(self, after: int, limit: int) -> list[tuple[int, list[Step]]]:
        return await self.read(lambda connection: unlogged.kept(connection, after, limit))

    async def attempt(self, seq: int, sink: str, number: int) -> AttemptFacts | None:
        return await self.read(lambda connection: queries.attempt(connection, seq, sink, number))

    async def evidence(self, seq: int) -> EvidenceMessage | None:
        return await self.ask(lambda connection: queries.evidence(connection, seq))

    async def messages_after(self, seq: int, limit: int) -> list[KeptMessage]:
        return await self.read(lambda connection: queries.messages_after(connection, seq, limit))

    async def seq_of(self, message_id: str) -> int | None:
        return await self.read(lambda connection: queries.seq_of(connection, message_id))

    async def due_timers(self, watches: Sequence[Watch], now: float, limit: int) -> list[Timer]:
        instant = self.timeline.stored(now)
        due = await self.read(lambda connection: watch_rows.due_timers(connection, watches, instant, limit))
        return [self.timeline.timer(timer) for timer in due]

    async def stalled(self, watches: Sequence[Watch], most: int) -> dict[str, int]:
        return await self.ask(lambda connection: watch_rows.stalled(connection, watches, most))

    async def lasting(self) -> list[Lasting]:
        return await self.ask(watch_rows.all_lasting)

    async def known_words(self) -> dict[tuple[str, DriftKind], set[str]]:
        return await self.ask(watch_rows.known_words)

    async def words_learned(self, since: float, most: int) -> list[float]:
        instant = self.timeline.stored(since)
        learned = await self.ask(lambda connection: watch_rows.words_learned(connection, instant, most))
        return [self.timeline.shown(at) for at in learned]

    def wall_time(self, due_at: float) -> float:
        return self.timeline.shown(due_at)

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

    async def named(self, text: str, after: int, *, whole: bool) -> tuple[list[int], int | None]:
        look = named_messages.exactly if whole else named_messages.begun
        rows = self.ledger_rows()
        return await self.ask(lambda connection: look(connection, text, after, rows))

    async def story(self, seq: int) -> Story | None:
        return await self.ask(lambda connection: queries.story(connection, seq))

    async def attempts(self, seq: int, sink: str, after: int, limit: int) -> tuple[list[AttemptFacts], int | None]:
        return await self.ask(lambda connection: queries.attempts(connection, seq, sink, after, limit))

    async def last_attempts(self, sink: str, limit: int) -> list[SinkAttempt]:
        return await self.ask(lambda connection: dead_deliveries.last_attempts(connection, sink, limit))

    async def dead(self, sink: str | None, before: Target | None, limit: int) -> DeadPage:
        return await self.ask(lambda connection: dead_deliveries.dead(connection, sink, before, limit))

    async def acts_on_deliveries(self, before: int | None, limit: int) -> list[ActOnDelivery]:
        return await self.ask(lambda connection: act_rows.acts_on_deliveries(connection, before, limit))

    async def acts_on_sinks(self, before: int | None, limit: int) -> list[ActOnSink]:
        return await self.ask(lambda connection: act_rows.acts_on_sinks(connection, before, limit))

    async def first_since(self, instant: float) -> int:
        return await self.ask(lambda connection: queries.first_since(connection, instant))

    async def received_since(self, instant: float, after: int, limit: int, most_bytes: int) -> RoutingPage:
        return await self.ask(lambda connection: queries.received_since(connection, instant, after, limit, most_bytes))

    async def undecoded(self, instant: float, after: int, limit: int, most_bytes: int) -> UndecodedPage:
        return await self.ask(lambda connection: redecoding.undecoded(connection, instant, after, limit, most_bytes))

    async def chosen(
        self, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
    ) -> tuple[list[Chosen], int | None]:
        return await self.ask(lambda connection: queries.chosen(connection, selection, seqs, after, limit))

    async def targets(
        self, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int, states: Sequence[DeliveryState]
    ) -> tuple[list[Target], Target | None]:
        return await self.ask(lambda connection: paging.deliveries(connection, selection, seqs, after, limit, states))

    async def body(self, seq: int) -> bytes | None:
        return await self.ask(lambda connection: queries.body(connection, seq))

    async def states(self, targets: Sequence[Target]) -> list[DeliveryState | None]:
        return await self.ask(lambda connection: queries.states(connection, targets))

    async def owed(self, seqs: Sequence[int], sink: str | None) -> list[Target]:
        return await self.ask(lambda connection: queries.owed(connection, seqs, sink))

    async def ledger_progress(self) -> LedgerProgress:
        ledger = self.ledger
        newest = await self.ask(lambda connection: connection.execute("SELECT max(seq) FROM messages").fetchone()[0])
        return LedgerProgress(ledger.live, ledger.judged_to, newest or 0)

    async def find_requests(self, name: str) -> FoundRequests:
        rows = self.ledger_rows()
        return await self.ask(lambda connection: request_questions.find(connection, name, rows))

    async def request_story(self, number: int, before: int | None = None, limit: int = MOST_IN_PAGE) -> RequestStory | None:
        rows, most = self.ledger_rows(), min(limit, MOST_IN_PAGE)
        return await self.ask(lambda connection: request_stories.story(connection, number, before, most, rows))

    async def requests(
        self, selection: RequestSelection, after: RequestPlace | None = None, limit: int = MOST_IN_PAGE
    ) -> tuple[list[KnownRequest], RequestPlace | None]:
        rows, most = self.ledger_rows(), min(limit, MOST_IN_PAGE)
        return await self.ask(lambda connection: request_questions.requests(connection, selection, after, most, rows))

    async def open_requests(
        self, sources: Collection[str], after: RequestPlace | None = None, limit: int = MOST_OPEN_IN_PAGE
    ) -> tuple[list[OpenRequest], RequestPlace | None]:
        rows, most = self.ledger_rows(), min(limit, MOST_OPEN_IN_PAGE)
        if not rows.live:
            raise StoreError("messages of an earlier version are still being read in: only then is known which requests are open")
        return await self.ask(lambda connection: open_requests.page(connection, sources, after, most, rows))

    async def late(self, targets: Sequence[Target]) -> list[bool]:
        rows = self.ledger_rows()
        return await self.ask(lambda connection: heard_newer.late(connection, targets, rows))

    async def kept_rules(self, number: int) -> KeptRules | None:
        return await self.ask(lambda connection: rulebook.kept(connection, number))

    def ledger_memory(self) -> LedgerMemory:
        hot = self.ledger.hot
        return LedgerMemory(len(hot), hot.size, hot.most_bytes, hot.waiting, self.ledger.unjudged, self.ledger.live)

    async def ids(self, targets: Sequence[Target]) -> dict[int, Ids]:
        return await self.ask(lambda connection: queries.ids(connection, targets))

    async def overview(self) -> Overview:
        return await self.ask(surveys.overview)

    async def last_failures(self, sinks: Sequence[str]) -> dict[str, LastFailure]:
        return await self.ask(lambda connection: surveys.last_failures(connection, sinks))

    def sizes(self) -> FileSizes:
        return surveys.sizes(self.path)

    def ledger_rows(self) -> Rows:
        """Return what a question has to know of the ledger in memory. Call it before the question begins to read."""
        ledger = self.ledger
        return Rows(ledger.hot.unflushed(), ledger.live, ledger.judged_to)

    async def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a short query for a lane."""
        return await self._explained(self._reader.run(query))

    async def ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a query for a person, on a connection that no lane waits for."""
        return await self._explained(self._questions.run(query))

    async def _explained(self, answer: Awaitable[_T]) -> _T:
        """Await the answer of a reader. If it fails because of what happened to the files, raise StoreFailed that names that."""
        try:
            return await answer
        except (StoreFailed, StoreCorrupt, sqlite3.DatabaseError):
            await self._look_at_files()
            raise
