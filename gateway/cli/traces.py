"""The words about a message beside its deliveries: how it came, what was found out about it, what people did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.cli.output import counted


def marks(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what was found out about an event when it came."""
    if facts["stale"]:
        yield "LATE"
    if facts["round"] > 1:
        yield f"round {facts['round']}"
    if "terminal_regression" in facts:
        yield f"! {facts['terminal_regression']}"
    if "skipped" in facts:
        yield f"! skipped {', '.join(facts['skipped'])}"
    for name in ("undated", "future"):
        if facts[name]:
            yield f"! {name}"


def arrival(event: dict[str, Any]) -> Iterator[str]:
    """Yield how a message came, and which routes it took."""
    if event["signed"] is not None:
        yield f"signed with {event['signed']['key']}"
    if event["routes"] is not None:
        routes = ", ".join(f'"{name}"' for name in event["routes"]) or "no route"
        yield f"by {routes} of rules {event['rules']}"
    if event["duplicates"]:
        times = ", ".join(one["time"] for one in event["repeats"][:3])
        more = ", ..." if event["duplicates"] > 3 else ""
        yield f"{counted(event['duplicates'], 'repeat', 'repeats')}{f': {times}{more}' if times else ''}"


def said_of_act(act: dict[str, Any]) -> str:
    """Return who did what to a delivery."""
    by = f"{act['actor']} ({act['claimed']})" if act["claimed"] else act["actor"]
    was = f"it was {act['was']}" if act["was"] else "it had no delivery"
    return f"{act['time']}  {by}: {act['act']} to {act['sink']}; {was}"
