"""No operation holds the writer for long, however much waits: a list of all operations, with the most rows that each changes."""

from __future__ import annotations

import ast
import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

import gateway
from gateway.control.interventions import Act, Interventions, Progress
from gateway.core.conversation import Conversation
from gateway.core.documents import Redecoding
from gateway.core.events import event_of
from gateway.core.lasting import Lasting
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, NewMessage, Owes
from gateway.core.routing import Route, Router
from gateway.core.selection import Selection
from gateway.core.values import Duration, rfc3339
from gateway.core.watches import Entered, Entering, StallsTold, Timer, Watch
from gateway.maintenance.audit_catchup import catch_up
from gateway.maintenance.clock_jumps import LaneClock
from gateway.observability.audit import AuditLog
from gateway.store.counted import Changes
from gateway.store.sink_conversations import SinkConversations
from gateway.store.sqlite.batch import Batch
from tests.benchmarks.holds import START_MS, build
from tests.engine.bench import Bench, TroubledStore, working
from tests.engine.lanes_bench import LanesBench
from tests.fakes import FakeClock
from tests.store.kit import new, one, run_sql, settlement
from tests.support.maintenance import maintenance_of
from tests.support.stories import bodies

WAITING = 10_000
OTHERS = 40
SINKS = [f"sink-{number:03}" for number in range(50)]

ROWS = {
    # The rows of messages and deliveries, an entry of the ledger for each message, and once the steps for the audit log and the
    # counter of each sink.
    "accept": 1000 + 500 + 1 + len(SINKS),
    # For each delivery its row, an attempt, and the turn of the delivery behind it.
    "settle": 500 * 3 + 1 + len(SINKS),
    # Each delivery may take the turn of another one.
    "bring_into_order": 256 * 2,
    "clamp_due": 256,
    "keep_time": 1,
    "mend_counters": 0,
    "touch": 2,
    "keep": 1,
    "use": 2,
    # A replay makes a delivery and marks its message as accepted; a discard gives the turn to the delivery behind it. Each is an
    # act of its own.
    "by_person": 200 * 3 + 1,
    # The entry of each message, perhaps a reference id by which no request is found, and the end of the work.
    "fill_slice": 512 * 2 + 1,
    # A row for each sink that was added, removed, or put in order.
    "sync_sinks": 2 * (len(SINKS) + 1),
    # The slice may end with a message of 200 deliveries and 400 attempts; and as many threads go as messages may.
    "purge_slice": 1000 + 1 + 3 * 200 + 200,
    "keep_gates": 1,
    # The act, and the oldest one, which goes.
    "keep_act": 2,
    "end_act": 1,
    # A message with its identity, its entry, the link behind it, the row of its request, and timers.
    "redecode": 16,
    # Timers of a slice.
    "begin": 512,
    "drop": 48,
    "purge_told": 48,
    # A timer that ends and one that begins for each rule; or a trouble that lasts.
    "keep_alone": 4,
    "close": 1,
    # The join, the delivery that ended, and the one in its place.
    "part": 3,
    # A row for each commit whose lines were written meanwhile.
    "nothing": 200,
    "forget_lives_before": 200,
}
"""The most rows that one run of each operation changes; for `accept` and `settle`, the most rows of a whole commit."""
IDLE = {"nothing"}
"""The operation that runs only after a second without any other operation."""
STEPS = 150_000
"""Instructions of SQLite's virtual machine in one run of an operation: about 15 ms of CPU. A look at all of those that wait
would need several times as many."""
STATEMENTS = 50
"""The most statements in one run. Each hands Python's lock to the event loop, which may keep it for some milliseconds."""
_EVERY = 100


class Holds:
    """Counts what each operation does in each commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = defaultdict[str, list[int]](list)
        self.steps = defaultdict[str, list[int]](list)
        self.statements = defaultdict[str, list[int]](list)
        self._now = self._said = 0
        commit = Batch.commit

        def counted(batch: Batch, connection: sqlite3.Connection, *rest: Any) -> Any:
            connection.set_progress_handler(self._step, _EVERY)
            connection.set_trace_callback(self._statement)
            at = connection.total_changes, self._now, self._said
            kinds = "+".join(kind for kind in ("accept", "settle") if getattr(batch, f"{kind}s"))
            works = batch.works
            batch.works = [(self._counting(work), done) for work, done in works]
            try:
                result = commit(batch, connection, *rest)
            finally:
                batch.works = works
                connection.set_progress_handler(None, 0)
                connection.set_trace_callback(None)
            if kinds and not works:
                self._note(kinds, connection, at)
            return result

        monkeypatch.setattr(Batch, "commit", counted)

    def _step(self) -> int:
        self._now += 1
        return 0

    def _counting(self, work: Callable[[sqlite3.Connection, Changes], Any]) -> Callable[[sqlite3.Connection, Changes], Any]:
        def counted(connection: sqlite3.Connection, changes: Changes) -> Any:
            at = connection.total_changes, self._now, self._said
            result = work(connection, changes)
            self._note(getattr(work, "func", work).__qualname__, connection, at)
            return result

        return counted

    def _statement(self, text: str) -> None:
        self._said += 1

    def _note(self, name: str, connection: sqlite3.Connection, at: tuple[int, int, int]) -> None:
        self.rows[name].append(connection.total_changes - at[0])
        self.steps[name].append((self._now - at[1]) * _EVERY)
        self.statements[name].append(self._said - at[2])


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Holds:
    return Holds(monkeypatch)


class Crowd:
    """A store with many waiting deliveries, and every part that changes it."""

    def __init__(self, store: TroubledStore, audit: AuditLog, clock: FakeClock, log: Any, folder: Path) -> None:
        self.store, self.clock = store, clock
        self.bench = Bench(store, audit, clock, log)
        self.all_lanes = LanesBench(self.bench, folder)
        quiet = structlog.wrap_logger(log, processors=[])
        aging = LaneClock(clock)
        self.interventions = Interventions(
            store=store,
            audit=audit,
            router=lambda: Router((Route(name="all", sinks=tuple(SINKS)),)),
            lanes=self.all_lanes.directory,
            clock=aging,
        )
        self.maintenance = maintenance_of(store, audit, self.all_lanes.directory, self.bench.metrics, clock, quiet, aging)

    async def configure(self, erp: str | None) -> None:
        """Go on with the sinks of all routes, with settings for `erp` if they are given."""
        sinks = "".join(f'[sinks.{name}]\ntype = "jsonl"\npath = "{name}.jsonl"\n' for name in SINKS)
        await self.all_lanes.use(sinks + ("" if erp is None else f'[sinks.erp]\ntype = "jsonl"\npath = "erp.jsonl"\n{erp}'))

    async def act(self, do: Callable[[Act], Any], **what: Any) -> int:
        changed, after = 0, None
        while True:
            progress: Progress = await do(Act(**what, after=after))
            changed, after = changed + progress.changed, progress.after
            assert progress.changed <= 1000  # more would hold the event loop
            if after is None:
                return changed


@pytest.fixture
async def crowd(tmp_path: Path, holds: Holds) -> AsyncIterator[Crowd]:
    build(tmp_path / "gateway.db", WAITING, OTHERS).close()
    clock, log = FakeClock(START_MS / 1000 + 100), structlog.testing.CapturingLogger()
    async with working(TroubledStore, tmp_path, clock, log) as (store, audit):
        yield Crowd(store, audit, clock, log, tmp_path)


async def test_no_operation_holds_the_writer_for_long_however_much_waits(crowd: Crowd, holds: Holds) -> None:
    store, clock, path = crowd.store, crowd.clock, crowd.store.path
    await crowd.configure('retry = ["0s", "10s"]')  # due times beyond the longest wait are shortened to it
    await crowd.configure('retry = ["0s", "10s"]\nordering = "sr"')
    assert one(path, "SELECT count(*) FROM deliveries WHERE state = 'queued' AND behind") == WAITING - WAITING // 8 - 1
    await crowd.configure(None)
    await crowd.configure("")
    act, replay, discard = crowd.act, crowd.interventions.replay, crowd.interventions.discard
    assert await act(replay, selection=Selection(status="unrouted"), reroute=True) == OTHERS * len(SINKS)
    assert await act(discard, selection=Selection(sink="erp", state="queued")) == WAITING
    clock.jump(86_400.0)
    await crowd.maintenance.janitor.step()
    fresh = [new(f"msg_new_{number}", at=clock.now(), sinks=tuple(SINKS)) for number in range(60)]
    accepted = await asyncio.gather(*map(store.accept, fresh))
    done = [settlement(stored.seq, Delivered(), sink=sink) for stored in accepted for sink in SINKS]  # type: ignore[union-attr]
    assert all(await asyncio.gather(*map(store.settle, done)))
    await run_sql(store, f"UPDATE counters SET delivered = delivered + 1 WHERE sink = '{SINKS[0]}'")
    clock.advance(3700.0)
    while not await crowd.maintenance.invariants.check_counters():
        pass
    clock.advance(100 * 86_400.0)
    while one(path, "SELECT count(*) FROM messages WHERE seq <= ?", OTHERS):
        await crowd.maintenance.janitor.step()
    await crowd.interventions.pause(SINKS[0], "ann")
    await store.end_act(await store.keep_act("ask", "sr-1", now=clock.now(), actor="ann"), "same QC/PENDING")
    await store.use_rules(await store.keep_rules(b"the rules", clock.now()), clock.now())
    await watched(store, clock)
    await joined(store, clock)
    await run_sql(store, "UPDATE ledger SET live = 0, flushed = 0")
    store.ledger.live, store.ledger.judged_to = False, 0
    while not (await store.fill_ledger()).complete:
        pass
    await store.try_disk()
    await SinkConversations(store, SINKS[0], clock).keep("#c", "sr", Conversation("C1", "1.0", clock.now()))
    await catch_up(store, crowd.bench.audit, crowd.bench.audit.path, unclean=False)
    del holds.rows["run_sql.<locals>.work"]
    assert holds.rows.keys() == ROWS.keys() - IDLE
    assert {name: most for name, rows in holds.rows.items() if (most := max(rows)) > ROWS[name]} == {}
    assert {name: most for name, steps in holds.steps.items() if (most := max(steps)) > STEPS} == {}
    assert {name: most for name, said in holds.statements.items() if (most := max(said)) > STATEMENTS} == {}


async def watched(store: TroubledStore, clock: FakeClock) -> None:
    """Do what follows from watch rules, from troubles that last, and from messages that a newer version understands."""
    rules = (Watch("one", ("QC",), Duration("1h")), Watch("two", ("QC",), Duration("1h")))
    for number in range(300):
        entered = Entered("legitmark", f"sr-{number}", None, "QC/PENDING", clock.now(), clock.now())
        await store.keep([Entering(entered, ("one", "two"))])
        await store.keep([StallsTold((Timer("one", entered),), clock.now())])
    await store.keep([Lasting("source_silent", "legitmark", 90.0)])
    await store.purge_told(["one"], clock.now() + 1)
    assert await store.drop_timers(rules[:1]) == 300
    waiting = [bodies("P10", f"sr-watched-{number}")[0] for number in range(600)]
    coming = [_judged(f"msg_watched_{at}", values, clock) for at, values in enumerate(waiting)]
    for some in (coming[:300], coming[300:]):
        await asyncio.gather(*map(store.accept, some))
    begun = await store.begin_timers(rules, clock.now())
    while begun.after is not None:
        begun = await store.begin_timers(rules, clock.now(), begun.after)
    assert one(store.path, "SELECT count(*) FROM watch_timers WHERE rule = 'two' AND sr >= CAST('sr-watched' AS BLOB)") == 600
    unknown = waiting[0] | {"event_type": "sr_moved", "sr_uuid": "sr-unknown"}
    stored = await asyncio.gather(*(store.accept(_judged(f"msg_unknown_{at}", unknown, clock)) for at in range(60)))
    event = event_of(waiting[0] | {"timestamp": rfc3339(clock.now()), "reference_id": "ANOTHER"})
    known = [Redecoding(one.seq, event, None) for one in stored if isinstance(one, Accepted)]
    done = await store.redecode(known[::-1], watches=rules, now=clock.now())
    assert len(done) == 60 and None not in [one.facts for one in done]


def _judged(sender_id: str, values: dict[str, Any], clock: FakeClock) -> NewMessage:
    """Return a message with an event that the ledger judges."""
    made, event = new(sender_id, at=clock.now(), sinks=()), event_of(values)
    message = msgspec.structs.replace(made.message, milestone=event.milestone.value, sr_uuid=event.sr_uuid)
    return msgspec.structs.replace(made, message=message, event=partial(_same, event))


async def joined(store: TroubledStore, clock: FakeClock) -> None:
    """Tell many rejections in one message each, and one in two after all."""
    news: list[NewMessage] = []
    for number in range(120):
        for values in bodies("R20 M21", f"sr-joined-{number}"):
            made, event = new(f"msg_joined_{len(news)}", at=clock.now(), sinks=(SINKS[0],)), event_of(values)
            milestone, sr = event.milestone.value, event.sr_uuid
            message = msgspec.structs.replace(made.message, milestone=milestone, sr_uuid=sr)
            owes = Owes("accepted", made.deliveries, waits=((SINKS[0], 30.0),))
            news.append(msgspec.structs.replace(made, message=message, event=partial(_same, event), decide=partial(_same, owes)))
    stored = await asyncio.gather(*map(store.accept, news))
    assert all(isinstance(one, Accepted) and bool(one.waiting) != bool(one.joined) for one in stored)
    first, second = [one.seq for one in stored if isinstance(one, Accepted) and one.waiting][:2]
    assert await store.close_join(first, SINKS[0]) is not None
    assert await store.part(second, SINKS[0], clock.now())


def _same(value: Any, *_: object) -> Any:
    return value


def test_the_list_names_every_operation_of_the_writer() -> None:
    root = Path(gateway.__file__).parent
    found = {name for file in root.rglob("*.py") for name in _operations(ast.parse(file.read_text(encoding="utf-8")), "")}
    assert found - {"GroupCommit.change.<locals>.work"} == ROWS.keys() - {"accept", "settle"}


def _operations(node: ast.AST, within: str) -> Iterator[str]:
    """Yield the operations that the code below a node hands to the writer, as `Holds` names them; `within` is its function."""
    for child in ast.iter_child_nodes(node):
        inside = within
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{within}{child.name}." if isinstance(child, ast.ClassDef) else f"{within}{child.name}.<locals>."
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            called, work = ast.unparse(child.func), child.args[0] if child.args else None
            adds = called == "self._add" and inside.startswith("GroupCommit.")
            if called.endswith("store.change") or called == "self.change" or adds:
                yield _name(work, inside)
        yield from _operations(child, inside)


def _name(work: ast.AST | None, within: str) -> str:
    if isinstance(work, ast.Lambda):
        return f"{within}<lambda>"
    if isinstance(work, ast.Call):  # partial(module.function, ...)
        return ast.unparse(work.args[0]).rpartition(".")[2]
    assert isinstance(work, ast.Name | ast.Attribute), "a work is a function, a lambda or a partial"
    name = ast.unparse(work)
    return name.rpartition(".")[2] if "." in name else f"{within}{name}"
