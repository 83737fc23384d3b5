"""`gateway tail`: prints the audit log for people, with the files it was rotated into."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gateway.cli.audit_line import Wanted, parsed, readable, style_of
from gateway.cli.completion import sink_names
from gateway.cli.errors import UsageError
from gateway.cli.log_files import followed, look_back
from gateway.cli.options import ConfigOption, instant
from gateway.cli.output import console
from gateway.config import as_the_service, find, load_audit, load_sink_names
from gateway.config.decode import suggestion
from gateway.core.errors import ConfigError, StoreError
from gateway.core.values import rfc3339
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.signals import end_on_interrupt
from gateway.observability.audit_files import complete


def tail(
    *,
    config: ConfigOption = None,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Print new lines as they come.")] = False,
    lines: Annotated[
        int | None, Parameter(name=["--lines", "-n"], help="How many lines; default: the last 20, or all with --since.")
    ] = None,
    sr: Annotated[str | None, Parameter(help="Only of this service request, reference id or message id.")] = None,
    sink: Annotated[str | None, Parameter(completer=sink_names, help="Only of this sink.")] = None,
    failed: Annotated[bool, Parameter(negative="", help="Only failures.")] = False,
    since: Annotated[str | None, Parameter(help='Only since: "2h" ago, "7d", or an RFC 3339 time.')] = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print the lines as they are in the file.")] = False,
) -> int:
    """Print the last lines of the audit log for people; with -f go on until Ctrl-C, also after a rotation.

    If the file is too short or too young, the files that it was rotated into are read as well. The seals of the log are shown
    only with --json.

    Example: gateway tail -f --failed
    """
    from rich.text import Text

    if lines is not None and lines < 0:
        raise UsageError(f"-n {lines} is not a number of lines: give 0 or more")
    environment = Environment.of_process()
    configured = find(config, environment)
    path = load_audit(configured, as_the_service(configured, environment))
    out = console()
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is a folder, a pipe or a device, not an audit log: see [audit] path")
    earliest = instant(since)
    count = min(lines, sys.maxsize) if lines is not None else 20 if since is None else None
    wanted = Wanted(sr, sink, failed, rfc3339(earliest) if earliest is not None else "", seals=json_)

    if sink is not None:
        _check_sink(sink, configured, path)

    def show(raw: bytes) -> bool:
        line = parsed(raw)
        if line is None or not wanted(line):
            return False
        if json_:
            print(raw.decode(errors="replace"), flush=follow)
        else:
            at, event, rest = readable(line)
            out.print(Text.assemble((at, "dim"), "  ", (f"{event:<20}", style_of(line)), "  ", rest))
        return True

    if follow:
        end_on_interrupt()
        asyncio.run(_follow(path, count, wanted, show))
        return 0
    with ExitStack() as files:
        found = look_back(path, count, wanted, files)
        if not found:
            raise UsageError(f"{path} does not exist: the gateway writes it when it starts")
        # Lines that are written meanwhile come after the requested ones, and are left out.
        left = count
        for raw in (raw for file in found for raw in complete(file)):
            if left == 0:
                break
            if show(raw) and left is not None:
                left -= 1
    return 0


def _check_sink(sink: str, configured: Path, log: Path) -> None:
    """Raise UsageError if the configuration has no such sink and no line of the log is about one.

    A sink that left the configuration keeps its lines. While the configuration can't be read, every sink is taken for known.
    """
    try:
        known = load_sink_names(configured)
    except ConfigError:
        return
    if sink in known:
        return
    of_sink = Wanted(sink=sink)
    with ExitStack() as files:
        lines = (line for file in look_back(log, 1, of_sink, files) for raw in complete(file) if (line := parsed(raw)))
        if any(map(of_sink, lines)):
            return
    hint = f"; {suggestion(sink, known)}" if known else ""
    raise UsageError(f'there is no sink "{sink}" in {configured}, and no line about one in {log}{hint}')


async def _follow(path: Path, count: int | None, wanted: Wanted, show: Callable[[bytes], bool]) -> None:
    async for raw in followed(path, count, Clock(), wanted=wanted):
        show(raw)
