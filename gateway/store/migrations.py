"""Brings a database to the schema of this version, and refuses one of a later version. Additive, one transaction each."""

from __future__ import annotations

import sqlite3
from importlib import resources

from gateway.core.errors import StoreCorrupt

APPLICATION_ID = 0x4C4D4757
"""'LMGW', in the header of the file (sqlite.org/pragma.html#pragma_application_id): ours, and nobody else's."""


def scripts() -> list[str]:
    """The schema scripts in their order; the n-th one brings a database to version n."""
    folder = resources.files("gateway.store") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def check_owner(connection: sqlite3.Connection) -> int:
    """The schema version in the file. Reads only.

    Raises StoreCorrupt where the file belongs to another program or to a later version of this one.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (entries,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if entries and application_id != APPLICATION_ID:
        raise StoreCorrupt("the file is a database of another program; name another one under [store] path")
    if version > (known := len(scripts())):
        raise StoreCorrupt(
            f"the database has schema {version}, and this version of the gateway knows {known} at most:"
            " start the version that wrote it, or restore the backup made before its upgrade"
        )
    return int(version)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the scripts that the database has not seen yet."""
    version = check_owner(connection)
    for number, script in enumerate(scripts()[version:], start=version + 1):
        # executescript runs outside any transaction of the module: the script brings its own.
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )
