"""Runs one lane for each sink of the configuration, through every reload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct, structs

from gateway.config import Config
from gateway.core.breaker import BreakerPolicy
from gateway.core.errors import StoreError
from gateway.core.records import KeptGates
from gateway.core.retry import RetryPolicy, longest_wait
from gateway.delivery.directory import Directory
from gateway.delivery.gates import Gates
from gateway.delivery.lane import Lane
from gateway.delivery.world import LaneSettings, LaneWorld
from gateway.host.clock import Clock
from gateway.sinks import open_sink
from gateway.sinks.base import Opening, Sink, SinkSettings
from gateway.store.sink_conversations import SinkConversations


class Opened(Struct, frozen=True):
    """The open sinks that a configuration needs and the running one lacks."""

    config: Config
    sinks: dict[str, Sink]
    """The sinks that are new, or no longer what they were."""
    states: dict[str, KeptGates]


class Lanes:
    """All lanes, and the way from one configuration to the next. `open` builds them for the first one.

    Lanes that are made directly have no sink until a reload brings some.
    """

    def __init__(self, config: Config, directory: Directory, world: LaneWorld, clock: Clock) -> None:
        self._config = config
        self._directory = directory
        self._world = world
        self._clock = clock
        self._left: dict[str, Lane] = {}
        """The lanes of sinks that left the configuration. Each ends what it has in flight. If the name comes back, the same lane
        goes on, because another lane would not know what is in flight, and would send it again."""
        self._idle: list[Lane] = []
        """The lanes that `run` has to start."""
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unused: list[tuple[str, Sink]] = []
        """The sinks that `tidy` has to close, each with its name."""
        self._newly_in_order: list[str] = []
        """The sinks whose `ordering` became "sr", until `tidy` has seen to them."""
        self._stopping = False

    @classmethod
    async def open(cls, config: Config, directory: Directory, world: LaneWorld, clock: Clock) -> Lanes:
        """Open the sinks of a configuration and make a lane for each. Raises SinkSetupError or StoreError.

        Args:
            directory: gets an entry for each lane.
            clock: the wall clock, by which sinks sign; the lanes have a clock that does not jump.
        """
        lanes = cls(structs.replace(config, sinks={}), directory, world, clock)
        lanes.use(await lanes.open_sinks(config))
        return lanes

    async def run(self) -> None:
        """Let all lanes work, and every lane that a reload adds. Ends after `stop`, with the last attempt in flight.

        A cancellation cuts all lanes short, and waits until each has ended.
        """
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                for lane in self._take_idle():
                    task = tasks.create_task(lane.run(), name=f"lane:{lane.name}")
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                if self._stopping:
                    return
                await self._wake.wait()

    @property
    def at_work(self) -> list[str]:
        """The names of the tasks of all lanes that still work, those of sinks that left the configuration included."""
        return sorted(task.get_name() for task in self._tasks)

    def stop(self) -> None:
        """Claim nothing any more; `run` ends when what is in flight is settled."""
        self._stopping = True
        self._wake.set()
        for lane in (*self._directory.values(), *self._left.values()):
            lane.stop()

    async def prepare(self, config: Config) -> Callable[[], None]:
        """Open the sinks that a configuration needs, and tell the store about them. Nothing that runs is touched.

        Returns the swap, see `use`.
        Raises SinkSetupError or StoreError; the opened sinks are closed again then.
        """
        opened = await self.open_sinks(config)
        try:
            if _noted(self._config) != _noted(config):  # else a full disk would be in its way
                await self.tell_store(config)
            if self._stopping:
                raise StoreError("the gateway is stopping")  # a lane that began now would never end
        except BaseException:
            await _close_all(opened.sinks)
            raise
        return partial(self.use, opened)

    async def tidy(self) -> None:
        """Close the sinks that nobody uses any more, and put in order what came while `ordering` was switched on."""
        unused, self._unused = self._unused, []
        ordered, self._newly_in_order = self._newly_in_order, []
        await asyncio.gather(self._bring_into_order(ordered), *(self._close(*one) for one in unused))

    async def open_sinks(self, config: Config) -> Opened:
        """Open the sinks of a configuration that are new or changed. Raises SinkSetupError or StoreError."""
        opened: dict[str, Sink] = {}
        try:
            kept = config.base == self._config.base and config.has_secrets_of(self._config)
            for name, settings in config.sinks.items():
                if not _alike(name, self._config, config, kept=kept):
                    await asyncio.sleep(0)  # hundreds of sinks take their time, and deliveries go on meanwhile
                    conversations = SinkConversations(self._world.store, name, self._clock)
                    opened[name] = open_sink(settings, Opening(name, config.base, config.secret, self._clock, conversations))
            for name in (fresh := opened.keys() - self._directory.keys()):
                await asyncio.sleep(0)
                self._world.metrics.expect((), (name,))
            states = await self._world.store.all_gates() if fresh else {}
        except BaseException:
            await _close_all(opened)
            raise
        return Opened(config, opened, states)

    def use(self, opened: Opened) -> None:
        """Go by the configuration of these sinks: at once, and without a chance to fail."""
        config = opened.config
        for name in [name for name in self._directory if name not in config.sinks]:
            lane = self._left[name] = self._directory.pop(name)
            self._replaced(name, lane.leave())
            self._world.metrics.forget_gates(name)
        for name, sink in opened.sinks.items():
            settings = config.sinks[name]
            lane_settings, breaker = _settings(settings), BreakerPolicy(settings.breaker.failures, settings.breaker.probe)
            known = self._directory.get(name) or self._left.pop(name, None)
            if known is not None:
                self._replaced(name, known.change(lane_settings, breaker, settings.rate, sink))
                self._directory[name] = known
            else:
                gates = Gates(opened.states.get(name, KeptGates()), breaker, settings.rate, self._world.clock)
                self._add(Lane(name, sink, lane_settings, gates, self._world))
            self._show_gates(self._directory[name])
        before, self._config = self._config, config
        self._newly_in_order = sorted(_in_order(config) - _in_order(before))

    def _replaced(self, name: str, sink: Sink | None) -> None:
        if sink is not None:
            self._unused.append((name, sink))

    async def _bring_into_order(self, sinks: Sequence[str]) -> None:
        if not sinks:
            return
        try:
            await self.tell_store(self._config)
        except StoreError:
            return  # the few deliveries that came meanwhile go without an order, until the next start
        for name in sinks:
            if (lane := self._directory.get(name)) is not None:
                lane.refresh()

    async def _close(self, name: str, sink: Sink) -> None:
        try:
            await sink.aclose()
        except Exception:
            self._world.log.exception("sink.bug", sink=name)

    async def tell_store(self, config: Config) -> None:
        """Tell the store which sinks there are, and in what order they deliver: at the start, and around a reload.

        Waiting deliveries are brought into the order of their service requests, a slice at a time. A sink counts as in order
        only once a configuration that says so is in use, because until then more deliveries come without an order; after a crash
        the work begins again.
        """
        store, before = self._world.store, self._config.sinks
        in_order = _in_order(config)
        new = await store.bring_into_order(in_order, config.sinks)
        in_use = self._config is config
        await store.sync_sinks(config.sinks, in_order if in_use else in_order - set(new), self._world.clock.now())
        for name, settings in config.sinks.items():
            if name not in before or in_use:  # its retries may have become shorter while it was not in use
                await store.clamp_due(name, self._world.clock.now() + longest_wait(policy_of(settings)))

    def _add(self, lane: Lane) -> None:
        self._directory[lane.name] = lane
        self._idle.append(lane)
        self._wake.set()

    def _take_idle(self) -> list[Lane]:
        idle, self._idle = self._idle, []
        return idle

    def _show_gates(self, lane: Lane) -> None:
        self._world.metrics.gate(lane.name, "paused", closed=lane.gates.paused)
        self._world.metrics.gate(lane.name, "breaker", closed=lane.gates.breaker.is_open)


def policy_of(settings: SinkSettings) -> RetryPolicy:
    """The retry policy of a sink."""
    return RetryPolicy(tuple(settings.retry), settings.give_up_after)


async def _close_all(sinks: Mapping[str, Sink]) -> None:
    for sink in sinks.values():
        await sink.aclose()


def _in_order(config: Config) -> frozenset[str]:
    return frozenset(name for name, settings in config.sinks.items() if settings.by_sr)


def _noted(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """The part of a configuration that the store has to know."""
    return frozenset(config.sinks), _in_order(config)


def _alike(name: str, old: Config, new: Config, *, kept: bool = False) -> bool:
    """Return whether a sink stays as it is, with its secrets.

    Args:
        kept: the folder of the configuration and all secrets have stayed the same.
    """
    if name not in old.sinks or (old.sinks[name] is not new.sinks[name] and old.sinks[name] != new.sinks[name]):
        return False
    if old.sink_files.get(name) != new.sink_files.get(name):
        return False
    return kept or (old.base == new.base and old.secrets_of(old.sinks[name]) == new.secrets_of(new.sinks[name]))


def _settings(settings: SinkSettings) -> LaneSettings:
    return LaneSettings(policy_of(settings), settings.concurrency, settings.timeout, settings.by_sr, settings.joins)
