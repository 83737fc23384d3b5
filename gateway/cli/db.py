"""`gateway db`: backups and checks, done by the running gateway beside the traffic, or here if no gateway runs.

On PostgreSQL, which serves many at a time, this command asks the database itself, with gateways running or not.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from gateway.cli.client import RequestRefused, actor, connected
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import printable, size, to_json
from gateway.config import find, load_store
from gateway.config.settings import StoreSettings
from gateway.core.errors import (
    BackupElsewhere,
    BackupExists,
    BackupFailed,
    ConfigError,
    Problem,
    StoreCorrupt,
    StoreFailed,
    StoreLocked,
    Unreachable,
)
from gateway.core.errors import DatabaseJobBusy as Busy
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.signals import end_as_on_interrupt
from gateway.store.base import Copying, LongRead
from gateway.store.opening import examine_file, examine_server, hold, upgrade_server

_EXIT = {kind.code: kind.exit_code for kind in (BackupFailed, BackupElsewhere, BackupExists, Busy, StoreFailed)} | {
    "store_corrupt": 65
}
"""Exit codes, by the error code in the answer of the running gateway."""


def backup(
    file: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    /,
    *,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Copy the whole database into a file of its own, while the gateway goes on taking webhooks and delivering.

    The running gateway writes the file, as its own user and on its own host; if no gateway runs, this command writes it. The
    file appears only when it is complete and on disk. An existing file is never overwritten. Ctrl-C ends the backup.

    On PostgreSQL there is no such file: use pg_dump or pgBackRest.

    Exit codes: 0 done, 1 another backup is under way, 2 FILE exists already or the database is a PostgreSQL, 65 the database is
    corrupt, 69 no gateway answers and its database can't be opened either, 74 the file can't be written.

    Example: gateway db backup /var/backups/gateway.db

    Parameters
    ----------
    file
        The file to write; in a folder, the backup gets a name with the time.
    """
    if _asked_server(config, admin) is not None:
        raise UsageError("the database is a PostgreSQL ([store] url): use pg_dump or pgBackRest, which back up all of it")
    target = _target(file)
    with _patience(f"backing up to {target}"):
        done, by_gateway = asyncio.run(_backup(target, config, admin))
    if json_:
        print(to_json(done))
    else:
        newest = f", the newest of {done['newest']}" if done["newest"] else ""
        said = f"{done['file']}: {done['messages']:,} messages{newest}; {size(done['size'])}, {done['seconds']:.1f} s"
        print(printable(said))
    if by_gateway and admin is None and _is_missing(Path(done["file"])):
        print(
            f"gateway: warning: the gateway has written {done['file']}, but it is not visible here: under systemd the gateway may"
            " have a /tmp of its own (PrivateTmp=), which is removed when it stops. Name a file in its state directory",
            file=sys.stderr,
        )
        return 1
    return 0


