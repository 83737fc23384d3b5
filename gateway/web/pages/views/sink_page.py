"""`/sinks/NAME`: how one sink is, what waits for it, and what it answered of late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.attention import SinkStatus
from gateway.core.records import Counts
from gateway.core.samples import SAMPLES
from gateway.web.admin.json_documents import attempts_json
from gateway.web.door.discretion import attempts_for, status_for
from gateway.web.pages.asking import Asked, Control, NotThere

_ATTEMPTS = 20
_SHOWN = ("ordering", "concurrency", "rate", "timeout", "give_up_after", "on_stale")
"""Settings that are shown: none of them may hold a secret."""


class SinkPage(Struct, frozen=True):
    """One sink."""

    sink: SinkStatus
    counts: Counts | None
    """How many deliveries it has in each state; None if it never had any."""
    type: str | None
    """The type of the sink; None if it left the configuration, and then it has no settings either."""
    settings: Mapping[str, str]
    routes: Sequence[str]
    """The routes that name it."""
    attempts: Sequence[dict[str, Any]]
    """The last attempts, the newest first."""

    @property
    def samples(self) -> Sequence[str]:
        """The names of the samples."""
        return tuple(SAMPLES)


async def one_sink(control: Control, asked: Asked) -> SinkPage:
    """Find the sink with this name, also if it left the configuration."""
    name = asked.names[0]
    last = await control.browse.last_attempts(name, _ATTEMPTS)
    status = status_for(asked.visitor, await control.self_report.status())
    sink = next((one for one in status.sinks if one.sink == name), None)
    if sink is None:
        raise NotThere(name)
    counts = {one.sink: one.counts for one in await control.browse.sinks()}
    shown = attempts_json(attempts_for(asked.visitor, [one.attempt for one in last]))
    attempts = [{"message_id": one.message_id, **attempt} for one, attempt in zip(last, shown, strict=True)]
    config = control.config()
    kind, settings = None, {}
    if (found := config.sinks.get(name)) is not None:
        fields = msgspec.structs.asdict(found)
        kind = found.__struct_config__.tag
        settings = {field: str(fields[field]) for field in _SHOWN if fields.get(field) is not None}
    routes = [route.name for route in config.routes if name in route.sinks]
    return SinkPage(sink, counts.get(name), str(kind) if kind else None, settings, routes, attempts)
