"""`gateway replay` and `gateway discard`: open deliveries again, or end them. Both count first, then ask, then act."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from gateway.cli.client import Client, RequestRefused, actor, connected
from gateway.cli.completion import sink_names
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption, SinceOption, UntilOption, instant
from gateway.cli.output import agreed, counted, cut, printable, to_json
from gateway.core.named_requests import MOST_MESSAGES_NAMED, NamedRequests, named_requests

IdsArgument = Annotated[
    str, Parameter(name="ID", help="The gateway's id, the sender's id, an SR uuid, or the beginning of one; or a reference id.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that `replay` and `discard` have in common."""

    since: SinceOption = None
    until: UntilOption = None
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Act without asking.")] = False
    dry_run: Annotated[bool, Parameter(negative="", help="Count the deliveries, and change nothing.")] = False
    json_: JsonOption = False
    config: ConfigOption = None
    admin: AdminOption = None


_DEFAULTS = Common()


def replay(
    *ids: IdsArgument,
    state: Annotated[Literal["dead"] | None, Parameter(help="Only dead deliveries; --sink then adds no new ones.")] = None,
    sink: Annotated[
        str | None, Parameter(completer=sink_names, help="To this sink, also messages that were never routed to it.")
    ] = None,
    reroute: Annotated[bool, Parameter(negative="", help="To the sinks that the present routes name.")] = False,
    delivered: Annotated[bool, Parameter(negative="", help="Also deliveries that succeeded.")] = False,
    unrouted: Annotated[bool, Parameter(negative="", help="Messages that no route matched, by the present routes.")] = False,
    quarantined: Annotated[bool, Parameter(negative="", help="Quarantined messages, by the present routes.")] = False,
    skip_late: Annotated[
        bool, Parameter(negative="", help="Leave out events whose sink has been told of something newer.")
    ] = False,
    common: Common = _DEFAULTS,
) -> int:
    """Deliver again: dead deliveries, or past messages to a new sink.

    Every delivery keeps its idempotency key and gets a fresh budget of retries. The count says how many are late: their sink has
    been told of something that happened to the same service request later. With --sink, a window (--since, --until) leaves
    out the gateway's own events and quarantined messages: name those by their ids, or with --quarantined.

    Example: gateway replay --state dead --sink erp --since 2h
    """
    if unrouted and quarantined:
        raise UsageError("--unrouted and --quarantined can't be combined: replay one, then the other")
    if sink is not None and reroute:
        raise UsageError("--sink and --reroute can't be combined: name a sink, or let the present routes name them")
    if state is not None and (reroute or delivered or unrouted or quarantined):
        raise UsageError("--state dead can't be combined with --reroute, --delivered, --unrouted or --quarantined")
    status = "unrouted" if unrouted else "quarantined" if quarantined else None
    _need(ids, (state, sink, status, reroute), common, "--state, --sink, --unrouted, --quarantined")
    if state is not None:
        return asyncio.run(_act("replay", ids, {"state": state, "sink": sink}, {"skip_late": skip_late}, ("dead",), common))
    act = {"to": sink, "reroute": reroute, "delivered": delivered, "skip_late": skip_late}
    return asyncio.run(_act("replay", ids, {"status": status}, act, ("dead", "delivered", "new"), common))


def discard(
    *ids: IdsArgument,
    state: Annotated[Literal["queued", "dead"] | None, Parameter(help="Only deliveries in this state; default: both.")] = None,
    sink: Annotated[str | None, Parameter(completer=sink_names, help="Only deliveries to this sink.")] = None,
    common: Common = _DEFAULTS,
) -> int:
    """Give up queued or dead deliveries for good. Their messages are kept.

    Example: gateway discard --sink old_erp --state queued
    """
    _need(ids, (state, sink), common, "--sink, --state")
    return asyncio.run(_act("discard", ids, {"state": state, "sink": sink}, {}, ("queued", "dead"), common))


def _need(ids: tuple[str, ...], choices: tuple[object, ...], common: Common, options: str) -> None:
    """Refuse to act when nothing was selected: an unset shell variable must not mean everything. Raises UsageError."""
    if "" in ids:
        raise UsageError("an ID is empty: is a variable not set?")
    if not (ids or any(choices) or common.since or common.until):
        raise UsageError(f"select deliveries by an ID, {options}, --since or --until")


