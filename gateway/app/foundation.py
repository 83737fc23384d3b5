"""Opens what every other part stands on: the host, the counters, the audit log and the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from gateway import __version__
from gateway.config import Config
from gateway.config.agreement import agreement_hash
from gateway.core.nodes import NodeFacts
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.systemd import Systemd
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.observability.unsealed import Seals
from gateway.store.opening import ServerPlace, Store, open_server_store, open_store


class Host(Struct, frozen=True):
    """The machine that the gateway runs on, and the environment of the process."""

    environment: Environment
    systemd: Systemd
    clock: Clock
    log: Log
    lines_dropped: Callable[[], int]
    """Tells how many lines of the log were lost since the start."""
    name: str
    """The name of the host, which names the node where the configuration does not."""


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
    store = await _open_store(config, host, metrics, audit)
    return Foundation(metrics, audit, seals, store)


async def _open_store(config: Config, host: Host, metrics: Metrics, audit: AuditLog) -> Store:
    settings = config.store
    if settings.url is None:
        return await open_store(
            config.database,
            retention=settings.retention,
            clock=host.clock,
            audit=audit,
            on_commit=metrics.commit,
            min_free=settings.min_free,
            told=host.log.info,
        )
    place = ServerPlace(
        url=config.secret(settings.url).reveal(),
        schema=settings.schema,
        replicated=settings.durability == "replicated",
        node=NodeFacts(
            name=config.node.name or host.name,
            boot=host.clock.new_key(),
            version=__version__,
            config_hash=agreement_hash(config),
            sinks=tuple(config.sinks),
        ),
        lease=config.node.lease,
    )
    return await open_server_store(
        place,
        retention=settings.retention,
        clock=host.clock,
        audit=audit,
        on_commit=metrics.commit,
        told=partial(_tell, host.log),
    )


def _tell(log: Log, event: str, **facts: object) -> None:
    """Log what a store tells: lost messages as an error, the steps of an upgrade as information."""
    (log.error if event == "store.lost" else log.info)(event, **facts)
