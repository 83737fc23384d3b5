"""The page that says more about what needs a person, and about a sink."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.core.attention import Attention, SinkStatus
from gateway.web.pages.hyperlinks import path_of


class Look(Struct, frozen=True):
    """A page by its name in the table, with its path and parameters."""

    page: str
    path: str
    query: Mapping[str, str] = {}


def where_to_look(thing: Attention | SinkStatus) -> Look | None:
    """Return the page about a thing; None if a command or the log says more than any page."""
    if isinstance(thing, SinkStatus):
        return Look("sink", path_of("sinks", thing.sink))
    match thing.reason:
        case "dead":
            return Look("dead", path_of("dead"), {"sink": thing.sink or ""})
        case "held" | "breaker" | "paused" | "late":
            return Look("sink", path_of("sinks", thing.sink or ""))
        case "stalled":
            return Look("requests", path_of("sr"), {"stalled": "true"})
    return None
