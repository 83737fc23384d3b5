"""`gateway replay`, `discard`, `pause`, `resume`: what a person does to deliveries. The count comes first, then the question."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from gateway.cli.client import AdminOption, Client, actor, connected, segment
from gateway.cli.common import ConfigOption, JsonOption, SinceOption, UntilOption, UsageError, instant

IdsArgument = Annotated[str, Parameter(name="ID", help="The gateway's id, the sender's, an SR uuid, a reference id.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """What `replay` and `discard` are asked alike."""

    since: SinceOption = None
    until: UntilOption = None
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")] = False
    dry_run: Annotated[bool, Parameter(negative="", help="Say how many, and change nothing.")] = False
    json_: JsonOption = False
    config: ConfigOption = None
    admin: AdminOption = None


_DEFAULTS = Common()


def replay(
    *ids: IdsArgument,
    sink: Annotated[str | None, Parameter(help="To this sink; one that a message was never owed to gets it now.")] = None,
    reroute: Annotated[bool, Parameter(negative="", help="To the sinks that the rules of today name.")] = False,
    delivered: Annotated[bool, Parameter(negative="", help="Deliveries that were made, too.")] = False,
    unrouted: Annotated[bool, Parameter(negative="", help="Messages that no route matched, by the rules of today.")] = False,
    quarantined: Annotated[bool, Parameter(negative="", help="Messages that could not be read, likewise.")] = False,
    common: Common = _DEFAULTS,
) -> int:
    """Deliver again: dead deliveries, with the same keys and a fresh budget; or backfill a new or repaired sink."""
    if unrouted and quarantined:
        raise UsageError("--unrouted and --quarantined are two replays")
    status = "unrouted" if unrouted else "quarantined" if quarantined else None
    _need(ids, (sink, status, reroute), common, "--sink, --unrouted, --quarantined")
    act = {"to": sink, "reroute": reroute or (status is not None and sink is None), "delivered": delivered}
    return asyncio.run(_act("replay", ids, {"status": status}, act, common))


def discard(
    *ids: IdsArgument,
    state: Annotated[Literal["queued", "dead"] | None, Parameter(help="Only these; else both.")] = None,
    sink: Annotated[str | None, Parameter(help="Only those to this sink.")] = None,
    common: Common = _DEFAULTS,
) -> int:
    """End deliveries that are queued or dead, for good. Their messages are kept."""
    _need(ids, (state, sink), common, "--sink, --state")
    return asyncio.run(_act("discard", ids, {"state": state, "sink": sink}, {}, common))


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


def _need(ids: tuple[str, ...], choices: tuple[object, ...], common: Common, options: str) -> None:
    """Without a word on what is meant, nothing is: neither everything, nor what an unset variable would name."""
    if "" in ids:
        raise UsageError("an ID is empty: is a variable not set?")
    if not (ids or any(choices) or common.since or common.until):
        raise UsageError(f"name what is meant: an ID, {options}, --since or --until")


async def _act(what: str, ids: tuple[str, ...], selection: dict[str, Any], act: dict[str, Any], common: Common) -> int:
    selection = {**selection, "since": instant(common.since), "until": instant(common.until)}
    given = {key: value for key, value in selection.items() if value is not None}
    acts = [{**act, "selection": {**given, "id": text}, "actor": actor()} for text in ids] or [
        {**act, "selection": given, "actor": actor()}
    ]
    async with connected(common.config, common.admin) as client:
        count = sum([await _all(client, what, {**one, "dry_run": True}, None) for one in acts])
        if not common.json_:
            print(f"{count} deliveries to {what}")
        if common.dry_run or count == 0:
            if common.json_:
                print(json.dumps({"count": count, "changed": 0}))
            return 0
        if not common.yes and not _agreed(what):
            return 1
        changed = sum([await _all(client, what, one, None if common.json_ else count) for one in acts])
    print(json.dumps({"count": count, "changed": changed}) if common.json_ else f"{changed} done")
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
