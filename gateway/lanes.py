"""Which lanes run: one for each sink of the configuration, through every reload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from msgspec import Struct

from gateway.clock import Clock
from gateway.config import Config
from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Router
from gateway.engine.attempts import LaneSettings, LaneWorld
from gateway.engine.gates import Gates
from gateway.engine.inbox import Rules
from gateway.engine.lane import Lane
from gateway.sinks import SinkConfig, open_sink
from gateway.sinks.base import Opening, Sink
from gateway.store import operations, reads
from gateway.store.records import Owed, SinkState

Start = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
"""Makes a task of a coroutine, under a name."""


class Change(Struct, frozen=True):
    """Sinks that are open already for a configuration that is about to be used."""

    config: Config
    sinks: dict[str, Sink]
    """Those that are new, or no longer what they were."""
    states: dict[str, SinkState]


class Lanes:
    world: LaneWorld
    """Set before the first configuration is prepared: what it holds needs `offer`."""

    def __init__(self, clock: Clock) -> None:
        """`clock` is what sinks sign by: the wall clock, whatever the lanes take for it while it jumps."""
        self._clock = clock
        self.by_name: dict[str, Lane] = {}
        self._start: Start | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._config: Config | None = None

    def offer(self, owed: Owed, due: float) -> None:
        """Hand a fresh delivery to its lane; one whose sink has just left the configuration waits in the store."""
        if (lane := self.by_name.get(owed.sink)) is not None:
            lane.offer(owed, due)

    def run(self, start: Start) -> None:
        """Let the lanes work, and every one that a change adds."""
        self._start = start
        for name, lane in self.by_name.items():
            self._tasks[name] = start(lane.run(), f"lane:{name}")

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Of all that still work, also of those that have left."""
        return [task for task in self._tasks.values() if not task.done()]

    def stop(self) -> None:
        for lane in self.by_name.values():
            lane.stop()

    async def prepare(self, config: Config) -> Change:
        """Open what a configuration needs, and tell the store of it; nothing that runs is touched.

        Raises SinkSetupError or StoreError; what was opened is closed again then.
        """
        opened: dict[str, Sink] = {}
        try:
            for name, settings in config.sinks.items():
                if self._config is None or not _alike(name, self._config, config):
                    opening = Opening(name, config.base, config.secret, self._clock)
                    opened[name] = open_sink(settings, opening)
            states = await self.world.store.read(reads.sink_states)
            if self._config is not None:
                await self._tell_store(config)
        except BaseException:
            for sink in opened.values():
                await sink.aclose()
            raise
        return Change(config, opened, states)

    def use(self, change: Change) -> list[Sink]:
        """Go on by a configuration: at once, and without a chance to fail. The sinks that nobody uses any more, to be closed."""
        config, unused = change.config, []
        for name in [name for name in self.by_name if name not in config.sinks]:
            self.by_name.pop(name).stop()  # what it has in flight comes to its end; what waits stays in the store
            self.world.metrics.forget_gates(name)
        for name, sink in change.sinks.items():
            settings = config.sinks[name]
            lane_settings, breaker = _settings(settings), BreakerPolicy(settings.breaker.failures, settings.breaker.probe)
            lane = self.by_name.get(name)
            if lane is None:
                self._add(
                    name,
                    sink,
                    lane_settings,
                    Gates(change.states.get(name, SinkState()), breaker, settings.rate, self.world.clock),
                )
            elif (before := lane.change(lane_settings, breaker, settings.rate, sink)) is not None:
                unused.append(before)
        self._config = config
        return unused

    async def settle_order(self) -> None:
        """Bring what came while the rules changed into the order of its service requests."""
        for name, lane in list(self.by_name.items()):
            if lane.by_sr:
                try:
                    await self.world.store.change(partial(operations.bring_into_order, sink=name))
                except StoreError:
                    continue  # those few go without an order
                lane.refresh()

    async def note(self, config: Config) -> None:
        """Tell the store, at start, which sinks there are."""
        await self._tell_store(config)

    async def _tell_store(self, config: Config) -> None:
        world, names = self.world, tuple(config.sinks)
        await world.store.change(partial(operations.note_absences, present=names, now=world.clock.now()))
        await world.store.change(partial(operations.note_ordering, in_order=rules_of(config).in_order, sinks=names))

    def _add(self, name: str, sink: Sink, settings: LaneSettings, gates: Gates) -> None:
        lane = self.by_name[name] = Lane(name, sink, settings, gates, self.world)
        self.world.metrics.gate(name, "paused", closed=gates.paused)
        self.world.metrics.gate(name, "breaker", closed=gates.breaker.is_open)
        if self._start is not None:
            self._tasks[name] = self._start(_after(self._tasks.get(name), lane), f"lane:{name}")


def rules_of(config: Config) -> Rules:
    return Rules(
        router=Router(config.routes),
        policies={name: _policy(settings) for name, settings in config.sinks.items()},
        in_order=frozenset(name for name, settings in config.sinks.items() if settings.ordering == "sr"),
    )


async def _after(leaving: asyncio.Task[None] | None, lane: Lane) -> None:
    """Run a lane whose name was there before: not until the one before it has nothing in flight, or that would be sent twice."""
    if leaving is not None:
        await asyncio.wait((leaving,))
    await lane.run()


def _alike(name: str, old: Config, new: Config) -> bool:
    """Whether a sink stays what it is, its secrets included."""
    if name not in old.sinks or old.sinks[name] != new.sinks[name] or old.base != new.base:
        return False
    return old.secrets_of(old.sinks[name]) == new.secrets_of(new.sinks[name])


def _settings(settings: SinkConfig) -> LaneSettings:
    return LaneSettings(_policy(settings), settings.concurrency, settings.timeout, settings.ordering == "sr")


def _policy(settings: SinkConfig) -> RetryPolicy:
    return RetryPolicy(tuple(settings.retry), settings.give_up_after)
