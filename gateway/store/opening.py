"""The ways into a store: of a running gateway, of a gateway that is stopped, and of a backup.

Only this module knows which engine stands behind the verbs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from gateway.core.documents import Health, SchemaUpgrade
from gateway.core.errors import StoreUnfit
from gateway.core.nodes import NodeFacts
from gateway.host.clock import Clock
from gateway.store.base import Audit, CatchingUp, Copying, LaneStore, Lifecycle, LongRead, Maintaining, Watching
from gateway.store.people import Acting, Browsing, Proving, RedecodingStore, Surveying, TellingActs
from gateway.store.refused import RefusedStore
from gateway.store.requests import Filling, Rulebook, SurveyingLedger, Tracing
from gateway.store.sqlite import at_rest
from gateway.store.sqlite.migrations import Upgrade
from gateway.store.sqlite.refused_store import SqliteRefusedStore
from gateway.store.sqlite.store import SqliteStore


class Store(
    LaneStore,
    Maintaining,
    Watching,
    CatchingUp,
    Browsing,
    Proving,
    Acting,
    RedecodingStore,
    Surveying,
    TellingActs,
    Tracing,
    SurveyingLedger,
    Filling,
    Rulebook,
    Copying,
    Lifecycle,
    Protocol,
):
    """A whole store."""


async def open_store(
    path: Path,
    *,
    retention: float,
    clock: Clock,
    audit: Audit | None = None,
    on_commit: Callable[[int, float], None] = lambda size, seconds: None,
    min_free: int = 0,
    told: Callable[..., object] = lambda event, **facts: None,
) -> Store:
    """Open or create the database, and bring its schema up, after a backup of it.

    Args:
        retention: seconds for which a message is kept and makes duplicates.
        audit: the audit log; None: nobody keeps one, so nothing waits for its lines.
        on_commit: called after each commit with the number of jobs in it and the seconds that it took.
        min_free: bytes that the backup before an upgrade has to leave free.
        told: called in a thread with an event and its facts before each step of an upgrade, which may take minutes.
    Raises:
        StoreLocked: another process holds the database (exit 73).
        StoreCorrupt: it cannot be trusted, and stays as it is (exit 65).
        StoreFailed: the file cannot be opened, or the disk cannot keep the promise (exit 74).
    """
    upgrade = Upgrade(min_free=min_free, told=told)
    return await SqliteStore.open(path, retention, upgrade, now=clock.now, audit=audit, on_commit=on_commit)


class ServerPlace(Struct, frozen=True, kw_only=True):
    """The tables of a gateway in a PostgreSQL, and the node that opens them."""

    url: str
    """It may hold a password, so nothing may print it."""
    schema: str
    replicated: bool
    """An acknowledged message has to be on a synchronous standby."""
    node: NodeFacts
    lease: float
    """Seconds after which a node that is silent counts as dead."""


async def open_server_store(
    place: ServerPlace,
    *,
    retention: float,
    clock: Clock,
    audit: Audit | None = None,
    on_commit: Callable[[int, float], None] = lambda size, seconds: None,
    told: Callable[..., object] = lambda event, **facts: None,
) -> Store:
    """Connect to a PostgreSQL, and bring the schema up. No second node works on the same tables: lanes have no owner yet.

    Args:
        told: called with an event and its facts before each step of an upgrade, and with `store.lost` if a fail-over took
            acknowledged commits.
    The other arguments are those of `open_store`.
    Raises:
        StoreLocked: another node works on these tables (exit 73).
        StoreUnfit: the server refuses the URL, or cannot keep the promises (exit 78).
        StoreCorrupt: the schema needs newer code (exit 65).
        StoreError, StoreFailed: the server cannot be reached, or may lose what it confirms (exit 74).
    """
    _need_driver()
    from gateway.store.postgres.connection import Server
    from gateway.store.postgres.refusing import refuse_unfit
    from gateway.store.postgres.store import PostgresStore

    server, node = Server(place.url, place.schema), place.node
    await refuse_unfit(server, replicated=place.replicated)
    return await PostgresStore.open(
        server,
        retention,
        node=node.name,
        boot=node.boot,
        version=node.version,
        config_hash=node.config_hash,
        sinks=node.sinks,
        lease=place.lease,
        alone=True,
        replicated=place.replicated,
        jitter=clock.jitter,
        now=clock.now,
        audit=audit,
        on_commit=on_commit,
        told=told,
    )


def refused_store(path: Path, *, told: Callable[..., object] = lambda event, **facts: None) -> RefusedStore:
    """Return the place where refused requests are kept; nothing is opened yet.

    Args:
        path: the file; it is made with the first request that is kept.
        told: called in the thread of the verbs, with an event and its facts, when a damaged file is set aside.
    """
    return SqliteRefusedStore(path, told)


def hold(path: Path) -> AbstractContextManager[Copying]:
    """Take the place of a stopped gateway: no gateway can start meanwhile, and the next one learns how the last one ended.

    Raises (when it is entered):
        StoreLocked: a gateway holds the database.
        StoreCorrupt: it cannot be trusted, and stays as it is.
        StoreFailed: the lock cannot be made, or the files cannot be read.
    """
    return at_rest.hold(path)


def examine_file(file: Path) -> LongRead[Health]:
    """Begin to check a database that no process writes to, a backup for example. Raises StoreCorrupt if it is no database."""
    return at_rest.examine_file(file)


async def examine_server(url: str, schema: str, *, replicated: bool) -> Health:
    """Check the tables in a PostgreSQL, with gateways running or not.

    Args:
        replicated: an acknowledged message has to be on a synchronous standby.
    Raises StoreError and its kin: the exception knows its exit code.
    """
    _need_driver()
    from gateway.store.postgres import upkeep
    from gateway.store.postgres.connection import Server

    return await upkeep.examine(Server(url, schema), replicated=replicated)


async def probe_server(url: str, schema: str, *, replicated: bool) -> str:
    """Connect to a PostgreSQL as a start does, and say which server answers; write nothing.

    Args:
        replicated: an acknowledged message has to be on a synchronous standby.
    Raises StoreError and its kin: what a start would refuse.
    """
    _need_driver()
    from gateway.store.postgres.connection import Server
    from gateway.store.postgres.refusing import refuse_unfit

    return f"PostgreSQL {(await refuse_unfit(Server(url, schema), replicated=replicated)).version_text}"


async def upgrade_server(
    url: str, schema: str, *, dry_run: bool, told: Callable[..., object] = lambda event, **facts: None
) -> SchemaUpgrade:
    """Bring the schema in a PostgreSQL to that of this version, or say what would be done.

    Args:
        told: called with an event and its facts before each step.
    Raises StoreError and its kin: the exception knows its exit code.
    """
    _need_driver()
    from gateway.store.postgres import upkeep
    from gateway.store.postgres.connection import Server

    return await upkeep.upgrade(Server(url, schema), dry_run=dry_run, told=told)


def _need_driver() -> None:
    """Raise StoreUnfit if the driver of PostgreSQL is not installed: it is an extra, and costs nothing on SQLite."""
    if find_spec("asyncpg") is None:
        raise StoreUnfit("[store] url needs the driver of PostgreSQL: pip install 'legitmark-gateway[postgres]'")
