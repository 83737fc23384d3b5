"""Runs the parts of the gateway from start to stop, in one task group: a task that dies ends all others, and then the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gateway import __version__
from gateway.app.foundation import Foundation, Host, Signals, open_foundation
from gateway.app.parts import Parts, build
from gateway.app.readiness import STOPPING
from gateway.config import Config
from gateway.core.audit_events import GatewayStarted, GatewayStopped
from gateway.host import address_file
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.machine import host_name
from gateway.host.signals import signals_call
from gateway.host.systemd import Systemd
from gateway.maintenance.audit_catchup import catch_up
from gateway.observability.logs import Log
from gateway.store.opening import Store
from gateway.web.server.drain_times import OPERATORS, SENDERS

_START_SECONDS = 30.0
"""Seconds that a start asks systemd for, as often as it needs more."""
_END_SECONDS = 30.0
"""Seconds that a stop asks systemd for beyond its drain: for the last commit, and to write the write-ahead log into the file."""


class Gateway:
    """One running gateway. `run` returns after a clean stop and otherwise raises what ended it."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        log: Log,
        environment: Environment,
        lines_dropped: Callable[[], int] = lambda: 0,
        built: Callable[[Parts], None] = lambda parts: None,
    ) -> None:
        """
        Args:
            lines_dropped: tells how many lines of the log were lost since the start.
            built: called once, when every part that lives as long as the process exists, before anybody is served.
        """
        self._config = config
        self._host = Host(environment, Systemd(environment, clock), clock, log, lines_dropped, host_name())
        self._signals = Signals(asyncio.Event(), asyncio.Event(), asyncio.Event())
        self._built = built
        self._doing = "opening the database"
        self.serving = asyncio.Event()
        """Set once webhooks are taken."""

    def stop(self) -> None:
        """Drain at the first call; cut what is still in flight at the second."""
        (self._signals.cut if self._signals.stop.is_set() else self._signals.stop).set()

    async def run(self, *, last: bool = False) -> None:
        """Serve until `stop`, SIGTERM or SIGINT.

        Args:
            last: the process ends after this, so signals are ignored from then on.
        Raises StoreError and its kin, SinkSetupError or ListenError: the exception knows its exit code.
        """
        starting = asyncio.create_task(self._tell_start(), name="starting")
        try:
            foundation = await open_foundation(self._config, self._host)
            # Signals are handled until the store is closed: a second one meanwhile must not leave an unclean end.
            with signals_call(self.stop, self._signals.reload.set, last=last):
                await self._run_on(foundation)
        finally:
            starting.cancel()

    async def _run_on(self, foundation: Foundation) -> None:
        clean = False
        try:
            parts = await build(self._config, self._host, foundation, self._signals)
            try:
                parts.sealing.begin(self._config.audit_log)
                await self._run(parts)
                await parts.sealing.finish()
                clean = parts.audit.complete
            finally:
                await parts.listeners.close()
                await parts.refused.close()
        finally:
            foundation.audit.close()
            await foundation.store.close(clean=clean)

    async def _run(self, parts: Parts) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.store.run(), name="store")
            tasks.create_task(parts.audit.run(), name="audit")
            missing = await self._catch_up(parts)
            await parts.lanes.tell_store(self._config)
            await parts.rules_in_use.begin(self._config)
            delivering = tasks.create_task(parts.lanes.run(), name="lanes")
            cleaning = tasks.create_task(parts.janitor.run(), name="janitor")
            self._built(parts)
            with self._listening(parts, await self._listen(parts)):
                passing = [tasks.create_task(work(), name=name) for name, work in parts.passing]
                if parts.store.unchecked:
                    passing.append(tasks.create_task(self._check(parts.store), name="quick_check"))
                self._say_started(parts, missing)
                watching = tasks.create_task(parts.watchdog.run(), name="watchdog")
                await self._signals.stop.wait()
                self._say_stopping(parts)
                for task in passing:
                    task.cancel()
                await self._drain(parts, tasks, delivering)
                await self._finish(parts, cleaning, watching)
        self._host.log.info("gateway.stopped")

    async def _catch_up(self, parts: Parts) -> int:
        """Complete the work that the last process left undone. Returns the number of lines that the audit log lacked."""
        self._doing = "completing the audit log after an unclean end"
        missing = await catch_up(parts.store, parts.audit, self._config.audit_log, unclean=parts.store.after_unclean_end)
        parts.space.step()
        parts.refused.start()
        return missing

    async def _listen(self, parts: Parts) -> address_file.Addresses:
        """Listen for people and for webhooks; the admin listener first, because scripts that wait for the gateway ask there."""
        server, listeners, ingress = self._config.server, parts.listeners, parts.ingress
        admin = await listeners.open("admin", parts.admin.handle, self._config.admin.listen, drain=OPERATORS)
        webhooks = await listeners.open(
            "webhooks",
            ingress.handle,
            server.listen,
            drain=SENDERS,
            peer_of=ingress.peer_of,
            tls=parts.tls,
            keeps=True,
            short_way=ingress,
        )
        listeners.warn_of_unused_sockets()
        return address_file.Addresses(admin, webhooks)

    @contextmanager
    def _listening(self, parts: Parts, listening: address_file.Addresses) -> Iterator[None]:
        """Be ready, and leave a file that names the addresses. Without the file, commands use only the configuration."""
        file = None
        try:
            file = address_file.write(self._config.database, self._host.environment, listening)
        except OSError as error:
            self._host.log.warning("gateway.addresses_not_written", error=str(error))
        parts.readiness.serve_on(listening.webhooks)
        try:
            yield
        finally:
            if file is not None:
                with suppress(OSError):
                    file.unlink()

    async def _check(self, store: Store) -> None:
        """Read the whole database beside serving; that takes minutes if it is big."""
        await store.quick_check()
        self._host.log.info("store.checked", file=str(self._config.database))

    async def _tell_start(self) -> None:
        """Keep systemd waiting: a migration, or completing the audit log, takes its time if much is kept."""
        while not self.serving.is_set():
            self._host.systemd.starting(f"starting: {self._doing}", _START_SECONDS)
            await self._host.clock.wait(self.serving, _START_SECONDS / 3)

    def _say_started(self, parts: Parts, missing: int) -> None:
        self._host.log.info("gateway.started", version=__version__, file=str(self._config.file), caught_up=missing or None)
        parts.audit.step(GatewayStarted(detail=__version__))
        self.serving.set()
        self._host.systemd.ready(parts.readiness.status({}))

    def _say_stopping(self, parts: Parts) -> None:
        drain = parts.running.config.server.drain
        self._host.systemd.stopping(STOPPING, drain + _END_SECONDS)
        self._host.log.info("gateway.stopping", drain=str(drain))

    async def _drain(self, parts: Parts, tasks: asyncio.TaskGroup, delivering: asyncio.Task[None]) -> None:
        """Finish the attempts in flight, stop accepting, and answer the requests that were accepted.

        A second signal, or the end of `server.drain`, cuts what is still in flight.
        """
        parts.database_jobs.stop()
        parts.reverify.stop()
        parts.reconciler.stop()
        lanes, drain = parts.lanes, parts.running.config.server.drain
        lanes.stop()
        draining = tasks.create_task(parts.listeners.drain(float(drain), lambda: not delivering.done()), name="drain")
        cutting = tasks.create_task(self._signals.cut.wait(), name="cut")
        finishing: asyncio.Future[Any] = asyncio.gather(draining, delivering)
        await asyncio.wait((finishing, cutting), timeout=drain, return_when=asyncio.FIRST_COMPLETED)
        cutting.cancel()
        if not finishing.done():
            finishing.cancel()  # attempts that are cut were not settled, so they cost nothing
            self._host.log.warning("gateway.cut", lanes=lanes.at_work)
        with suppress(asyncio.CancelledError):
            await finishing
        await asyncio.wait((delivering,))  # the gather may end before it: the lanes still commit and report

    async def _finish(self, parts: Parts, cleaning: asyncio.Task[None], watching: asyncio.Task[None]) -> None:
        """End the tasks that serve the others, each after the tasks that it serves."""
        parts.janitor.stop()
        await cleaning  # the janitor commits and audits, so it ends before the store and the audit log
        parts.audit.step(GatewayStopped())
        parts.watchdog.stop()
        await watching
        parts.audit.finish()
        parts.store.finish()