def check(
    file: Path | None = None,
    /,
    *,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Read the whole database of the running gateway, or a backup, and report what is wrong.

    The check reads every page, compares each index with its table, and checks all references and counters. It changes nothing,
    and the traffic goes on. If no gateway runs, this command reads the database itself.

    On PostgreSQL, this command checks the server's settings, the schema, all references and counters, and, with the extension
    amcheck, each index. It needs no gateway.

    Exit codes: 0 sound, 1 only counters are wrong, or a backup is under way, 65 the file is corrupt, 69 no gateway answers and
    its database can't be opened either, 74 the file can't be read to its end, or the server can't be reached or may lose data, 78
    the server can't keep the promises.

    Example: gateway db check /var/backups/gateway.db

    Parameters
    ----------
    file
        The backup to check; default: the database of the gateway.
    """
    with _patience(f"checking {file or 'the database'}"):
        health = asyncio.run(_check(file, config, admin))
    damaged = bool(health["damage"])
    if json_:
        print(to_json({"sound": not damaged and not health["miscounted"], **health}))
    else:
        for line in _report(health):
            print(printable(line))
    return StoreCorrupt.exit_code if damaged else 1 if health["miscounted"] else 0


def migrate(
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Change nothing; print what would be done.")] = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Bring the schema in a PostgreSQL to that of this version, before its gateways start.

    It is for a deployment whose gateways may not change tables: without it, the first one that starts does the same. Gateways of
    the version before go on meanwhile. A file of SQLite needs none of it.

    Exit codes: 0 done, or nothing to do, 2 the database is a file of SQLite, 65 it needs a newer gateway, 74 it can't be reached,
    or a table was in use for too long and nothing was changed, 78 the server refuses [store] url.

    Example: gateway db migrate --dry-run
    """
    environment = Environment.of_process()
    file = find(config, environment)
    server = _server(load_store(file, environment)[1], file, environment)
    if server is None:
        raise UsageError("the database is a file of SQLite: the next start of the gateway brings it up, after a backup")
    upgrade = asyncio.run(upgrade_server(server.url, server.schema, dry_run=dry_run))
    document = msgspec.to_builtins(upgrade)
    if json_:
        print(to_json(document))
    elif upgrade.before == upgrade.after:
        print(printable(f"{upgrade.database}: is at schema {upgrade.after} already"))
    else:
        verb = "is now at" if upgrade.done else "would be brought to"
        print(printable(f"{upgrade.database}: {verb} schema {upgrade.after}, from {upgrade.before or 'none'}"))
    return 0


class _Server(Struct, frozen=True):
    """The PostgreSQL of a configuration."""

    url: str
    schema: str
    replicated: bool


def _server(settings: StoreSettings, file: Path, environment: Environment) -> _Server | None:
    """Return the PostgreSQL of a configuration file; None if the database is a file. Raises ConfigError."""
    if settings.url is None:
        return None
    try:
        url = environment.secret(settings.url, file.parent).reveal()
    except ValueError as error:
        raise ConfigError(str(file), [Problem(file=str(file), place="[store] url", wrong=str(error))]) from None
    return _Server(url, settings.schema, settings.durability == "replicated")


def _asked_server(config: Path | None, admin: str | None) -> _Server | None:
    """Return the PostgreSQL to ask; None if the database is a file, or if only the running gateway knows.

    With --admin the gateway there is meant, and a [store] that is being edited must not keep a running gateway from being asked.
    """
    if admin is not None:
        return None
    environment = Environment.of_process()
    try:
        file = find(config, environment)
        _, settings = load_store(file, environment)
    except ConfigError:
        return None
    return _server(settings, file, environment)


def _target(file: str) -> Path:
    if file in ("", "-"):
        raise UsageError("a backup goes into a file, so that it is there whole or not at all: name one")
    try:
        file.encode()
    except UnicodeEncodeError:
        raise UsageError("the name of the file is not UTF-8") from None
    return Path(os.path.abspath(file))  # noqa: PTH100 (`..` is taken out, and nothing is resolved here that only the gateway may see)


async def _backup(file: Path, config: Path | None, admin: str | None) -> tuple[dict[str, Any], bool]:
    """Make a backup. Return its description, and True if the gateway made it."""
    clock = Clock()
    begun = clock.monotonic()
    answer = await _asked("/api/backup", {"file": str(file), "actor": actor()}, config, admin)
    by_gateway = not isinstance(answer, Unreachable)
    if isinstance(answer, Unreachable):
        with _held(answer, config) as (store, settings):
            answer = await _result(store.back_up(file, now=clock.now(), min_free=settings.min_free))
    return {**answer, "seconds": round(clock.monotonic() - begun, 3)}, by_gateway


async def _check(file: Path | None, config: Path | None, admin: str | None) -> dict[str, Any]:
    if file is not None:
        try:
            there = file.is_file()
        except OSError as error:
            raise StoreFailed(f"{file}: {error.strerror}") from None
        if not there:
            raise UsageError(f"{file} does not exist, or is not a file")
        return await _result(examine_file(file.resolve()))  # its log is beside the file, not beside a link to it
    if (server := _asked_server(config, admin)) is not None:
        health = await examine_server(server.url, server.schema, replicated=server.replicated)
        return dict(msgspec.to_builtins(health))
    answer = await _asked("/api/check", {}, config, admin)
    if isinstance(answer, Unreachable):
        with _held(answer, config) as (store, _):
            return await _result(store.examine())
    return answer


async def _asked(path: str, document: dict[str, Any], config: Path | None, admin: str | None) -> dict[str, Any] | Unreachable:
    """Return the running gateway's answer, however long it takes; the error if no gateway runs and --admin was not given."""
    async with connected(config, admin) as client:
        try:
            await client.get("/-/healthy")
        except Unreachable as error:
            if admin is not None:
                raise
            return error
        try:
            return await client.post(path, document, seconds=None)
        except RequestRefused as refused:
            refused.exit_code = _EXIT.get(str(refused.answer.get("error")), refused.exit_code)  # type: ignore[misc]
            raise


@contextmanager
def _held(unreachable: Unreachable, config: Path | None) -> Iterator[tuple[Copying, StoreSettings]]:
    """Take the place of a gateway that does not answer, and yield its database. `unreachable` is the error of asking it."""
    environment = Environment.of_process()
    database, settings = load_store(find(config, environment), environment)
    try:
        if not database.exists():
            unit = "; under systemd, set STATE_DIRECTORY=/var/lib/... as its unit does" if settings.path is None else ""
            raise Unreachable(f"{unreachable}. And there is no database at {database}{unit}")
    except OSError as error:
        raise StoreFailed(f"{database}: {error.strerror}; run this as the gateway's user") from None
    end_as_on_interrupt()
    with ExitStack() as stack:
        try:
            store = stack.enter_context(hold(database))
        except StoreLocked as held:
            hint = "name its admin listener with --admin, or wait until it has started"
            raise Unreachable(f"{unreachable}. But {held}, {hint}") from None
        print(f"gateway: no gateway runs; reading {database} itself, and none can start until this is done", file=sys.stderr)
        yield store, settings


async def _result(reading: LongRead[Any]) -> dict[str, Any]:
    """Wait for a long read, and put it to its end also when the command is interrupted."""
    try:
        document: dict[str, Any] = msgspec.to_builtins(await asyncio.shield(reading.ended))
    finally:
        await reading.end()
    return document


@contextmanager
def _patience(what: str) -> Iterator[None]:
    """Show a spinner on a terminal while the work goes on."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        progress.add_task(printable(what), total=None)
        yield


def _report(health: dict[str, Any]) -> Iterator[str]:
    on_server = health["file"].startswith("postgresql://")
    kind = "corrupt" if health["damage"] else "miscounted" if health["miscounted"] else "sound"
    yield f"{health['file']}: {kind}"
    if health["schema"] is not None:
        older = health["schema"] < health["newest_schema"]
        then = "" if on_server else ", after a backup"
        upgrade = f" (the next start makes it schema {health['newest_schema']}{then})" if older else ""
        yield f"  schema {health['schema']}{upgrade}, {size(health['size'])}"
        yield f"  {health['messages']:,} messages" + (f", the newest of {health['newest']}" if health["newest"] else "")
        yield f"  deliveries: {', '.join(f'{number:,} {state}' for state, number in health['deliveries'].items())}"
    yield from (f"  {one}" for one in [*health["damage"], *health["miscounted"]])
    if health["damage"] and on_server:
        yield "stop the gateways, and restore a backup of the server, or mend what is named"
    elif health["damage"]:
        yield "stop the gateway, keep this file, and put a backup in its place; gateway db check FILE checks a backup first"
    elif health["miscounted"]:
        yield "no message and no delivery is lost; report this"


def _is_missing(file: Path) -> bool:
    try:
        return not file.exists()
    except OSError:
        return False  # it may exist: this user can't look
