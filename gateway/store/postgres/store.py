"""The store in PostgreSQL: the verbs of `store.base` on a writing session and two reading ones. Owns no SQL itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final, Self, TypeVar

from gateway.core.audit_events import DeliveryDiscarded, DeliveryReplayed
from gateway.core.conversation import Conversation
from gateway.core.documents import KeptMessage, LedgerProgress, Redecoded, Redecoding
from gateway.core.errors import StoreError
from gateway.core.nodes import NodeFacts
from gateway.core.records import Claimed, KeptGates, Message, NewMessage, Owed, Settlement, Step, Stored
from gateway.core.request_documents import LedgerMemory
from gateway.core.selection import DeliveryState, SinkAct, Target
from gateway.core.values import claim_of
from gateway.core.watches import Watch
from gateway.store import turns
from gateway.store.base import MOST_CLAIMED_BYTES, Audit, Lines, Told, ToldSettled
from gateway.store.columns import milliseconds
from gateway.store.commit_jobs import tell
from gateway.store.committing import NoAudit
from gateway.store.postgres import (
    act_rows,
    catching_up,
    claims,
    conversation_rows,
    counting,
    joining,
    node_rows,
    operations,
    ordering,
    purging,
    redecoding,
    rulebook,
    sink_rows,
    timeline_row,
    unlogged,
)
from gateway.store.postgres.connection import QUESTIONS, Connection, Server, Session
from gateway.store.postgres.group_commit import PostgresCommits
from gateway.store.postgres.membership import LEASE, Membership
from gateway.store.postgres.migrations import migrate
from gateway.store.postgres.upkeep import Upkeep
from gateway.store.postgres.watching import WatchingVerbs
from gateway.store.standing_timers import Since
from gateway.store.steps import acted_step
from gateway.store.timeline import Timeline
from gateway.store.turns import Place

_T = TypeVar("_T")
_SLICE: Final = 256
"""Deliveries changed in one transaction by the verbs that divide their work into slices themselves."""


class PostgresStore(WatchingVerbs, Upkeep):
    """Built by `open`; `run` has to run beside it for anything to be committed. The verbs are described in `store.base`."""

    def __init__(
        self,
        commits: PostgresCommits,
        reader: Session,
        questions: Session,
        timeline: Timeline,
        life: node_rows.NodeLife,
        boot: str,
        membership: Membership,
        *,
        replicated: bool = False,
    ) -> None:
        WatchingVerbs.__init__(self, commits, reader, questions, timeline)
        Upkeep.__init__(self, commits.session.server, replicated=replicated)
        self.after_unclean_end = life.after_unclean_end
        self.unchecked = False
        self._boot = boot
        self._membership = membership

    @classmethod
    async def open(
        cls,
        server: Server,
        retention: float,
        *,
        node: str,
        boot: str,
        version: str,
        jitter: Callable[[], float],
        config_hash: str = "",
        sinks: Sequence[str] = (),
        lease: float = LEASE,
        now: Callable[[], float] | None = None,
        audit: Audit | None = None,
        on_commit: Callable[[int, float], None] = lambda size, seconds: None,
        told: Callable[..., object] = lambda event, **facts: None,
        alone: bool = False,
        replicated: bool = False,
    ) -> Self:
        """Connect, and bring the schema up. See `opening.open_store` for the other arguments and the errors.

        Args:
            node: the name of this node, which no other node of the database has.
            boot: a text that no other life of a node has.
            version: of the gateway.
            jitter: a random number between -1 and 1, for the pauses between attempts to connect.
            config_hash: the digest of the configuration, see `config.agreement`.
            sinks: those of the configuration.
            lease: seconds after which a node that did not renew counts as dead.
            replicated: an acknowledged message has to be on a synchronous standby.
            alone: refuse to work beside another node.
            told: called with `store.lost` and its facts if acknowledged commits are gone, and before each step of an upgrade.
            now: tells the wall clock; None: the clock counts as one that never jumped.
        """
        writer, reader = (Session(server, role, jitter) for role in ("writer", "reader"))
        questions = Session(server, "desk", jitter, QUESTIONS)
        async with AsyncExitStack() as opened:
            for session in (writer, reader, questions):
                await session.open()
                opened.push_async_callback(session.close)
            await writer.run(partial(migrate, schema=server.schema, told=told))
            facts = NodeFacts(name=node, boot=boot, version=version, config_hash=config_hash, sinks=tuple(sinks))
            membership = Membership(writer, facts, lease=lease, alone=alone)
            await writer.run(membership.take)
            life = await writer.run(partial(node_rows.begin_life, name=node, boot=boot, version=version))
            await writer.run(partial(membership.begin, node=life.node))
            timeline = Timeline(*await writer.run(timeline_row.read_timeline))
            if now is not None:
                timeline.begin(now())
            commits = PostgresCommits(
                writer,
                life.node,
                life.commits,
                retention=retention,
                audit=audit or NoAudit(),
                on_commit=on_commit,
                told=told,
                on_connection=membership.renew,
                look=membership.step,
            )
            store = cls(commits, reader, questions, timeline, life, boot, membership, replicated=replicated)
            opened.pop_all()
            return store

    @property
    def node(self) -> int:
        """The number of this node."""
        return self.commits.node

    @property
    def trouble(self) -> str | None:
        return self.commits.trouble or self._membership.trouble

    @property
    def at_work(self) -> dict[str, int | None]:
        return {"writer": self.commits.session.at_work, "reader": self._reader.at_work}

    def use(self, retention: float) -> None:
        self.commits.retention = retention

    async def quick_check(self) -> None:
        """Do nothing: PostgreSQL recovers by itself, and checks its pages as it reads them."""

    async def run(self) -> None:
        await self.commits.run()

    def finish(self) -> None:
        self.commits.finish()

    async def close(self, *, clean: bool = True) -> None:
        self.commits.refuse()
        with suppress(StoreError):  # the next life sees an unclean end, and completes the log
            end = partial(node_rows.end_life, node=self.node, boot=self._boot, clean=clean and self.commits.all_clear)
            await self.commits.session.run(end)
        for session in (self._questions, self._reader, self.commits.session):
            await session.close()

    def submit(self, new: NewMessage, told: Told, lines: Lines[Stored] | None = None) -> None:
        self.commits.submit(self.timeline.new(new), told, lines)

    async def accept(self, new: NewMessage) -> Stored:
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self.submit(new, partial(tell, stored))
        return await stored

    def submit_settlement(self, settlement: Settlement, told: ToldSettled, lines: Lines[bool] | None = None) -> None:
        self.commits.submit_settlement(self.timeline.settlement(settlement), told, lines)

    def settle(self, settlement: Settlement, lines: Lines[bool] | None = None) -> asyncio.Future[bool]:
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.submit_settlement(settlement, partial(tell, settled), lines)
        return settled

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
        if by_sr:  # a delivery may become the first of its request long after it was due: no cursor passes it by
            look = partial(claims.claim, sink=sink, now=due, limit=limit, busy=busy, by_sr=True, room=room)
            return self.timeline.claim((await self._reader.run(look))[0])
        begin = self.commits.cursors.begin(sink, asyncio.get_running_loop().time())
        look = partial(claims.claim, sink=sink, now=due, limit=limit, busy=busy, begin=begin, room=room)
        claimed, first = await self._reader.run(look)
        self.commits.cursors.seen(sink, first, milliseconds(due))
        return self.timeline.claim(claimed)

    async def expired(self, sink: str, before: float, limit: int, busy: Collection[int]) -> tuple[Owed, ...]:
        since = self.timeline.stored(before)
        look = partial(claims.expired, sink=sink, before=since, limit=limit, busy=busy)
        return self.timeline.owed(await self._reader.run(look))

    async def close_join(self, seq: int, sink: str) -> Message | None:
        return await self.commits.change(partial(joining.close, seq=seq, sink=sink))

    async def part(self, seq: int, sink: str, now: float) -> bool:
        parted = await self.commits.change(partial(joining.part, seq=seq, sink=sink, now=self.timeline.stored(now)))
        self.commits.cursors.lower(sink)
        return parted

    async def keep_gates(self, sink: str, state: KeptGates) -> None:
        await self.commits.change(partial(sink_rows.keep_gates, sink=sink, state=state))

    async def all_gates(self) -> dict[str, KeptGates]:
        return await self._reader.run(sink_rows.all_gates)

    async def bring_into_order(self, in_order: Collection[str], sinks: Collection[str]) -> list[str]:
        new = await self._reader.run(partial(sink_rows.unordered, in_order=in_order, sinks=sinks))
        for name in new:
            after: Place | None = turns.BEGINNING
            while after is not None:
                after = await self.commits.change(partial(ordering.bring_into_order, sink=name, after=after, size=_SLICE))
        return new

    async def sync_sinks(self, sinks: Collection[str], in_order: Collection[str], now: float) -> None:
        instant = self.timeline.stored(now)
        await self.commits.change(partial(sink_rows.sync_sinks, sinks=tuple(sinks), in_order=tuple(in_order), now=instant))

    async def clamp_due(self, sink: str, latest: float) -> None:
        instant = self.timeline.stored(latest)
        clamp = partial(operations.clamp_due, sink=sink, latest=instant, size=_SLICE)
        while await self.commits.change(clamp) == _SLICE:
            pass
        self.commits.cursors.lower(sink)

    async def find_conversation(self, sink: str, channel: str, sr: str) -> Conversation | None:
        return await self._reader.run(partial(conversation_rows.find, sink=sink, channel=channel, sr=sr))

    async def keep_conversation(self, sink: str, channel: str, sr: str, conversation: Conversation, now: float) -> None:
        keep = partial(conversation_rows.keep, sink=sink, channel=channel, sr=sr, conversation=conversation, now=now)
        await self.commits.change(keep)

    async def try_disk(self) -> None:
        await self.commits.change(operations.touch)

    def shift_clock(self, seconds: float) -> None:
        self.timeline.jump(seconds)

    async def keep_time(self, now: float) -> None:
        await self.commits.change(partial(timeline_row.keep_time, jumped_ms=self.timeline.jumped_ms, seen=now))

    async def purge(self, after: int, slice_size: int, before: float) -> tuple[int, int | None]:
        ledger = self.commits.ledger
        purged = await self.commits.change(
            partial(purging.purge_slice, after=after, slice_size=slice_size, before=before, ledger=ledger)
        )
        if purged.at_end:
            return purged.gone, None
        if purged.any_old:
            return purged.gone, purged.last
        return purged.gone, await self.ask(partial(purging.before_next_old, after=purged.last, before=before))

    async def mend_counters(self, sink: str, by: Mapping[str, int]) -> None:
        await self.commits.change(partial(counting.mend_counters, sink=sink, by=by))

    def take_ledger_bug(self) -> Exception | None:
        bug, self.commits.ledger.bug = self.commits.ledger.bug, None
        return bug

    async def fill_ledger(self) -> LedgerProgress:
        return await self.ledger_progress()

    def ledger_memory(self) -> LedgerMemory:
        hot = self.commits.ledger.hot
        return LedgerMemory(len(hot), hot.size, hot.most_bytes, hot.waiting, self.commits.ledger.unjudged, True)

    async def keep_rules(self, snapshot: bytes, now: float) -> int:
        return await self.commits.change(partial(rulebook.keep, snapshot=snapshot, now=now))

    async def use_rules(self, number: int, now: float) -> None:
        await self.commits.change(partial(rulebook.use, number=number, now=now))

    async def unlogged(self, after: int, limit: int) -> list[tuple[int, list[Step]]]:
        return await self._reader.run(partial(unlogged.kept, node=self.node, after=after, limit=limit))

    async def end_catch_up(self) -> None:
        if mark := await self._reader.run(partial(unlogged.newest, node=self.node)):
            await self.commits.change(partial(unlogged.forget_lives_before, node=self.node, mark=mark))
        self.commits.may_forget = True

    async def messages_after(self, seq: int, limit: int) -> list[KeptMessage]:
        return await self._reader.run(partial(catching_up.messages_after, node=self.node, seq=seq, limit=limit))

    def wall_time(self, due_at: float) -> float:
        return self.timeline.shown(due_at)

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
        change: Callable[..., Awaitable[list[Target]]] = operations.add_or_reopen if add else operations.reopen
        # A beginning is kept in the store's own time, and an end by the wall clock.
        change = partial(change, states=states, now=self.timeline.stored(now))
        step = acted_step(DeliveryReplayed.name, now, actor)
        replay = partial(operations.by_person, targets=targets, change=change, step=step, act="replay", node=self.node)
        changed = await self.commits.change(replay, told)
        for sink in {one.sink for one in changed}:
            self.commits.cursors.lower(sink)
        return changed

    async def discard(
        self, targets: Sequence[Target], *, now: float, actor: str, told: Callable[[list[Target]], None] | None = None
    ) -> list[Target]:
        change = partial(operations.discard, now=now)
        step = acted_step(DeliveryDiscarded.name, now, actor)
        discard = partial(operations.by_person, targets=targets, change=change, step=step, act="discard", node=self.node)
        return await self.commits.change(discard, told)

    async def keep_act(self, act: SinkAct, subject: str, *, now: float, actor: str, detail: str = "") -> int:
        who, claimed = str(actor), claim_of(actor)
        return await self.commits.change(
            partial(act_rows.keep_act, act=act, subject=subject, now=now, actor=who, claimed=claimed, detail=detail)
        )

    async def end_act(self, id: int, detail: str) -> None:
        await self.commits.change(partial(act_rows.end_act, id=id, detail=detail))

    async def redecode(
        self,
        decoded: Sequence[Redecoding],
        told: Callable[[list[Redecoded]], None] | None = None,
        *,
        watches: Sequence[Watch] = (),
        now: float,
    ) -> list[Redecoded]:
        since, done = Since(watches, now, self.timeline.stored), list[Redecoded]()
        for one in decoded:
            work = partial(redecoding.redecode, decoded=[one], ledger=self.commits.ledger, since=since)
            changed: list[Redecoded] = await self.commits.change(work, told)
            done += changed
        return done

    async def read(self, query: Callable[[Connection], Awaitable[_T]]) -> _T:
        """Run a short query for a lane."""
        return await self._reader.run(query)
