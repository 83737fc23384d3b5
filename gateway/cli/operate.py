"""`gateway replay`, `discard`, `pause`, `resume`: what a person does to deliveries. The count comes first, then the question."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from gateway.cli.client import AdminOption, Client, actor, connected, segment
from gateway.cli.common import ConfigOption, JsonOption, SinceOption, UntilOption, UsageError, instant

IdsArgument = Annotated[str, Parameter(name="ID", help="The gateway's id, the sender's, an SR uuid, a reference id.")]
YesOption = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]
DryRunOption = Annotated[bool, Parameter(name="--dry-run", negative="", help="Say how many, and change nothing.")]


def replay(
    *ids: IdsArgument,
    sink: Annotated[str | None, Parameter(help="To this sink; one that a message was never owed to gets it now.")] = None,
    reroute: Annotated[bool, Parameter(negative="", help="To the sinks that the rules of today name.")] = False,
    delivered: Annotated[bool, Parameter(negative="", help="Deliveries that were made, too.")] = False,
    unrouted: Annotated[bool, Parameter(negative="", help="Messages that no route matched, by the rules of today.")] = False,
    quarantined: Annotated[bool, Parameter(negative="", help="Messages that could not be read, likewise.")] = False,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Deliver again: dead deliveries, with the same keys and a fresh budget; or backfill a new or repaired sink."""
    if unrouted and quarantined:
        raise UsageError("--unrouted and --quarantined are two replays")
    status = "unrouted" if unrouted else "quarantined" if quarantined else None
    if "" in ids:
        raise UsageError("an ID is empty: is a variable not set?")
    if not (ids or sink or status or since or until or reroute):
        raise UsageError("name what to replay: an ID, --sink, --unrouted, --quarantined, --since or --until")
    selection: dict[str, Any] = {"status": status, "since": instant(since), "until": instant(until)}
    act: dict[str, Any] = {"to": sink, "reroute": reroute or (status is not None and sink is None), "delivered": delivered}
    return asyncio.run(_act("replay", ids, selection, act, yes, dry_run, json_, config, admin))


def discard(
    *ids: IdsArgument,
    state: Annotated[Literal["queued", "dead"] | None, Parameter(help="Only these; else both.")] = None,
    sink: Annotated[str | None, Parameter(help="Only those to this sink.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """End deliveries that are queued or dead, for good. Their messages are kept."""
    if "" in ids:
        raise UsageError("an ID is empty: is a variable not set?")
    if not (ids or sink or state or since or until):
        raise UsageError("name what to discard: an ID, --sink, --state, --since or --until")
    selection = {"state": state, "sink": sink, "since": instant(since), "until": instant(until)}
    return asyncio.run(_act("discard", ids, selection, {}, yes, dry_run, json_, config, admin))


def pause(sink: str, /, *, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
    """Hold all deliveries to a sink, across restarts too, until `gateway resume`. None is lost.

    Parameters
    ----------
    sink
        The sink's name.
    """
    return asyncio.run(_gate(sink, "pause", json_, config, admin))


def resume(sink: str, /, *, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
    """Deliver to a paused sink again, oldest first.

    Parameters
    ----------
    sink
        The sink's name.
    """
    return asyncio.run(_gate(sink, "resume", json_, config, admin))


async def _act(
    what: str,
    ids: tuple[str, ...],
    selection: dict[str, Any],
    act: dict[str, Any],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
    admin: str | None,
) -> int:
    given = {key: value for key, value in selection.items() if value is not None}
    acts = [{**act, "selection": {**given, "id": text}, "actor": actor()} for text in ids] or [
        {**act, "selection": given, "actor": actor()}
    ]
    async with connected(config, admin) as client:
        count = sum([await _all(client, what, {**one, "dry_run": True}, None) for one in acts])
        if not as_json:
            print(f"{count} deliveries to {what}")
        if dry_run or count == 0:
            if as_json:
                print(json.dumps({"count": count, "changed": 0}))
            return 0
        if not yes and not _agreed(what):
            return 1
        changed = sum([await _all(client, what, one, None if as_json else count) for one in acts])
    print(json.dumps({"count": count, "changed": changed}) if as_json else f"{changed} done")
    return 0


async def _all(client: Client, what: str, act: dict[str, Any], total: int | None) -> int:
    """Slice by slice to the end, with a progress bar where a total is given and somebody looks; how many were changed."""
    from rich.console import Console
    from rich.progress import Progress

    changed, after = 0, None
    with Progress(console=Console(stderr=True), disable=total is None or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=total)
        while True:
            answer = await client.post(f"/api/{what}", {**act, "after": after})
            changed, after = changed + answer["changed"], answer["after"]
            progress.update(task, completed=changed)
            if after is None:
                return int(changed)


def _agreed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"to {what} without a terminal to ask on, say --yes")
    return input(f"{what.capitalize()} them? [y/N] ").strip().lower() in ("y", "yes")


async def _gate(sink: str, act: str, as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        answer = await client.post(f"/api/sinks/{segment(sink)}/{act}", {"actor": actor()})
    if as_json:
        print(json.dumps(answer))
        return 0
    was = "" if answer["changed"] else " already"
    print(f"{sink} is {'paused' if answer['paused'] else 'running'}{was}")
    return 0
