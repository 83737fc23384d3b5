"""Bringing a database to the schema of this version, after a backup. A database of a later version is refused with a way back.

Each script is additive and runs in a transaction of its own: whatever ends the process, the database has the schema before the
script or the schema after it, and the next start goes on from there. A released script is never edited.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from shlex import quote

from msgspec import Struct, field

from gateway.core.errors import BackupFailed, StoreCorrupt, StoreFailed
from gateway.store.sqlite.backup import back_up

APPLICATION_ID = 0x4C4D4757
"""'LMGW', in the header of every database of the gateway (sqlite.org/pragma.html#pragma_application_id)."""


def scripts() -> tuple[str, ...]:
    """Return the schema scripts in their order; the n-th one brings a database to version n."""
    folder = resources.files("gateway.store.sqlite") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((folder / name).read_text(encoding="utf-8") for name in names)


class Upgrade(Struct, frozen=True):
    """How to upgrade a database of an earlier version at a start."""

    scripts: tuple[str, ...] = field(default_factory=scripts)
    min_free: int = 0
    """Bytes that the backup before the upgrade has to leave free."""
    told: Callable[..., object] = lambda event, **facts: None
    """Called in the writer's thread before each step, which may take minutes, with an event and its facts."""


def check_owner(connection: sqlite3.Connection, known: int) -> int:
    """Read the schema version of a file.

    Args:
        known: the newest schema of this version of the gateway.
    Raises StoreCorrupt if the file belongs to another program or to a later version of the gateway.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (entries,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if entries and application_id != APPLICATION_ID:
        raise StoreCorrupt("the file is a database of another program; name another one under [store] path")
    if version > known:
        _, _, file = connection.execute("PRAGMA database_list").fetchone()
        raise StoreCorrupt(
            f"the database has schema {version}, and this version of the gateway knows {known} at most:"
            f" start the version that wrote it, {_way_back(Path(file), known)}"
        )
    return int(version)


def check_written(connection: sqlite3.Connection, path: Path) -> int:
    """Read the schema version of a file that should have messages. Raises StoreCorrupt as `check_owner`, or if it is empty."""
    if (version := check_owner(connection, len(scripts()))) == 0:
        raise StoreCorrupt(f"{path}: is empty: no gateway has written to it yet")
    return version


def migrate(connection: sqlite3.Connection, path: Path, upgrade: Upgrade) -> None:
    """Apply the scripts that the database does not have yet. Raises StoreFailed if it cannot be backed up first."""
    version = check_owner(connection, len(upgrade.scripts))
    pending = upgrade.scripts[version:]
    told = upgrade.told if version else lambda event, **facts: None  # a new database is not upgraded
    if version and pending:
        _back_up(connection, path, version, upgrade)
    for number, script in enumerate(pending, start=version + 1):
        told("store.upgrading", file=str(path), schema=number, of=len(upgrade.scripts))
        # executescript runs outside any transaction of the module: the script brings its own.
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )
    if pending:
        told("store.upgraded", file=str(path), schema=len(upgrade.scripts))


def backup_before(path: Path, version: int) -> Path:
    """Return the path of the backup that is made before an upgrade from this schema."""
    return path.with_name(f"{path.name}.schema-{version}")


def _back_up(connection: sqlite3.Connection, path: Path, version: int, upgrade: Upgrade) -> None:
    copy = backup_before(path, version)
    upgrade.told("store.backing_up", file=str(copy), schema=version, do="delete it once the new version has proved itself")
    try:
        # An existing file is a backup of an upgrade that did not end, with the same content, or of an earlier time with this
        # schema, to which nobody would go back now.
        back_up(connection, database=path, file=copy, now=0.0, min_free=upgrade.min_free, replace=True)
    except BackupFailed as error:
        raise StoreFailed(
            f"{path} has schema {version} and needs {len(upgrade.scripts)}, but the backup that comes before an upgrade can't be"
            f" made: {error}. Nothing was changed: correct that in the folder of the database, where this backup goes, and start"
            " again; or start the version that ran before"
        ) from error


def _way_back(path: Path, known: int) -> str:
    copies = [copy for version in range(known, 0, -1) if (copy := backup_before(path, version)).exists()]
    if not copies:
        return "or restore a backup that was made before its upgrade"

    def name(suffix: str) -> str:
        return quote(f"{path}{suffix}")

    return (
        f"or go back to {copies[0]}, made before its upgrade, which lacks everything received since. The steps, with the gateway"
        f" stopped: mv {name('')} {name('.newer')}; mv {name('-wal')} {name('.newer-wal')} (if there is one);"
        f" rm -f {name('-shm')}; cp -p {quote(str(copies[0]))} {name('')}; start it"
    )
