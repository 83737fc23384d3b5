"""A reload: the new configuration is built whole beside the running one, and takes its place or changes nothing (promise 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, structs

from gateway.config import Config, load
from gateway.config.diff import Difference, QueuedDeliveries, differences, queued_deliveries, until_restart
from gateway.config.memo import Memo
from gateway.core.attention import Refusal, RunningConfig
from gateway.core.audit_events import ConfigRefused, ConfigReloaded
from gateway.core.errors import ConfigError, GatewayError, Problem, StoreError
from gateway.core.records import Counts
from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import claim_of
from gateway.host.blocking import Pauses, detached, politely
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics

_MOST_DETAIL = 2000
"""Characters of what changed, or was wrong, in the audit line; the answer to who asked has it all."""
_MOST_SHOWN = 300
"""Characters of the first problem, in the status."""
_READ_SECONDS = 30.0
"""Seconds to read the files, fewer than the caller waits for an answer."""

_COUNT_SECONDS = 2.0
"""Seconds to ask the store how many deliveries wait; the reload goes on without the answer."""


class Reloaded(Struct, frozen=True):
    """What a reload changed, or would change."""

    changes: tuple[Difference, ...]
    restart: tuple[str, ...]
    """What of it has no effect until the process starts again."""
    warnings: tuple[Problem, ...]
    deliveries: tuple[QueuedDeliveries, ...] = ()
    """Those that wait for a sink that leaves, comes back or has another destination."""


class Reloads:
    """One at a time, whoever asks: SIGHUP or the admin listener."""

    def __init__(
        self,
        running: Config,
        *,
        use: Callable[[Config], Awaitable[None]],
        counts: Callable[[], Awaitable[Mapping[str, Counts]]],
        environment: Environment,
        systemd: Systemd,
        audit: AuditLog,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """Take the parts that a reload needs.

        Args:
            use: makes the gateway go on by another configuration; it raises where it can't, and has changed nothing then.
            counts: tells how many deliveries each sink has; it may raise StoreError.
        """
        self._running = running
        """What takes effect: of what needs a restart, that is what was there at start."""
        self._credentials = _credentials(running)
        self._memo = Memo()
        self._use = use
        self._counts = counts
        self._environment = environment
        self._systemd = systemd
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self.read_seconds = _READ_SECONDS
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()
        self._loaded_at = clock.now()
        self._refusal: Refusal | None = None
        metrics.config_reloaded(self._loaded_at)

    @property
    def state(self) -> RunningConfig:
        """What runs, and whether the last reload was refused."""
        config, loaded_at = self._running, datetime.fromtimestamp(int(self._loaded_at), UTC)
        return RunningConfig(file=str(config.file), sha256=config.sha256, loaded_at=loaded_at, refused=self._refusal)

    def ask(self) -> None:
        """Reload soon: for a signal, which can't wait for it."""
        self._asked.set()

    async def run(self) -> None:
        """Do what is asked by signals, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.reload("SIGHUP")
            except GatewayError:
                pass  # it was logged and audited, and the running configuration goes on
            except Exception:  # a bug in telling of it must not end the gateway
                self._log.exception("reload.bug", actor="SIGHUP")

    async def reload(self, actor: str, *, file: str | None = None, dry_run: bool = False) -> Reloaded:
        """Read the file again and go on by it.

        Args:
            actor: who asked, for the audit log.
            file: the one that they mean: it has to be the one that was loaded at start.
            dry_run: only say what would change.
        Raises:
            ConfigError: the file is bad; nothing was changed.
            SinkSetupError: a sink can't be opened as configured; likewise.
            StoreError: nothing can be committed now; likewise.
        """
        running = self._running.file
        if file is not None and not _is_same(file, running):
            message = f"is not the file of the gateway that answers: that is {running}"
            raise ConfigError(file, [Problem(file=file, place="file", message=message)])
        async with self._one_at_a_time, nullcontext() if dry_run else self._systemd.reloading():
            try:
                new, fixed, changes = await self._read()
                restart = (*(change.place for change in changes if change.restart), *fixed)
                waiting = await self._waiting(new) if changes else []
                reloaded = Reloaded(tuple(changes), restart, new.warnings, tuple(waiting))
                if dry_run:
                    return reloaded
                new = until_restart(self._running, new)
                if changes:
                    await self._use(new)
            except GatewayError as error:
                if not dry_run:
                    await self._refused(error, actor)
                raise
            except Exception:
                self._log.exception("reload.bug", actor=actor)
                problem = Problem(file=str(self._running.file), place="file", message="could not be used: a bug in the gateway")
                refused = ConfigError(problem.file, [problem])
                if not dry_run:
                    await self._refused(refused, actor)
                raise refused from None
            self._running = new
            self._credentials = _credentials(new) | self._credentials
            await self._done(reloaded, actor)
            return reloaded

    async def _read(self) -> tuple[Config, list[str], list[Difference]]:
        """Load and compare in a thread that gives way to the loop.

        Returns the configuration of today, the credentials in it that are others than at start (they count from a restart on),
        and what differs from the running one.
        """
        running = self._running
        file = running.file
        memo = Memo(self._memo, pause=Pauses(self._clock.monotonic))

        def read() -> tuple[Config, list[str], list[Difference]]:
            new = load(file, self._environment, now=self._clock.now(), memo=memo)
            known = {ref: secret for ref, secret in self._credentials.items() if ref in new.secrets}
            others = [f"credential {ref.credential}" for ref in known if known[ref].reveal() != new.secrets[ref].reveal()]
            new = structs.replace(new, secrets=new.secrets | known)
            return new, others, differences(running, new)

        try:
            # One that hangs would be in the way of all reloads after it, and systemd would wait for the end of this one.
            async with asyncio.timeout(self.read_seconds):
                with politely():
                    found = await detached(read, "reload")
        except TimeoutError:
            message = f"was not read within {self.read_seconds:g} s: it, or a file that it names, is a pipe, or its disk hangs"
            raise ConfigError(str(file), [Problem(file=str(file), place="file", message=message)]) from None
        self._memo = memo
        return found

    async def _waiting(self, new: Config) -> list[QueuedDeliveries]:
        """Ask the store only where a sink comes, leaves or has another destination."""
        if not queued_deliveries(self._running, new, None) and new.sinks.keys() <= self._running.sinks.keys():
            return []
        return queued_deliveries(self._running, new, await self._queued())

    async def _queued(self) -> Mapping[str, int] | None:
        """Return how many deliveries are queued, by sink; None while the store can't tell, which is no reason to refuse."""
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                return {sink: number.queued for sink, number in (await self._counts()).items()}
        except (StoreError, TimeoutError):
            return None

    async def _done(self, reloaded: Reloaded, actor: str) -> None:
        said = [str(change) for change in reloaded.changes]
        moved = [str(one) for one in reloaded.deliveries]
        self._loaded_at, self._refusal = self._clock.now(), None
        detail = "; ".join((*moved, *said))[:_MOST_DETAIL] or "nothing changed"
        self._audit.step(ConfigReloaded(detail=detail, actor=str(actor), claimed=claim_of(actor)))
        self._metrics.config_reloaded(self._loaded_at)
        self._log.info(
            "config.reloaded", actor=actor, changes=said, deliveries=moved or None, needs_restart=list(reloaded.restart) or None
        )
        for problem in reloaded.warnings:
            self._log.warning("config.warning", problem=str(problem))
            await asyncio.sleep(0)
        await self._written()

    async def _refused(self, error: GatewayError, actor: str) -> None:
        problems = [str(problem) for problem in error.problems] if isinstance(error, ConfigError) else [str(error)]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        now = datetime.fromtimestamp(int(self._clock.now()), UTC)
        self._refusal = Refusal(time=now, actor=str(actor), detail=f"{problems[0][:_MOST_SHOWN]}{more}")
        detail = "; ".join(problems)[:_MOST_DETAIL]
        self._audit.step(ConfigRefused(detail=detail, actor=str(actor), claimed=claim_of(actor)))
        self._metrics.config_refused()
        hint = (
            "try again when the store takes something"
            if isinstance(error, StoreError)
            else "mend the file; the running one goes on"
        )
        self._log.error("config.refused", actor=actor, problems=problems, do=hint)
        await self._written()

    async def _written(self) -> None:
        """Who asked finds the line in the audit log once there is an answer. That the disk refuses it is said elsewhere."""
        with suppress(StoreError):
            await self._audit.flush()


def _is_same(file: str, running: Path) -> bool:
    try:
        return Path(file).resolve() == running.resolve()
    except (OSError, RuntimeError, ValueError):  # links that lead to each other, and names that no file can have
        return False


def _credentials(config: Config) -> dict[SecretRef, Secret]:
    return {ref: secret for ref, secret in config.secrets.items() if ref.credential is not None}
