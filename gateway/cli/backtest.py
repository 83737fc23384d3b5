"""`gateway backtest`: routes past messages by other routes, and shows what differs. Sends nothing, changes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec import Struct, field

from gateway.cli.client import connected
from gateway.cli.errors import UsageError, complain
from gateway.cli.options import AdminOption, ConfigOption, JsonOption, instant
from gateway.cli.output import counted, for_people, printable, to_json
from gateway.config import find, load
from gateway.core import events
from gateway.core.fact_fields import facts_in
from gateway.core.routing import Decision, Router
from gateway.host.environment import Environment

_MOST_EXAMPLES = 10


def backtest(
    *,
    against: Annotated[Path, Parameter(help="The configuration with the other routes.")],
    since: Annotated[str, Parameter(help='Only since: "2h" ago, "7d", or an RFC 3339 time.')] = "7d",
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Route past messages of the running gateway by other routes, and show which sinks would differ.

    Nothing is sent. Quarantined messages are left out, because no route gets them. The exit code is 0, whatever differs.

    Example: gateway backtest --against new.toml --since 7d
    """
    environment = Environment.of_process()
    loaded = load(find(against, environment), environment, secrets=False)
    complain(loaded.warnings)
    report = asyncio.run(_compare(Router(loaded.routes), since, config, admin, quiet=json_))
    print(to_json(report.document()) if json_ else "\n".join(report.lines()))
    return 0


class _Routed(Struct, frozen=True):
    """Where a set of routes sends an event, and which sinks each route names."""

    decision: Decision
    rules: Mapping[str, Sequence[str]]

    @property
    def sinks(self) -> Sequence[str]:
        return self.decision.sinks

    def because(self, sink: str) -> list[str]:
        """Return the routes that applied and name a sink."""
        return [route for route in self.decision.routes if sink in self.rules.get(route, ())]


class _Report(Struct):
    """The differences that were found; its size does not grow with the number of messages."""

    messages: int = 0
    changed: int = 0
    gains: Counter[str] = field(default_factory=Counter)
    loses: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, message_id: str, event: events.Event, old: _Routed, new: _Routed) -> None:
        self.messages += 1
        gained = [sink for sink in new.sinks if sink not in old.sinks]
        lost = [sink for sink in old.sinks if sink not in new.sinks]
        if not gained and not lost:
            return
        self.changed += 1
        self.gains.update(gained)
        self.loses.update(lost)
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(
                {
                    "message_id": message_id,
                    "event_type": event.event_type,
                    "milestone": event.milestone.value,
                    "sr_uuid": event.sr_uuid,
                    "reference_id": event.reference_id,
                    "gains": {sink: new.because(sink) for sink in gained},
                    "loses": {sink: old.because(sink) for sink in lost},
                }
            )

    def document(self) -> dict[str, Any]:
        sinks = sorted(self.gains.keys() | self.loses.keys())
        return {
            "messages": self.messages,
            "changed": self.changed,
            "sinks": {sink: {"gains": self.gains[sink], "loses": self.loses[sink]} for sink in sinks},
            "examples": self.examples,
        }

    def lines(self) -> list[str]:
        if not self.changed:
            return [f"{counted(self.messages, 'message', 'messages')}; every one would go where it went"]
        lines = [f"{counted(self.messages, 'message', 'messages')}, {self.changed} would go elsewhere:"]
        sinks = sorted(self.gains.keys() | self.loses.keys())
        width = max(len(sink) for sink in sinks)
        lines += [f"  {sink:<{width}}  +{self.gains[sink]}  -{self.loses[sink]}" for sink in sinks]
        lines.append("For example:")
        for example in for_people(self.examples):
            changes = [f"+{sink} (by {_names(routes)})" for sink, routes in example["gains"].items()]
            changes += [f"-{sink} (no longer by {_names(routes)})" for sink, routes in example["loses"].items()]
            ids = f"{example['message_id']}  {example['milestone']}  {example['reference_id'] or example['sr_uuid'] or ''}"
            lines.append(printable(f"  {ids}  {'  '.join(changes)}"))
        return lines


def _names(routes: list[str]) -> str:
    return ", ".join(f'"{route}"' for route in routes)


async def _compare(router: Router, since: str, config: Path | None, admin: str | None, *, quiet: bool) -> _Report:
    from rich.console import Console
    from rich.progress import Progress

    start = instant(since)
    if start is None:
        raise UsageError("--since is empty: is a shell variable not set?")
    report, rules = _Report(), router.sinks
    async with connected(config, admin) as client:
        with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True) as progress:
            task = progress.add_task("backtest", total=None)
            first, end = 0, 0
            after: int | None = None
            while True:
                page = await client.get("/api/routing", {"since": start, "after": after})
                for message in page["messages"]:
                    decoded = events.decode(message["body"].encode())
                    if isinstance(decoded, events.Event):
                        old = _Routed(Decision(tuple(message["sinks"]), tuple(message["routes"])), page["rules"])
                        facts = facts_in(message.get("facts"))
                        new = _Routed(router.route(decoded, message["source"], facts), rules)
                        report.add(message["message_id"], decoded, old, new)
                if after is None:
                    first, end = page["from"], page["to"]
                after = page["after"]
                if after is None or after >= end:  # do not follow messages that arrive meanwhile
                    return report
                progress.update(task, completed=after - first, total=end - first)
