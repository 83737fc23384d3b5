"""The verbs of the store: one narrow protocol for each room that uses it. Knows no SQL and no connection.

Each verb is one commit, or one short read. Instants are Unix seconds, UTC, by the wall clock of the call. A page is a tuple: the
rows, and where the next page begins (None after the last page). A verb that reads or writes raises StoreError while the database
does not answer, and StoreFailed or StoreCorrupt when it can no longer be trusted.

`people` has the verbs for people, `refused` those for refused requests, and `opening` opens a whole store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

from gateway.core import documents
from gateway.core.conversation import Conversation
from gateway.core.drift import DriftKind
from gateway.core.lasting import Lasting
from gateway.core.records import Claimed, Companion, Counts, KeptGates, Message, NewMessage, Owed, Settlement, Step, Stored
from gateway.core.selection import Target
from gateway.core.watches import Timer, TimersBegun, TimersPlace, Watch

_Result = TypeVar("_Result")

MOST_WAITING: Final = 480
"""Messages that may wait for a commit; the store refuses more, so that a slow disk costs no memory. It has to stay below the
number of connections that the server takes, or the store could never reach it."""
MOST_CLAIMED_BYTES: Final = 8 * 1024 * 1024
"""Bytes of memory that the deliveries of one claim take together, by default."""
RESERVE: Final = 64 * 1024 * 1024
"""Bytes that a backup leaves free beside `store.min_free`: messages come in meanwhile, and below that they are refused."""
MOST_NAMED: Final = 1000
"""Messages in one page of those that an id stands for."""

Told = Callable[[Stored | Exception], None]
"""Called once with what became of a message: what was stored, or why it was not."""
ToldSettled = Callable[[bool | Exception], None]
"""Called once with what became of a settlement: whether the delivery was still `queued`, or why nothing was committed."""
Lines = Callable[[_Result], Sequence[bytes]]
"""Makes the audit lines about a result. The writer's thread calls it right after the commit; it must not raise."""


class Trouble(Protocol):
    """The health of the store, for every part that has to stop working while nothing can be written."""

    @property
    def trouble(self) -> str | None:
        """Why the last commit, or the work after it, failed; None if it succeeded."""


class Accepting(Protocol):
    """Accept messages: what ingest needs."""

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        """Commit a message with all its deliveries, or find the first message that it repeats.

        The store calls `told` once, in the event loop, when the result is on disk, before any task runs that the commit wakes.
        The audit log has the lines by then, written or waiting.
        It gets StoreOverloaded or StoreError if the message cannot be committed now. After a failed commit the message may
        reappear; the sender's next try is a duplicate then.
        """

    async def accept(self, new: NewMessage) -> Stored:
        """Submit a message and wait until it is committed. Raises what `submit` tells."""


