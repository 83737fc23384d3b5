"""The store against a model in memory: any sequence of accepts, settles, replays, claims, purges, restarts, crashes and rebuilds
of the ledger."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from gateway.core.documents import KeptMessage
from gateway.core.events import event_of
from gateway.core.judge import judge
from gateway.core.ledger import Facts, ServiceRequest
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.records import Accepted, Attempt, Counts, Duplicate, NewMessage, Settlement
from gateway.core.retry import RetryPolicy, Transition, decide, expired
from gateway.core.selection import Target
from gateway.store.hot_rows import Key
from gateway.store.sqlite import filling
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import DAY, STATES, crash_copy, new, rows, run_sql
from tests.support.stories import LETTERS, bodies

_J = TypeVar("_J")
_T = TypeVar("_T")
KEPT = 10 * DAY
POLICY = RetryPolicy(schedule=(0.0, 5.0, 300.0), give_up_after=3 * DAY)
SINKS = ("erp", "slack")


@dataclass
class Owing:
    """A delivery, as the model has it."""

    state: str
    due: float | None
    since: float
    attempts: int = 0
    retries: int = 0
    reason: str | None = None


@dataclass
class First:
    """A message that was accepted, with all that belongs to it."""

    new: NewMessage
    owing: dict[str, Owing]
    duplicates: int = 0
    forgotten: bool = False
    conflicts: set[bytes] = field(default_factory=set)
    facts: Facts | None = None
    attempts: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return not any(owing.state in ("queued", "dead") for owing in self.owing.values())


class Model:
    """A model over a dict of docs/reference.md, "Duplicates and quarantine" and "Delivery"."""

    def __init__(self) -> None:
        self.messages: dict[int, First] = {}
        self.greatest = 0
        self.requests: dict[Key, ServiceRequest] = {}
        """The rows that judging the messages one after the other gives; a request is forgotten with its last message."""

    def judge(self, seqs: Iterable[int]) -> None:
        """Judge messages in the order of their arrival."""
        for seq in sorted(seqs):
            first = self.messages[seq]
            message = first.new.message
            if first.new.event is not None and message.sr_uuid is not None:
                key = message.source, message.sr_uuid
                first.facts, self.requests[key] = judge(self.requests.get(key), first.new.event(), message.received_at)

    def chain(self, key: Key) -> list[int]:
        """The messages of a request in the order of their arrival."""
        return sorted(seq for seq, first in self.messages.items() if (first.new.message.source, first.new.message.sr_uuid) == key)

    def accept(self, message: NewMessage, given: int | None = None) -> Accepted | Duplicate:
        """`given` is the seq that the store assigned: a new one, larger than all before it. Duplicates leave gaps."""
        for reason, first in (("message_id", self._by_id(message)), ("identity", self._by_identity(message))):
            if first is None:
                continue
            if first.new.message.received_at < message.message.received_at - KEPT:
                first.forgotten = True
                continue
            first.duplicates += 1
            conflict = first.new.message.body != message.message.body
            if conflict:
                first.conflicts.add(message.message.body)
            return Duplicate(first.new.message.id, "message_id" if reason == "message_id" else "identity", conflict)
        seq = self.greatest + 1 if given is None else given
        assert seq > self.greatest or seq not in self.messages
        self.greatest = max(seq, self.greatest)
        since = message.message.received_at
        self.messages[seq] = First(message, {sink: Owing("queued", due, since) for sink, due in message.deliveries})
        return Accepted(seq)

    def _by_id(self, message: NewMessage) -> First | None:
        wanted = message.message
        for first in self._known(wanted.source):
            known = first.new.message
            if known.sender_id == wanted.sender_id and (wanted.sender_id is not None or known.body == wanted.body):
                return first
        return None

    def _by_identity(self, message: NewMessage) -> First | None:
        same = (first for first in self._known(message.message.source) if first.new.identity == message.identity)
        return next(same, None) if message.identity is not None else None

    def _known(self, source: str) -> Iterator[First]:
        return (first for first in self.messages.values() if first.new.message.source == source and not first.forgotten)

    def settle(self, settlement: Settlement) -> bool:
        first = self.messages[settlement.seq]
        owing, attempt, transition = first.owing[settlement.sink], settlement.attempt, settlement.transition
        if attempt is not None:
            first.attempts.setdefault((settlement.sink, attempt.number), type(attempt.outcome).__name__.lower())
        if owing.state != "queued":
            return False
        owing.state, owing.due, owing.retries = transition.state, transition.due_at, transition.retries
        owing.reason = transition.reason.value if transition.reason else None
        owing.attempts = attempt.number if attempt else owing.attempts
        return True

    def queued(self, sink: str) -> list[tuple[float, int]]:
        """Due time and seq, oldest first."""
        return sorted(
            (owing.due, seq)
            for seq, first in self.messages.items()
            if (owing := first.owing.get(sink)) and owing.state == "queued" and owing.due is not None
        )

    def purge(self, before: float) -> int:
        gone = [seq for seq, first in self.messages.items() if first.finished and first.new.message.received_at < before]
        for seq in gone:
            del self.messages[seq]
        self.requests = {key: row for key, row in self.requests.items() if self.chain(key)}
        return len(gone)

    def reopen(self, seq: int, sink: str, now: float) -> bool:
        """Replay a dead delivery."""
        owing = self.messages[seq].owing[sink]
        if owing.state != "dead":
            return False
        owing.state, owing.due, owing.since, owing.retries, owing.reason = "queued", now, now, 0, None
        return True


TEXTS = st.sampled_from(["m1", "m2", "m3", "m\x004", "五"])
EVENTS = st.tuples(st.builds(lambda letter, second: f"{letter}{second}", st.sampled_from(LETTERS), st.integers(0, 20)), TEXTS)
"""A letter with its second, and the service request."""
MESSAGES = st.tuples(
    st.none() | TEXTS,  # sender id
    st.none() | st.sampled_from(["i1", "i2", "i\x003"]),  # identity
    EVENTS | EVENTS | st.sampled_from([b"{}", b"\x00\xff\xfe", '{"名": "鞄"}'.encode(), b""]),  # event, or another body
    st.sampled_from(["legitmark", "other"]),  # source
    st.sets(st.sampled_from(SINKS)),
    st.sampled_from([0.0, 0.0, 5.0, DAY]),  # seconds until due
)
OUTCOMES: st.SearchStrategy[Outcome | Transition] = st.sampled_from(
    [
        Delivered(200),
        Delivered(200),
        Retry(Reason.HTTP_STATUS, "", 500),
        Retry(Reason.TIMEOUT),
        Defer(Reason.RATE_LIMITED, 60.0),
        Reject(Reason.HTTP_STATUS, "", 410),
        expired(0),
        Transition(state="discarded"),
    ]
)


def coming(
    sender_id: str | None,
    identity: str | None,
    content: tuple[str, str] | bytes,
    source: str,
    sinks: Collection[str],
    *,
    at: float,
    due: float,
) -> NewMessage:
    """Return a message as ingest makes it: with an event that can be judged, or with a body that names no service request."""
    if isinstance(content, bytes):
        made = new(sender_id, identity=identity, body=content, source=source, sinks=tuple(sinks), at=at, due=due)
        return structs.replace(made, message=structs.replace(made.message, sr_uuid=None, reference_id=None))
    word, sr_uuid = content
    (values,) = bodies(word, sr_uuid)
    event = event_of(values)
    body = json.dumps(values).encode()
    made = new(sender_id, identity=identity, body=body, source=source, sinks=tuple(sinks), at=at, due=due)
    message = structs.replace(
        made.message,
        event_type=event.event_type,
        milestone=event.milestone.value,
        sr_uuid=sr_uuid,
        reference_id=event.reference_id,
    )
    return structs.replace(made, message=message, event=lambda: event, event_at=event.instant())


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-store-"))
        self.loop = asyncio.new_event_loop()
        self.path = self.folder / "gateway.db"
        self.lives = 1
        self.now = START
        self.model = Model()
        self.store = self.loop.run_until_complete(SqliteStore.open(self.path, KEPT))
        assert not self.store.after_unclean_end

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def committed(self, hand_over: Callable[[_J], Awaitable[_T]], jobs: Sequence[_J]) -> list[_T]:
        """Commit jobs together in this order, and return their answers."""

        async def commit() -> list[_T]:
            futures = [asyncio.ensure_future(hand_over(job)) for job in jobs]
            await asyncio.sleep(0)
            assert await self.store.commits.step()
            return [await future for future in futures]

        return self.loop.run_until_complete(commit())

    @initialize(messages=st.lists(MESSAGES, max_size=4))
    def begin(self, messages: list[Any]) -> None:
        for message in messages:
            self.accept([message])

    @rule(drawn=st.lists(MESSAGES, min_size=1, max_size=3))
    def accept(self, drawn: Sequence[Any]) -> None:
        batch = [
            coming(sender_id, identity, content, source, sinks, at=self.now, due=self.now + due)
            for sender_id, identity, content, source, sinks, due in drawn
        ]
        answers = self.committed(self.store.accept, batch)
        # Concurrent jobs have no fixed order: the answers have to be right for one of the possible orders.
        for order in itertools.permutations(range(len(batch))):
            model = deepcopy(self.model)
            given = [answer.seq if isinstance(answer, Accepted) else None for answer in answers]
            expected = {position: model.accept(batch[position], given[position]) for position in order}
            if [expected[position] for position in range(len(batch))] == answers:
                self.model = model
                model.judge(answer.seq for answer in answers if isinstance(answer, Accepted))
                return
        raise AssertionError(
            f"{answers} are right in no order; one after the other: {[self.model.accept(message) for message in batch]}"
        )

    @precondition(lambda self: self.model.messages)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        owed = sorted((seq, sink) for seq, first in self.model.messages.items() for sink in first.owing)
        if not owed:
            return
        keys = data.draw(st.lists(st.sampled_from(owed), min_size=1, max_size=3))
        batch = []
        for seq, sink in keys:  # a delivery may be in it twice
            owing, outcome = self.model.messages[seq].owing[sink], data.draw(OUTCOMES)
            if isinstance(outcome, Transition):
                batch.append(Settlement(seq, sink, outcome, self.now, None))
                continue
            transition = decide(outcome, retries=owing.retries, since=owing.since, now=self.now, jitter=0.0, policy=POLICY)
            batch.append(Settlement(seq, sink, transition, self.now, Attempt(owing.attempts + 1, self.now, 1, outcome)))
        answers = self.committed(self.store.settle, batch)
        assert answers == [self.model.settle(settlement) for settlement in batch]

    @precondition(lambda self: self.model.messages)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        owed = sorted((seq, sink) for seq, first in self.model.messages.items() for sink in first.owing)
        if not owed:
            return
        targets = [Target(*key) for key in data.draw(st.lists(st.sampled_from(owed), min_size=1, max_size=3, unique=True))]

        def reopen(some: list[Target]) -> Awaitable[list[Target]]:
            return self.store.reopen(some, ("dead",), add=False, now=self.now, actor="ann")

        (changed,) = self.committed(reopen, [targets])
        assert {(one.seq, one.sink) for one in changed} == {
            (one.seq, one.sink) for one in targets if self.model.reopen(one.seq, one.sink, self.now)
        }

    @rule(sink=st.sampled_from(SINKS), limit=st.integers(1, 4), data=st.data())
    def claim(self, sink: str, limit: int, data: st.DataObject) -> None:
        queued = self.model.queued(sink)
        busy = data.draw(st.sets(st.sampled_from([seq for _, seq in queued]))) if queued else set[int]()
        claim = self.loop.run_until_complete(self.store.claim(sink, self.now, limit, busy))

        free = [(due, seq) for due, seq in queued if seq not in busy]
        due = [seq for due, seq in free if due <= self.now]
        later = [due for due, _ in free if due > self.now]
        assert [owed.seq for owed in claim.owed] == due[:limit]
        assert claim.more == (len(due) > limit)
        assert claim.next_due == (None if claim.more or not later else later[0])
        for owed in claim.owed:
            first = self.model.messages[owed.seq]
            owing = first.owing[sink]
            assert owed.message == structs.replace(first.new.message, facts=first.facts)
            assert (owed.sink, owed.since, owed.attempts, owed.retries) == (sink, owing.since, owing.attempts, owing.retries)

    @rule(slice_size=st.integers(1, 4))
    def purge(self, slice_size: int) -> None:
        before = self.now - KEPT
        after: int | None = 0
        gone = 0
        while after is not None:
            ((number, after),) = self.committed(lambda seq: self.store.purge(seq, slice_size, before), [after])
            assert number <= slice_size
            gone += number
        assert gone == self.model.purge(before)

    @rule(seconds=st.sampled_from([5.0, 300.0, DAY, 6 * DAY, KEPT, KEPT + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.store = self.loop.run_until_complete(SqliteStore.open(self.path, KEPT))
        assert not self.store.after_unclean_end

    @rule(in_flight=st.booleans())
    def crash(self, in_flight: bool) -> None:
        """Go on from the files as they are at this instant; they lack the jobs that were not committed."""
        self.lives += 1
        copy = self.loop.run_until_complete(self.crashed(new("lost", at=self.now) if in_flight else None))
        self.path = copy
        self.store = self.loop.run_until_complete(SqliteStore.open(copy, KEPT))
        assert self.store.after_unclean_end
        self.loop.run_until_complete(self.store.quick_check())

    async def crashed(self, in_flight: NewMessage | None) -> Path:
        lost = [asyncio.create_task(self.store.accept(in_flight))] if in_flight else []
        await asyncio.sleep(0)
        copy = crash_copy(self.path, self.folder / f"life {self.lives}")
        await self.store.close(clean=False)
        await asyncio.gather(*lost, return_exceptions=True)
        return copy

    @rule(slowly=st.booleans())
    def rebuild(self, slowly: bool) -> None:
        """Forget what the ledger knows, and let a start read all messages into it again, a few or many at a time."""
        self.restart()
        forget = (
            "DELETE FROM requests",
            "DELETE FROM loose_references",
            "UPDATE entries SET request = NULL, before = NULL, facts = NULL",
            "UPDATE ledger SET live = 0, flushed = 0",
        )
        self.committed(lambda statements: run_sql(self.store, *statements), [forget])
        self.restart()
        self.model.requests = {}
        self.model.judge(self.model.messages)
        ticks = itertools.count(0.0, filling.SLICE_SECONDS if slowly else 0.0)
        complete = False
        while not complete:
            fill = partial(filling.fill_slice, ledger=self.store.ledger, seconds=lambda: next(ticks))
            (complete,) = self.committed(self.store.change, [fill])

    @invariant()
    def the_ledger_knows_what_judging_the_messages_gives(self) -> None:
        ask = self.loop.run_until_complete
        found = {
            (one.source, one.sr_uuid): one
            for name in {sr_uuid for _, sr_uuid in self.model.requests}
            for one in ask(self.store.find_requests(name)).requests
            if one.sr_uuid == name
        }
        assert {key: one.request for key, one in found.items()} == self.model.requests
        for key, one in found.items():
            story = ask(self.store.request_story(one.number))
            assert story is not None and sorted(event.seq for event in story.events) == self.model.chain(key)

    @invariant()
    def the_counters_count(self) -> None:
        counted = {sink: dict.fromkeys(STATES, 0) for sink in SINKS}
        for first in self.model.messages.values():
            for sink, owing in first.owing.items():
                counted[sink][owing.state] += 1
        counters = self.loop.run_until_complete(self.store.counts())
        zero = Counts(0, 0, 0, 0)
        assert {sink: counters.get(sink, zero) for sink in SINKS} == {sink: Counts(**each) for sink, each in counted.items()}

    @invariant()
    def the_file_says_what_the_model_says(self) -> None:
        messages = self.model.messages
        page = self.loop.run_until_complete(self.store.messages_after(0, 10_000))
        assert page == [
            KeptMessage(seq, "accepted", structs.replace(first.new.message, facts=first.facts), tuple(sorted(first.owing)))
            for seq, first in sorted(messages.items())
        ]
        query = "SELECT seq, duplicates, forgotten FROM messages ORDER BY seq"
        assert rows(self.path, query) == [
            (seq, first.duplicates, seq if first.forgotten else 0) for seq, first in sorted(messages.items())
        ]
        query = "SELECT message, sink, state, due_ms / 1000.0, attempts, retries, reason FROM deliveries ORDER BY message, sink"
        assert rows(self.path, query) == [
            (seq, sink, owing.state, owing.due, owing.attempts, owing.retries, owing.reason)
            for seq, first in sorted(messages.items())
            for sink, owing in sorted(first.owing.items())
        ]
        assert set(rows(self.path, "SELECT message, body FROM conflicts")) == {
            (seq, body) for seq, first in messages.items() for body in first.conflicts
        }
        assert set(rows(self.path, "SELECT message, sink, attempt, outcome FROM attempts")) == {
            (seq, *key, outcome) for seq, first in messages.items() for key, outcome in first.attempts.items()
        }


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],  # explaining a failure takes longer than reading it
    suppress_health_check=[HealthCheck.too_slow],
)
