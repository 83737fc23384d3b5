"""Reads the configuration again and moves the gateway to it: every part uses the new one from the same instant, or none does.

A reload is built whole beside the running configuration. Each part first prepares, which may fail and changes nothing; then all
of them swap without an await in between; then they tidy up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVarTuple

from msgspec import Struct, structs

from gateway.app.running import Running
from gateway.config import Config, load
from gateway.config.diff import Difference, QueuedDeliveries, differences, queued_deliveries, until_restart
from gateway.config.memo import Memo
from gateway.core.audit_events import ConfigRefused, ConfigReloaded
from gateway.core.errors import ConfigError, GatewayError, Problem, StoreError
from gateway.core.records import Counts
from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import claim_of
from gateway.host.blocking import Pauses, run_in_thread, short_turns
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics

_MOST_DETAIL = 2000
"""Characters about the changes, or the problems, in the audit line; the answer to the caller has all of them."""
_MOST_SHOWN = 300
"""Characters of the first problem, in the status."""
_READ_SECONDS = 30.0
"""Seconds to read the files, fewer than the caller waits for an answer."""
_COUNT_SECONDS = 2.0
"""Seconds to ask the store how many deliveries wait; the reload goes on without the answer."""

_Values = TypeVarTuple("_Values")
Swap = Callable[[], None]
"""Makes a part use what it has prepared, at once; it cannot fail."""


class Part(Protocol):
    """A part of the gateway that follows the configuration."""

    async def prepare(self, config: Config) -> Swap:
        """Prepare to use a configuration. Raises GatewayError; nothing that runs has changed then."""

    async def tidy(self) -> None:
        """Let go of what only the configuration before needed."""


class Follower(Generic[*_Values]):
    """A part that takes plain values from the configuration."""

    def __init__(self, derive: Callable[[Config], tuple[*_Values]], use: Callable[[*_Values], None]) -> None:
        """
        Args:
            derive: takes the values from a configuration; it may raise GatewayError.
            use: hands the values to the part.
        """
        self._derive = derive
        self._use = use

    async def prepare(self, config: Config) -> Swap:
        return partial(self._use, *self._derive(config))

    async def tidy(self) -> None:
        """Do nothing, because the part has replaced its old values."""


class Reloaded(Struct, frozen=True):
    """The changes that a reload made, or would make."""

    changes: tuple[Difference, ...]
    restart: tuple[str, ...]
    """The changes that have no effect until the process starts again."""
    warnings: tuple[Problem, ...]
    deliveries: tuple[QueuedDeliveries, ...] = ()
    """The deliveries that wait for a sink that is removed, comes back or has another destination."""


class Reloads:
    """Reloads one at a time, for SIGHUP and for the admin listener."""

    def __init__(
        self,
        running: Running,
        *,
        parts: Sequence[Part],
        asked: asyncio.Event,
        counts: Callable[[], Awaitable[Mapping[str, Counts]]],
        environment: Environment,
        systemd: Systemd,
        audit: AuditLog,
        metrics: Metrics,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            parts: they prepare in this order, so a part that opens what would have to be closed again comes last.
            asked: set by a signal, which cannot wait for a reload.
            counts: tells how many deliveries each sink has; it may raise StoreError.
        """
        self._running = running
        self._parts = parts
        self._asked = asked
        self._credentials = _credentials(running.config)
        self._memo = Memo()
        self._counts = counts
        self._environment = environment
        self._systemd = systemd
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self.read_seconds = _READ_SECONDS
        self._one_at_a_time = asyncio.Lock()
        metrics.config_reloaded(running.loaded_at)

    async def run(self) -> None:
        """Reload whenever a signal has asked for it, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.reload("SIGHUP")
            except GatewayError:
                pass  # it was logged and audited, and the running configuration goes on
            except Exception:  # a bug in reporting the reload must not end the gateway
                self._log.exception("reload.bug", actor="SIGHUP")

    async def reload(self, actor: str, *, file: str | None = None, dry_run: bool = False) -> Reloaded:
        """Read the file again and use it. If this raises anything, nothing was changed.

        Args:
            actor: who asked, for the audit log.
            file: the file that the caller means; it has to be the one that was loaded at the start.
            dry_run: only tell what would change.
        Raises:
            ConfigError: the file is bad.
            SinkSetupError: a sink cannot be opened as configured.
            StoreError: nothing can be committed now.
        """
        running = self._running.config.file
        if file is not None and not _is_same(file, running):
            wrong = f"is not the file that the running gateway reads, which is {running}"
            raise ConfigError(file, [Problem(file=file, place="file", wrong=wrong)])
        async with self._one_at_a_time, nullcontext() if dry_run else self._systemd.reloading():
            try:
                new, fixed, changes = await self._read()
                restart = (*(change.place for change in changes if change.restart), *fixed)
                waiting = await self._waiting(new) if changes else []
                reloaded = Reloaded(tuple(changes), restart, new.warnings, tuple(waiting))
                if dry_run:
                    return reloaded
                new = until_restart(self._running.config, new)
                await self._use(new, self._parts if changes else ())
            except GatewayError as error:
                if not dry_run:
                    await self._refused(error, actor)
                raise
            except Exception:
                self._log.exception("reload.bug", actor=actor)
                wrong = "could not be used because of a bug in the gateway; its log has the traceback"
                problem = Problem(file=str(self._running.config.file), place="file", wrong=wrong)
                refused = ConfigError(problem.file, [problem])
                if not dry_run:
                    await self._refused(refused, actor)
                raise refused from None
            self._credentials = _credentials(new) | self._credentials
            await self._done(reloaded, actor)
            return reloaded

    async def _use(self, new: Config, parts: Sequence[Part]) -> None:
        swaps = [await part.prepare(new) for part in parts]
        # No await from here to `use`: no task sees one part with the new configuration and another with the old one.
        for swap in swaps:
            swap()
        self._running.use(new, self._clock.now())
        for part in parts:
            await part.tidy()

    async def _read(self) -> tuple[Config, list[str], list[Difference]]:
        """Load the file and compare it with the running configuration, in a thread that gives way to the loop.

        Returns the new configuration, the credentials that have changed since the start (they take effect with a restart), and
        the differences.
        """
        running = self._running.config
        file = running.file
        memo = Memo(self._memo, pause=Pauses(self._clock.monotonic))

        def read() -> tuple[Config, list[str], list[Difference]]:
            new = load(file, self._environment, now=self._clock.now(), memo=memo)
            known = {ref: secret for ref, secret in self._credentials.items() if ref in new.secrets}
            others = [f"credential {ref.credential}" for ref in known if known[ref].reveal() != new.secrets[ref].reveal()]
            new = structs.replace(new, secrets=new.secrets | known)
            return new, others, differences(running, new)

        try:
            # A file that hangs would block every later reload, and systemd would wait for the end of this one.
            async with asyncio.timeout(self.read_seconds):
                with short_turns():
                    found = await run_in_thread(read, "reload")
        except TimeoutError:
            why = "the file, or one that it names, is a pipe or is on a disk that hangs"
            wrong = f"was not read within {self.read_seconds:g} s: {why}"
            raise ConfigError(str(file), [Problem(file=str(file), place="file", wrong=wrong)]) from None
        self._memo = memo
        return found

    async def _waiting(self, new: Config) -> list[QueuedDeliveries]:
        """Count waiting deliveries if a sink is added, removed or moved to another destination; else do not ask the store."""
        running = self._running.config
        if not queued_deliveries(running, new, None) and new.sinks.keys() <= running.sinks.keys():
            return []
        return queued_deliveries(running, new, await self._queued())

    async def _queued(self) -> Mapping[str, int] | None:
        """Return how many deliveries each sink has queued; None while the store cannot tell, which is no reason to refuse."""
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                return {sink: number.queued for sink, number in (await self._counts()).items()}
        except (StoreError, TimeoutError):
            return None

    async def _done(self, reloaded: Reloaded, actor: str) -> None:
        said = [str(change) for change in reloaded.changes]
        moved = [str(one) for one in reloaded.deliveries]
        detail = "; ".join((*moved, *said))[:_MOST_DETAIL] or "nothing changed"
        self._audit.step(ConfigReloaded(detail=detail, actor=str(actor), claimed=claim_of(actor)))
        self._metrics.config_reloaded(self._running.loaded_at)
        self._log.info(
            "config.reloaded", actor=actor, changes=said, deliveries=moved or None, needs_restart=list(reloaded.restart) or None
        )
        for problem in reloaded.warnings:
            self._log.warning("config.warning", problem=str(problem))
            await asyncio.sleep(0)
        await self._written()

    async def _refused(self, error: GatewayError, actor: str) -> None:
        problems = [str(problem) for problem in _errors_first(error)] if isinstance(error, ConfigError) else [str(error)]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self._running.refuse(str(actor), f"{problems[0][:_MOST_SHOWN]}{more}", self._clock.now())
        detail = "; ".join(problems)[:_MOST_DETAIL]
        self._audit.step(ConfigRefused(detail=detail, actor=str(actor), claimed=claim_of(actor)))
        self._metrics.config_refused()
        do = "correct the file and reload; until then the running configuration stays in effect"
        if isinstance(error, StoreError):
            do = "reload again once the store accepts writes"
        self._log.error("config.refused", actor=actor, problems=problems, do=do)
        await self._written()

    async def _written(self) -> None:
        """Wait until the audit log has the line, because the caller may look for it. It reports by itself that a disk refuses."""
        with suppress(StoreError):
            await self._audit.flush()


def _errors_first(refused: ConfigError) -> list[Problem]:
    """Return the problems with the errors before the warnings: the status and the audit line show only the first ones."""
    return sorted(refused.problems, key=lambda problem: problem.level != "error")


def _is_same(file: str, running: Path) -> bool:
    try:
        return Path(file).resolve() == running.resolve()
    except (OSError, RuntimeError, ValueError):  # links that lead to each other, and names that no file can have
        return False


def _credentials(config: Config) -> dict[SecretRef, Secret]:
    return {ref: secret for ref, secret in config.secrets.items() if ref.credential is not None}
