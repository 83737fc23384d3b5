"""Puts the parts together and runs them: one task group, signals, drain. Every task has a name; one that dies ends all."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.app.reload import Reloads
from gateway.app.source_rules import access_of, limits_of, sources_of, with_new_secrets
from gateway.config import Config
from gateway.config.listen import Tcp, parse
from gateway.control.backup import Upkeep
from gateway.control.drills import Drills
from gateway.control.replay import Operator
from gateway.control.reverify import Reverify
from gateway.control.status import Observer
from gateway.core.audit_events import GatewayStarted, GatewayStopped
from gateway.core.errors import ListenError
from gateway.core.records import Counts
from gateway.core.secrets import Secret
from gateway.delivery.attempt import LaneWorld
from gateway.delivery.lanes import Lanes, rules_of
from gateway.host import addresses
from gateway.host.certificates import PairError
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.signals import signals_call
from gateway.host.systemd import Systemd
from gateway.ingest.accept import Inbox
from gateway.ingest.disk_space import Space
from gateway.ingest.own_events import Notices
from gateway.ingest.receive import Intake
from gateway.ingest.refused_requests import RefusedRequests
from gateway.ingest.rejections import Rejections
from gateway.ingest.source_watch import SourceWatch
from gateway.maintenance.audit_catchup import catch_up
from gateway.maintenance.janitor import Janitor, LaneClock
from gateway.maintenance.watchdog import Watchdog
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.observability.throughput import Pace
from gateway.store.sqlite.migrations import Upgrade
from gateway.store.sqlite.store import Store
from gateway.web.admin.listener import Admin
from gateway.web.server.drain_times import OPERATORS, SENDERS
from gateway.web.server.listeners import Listeners
from gateway.web.server.tls import Certificate, Tls
from gateway.web.webhooks.ingress import Ingress

_START_SECONDS = 30.0
"""Seconds that a start asks systemd for, again and again while it takes."""
_END_SECONDS = 30.0
"""Seconds that a stop asks systemd for beyond its drain: for the last commit, and to write the write-ahead log into the file."""


class Gateway:
    """One running gateway. `run` returns after a clean stop and raises what ended it otherwise."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        log: Log,
        environment: Environment,
        lines_dropped: Callable[[], int] = lambda: 0,
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            lines_dropped: tells how many lines of the log were lost since the start.
            settled: called once, when all that lives as long as it has been made and nobody is served yet.
        """
        self._settled = settled
        self._lines_dropped = lines_dropped
        self._config = config
        self._clock = clock
        self._log = log
        self._environment = environment
        self._metrics = Metrics()
        self._systemd = Systemd(environment, clock)
        self._doing = "opening the database"
        self._last = False
        self._listening = asyncio.Event()
        self._stop = asyncio.Event()
        self._cut = asyncio.Event()
        self._listeners = Listeners(config.base, environment=environment, systemd=self._systemd, clock=clock, log=log)
        self._addresses: list[str] = []
        """Where webhooks come in."""
        self._addresses_file: Path | None = None
        self._refused: RefusedRequests | None = None
        self._troubles: list[Callable[[], str | None]] = []
        self._reload: Callable[[], None] = lambda: None

    def stop(self) -> None:
        """The first call drains, the second cuts what is still in flight."""
        (self._cut if self._stop.is_set() else self._stop).set()

    async def run(self, *, last: bool = False) -> None:
        """Serve until `stop`, SIGTERM or SIGINT.

        Args:
            last: the process ends after this, so signals are ignored from then on.
        Raises StoreError and its kin, SinkSetupError or ListenError: the exception knows its exit code.
        """
        self._last = last
        starting = asyncio.create_task(self._tell_start(), name="starting")
        try:
            await self._open_and_run()
        finally:
            starting.cancel()

    async def _open_and_run(self) -> None:
        config = self._config
        upgrade = Upgrade(min_free=config.store.min_free, told=self._log.info)
        store = await Store.open(config.database, config.store.retention, upgrade)
        # To the very end: a second signal while the store closes must not leave an unclean end.
        with signals_call(self.stop, lambda: self._reload(), last=self._last):
            await self._run_on(store)

    async def _run_on(self, store: Store) -> None:
        config = self._config
        store.on_commit = self._metrics.commit
        audit = AuditLog(config.audit_log, self._clock, self._log)
        clean = False
        try:
            await self._run(store, audit)
            clean = audit.complete
        finally:
            if self._addresses_file is not None:
                with suppress(OSError):
                    self._addresses_file.unlink()
            await self._listeners.close()
            if self._refused is not None:
                await self._refused.close()
            audit.close()
            await store.close(clean=clean)

    async def _run(self, store: Store, audit: AuditLog) -> None:
        config, metrics, clock, log = self._config, self._metrics, self._clock, self._log
        rejections = Rejections(audit, metrics, clock)
        space = Space(lambda: shutil.disk_usage(config.database.parent).free, config.store.min_free, metrics, log)
        pace = Pace(metrics, clock)
        metrics.expect(config.sources, config.sinks)
        lanes = Lanes(clock)
        store.timeline.begin(clock.now())
        lane_clock = LaneClock(clock)
        inbox = Inbox(
            store=store, audit=audit, rules=rules_of(config), offer=lanes.offer, metrics=metrics, clock=lane_clock, log=log
        )
        notices = Notices(inbox=inbox, clock=clock, log=log)
        lanes.world = LaneWorld(store, audit, notices, metrics, lane_clock, log)
        lanes.use(await lanes.prepare(config))
        janitor = Janitor(
            store=store,
            lanes=lanes.by_name,
            rejections=rejections,
            space=space,
            pace=pace,
            metrics=metrics,
            clock=clock,
            log=log,
            lane_clock=lane_clock,
        )
        refused = self._refused = RefusedRequests(
            config.database.with_name(f"{config.database.name}.refused"),
            limits=limits_of(config),
            retention=lambda: store.retention,
            space=space,
            metrics=metrics,
            clock=clock,
            log=log,
        )
        watch = SourceWatch(tell=notices.source_refused, metrics=metrics, clock=clock, log=log)
        intake = Intake(
            audit=audit,
            inbox=inbox,
            notices=notices,
            watch=watch,
            space=space,
            keep=refused.put,
            metrics=metrics,
            clock=clock,
        )
        self._troubles = [
            lambda: None if self._listening.is_set() and not self._stop.is_set() else "starting or stopping",
            lambda: "the audit log can't be written" if audit.failing else None,
            lambda: "the disk has less than store.min_free left: webhooks are answered 503" if space.low else None,
            lambda: store.trouble,
        ]
        operator = Operator(store=store, audit=audit, router=lambda: inbox.rules.router, lanes=lanes.by_name, clock=lane_clock)
        upkeep = Upkeep(store=store, space=space, clock=clock, log=log)
        ingress = Ingress(
            sources_of(config),
            intake,
            rejections,
            watch=watch,
            access=access_of(config),
            max_body=config.server.max_body,
            clock=clock,
            log=log,
        )
        reverify = Reverify(
            refused=refused,
            intake=intake,
            sources=lambda: {source.name: source for source in sources_of(self._config).values()},
            audit=audit,
            metrics=metrics,
            clock=clock,
            log=log,
        )
        certificate = _certificate(config)
        tls = Tls(certificate, metrics=metrics, clock=clock, log=log) if certificate is not None else None

        async def use(new: Config) -> None:
            """Go on by another configuration. What can fail comes first; then all is swapped at once, without an await."""
            sources, token, rules, access = sources_of(new), _token(new), rules_of(new, inbox.rules), access_of(new)
            certificate = _certificate(new)
            change = await lanes.prepare(new)
            old, self._config = self._config, new
            fresh = with_new_secrets(old, new)
            metrics.expect(new.sources.keys() - old.sources, ())
            inbox.rules = rules
            ingress.use(sources, access, new.server.max_body)
            if tls is not None and certificate is not None:
                tls.use(certificate)
            admin.use(token)
            space.least, store.retention = new.store.min_free, new.store.retention
            await lanes.tidy(lanes.use(change))
            watch.keep(new.sources)
            refused.use(limits_of(new))
            reverify.ask(fresh)

        reloads = Reloads(
            config,
            use=use,
            counts=store.counts,
            environment=self._environment,
            systemd=self._systemd,
            audit=audit,
            metrics=metrics,
            clock=clock,
            log=log,
        )
        self._reload = reloads.ask
        observer = Observer(
            store=store,
            audit=audit,
            lanes=lanes.by_name,
            space=space,
            pace=pace,
            metrics=metrics,
            reasons=self._reasons,
            config=lambda: reloads.state,
            lines_dropped=self._lines_dropped,
            memory=lanes.world.memory,
            watch=watch,
            refused=refused,
            clock=clock,
        )
        admin = Admin(
            operator=operator,
            observer=observer,
            upkeep=upkeep,
            reverify=reverify,
            drills=Drills(lanes=lanes.by_name, routes=lambda: self._config.routes, clock=clock, log=log),
            metrics=metrics,
            reasons=self._reasons,
            reload=reloads.reload,
            hosts={address.host for text in config.admin.listen if isinstance(address := parse(text, config.base), Tcp)},
            token=_token(config),
        )
        watchdog = Watchdog(
            store=store,
            audit=audit,
            lanes=lanes.by_name,
            systemd=self._systemd,
            status=self._status,
            metrics=metrics,
            clock=clock,
            log=log,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.run(), name="store")
            tasks.create_task(audit.run(), name="audit")
            self._doing = "completing the audit log after an unclean end"
            missing = await catch_up(store, audit, config.audit_log, unclean=store.after_unclean_end)
            store.on_told, store.logged_to = audit.mark, lambda: audit.written_to
            space.step()
            refused.start()
            await lanes.tell_store(config)
            lanes.run(lambda work, name: tasks.create_task(work, name=name))
            cleaning = tasks.create_task(janitor.run(), name="janitor")
            self._settled()
            # The admin listener first: whoever waits for the gateway to be ready asks there.
            admin_addresses = await self._listeners.open("admin", admin.handle, config.admin.listen, drain=OPERATORS)
            self._addresses = await self._listeners.open(
                "webhooks", ingress.handle, config.server.listen, drain=SENDERS, peer_of=ingress.peer_of, tls=tls, keeps=True
            )
            self._listeners.warn_of_unused_sockets()
            self._name_addresses(admin_addresses)
            passing = [
                tasks.create_task(reloads.run(), name="reloads"),
                tasks.create_task(reverify.run(), name="reverify"),
                tasks.create_task(watch.run(), name="sources"),
            ]
            if tls is not None:
                passing.append(tasks.create_task(tls.run(), name="tls"))
            if store.unchecked:
                passing.append(tasks.create_task(self._check(store), name="quick_check"))
            log.info("gateway.started", version=__version__, file=str(config.file), caught_up=missing or None)
            audit.step(GatewayStarted(detail=__version__))
            self._listening.set()
            self._systemd.ready(self._status({}))
            watching = tasks.create_task(watchdog.run(), name="watchdog")
            await self._stop.wait()

            self._systemd.stopping("stopping: finishing what is in flight", self._config.server.drain + _END_SECONDS)
            log.info("gateway.stopping", drain=str(self._config.server.drain))
            for task in passing:
                task.cancel()
            upkeep.stop()
            reverify.stop()
            await self._drain(lanes)
            janitor.stop()
            await cleaning  # it commits and audits, so it ends before those who do that for it
            audit.step(GatewayStopped())
            watchdog.stop()
            await watching
            audit.finish()
            store.finish()
        log.info("gateway.stopped")

    async def _tell_start(self) -> None:
        """Keep systemd waiting: a migration, or the lines that the audit log lacks, take their time where much is kept."""
        while not self._listening.is_set():
            self._systemd.starting(f"starting: {self._doing}", _START_SECONDS)
            await self._clock.wait(self._listening, _START_SECONDS / 3)

    def _name_addresses(self, admin: list[str]) -> None:
        """Leave a file that names where we listen; without it, commands go by the configuration alone."""
        try:
            self._addresses_file = addresses.write(
                self._config.database, self._environment, addresses.Addresses(admin, self._addresses)
            )
        except OSError as error:
            self._log.warning("gateway.addresses_not_written", error=str(error))

    def _reasons(self) -> list[str]:
        """Why it is not ready; none: it is."""
        return [reason for trouble in self._troubles if (reason := trouble())]

    def _status(self, counts: Mapping[str, Counts]) -> str:
        """The line that `systemctl status` shows."""
        if self._stop.is_set():
            return "stopping: finishing what is in flight"
        state = f"not ready: {'; '.join(reasons)}" if (reasons := self._reasons()) else "ready"
        queued, dead = (sum(getattr(sink, state) for sink in counts.values()) for state in ("queued", "dead"))
        received = round(sum(self._metrics.values("messages_total")))
        waiting = f", {queued} deliveries queued, {dead} dead" if counts else ""
        return f"{state}: webhooks on {', '.join(self._addresses)}; {received} received since start{waiting}"

    async def _check(self, store: Store) -> None:
        """Beside serving: it takes minutes where the file is big."""
        await store.quick_check()
        self._log.info("store.checked", file=str(store.path))

    async def _drain(self, lanes: Lanes) -> None:
        """Finish the attempts in flight, stop accepting, answer what was accepted; at the deadline or a second signal, cut."""
        lanes.stop()
        working, drain = lanes.tasks, self._config.server.drain
        finishing: asyncio.Future[Any] = asyncio.gather(self._listeners.drain(float(drain), lambda: bool(lanes.tasks)), *working)
        cutting: asyncio.Future[Any] = asyncio.ensure_future(self._cut.wait())
        await asyncio.wait((finishing, cutting), timeout=drain, return_when=asyncio.FIRST_COMPLETED)
        cutting.cancel()
        if not finishing.done():
            finishing.cancel()  # attempts that are cut were not settled, so they cost nothing
            self._log.warning("gateway.cut", lanes=[lane.get_name() for lane in working if not lane.done()])
        with suppress(asyncio.CancelledError):
            await finishing
        if working:  # a gather is done with the first that was cut; the others still commit, and tell of it
            await asyncio.wait(working)


def _certificate(config: Config) -> Certificate | None:
    """What the listeners for webhooks show. Raises ListenError."""
    if config.server.tls is None:
        return None
    certificate, key = (config.secret(ref) for ref in config.server.tls.pair)
    try:
        return Certificate.of(certificate, key)
    except PairError as error:  # it was good when it was loaded; but a credential stays what it was at the start
        raise ListenError(f"[server] tls.{error}") from None


def _token(config: Config) -> Secret | None:
    return config.secret(config.admin.token) if config.admin.token else None
