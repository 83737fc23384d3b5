"""`gateway redecode`: applies what this version knows to messages that an earlier one did not understand."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.client import Client, actor, connected
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption, instant
from gateway.cli.output import agreed, counted, printable, to_json


def redecode(
    *,
    since: Annotated[str, Parameter(help='Only messages since: "2h" ago, "7d", or an RFC 3339 time.')],
    route: Annotated[bool, Parameter(negative="", help="Also deliver them to the sinks that the present routes name.")] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Act without asking.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Count the messages, and change nothing.")] = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Decode past messages once more that were quarantined or not recognized when they came.

    Do this after an upgrade whose changelog names new event types or states. The messages keep their ids and bodies; they are
    delivered only with --route, and never twice to the same sink.

    Example: gateway redecode --since 30d --dry-run
    """
    begin = instant(since)
    assert begin is not None
    return asyncio.run(_redecode(begin, route, yes, dry_run, json_, config, admin))


async def _redecode(
    since: float, route: bool, yes: bool, dry_run: bool, as_json: bool, config: Path | None, admin: str | None
) -> int:
    act = {"since": since, "route": route, "actor": actor()}
    async with connected(config, admin) as client:
        numbers, milestones = await _all(client, {**act, "dry_run": True})
        found = {"looked_at": numbers["looked_at"], "count": numbers["changed"], "milestones": dict(milestones)}
        document: dict[str, Any] = {**found, "changed": 0, "deliveries": numbers["deliveries"]}
        if not as_json:
            print(printable(_line(numbers, milestones, route)))
        if dry_run or not numbers["changed"]:
            if as_json:
                print(to_json(document))
            return 0
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("stdin is not a terminal: add --yes to redecode without a question")
            if not agreed("Redecode them?"):
                return 1
        done, _ = await _all(client, act)
    changed, made = done["changed"], done["deliveries"]
    if as_json:
        print(to_json({**document, "changed": changed, "deliveries": made}))
    else:
        print(f"{changed:,} done" + (f", {counted(made, 'delivery', 'deliveries')} made" if route else ""))
    return 0


def _line(numbers: Counter[str], milestones: Counter[str], route: bool) -> str:
    looked_at, changed = numbers["looked_at"], numbers["changed"]
    said = f"{counted(looked_at, 'message', 'messages')} not understood then; {changed:,} of them understood now"
    if milestones:
        said += ": " + ", ".join(f"{number:,} {name}" for name, number in sorted(milestones.items()))
    return said + (f"; {counted(numbers['deliveries'], 'delivery', 'deliveries')} to make" if route and changed else "")


async def _all(client: Client, act: dict[str, Any]) -> tuple[Counter[str], Counter[str]]:
    """Go slice by slice to the end. Returns the numbers, and how many messages have which milestone."""
    numbers, milestones, after = Counter[str](), Counter[str](), None
    while True:
        answer = await client.post("/api/redecode", {**act, "after": after})
        numbers.update({name: answer[name] for name in ("looked_at", "changed", "deliveries")})
        milestones.update(answer["milestones"])
        after = answer["after"]
        if after is None:
            return numbers, milestones
