"""Which lanes run: one for each sink of the configuration, through every reload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from gateway.config import Config
from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError
from gateway.core.records import Owed, SinkState
from gateway.core.retry import RetryPolicy, longest_wait
from gateway.core.routing import Router
from gateway.delivery.attempt import LaneSettings, LaneWorld
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.host.clock import Clock
from gateway.ingest.accept import Rules
from gateway.sinks import SinkConfig, open_sink
from gateway.sinks.base import Opening, Sink
from gateway.store.sqlite import operations, reads
from gateway.store.sqlite.conversations import SinkThreads
from gateway.store.sqlite.store import Store

Start = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
"""Makes a task of a coroutine, under a name."""


_SLICE = 256
"""Deliveries changed in one transaction."""


class Change(Struct, frozen=True):
    """Sinks that are open already for a configuration that is about to be used."""

    config: Config
    sinks: dict[str, Sink]
    """Those that are new, or no longer what they were."""
    states: dict[str, SinkState]


class Leftover(Struct, frozen=True):
    """What is to be done once a configuration is used."""

    unused: list[tuple[str, Sink]]
    """The sinks to be closed, each with its name."""
    ordered: list[str]
    """The sinks whose `ordering` became "sr"."""


class Lanes:
    world: LaneWorld
    """Set before the first configuration is prepared: what it holds needs `offer`."""

    def __init__(self, clock: Clock) -> None:
        """`clock` is what sinks sign by: the wall clock, whatever the lanes take for it while it jumps."""
        self._clock = clock
        self.by_name: dict[str, Lane] = {}
        self._left: dict[str, Lane] = {}
        """The lanes of sinks that left the configuration. Each ends what it has in flight. If the name comes back, the same
        lane goes on: another one would not know what is in flight, and send it twice."""
        self._start: Start | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._config: Config | None = None
        self._stopping = False

    def offer(self, owed: Owed, due: float) -> None:
        """Hand a fresh delivery to its lane; one whose sink has just left the configuration waits in the store."""
        if (lane := self.by_name.get(owed.sink)) is not None:
            lane.offer(owed, due)

    def run(self, start: Start) -> None:
        """Let the lanes work, and every one that a change adds."""
        self._start = start
        self._tasks = [start(lane.run(), f"lane:{name}") for name, lane in self.by_name.items()]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of all lanes that still work, also of those whose sink left the configuration."""
        return [task for task in self._tasks if not task.done()]

    def stop(self) -> None:
        self._stopping = True
        for lane in (*self.by_name.values(), *self._left.values()):
            lane.stop()

    async def prepare(self, config: Config) -> Change:
        """Open what a configuration needs, and tell the store of it; nothing that runs is touched.

        Raises SinkSetupError or StoreError; what was opened is closed again then.
        """
        opened: dict[str, Sink] = {}
        try:
            kept = self._config is not None and config.base == self._config.base and config.has_secrets_of(self._config)
            for name, settings in config.sinks.items():
                if self._config is None or not _alike(name, self._config, config, kept=kept):
                    await asyncio.sleep(0)  # hundreds of sinks take their time, and deliveries go on meanwhile
                    threads = SinkThreads(self.world.store, name, self._clock)
                    opening = Opening(name, config.base, config.secret, self._clock, threads)
                    opened[name] = open_sink(settings, opening)
            for name in (fresh := opened.keys() - self.by_name.keys()):
                await asyncio.sleep(0)
                self.world.metrics.expect((), (name,))
            states = await self.world.store.read(reads.sink_states) if fresh else {}
            if self._config is not None and _noted(self._config) != _noted(config):  # else a full disk would be in its way
                await self.tell_store(config)
            if self._stopping:
                raise StoreError("the gateway is stopping")  # a lane that began now would never end
        except BaseException:
            for sink in opened.values():
                await sink.aclose()
            raise
        return Change(config, opened, states)

    def use(self, change: Change) -> Leftover:
        """Go on by a configuration: at once, and without a chance to fail."""
        config = change.config
        unused: list[tuple[str, Sink | None]] = []
        for name in [name for name in self.by_name if name not in config.sinks]:
            lane = self._left[name] = self.by_name.pop(name)
            unused.append((name, lane.leave()))
            self.world.metrics.forget_gates(name)
        for name, sink in change.sinks.items():
            settings = config.sinks[name]
            lane_settings, breaker = _settings(settings), BreakerPolicy(settings.breaker.failures, settings.breaker.probe)
            known = self.by_name.get(name) or self._left.pop(name, None)
            if known is not None:
                unused.append((name, known.change(lane_settings, breaker, settings.rate, sink)))
                self.by_name[name] = known
            else:
                gates = Gates(change.states.get(name, SinkState()), breaker, settings.rate, self.world.clock)
                self._add(Lane(name, sink, lane_settings, gates, self.world))
            self._show_gates(self.by_name[name])
        before = _in_order(self._config) if self._config is not None else frozenset()
        self._config = config
        return Leftover([(name, sink) for name, sink in unused if sink is not None], sorted(_in_order(config) - before))

    async def tidy(self, leftover: Leftover) -> None:
        """Close what nobody uses any more, and bring what came while the rules changed into the order of its service requests."""
        await asyncio.gather(self._bring_into_order(leftover.ordered), *(self._close(*one) for one in leftover.unused))

    async def _bring_into_order(self, sinks: Sequence[str]) -> None:
        if not sinks or self._config is None:
            return
        try:
            await self.tell_store(self._config)
        except StoreError:
            return  # those few go without an order, until the next start
        for name in sinks:
            if (lane := self.by_name.get(name)) is not None:
                lane.refresh()

    async def _close(self, name: str, sink: Sink) -> None:
        try:
            await sink.aclose()
        except Exception:
            self.world.log.exception("sink.bug", sink=name)

    async def tell_store(self, config: Config) -> None:
        """Tell the store which sinks there are, and in what order they deliver: at start, and around a change.

        What waits is brought into the order of its service requests a slice at a time. A sink counts as in order only once a
        configuration that says so is in use, since until then more comes without an order; after a crash it begins anew.
        """
        store, before = self.world.store, self._config.sinks if self._config is not None else {}
        in_order = _in_order(config)
        new = await store.read(partial(operations.unordered, in_order=in_order, sinks=tuple(config.sinks)))
        for name in new:
            after: operations.Place | None = operations.BEGINNING
            while after is not None:
                after = await store.change(partial(operations.bring_into_order, sink=name, after=after, size=_SLICE))
        in_use, now = self._config is config, store.timeline.stored(self.world.clock.now())

        def work(connection: Any, changes: Any) -> None:
            operations.note_absences(connection, changes, present=tuple(config.sinks), now=now)
            known = in_order if in_use else in_order - set(new)
            operations.note_ordering(connection, changes, in_order=known, sinks=tuple(config.sinks))

        await store.change(work)
        for name, settings in config.sinks.items():
            if name not in before or in_use:  # its retries may have become shorter while nobody looked after it
                await clamp(store, name, now + longest_wait(_policy(settings)))

    def _add(self, lane: Lane) -> None:
        self.by_name[lane.name] = lane
        if self._start is not None:
            self._tasks.append(self._start(lane.run(), f"lane:{lane.name}"))

    def _show_gates(self, lane: Lane) -> None:
        self.world.metrics.gate(lane.name, "paused", closed=lane.gates.paused)
        self.world.metrics.gate(lane.name, "breaker", closed=lane.gates.breaker.is_open)


