"""The only outbound I/O. A sink type is a folder here and an entry in `SINK_TYPES`; everything else follows from that list.

`base` says what a sink type has to offer; `checking` has the rules that types share, `net` the connections, `text` the texts.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import SinkSetupError
from gateway.sinks import email, http, jsonl, slack
from gateway.sinks.base import Opening, Sink, SinkSettings, SinkType

__all__ = ["SINK_TYPES", "open_sink", "type_of"]

SINK_TYPES: dict[str, SinkType[Any]] = {
    kind.name: kind
    for kind in (
        http.TYPE,
        slack.TYPE,
        email.TYPE,
        jsonl.TYPE,
    )
}
"""Every sink type by its name, in the order in which people are shown them."""


def type_of(settings: SinkSettings) -> SinkType[Any]:
    """Return the type of a sink."""
    return SINK_TYPES[str(settings.__struct_config__.tag)]


def open_sink(settings: SinkSettings, opening: Opening) -> Sink:
    """Build a sink without connecting to anything yet. Raises SinkSetupError, which says what to do."""
    try:
        return type_of(settings).open(settings, opening)
    except ValueError as error:
        raise SinkSetupError(f"[sinks.{opening.name}]: {error}") from error