class Delivering(Trouble, Protocol):
    """Claim and settle deliveries: what a lane needs."""

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
        """Read up to `limit` due deliveries of a sink, oldest first.

        Args:
            busy: seqs of messages that the lane has in flight; the claim leaves them out.
            by_sr: claim only the first open delivery of each service request.
            room: bytes of memory that the deliveries may take together. The first one is claimed whatever its size.
        """

    def submit_settlement(self, settlement: Settlement, told: ToldSettled, lines: Lines[bool] | None = None) -> None:
        """Commit the outcome of a claimed delivery.

        The store calls `told` once, in the event loop and in the order of the commits, when the result is on disk: False if the
        delivery was no longer `queued` (a person discarded it meanwhile), or StoreError if it cannot be committed now. The audit
        log has the lines by then, written or waiting. `told` must not raise. It is called even if the caller was cancelled,
        because a cancellation does not stop the SQL.
        """

    def settle(self, settlement: Settlement, lines: Lines[bool] | None = None) -> asyncio.Future[bool]:
        """Submit a settlement. The future gets what `submit_settlement` tells."""

    async def close_join(self, seq: int, sink: str) -> Message | None:
        """Let nothing more be told with a claimed delivery (`Owed.joins`); its message is sent now.

        Returns the message that is told with it, None if it goes out alone. The answer stays the same for each later attempt.
        """

    async def part(self, seq: int, sink: str, now: float) -> bool:
        """Let a claimed delivery go out alone, because its sink cannot tell two events as one.

        The delivery that it would have told is queued. Returns False if there is none.
        """

    async def expired(self, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
        """Read up to `limit` open deliveries of a sink that were accepted or replayed before an instant, oldest first.

        Their bodies are left out, because nobody sends them any more.
        """

    async def keep_gates(self, sink: str, state: KeptGates) -> None:
        """Keep the pause, the breaker and the hold of a lane."""


class Sinks(Protocol):
    """Tell the store which sinks there are: what the set of lanes needs when a configuration comes into use."""

    async def all_gates(self) -> dict[str, KeptGates]:
        """Read the kept gates of each lane."""

    async def bring_into_order(self, in_order: Collection[str], sinks: Collection[str]) -> list[str]:
        """Put the open deliveries of newly ordered sinks into the order of their service requests, a slice to a commit.

        It may be repeated at any time; `sync_sinks` makes the order known.

        Args:
            in_order: the sinks with `ordering = "sr"`.
            sinks: every sink of the configuration.
        Returns the sinks of `in_order` that the store did not know as ordered.
        """

    async def sync_sinks(self, sinks: Collection[str], in_order: Collection[str], now: float) -> None:
        """Remember which sinks the configuration has, and which of them are ordered.

        A delivery does not grow older (`give_up_after`) while its sink is absent.
        """

    async def clamp_due(self, sink: str, latest: float) -> None:
        """Bring every due time of a sink beyond an instant back to that instant, a slice to a commit."""


class KeptConversations(Protocol):
    """The conversations of sinks: which thread of a channel belongs to which service request."""

    async def find_conversation(self, sink: str, channel: str, sr: str) -> Conversation | None:
        """Read the conversation of a service request; None if there is none."""

    async def keep_conversation(self, sink: str, channel: str, sr: str, conversation: Conversation, now: float) -> None:
        """Keep a conversation, in place of the one before it, until `retention` after its last use."""


class Counting(Protocol):
    """Read how much waits, and since when."""

    async def counts(self) -> dict[str, Counts]:
        """Read the number of deliveries by sink and state, from the counters. No number is below 0, even if a counter is."""

    async def oldest_due(self, sink: str, *, by_sr: bool = False) -> float | None:
        """Read when the delivery of a sink that waits longest was, or will be, due; with `by_sr`, of those that may go."""


class Naming(Protocol):
    """Find messages, and their ids."""

    async def named(self, text: str, after: int, *, whole: bool) -> tuple[list[int], int | None]:
        """Find the next messages that an id stands for, at most MOST_NAMED, by seq.

        `whole`: the text is a whole id (the gateway's, the sender's, an SR uuid, a reference id); else it is the beginning of
        one of the first three.
        """

    async def ids(self, targets: Sequence[Target]) -> dict[int, documents.Ids]:
        """Read the ids of the messages of some deliveries, by seq."""

    async def first_since(self, instant: float) -> int:
        """Read the seq of about the first message received since an instant."""


class Maintaining(Trouble, Counting, Protocol):
    """Do what the passing of time makes necessary: what the maintenance needs."""

    @property
    def retention(self) -> float:
        """Seconds for which a message is kept and makes duplicates."""

    @property
    def at_work(self) -> dict[str, int | None]:
        """How many pieces of work each thread of the lanes' connections has done, while it works; None while it rests."""

    async def try_disk(self) -> None:
        """Write a page and change nothing, to see whether the disk takes it again."""

    def shift_clock(self, seconds: float) -> None:
        """Take note that the wall clock jumped by some seconds; deliveries keep their age and the time until they are due."""

    async def keep_time(self, now: float) -> None:
        """Remember all jumps of the wall clock and what it says now, so that the next start sees if it went back."""

    async def purge(self, after: int, slice_size: int, before: float) -> tuple[int, int | None]:
        """Delete a slice of the finished messages received before an instant, and of the conversations unused since then.

        Args:
            after: the seq to go on after; 0 begins.
            slice_size: messages that the slice looks at, at most.
        Returns the number of deleted messages, and the seq to go on after; None if no older message follows.
        """

    async def count_page(self, after: int, size: int) -> documents.CounterPage:
        """Count the deliveries of the next `size` seqs beyond `after`, and read the counters of the same instant."""

    async def recount(self, sink: str) -> documents.Recount:
        """Count the queued and dead deliveries of a sink, and read their counters in the same snapshot."""

    async def mend_counters(self, sink: str, by: Mapping[str, int]) -> None:
        """Add to a sink's counters, by state, what a count found them to be short of."""


class Watching(Trouble, Protocol):
    """Remember what the gateway watches over time: what the rooms that tell about it need."""

    @property
    def retention(self) -> float:
        """Seconds for which a message is kept."""

    async def keep(self, companions: Sequence[Companion]) -> None:
        """Commit what is otherwise committed with a message: nobody is told, because no route asks for the event."""

    async def due_timers(self, watches: Sequence[Watch], now: float, limit: int) -> list[Timer]:
        """Read at most `limit` timers of some rules that are due, those of one rule after those of another."""

    async def drop_timers(self, watches: Sequence[Watch]) -> int:
        """Delete the timers that belong to no rule any more, a slice to a commit. Returns how many there were."""

    async def begin_timers(self, watches: Sequence[Watch], now: float, after: TimersPlace | None = None) -> TimersBegun:
        """Begin timers for a slice of the service requests that entered a watched state before the rule was there.

        The time counts from the entering of the state, and the event counts as arrived now. Requests that entered their state
        more than `retention` ago are left out. A timer that exists stays as it is, so all of this may be repeated. The first
        slice also deletes the timers of states that have passed: no message ended them while there was no rule.
        """

    async def purge_told(self, rules: Collection[str], before: float) -> None:
        """Delete the timers of some rules that were told before an instant, a slice to a commit."""

    async def stalled(self, watches: Sequence[Watch], most: int) -> dict[str, int]:
        """Count by rule the service requests that people were told about and that have no later state, each up to `most`."""

    async def lasting(self) -> list[Lasting]:
        """Read the troubles that have begun and not ended."""

    async def known_words(self) -> dict[tuple[str, DriftKind], set[str]]:
        """Read what the senders have said beyond their documents, by source and kind."""

    async def words_learned(self, since: float, most: int) -> list[float]:
        """Read when the newest words became known, those since an instant and at most `most`; the oldest of them first."""


class CatchingUp(Naming, Protocol):
    """Read the steps that the audit log may lack: what completing the log after an unclean end needs."""

    async def unlogged(self, after: int, limit: int) -> list[tuple[int, list[Step]]]:
        """Read a page of commits whose lines may not be written: the mark of each commit, and its steps in order."""

    async def end_catch_up(self) -> None:
        """Forget the steps of earlier lives, because the log has their lines.

        The store keeps all steps until this is called; afterwards it forgets each step once its line is written.
        """

    async def attempt(self, seq: int, sink: str, number: int) -> documents.AttemptFacts | None:
        """Read one attempt at a delivery (1-based); None if it was purged."""

    async def messages_after(self, seq: int, limit: int) -> list[documents.KeptMessage]:
        """Read a page of messages in the order of acceptance."""

    async def seq_of(self, message_id: str) -> int | None:
        """Read the place of a message in the order of acceptance; None if there is no such message."""

    def wall_time(self, due_at: float) -> float:
        """Turn an instant as the store keeps it for deliveries (`Step.due_ms`) into one of the wall clock."""


class LongRead(Protocol[_Result]):
    """Work that reads the whole database for minutes, in a thread of its own. It has begun; its owner calls `end`."""

    @property
    def ended(self) -> asyncio.Future[_Result]:
        """The result, or what the work raised. Shield it: the work does not stop if an await of it is cancelled."""

    async def end(self) -> None:
        """Interrupt the work if it still runs, and wait a moment until it has cleaned up."""


class Copying(Protocol):
    """Read the whole database beside the traffic: what a backup and a check need."""

    def back_up(self, file: Path, *, now: float, min_free: int) -> LongRead[documents.Backup]:
        """Begin to copy the database into a file, or in a folder into one named by the instant.

        The work raises BackupExists, or BackupFailed with what to do; nothing is left behind then. On a server it raises
        BackupElsewhere.

        Args:
            min_free: bytes that have to stay free on the disk of the database.
        """

    def examine(self) -> LongRead[documents.Health]:
        """Begin to check every page, each index against its table, what refers to what, and the counters."""


class Lifecycle(Protocol):
    """Begin and end the life of a store: what the composition of the gateway needs."""

    @property
    def after_unclean_end(self) -> bool:
        """The process before this one did not close the database."""

    @property
    def unchecked(self) -> bool:
        """Nobody has read the whole file since an unclean end."""

    def use(self, retention: float) -> None:
        """Keep messages for another time from now on, in seconds."""

    async def quick_check(self) -> None:
        """Read the whole file beside the traffic, which takes minutes if it is big. Raises StoreCorrupt.

        A cancellation ends it at once; the next start does it again.
        """

    async def run(self) -> None:
        """Commit until `finish`. Raises StoreFailed or StoreCorrupt if the disk or the files can no longer be trusted."""

    def finish(self) -> None:
        """Let `run` end once nothing waits any more."""

    async def close(self, *, clean: bool = True) -> None:
        """Refuse further work and release everything; `run` should have committed what waits.

        Args:
            clean: the audit log is complete, too, so that the next start has nothing to catch up on.
        """


class LaneStore(Accepting, Delivering, Sinks, KeptConversations, Protocol):
    """The verbs that the lanes share: deliveries, the sinks, and the conversations of sinks."""


class Audit(Protocol):
    """The audit log, as far as the store has to know it: it takes the lines of each commit, and knows which are written."""

    @property
    def written_to(self) -> int:
        """The mark of the last commit whose lines are all in the log."""

    def write_now(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Write the lines of a commit, in the writer's thread. Returns those that could not be written now, for `add`."""

    def add(self, lines: Sequence[bytes]) -> None:
        """Take lines that are to be written as soon as possible."""

    def mark(self, mark: int) -> None:
        """Note that all commits up to this mark were reported: their lines are in the log, or on the way to it."""