async def _act(
    what: str, ids: tuple[str, ...], selection: dict[str, Any], act: dict[str, Any], kinds: tuple[str, ...], common: Common
) -> int:
    """Count, ask, act.

    Args:
        kinds: the kinds of deliveries that the act may change, as the count names them.
    """
    selection = {**selection, "since": instant(common.since), "until": instant(common.until)}
    given = {key: value for key, value in selection.items() if value is not None}
    acts = [{**act, "selection": {**given, "id": text}, "actor": actor()} for text in ids] or [
        {**act, "selection": given, "actor": actor()}
    ]
    async with connected(common.config, common.admin) as client:
        found = Counter(dict.fromkeys(kinds, 0))
        unknown = []
        for one, text in zip_longest(acts, ids):
            counts = await _all(client, what, {**one, "dry_run": True}, None)
            if text is not None and not counts["changed"] and not await _is_known(client, text):
                unknown.append(text)
            found += counts
        if unknown:
            for text in unknown:
                print(f'gateway: no message has the id "{printable(cut(text))}"', file=sys.stderr)
            if len(unknown) < len(ids):
                print("gateway: nothing was done for the others either", file=sys.stderr)
            if common.json_:
                print(to_json({"count": 0, "changed": 0, **dict.fromkeys(kinds, 0)}))
            return 1
        count = found.pop("changed", 0)
        late = {"late": found["late"]} if found["late"] else {}
        document = {"count": count, "changed": 0, **{kind: found[kind] for kind in kinds}, **late}
        if not common.json_:
            told = ", ".join(f"{found[kind]} {kind}" for kind in kinds if found[kind])
            print(f"{counted(count, 'delivery', 'deliveries')} to {what}{told and f': {told}'}")
            if late.get("late"):
                print(_of_late(late["late"], skipped=bool(act.get("skip_late"))))
            for text in ids if count else ():
                for line in _of_requests(text, await _named(client, text)):
                    print(printable(line))
        if common.dry_run or count == 0:
            if common.json_:
                print(to_json(document))
            return 0
        if not common.yes:
            if not sys.stdin.isatty():
                raise UsageError(f"stdin is not a terminal: add --yes to {what} without a question")
            if not agreed(f"{what.capitalize()} them?"):
                return 1
        total = None if common.json_ else count
        changed = sum([(await _all(client, what, one, total))["changed"] for one in acts])
    print(to_json({**document, "changed": changed}) if common.json_ else f"{changed} done")
    return 0


def _of_late(number: int, *, skipped: bool) -> str:
    """Say how many deliveries are late."""
    if skipped:
        return f"{counted(number, 'late one is', 'late ones are')} left out: their sinks have been told of something newer"
    late = "1 of them is late: its sink has" if number == 1 else f"{number} of them are late: their sinks have"
    return f"{late} been told of something newer (--skip-late leaves them out)"


async def _named(client: Client, text: str) -> NamedRequests:
    """Ask which service requests a name stands for."""
    page = await client.get("/api/messages", {"id": text, "limit": MOST_MESSAGES_NAMED})
    messages = ((one["sr_uuid"], one["reference_id"]) for one in page["messages"])
    return named_requests(messages, complete=page["after"] is None)


def _of_requests(text: str, named: NamedRequests) -> Iterator[str]:
    """Yield the service requests that a name stands for, one a line."""
    if named.requests:
        at_least = "" if named.complete else " or more"
        yield f"{cut(text)} stands for {counted(named.number, 'service request', 'service requests')}{at_least}:"
        for one in named.requests:
            yield f"  {cut(one.sr_uuid)}" if one.reference_id is None else f"  {cut(one.reference_id)}  {cut(one.sr_uuid)}"
        if named.more:
            yield f"  and {named.more} more"
    if named.loose:
        yield f"{cut(text)} stands for {counted(named.loose, 'message', 'messages')} of no service request"


async def _is_known(client: Client, text: str) -> bool:
    """Return True if a text is an id of a message."""
    after = None
    while True:
        page = await client.get("/api/messages", {"id": text, "after": after, "limit": 1})
        after = page["after"]
        if page["messages"] or after is None:
            return bool(page["messages"])


async def _all(client: Client, what: str, act: dict[str, Any], total: int | None) -> Counter[str]:
    """Act slice by slice to the end, with a progress bar on a terminal if a total is given.

    Returns how many deliveries were `changed`, or would be, and how many of each kind.
    """
    from rich.console import Console
    from rich.progress import Progress

    done, after = Counter[str](), None
    with Progress(console=Console(stderr=True), disable=total is None or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=total)
        while True:
            try:
                answer = await client.post(f"/api/{what}", {**act, "after": after})
            except RequestRefused as error:
                raise error.suggesting(str(act.get("to") or act["selection"].get("sink"))) from None
            done.update({"changed": answer["changed"], "late": answer.get("late", 0), **answer["kinds"]})
            after = answer["after"]
            progress.update(task, completed=done["changed"])
            if after is None:
                return done
