"""`gateway replay`, `discard`, `pause`, `resume`: what a person does to deliveries. The count comes first, then the question."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from gateway.cli.client import Client, Refused, actor, connected, segment
from gateway.cli.completion import sink_names
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption, SinceOption, UntilOption, instant
from gateway.cli.output import agreed, printable, to_json

SinkArgument = Annotated[str, Parameter(completer=sink_names)]
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
    state: Annotated[
        Literal["dead"] | None, Parameter(help="Only deliveries that are there and dead; --sink then makes none.")
    ] = None,
    sink: Annotated[
        str | None, Parameter(completer=sink_names, help="To this sink; one that a message was never owed to gets it now.")
    ] = None,
    reroute: Annotated[bool, Parameter(negative="", help="To the sinks that the rules of today name.")] = False,
    delivered: Annotated[bool, Parameter(negative="", help="Deliveries that were made, too.")] = False,
    unrouted: Annotated[bool, Parameter(negative="", help="Messages that no route matched, by the rules of today.")] = False,
    quarantined: Annotated[bool, Parameter(negative="", help="Messages that could not be read, likewise.")] = False,
    common: Common = _DEFAULTS,
) -> int:
    """Deliver again: dead deliveries, with the same keys and a fresh budget; or backfill a new or repaired sink.

    A backfill of a window is of what came in and could be read: the gateway's own notices, and what is quarantined, have to
    be named.
    """
    if unrouted and quarantined:
        raise UsageError("--unrouted and --quarantined are two replays")
    if sink is not None and reroute:
        raise UsageError("--sink and --reroute are two replays: to that sink, or to those that the rules of today name")
    if state is not None and (reroute or delivered or unrouted or quarantined):
        raise UsageError(
            "--state dead is of deliveries that are there: not with --reroute, --delivered, --unrouted, --quarantined"
        )
    status = "unrouted" if unrouted else "quarantined" if quarantined else None
    _need(ids, (state, sink, status, reroute), common, "--state, --sink, --unrouted, --quarantined")
    if state is not None:
        return asyncio.run(_act("replay", ids, {"state": state, "sink": sink}, {}, ("dead",), common))
    act = {"to": sink, "reroute": reroute, "delivered": delivered}
    return asyncio.run(_act("replay", ids, {"status": status}, act, ("dead", "delivered", "new"), common))


def discard(
    *ids: IdsArgument,
    state: Annotated[Literal["queued", "dead"] | None, Parameter(help="Only these; else both.")] = None,
    sink: Annotated[str | None, Parameter(completer=sink_names, help="Only those to this sink.")] = None,
    common: Common = _DEFAULTS,
) -> int:
    """End deliveries that are queued or dead, for good. Their messages are kept."""
    _need(ids, (state, sink), common, "--sink, --state")
    return asyncio.run(_act("discard", ids, {"state": state, "sink": sink}, {}, ("queued", "dead"), common))


def pause(sink: SinkArgument, /, *, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
    """Hold all deliveries to a sink, across restarts too, until `gateway resume`. None is lost.

    Parameters
    ----------
    sink
        The sink's name.
    """
    return asyncio.run(_gate(sink, "pause", json_, config, admin))


def resume(sink: SinkArgument, /, *, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
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


async def _act(
    what: str, ids: tuple[str, ...], selection: dict[str, Any], act: dict[str, Any], kinds: tuple[str, ...], common: Common
) -> int:
    """Count, ask, act. `kinds` are those of deliveries that can be meant, as the count tells them."""
    selection = {**selection, "since": instant(common.since), "until": instant(common.until)}
    given = {key: value for key, value in selection.items() if value is not None}
    acts = [{**act, "selection": {**given, "id": text}, "actor": actor()} for text in ids] or [
        {**act, "selection": given, "actor": actor()}
    ]
    async with connected(common.config, common.admin) as client:
        found = Counter(dict.fromkeys(kinds, 0))
        unknown = []
        for one, text in zip_longest(acts, ids):
            counted = await _all(client, what, {**one, "dry_run": True}, None)
            if text is not None and not counted["changed"] and not await _is_known(client, text):
                unknown.append(text)
            found += counted
        if unknown:
            for text in unknown:
                print(f'gateway: no message has the id "{printable(text)}"', file=sys.stderr)
            if len(unknown) < len(ids):
                print("gateway: nothing was done for the others either", file=sys.stderr)
            if common.json_:
                print(to_json({"count": 0, "changed": 0, **dict.fromkeys(kinds, 0)}))
            return 1
        count = found.pop("changed", 0)
        document = {"count": count, "changed": 0, **{kind: found[kind] for kind in kinds}}
        if not common.json_:
            told = ", ".join(f"{found[kind]} {kind}" for kind in kinds if found[kind])
            print(f"{count} deliveries to {what}{told and f': {told}'}")
        if common.dry_run or count == 0:
            if common.json_:
                print(to_json(document))
            return 0
        if not common.yes:
            if not sys.stdin.isatty():
                raise UsageError(f"to {what} without a terminal to ask on, say --yes")
            if not agreed(f"{what.capitalize()} them?"):
                return 1
        total = None if common.json_ else count
        changed = sum([(await _all(client, what, one, total))["changed"] for one in acts])
    print(to_json({**document, "changed": changed}) if common.json_ else f"{changed} done")
    return 0


async def _is_known(client: Client, text: str) -> bool:
    """Whether an id stands for a message."""
    after = None
    while True:
        page = await client.get("/api/messages", {"id": text, "after": after, "limit": 1})
        after = page["after"]
        if page["messages"] or after is None:
            return bool(page["messages"])


async def _all(client: Client, what: str, act: dict[str, Any], total: int | None) -> Counter[str]:
    """Slice by slice to the end, with a progress bar where a total is given and somebody looks.

    How many were `changed`, or would be, and how many of them were of which kind.
    """
    from rich.console import Console
    from rich.progress import Progress

    done, after = Counter[str](), None
    with Progress(console=Console(stderr=True), disable=total is None or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=total)
        while True:
            try:
                answer = await client.post(f"/api/{what}", {**act, "after": after})
            except Refused as error:
                raise error.suggesting(str(act.get("to") or act["selection"].get("sink"))) from None
            done.update({"changed": answer["changed"], **answer["kinds"]})
            after = answer["after"]
            progress.update(task, completed=done["changed"])
            if after is None:
                return done


async def _gate(sink: str, act: str, as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        try:
            answer = await client.post(f"/api/sinks/{segment(sink)}/{act}", {"actor": actor()})
        except Refused as error:
            raise error.suggesting(sink) from None
    if as_json:
        print(to_json(answer))
        return 0
    was = "" if answer["changed"] else " already"
    print(f"{sink} is {'paused' if answer['paused'] else 'running'}{was}")
    return 0
