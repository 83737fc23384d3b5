"""The words about a message beside its deliveries: how it came, what was found out about it, what people did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def hindsight(changes: Sequence[dict[str, Any]] | None) -> Iterator[str]:
    """Yield the facts of arrival that would be judged otherwise today, and how; nothing if there are none."""
    if changes:
        then, now = (", ".join(_fact(one["fact"], one[when]) for one in changes) for when in ("then", "now"))
        yield f"on arrival: {then}; by what is known now: {now}"


def _fact(name: str, value: Any) -> str:
    """Return a fact and its value in words."""
    match name:
        case "stale":
            return "late" if value else "in order"
        case "round":
            return f"round {value}" if value else "no round"
        case "skipped":
            return f"skipped {', '.join(value)}" if value else "nothing skipped"
        case "terminal_regression":
            return str(value) if value else "no contradiction"
        case "state.before":
            return f"was {value}" if value else "no state before"
        case _:
            return name if value else f"not {name}"


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
