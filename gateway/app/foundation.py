"""Opens what every other part stands on: the host, the counters, the audit log and the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from gateway.config import Config
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.observability.unsealed import Seals
from gateway.store.opening import Store, open_store


class Host(Struct, frozen=True):
    """The machine that the gateway runs on, and the environment of the process."""

    environment: Environment
    systemd: Systemd
    clock: Clock
    log: Log
    lines_dropped: Callable[[], int]
    """Tells how many lines of the log were lost since the start."""


class Signals(Struct, frozen=True):
    """The requests that reach the process by signals. An event stays set until a part acts on it."""

    stop: asyncio.Event
    cut: asyncio.Event
    """Set by the second signal: do not wait for what is in flight."""
    reload: asyncio.Event


class Foundation(Struct, frozen=True):
    """The parts that write to disk, or count, for all others. They are open before any other part is built."""

    metrics: Metrics
    audit: AuditLog
    seals: Seals
    store: Store


async def open_foundation(config: Config, host: Host) -> Foundation:
    """Open the database and the audit log. Raises StoreError and its kin: the exception knows its exit code."""
    metrics = Metrics()
    seals = Seals(config.database.with_name(f"{config.database.name}.seal"))
    audit = AuditLog(config.audit_log, host.clock, host.log, seals)
    store = await open_store(
        config.database,
        retention=config.store.retention,
        clock=host.clock,
        audit=audit,
        on_commit=metrics.commit,
        min_free=config.store.min_free,
        told=host.log.info,
    )
    return Foundation(metrics, audit, seals, store)
