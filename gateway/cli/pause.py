"""`gateway pause` and `gateway resume`: hold the deliveries to a sink, and let them go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from gateway.cli.client import RequestRefused, actor, connected, segment
from gateway.cli.completion import sink_names
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import to_json

SinkArgument = Annotated[str, Parameter(completer=sink_names)]


def pause(sink: SinkArgument, /, *, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
    """Hold all deliveries to a sink until `gateway resume`, across restarts too. None is lost.

    Example: gateway pause erp

    Parameters
    ----------
    sink
        The name of the sink.
    """
    return asyncio.run(_act(sink, "pause", json_, config, admin))


def resume(sink: SinkArgument, /, *, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
    """Deliver to a paused sink again, oldest first.

    Example: gateway resume erp

    Parameters
    ----------
    sink
        The name of the sink.
    """
    return asyncio.run(_act(sink, "resume", json_, config, admin))


async def _act(sink: str, act: Literal["pause", "resume"], as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        try:
            answer = await client.post(f"/api/sinks/{segment(sink)}/{act}", {"actor": actor()})
        except RequestRefused as error:
            raise error.suggesting(sink) from None
    if as_json:
        print(to_json(answer))
        return 0
    already = "" if answer["changed"] else " already"
    print(f"{sink} is {'paused' if answer['paused'] else 'running'}{already}")
    return 0
