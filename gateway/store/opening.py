"""The ways into a store: of a running gateway, of a gateway that is stopped, and of a backup.

Only this module knows which engine stands behind the verbs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gateway.core.documents import Health
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
