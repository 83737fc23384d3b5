"""The verbs of the store for people: browsing, acting on deliveries, and surveying for a status screen, as `base` explains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.core import documents
from gateway.core.evidence_file import EvidenceMessage
from gateway.core.selection import DeliveryState, Selection, SinkAct, Target
from gateway.core.watches import Watch
from gateway.store.base import Counting, Naming, Trouble


class Browsing(Counting, Naming, Protocol):
    """Answer questions of people: pages of bounded cost, on a connection that no lane waits for."""

    async def messages(
        self, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
    ) -> tuple[list[documents.MessageSummary], int | None]:
        """Read a page of messages in the order of acceptance, without their bodies. `seqs` limits it to some messages.

        A page looks at a bounded number of rows: it may be short, or empty, before the last one.
        """

    async def newest_messages(
        self, selection: Selection, seqs: Sequence[int] | None, before: int | None, limit: int
    ) -> tuple[list[documents.MessageSummary], int | None]:
        """Read a page of messages the other way round, before a seq; None begins with the newest message. As for `messages`."""

    async def deliveries(
        self, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int
    ) -> tuple[list[documents.DeliverySummary], Target | None]:
        """Read a page of deliveries by message, then sink; bounded as for `messages`."""

    async def story(self, seq: int) -> documents.Story | None:
        """Read all that is known of one message, with the last attempts at each delivery; None if it was purged."""

    async def body(self, seq: int) -> bytes | None:
        """Read the body of one message; None if it was purged. Ask for one at a time: each may be as large as `max_body`."""

    async def attempts(self, seq: int, sink: str, after: int, limit: int) -> tuple[list[documents.AttemptFacts], int | None]:
        """Read a page of the attempts at one delivery, oldest first; `after` is the number of an attempt, 0 begins."""

    async def last_attempts(self, sink: str, limit: int) -> list[documents.SinkAttempt]:
        """Read the last attempts at a sink, the newest first.

        A bounded look: at the newest messages, and at deliveries that wait for another attempt or died last.
        """

    async def received_since(self, instant: float, after: int, limit: int, most_bytes: int) -> documents.RoutingPage:
        """Read a page of the messages after a seq that could be decoded, with their bodies.

        It ends at `limit` messages, or with the message that makes the bodies larger than `most_bytes`.
        """


class Proving(Naming, Protocol):
    """Read what evidence needs of one message."""

    async def evidence(self, seq: int) -> EvidenceMessage | None:
        """Read a message with its raw body, and what became of it at each sink; None if it was purged.

        Ask for one at a time: a body may be as large as `max_body`.
        """

    async def attempts(self, seq: int, sink: str, after: int, limit: int) -> tuple[list[documents.AttemptFacts], int | None]:
        """Read a page of the attempts at one delivery, as `Browsing` does."""


class KeepingActs(Protocol):
    """Keep what people do to sinks."""

    async def keep_act(self, act: SinkAct, subject: str, *, now: float, actor: str, detail: str = "") -> int:
        """Keep an act on a sink, and return its id. The newest 10,000 are kept."""

    async def end_act(self, id: int, detail: str) -> None:
        """Write down what came of an act that was kept while it went on. Nothing happens if it is no longer kept."""


class TellingActs(Protocol):
    """Read what people did, in pages of bounded cost, the newest first."""

    async def acts_on_deliveries(self, before: int | None, limit: int) -> list[documents.ActOnDelivery]:
        """Read the acts on deliveries before an id, at most 5,000; None begins with the newest."""

    async def acts_on_sinks(self, before: int | None, limit: int) -> list[documents.ActOnSink]:
        """Read the acts on sinks before an id; None begins with the newest."""


class Acting(Counting, Naming, KeepingActs, Protocol):
    """Change deliveries at a person's word: what replay and discard need."""

    async def chosen(
        self, selection: Selection, seqs: Sequence[int] | None, after: int, limit: int
    ) -> tuple[list[documents.Chosen], int | None]:
        """Read a slice of the messages that a selection names."""

    async def targets(
        self, selection: Selection, seqs: Sequence[int] | None, after: Target, limit: int, states: Sequence[DeliveryState]
    ) -> tuple[list[Target], Target | None]:
        """Read a slice of the deliveries that a selection names, only those in one of `states` if it names no state."""

    async def dead(self, sink: str | None, before: Target | None, limit: int) -> documents.DeadPage:
        """Read a page of the dead deliveries, by message and sink downwards, at most 1,000; None begins with the newest."""

    async def body(self, seq: int) -> bytes | None:
        """Read the body of one message; None if it was purged. Ask for one at a time: each may be as large as `max_body`."""

    async def states(self, targets: Sequence[Target]) -> list[DeliveryState | None]:
        """Read the state of each delivery; None if there is no such delivery yet."""

    async def late(self, targets: Sequence[Target]) -> list[bool]:
        """Return for each delivery whether its sink has been told of something that happened to the service request later.

        The newest 256 messages of a request are looked at.
        """

    async def owed(self, seqs: Sequence[int], sink: str | None) -> list[Target]:
        """Read every delivery of some messages, or only those to one sink."""

    async def reopen(
        self,
        targets: Sequence[Target],
        states: Sequence[DeliveryState],
        *,
        add: bool,
        now: float,
        actor: str,
        told: Callable[[list[Target]], None] | None = None,
    ) -> list[Target]:
        """Queue deliveries again that are in one of `states`, with a fresh budget; return the changed ones.

        The steps for the audit log go into the same commit.

        Args:
            add: also make the deliveries that do not exist yet, one per message and sink.
            told: called with the result right after the commit, before any task runs that the commit wakes.
        """

    async def discard(
        self,
        targets: Sequence[Target],
        *,
        now: float,
        actor: str,
        told: Callable[[list[Target]], None] | None = None,
    ) -> list[Target]:
        """End deliveries that are queued or dead; return the changed ones. As for `reopen`."""


class RedecodingStore(Naming, Protocol):
    """Read messages that were not understood, and write down what they mean: what redecoding needs."""

    async def undecoded(self, instant: float, after: int, limit: int, most_bytes: int) -> documents.UndecodedPage:
        """Read a page of the messages of senders after a seq that could not be decoded, or were not recognized.

        It ends at `limit` messages, or with the message that makes the bodies larger than `most_bytes`.
        """

    async def redecode(
        self,
        decoded: Sequence[documents.Redecoding],
        told: Callable[[list[documents.Redecoded]], None] | None = None,
        *,
        watches: Sequence[Watch] = (),
        now: float,
    ) -> list[documents.Redecoded]:
        """Write down what messages mean now, and judge them; return those that were not understood until then.

        A quarantined one is `unrouted` then. The row of a service request becomes what it would be if its messages had been
        understood when they came. If it is in another state then, the times of the rules begin.

        Args:
            told: called after each commit with its part of the result, as for `reopen`.
            watches: the rules that say how long a service request may stay in a state.
            now: the instant at which the messages count as arrived, for those rules.
        """


class Surveying(Trouble, Protocol):
    """Read what a scrape and `gateway status` show."""

    async def overview(self) -> documents.Overview:
        """Read the numbers of all sinks in one snapshot."""

    async def dead(self, sink: str | None, before: Target | None, limit: int) -> documents.DeadPage:
        """Read a page of the dead deliveries, as `Acting` does."""

    async def last_failures(self, sinks: Sequence[str]) -> dict[str, documents.LastFailure]:
        """Read the last failed attempt at each of these sinks that has one."""

    def sizes(self) -> documents.FileSizes:
        """Look at the sizes of the files; a file that is not there counts 0."""