async def clamp(store: Store, sink: str, latest: float) -> None:
    """Bring due times of a sink beyond an instant of the store's own time back to it, a slice at a time."""
    while await store.change(partial(operations.clamp_due, sink=sink, latest=latest, size=_SLICE)) == _SLICE:
        pass


def rules_of(config: Config, before: Rules | None = None) -> Rules:
    """What the inbox goes by. `before`: what it goes by now, of which all that stays is used again."""
    return Rules(
        router=Router(config.routes, None if before is None else before.router),
        policies={name: _policy(settings) for name, settings in config.sinks.items()},
        in_order=_in_order(config),
    )


def _in_order(config: Config) -> frozenset[str]:
    return frozenset(name for name, settings in config.sinks.items() if settings.by_sr)


def _noted(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """What the store knows of a configuration."""
    return frozenset(config.sinks), _in_order(config)


def _alike(name: str, old: Config, new: Config, *, kept: bool = False) -> bool:
    """Whether a sink stays what it is, its secrets included.

    Args:
        kept: the folder of the configuration and all secrets are what they were.
    """
    if name not in old.sinks or (old.sinks[name] is not new.sinks[name] and old.sinks[name] != new.sinks[name]):
        return False
    if old.templates.get(name) != new.templates.get(name) or old.authorities.get(name) != new.authorities.get(name):
        return False
    return kept or (old.base == new.base and old.secrets_of(old.sinks[name]) == new.secrets_of(new.sinks[name]))


def _settings(settings: SinkConfig) -> LaneSettings:
    return LaneSettings(_policy(settings), settings.concurrency, settings.timeout, settings.by_sr)


def _policy(settings: SinkConfig) -> RetryPolicy:
    return RetryPolicy(tuple(settings.retry), settings.give_up_after)
