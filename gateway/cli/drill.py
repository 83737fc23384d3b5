"""`gateway drill`: tries a sink with a message that is marked as a test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.client import RequestRefused, actor, connected
from gateway.cli.completion import sample_names, sink_names
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import printable, to_json
from gateway.config.decode import suggestion
from gateway.core.samples import SAMPLES

_WORDS = {"delivered": "delivered", "retry": "not delivered", "defer": "deferred", "reject": "rejected"}


def drill(
    sink: Annotated[str | None, Parameter(completer=sink_names)] = None,
    /,
    *,
    route: Annotated[str | None, Parameter(help="Try every sink that this route names.")] = None,
    event: Annotated[str, Parameter(completer=sample_names, show_default=True, help="The sample to send.")] = "authentic",
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Send a message marked [TEST] through a sink of the running gateway, and show the answer.

    The gateway sends it once, even if the sink is paused or its breaker is open, and stores, counts and retries nothing. In a
    raw HTTP body the reference_id begins with TEST-, and the request has the header x-gateway-drill.

    Exit codes: 0 every sink took it, 1 at least one did not, 2 no such sink or route, 69 no gateway answers.

    Example: gateway drill erp

    Parameters
    ----------
    sink
        The name of the sink.
    """
    if (sink is None) == (route is None):
        raise UsageError("name a sink, or a route with --route")
    if "" in (sink, route):
        raise UsageError("the name is empty: is a shell variable not set?")
    if event not in SAMPLES:
        raise UsageError(f'there is no sample "{event}"; {suggestion(event, SAMPLES)}')
    named = {"sink": sink} if sink is not None else {"route": route}
    drills = asyncio.run(_drill({**named, "event": event, "actor": actor()}, config, admin))
    for one in drills:
        print(to_json(one) if json_ else printable(_line(one)))
    return 0 if all(one["outcome"] == "delivered" for one in drills) else 1


async def _drill(document: dict[str, Any], config: Path | None, admin: str | None) -> Sequence[dict[str, Any]]:
    async with connected(config, admin) as client:
        try:
            # The sinks' own timeouts end it; this command does not know them.
            answer = await client.post("/api/drill", document, seconds=None)
        except RequestRefused as error:
            raise error.suggesting(document.get("sink") or document["route"]) from None
    drills: list[dict[str, Any]] = answer["drills"]
    return drills


def _line(one: dict[str, Any]) -> str:
    """Return one line for people: `erp: not delivered: http_status: HTTP 500 Internal Server Error; answered: ...; 12 ms`."""
    told = f"{one['sink']}: {_WORDS[one['outcome']]}"
    if one["outcome"] == "delivered":
        facts = [str(one["status"]) if one["status"] else "", one["detail"]]
    else:
        again = f"asks to wait {one['after']:g} s" if one["after"] is not None else ""
        facts = [f"{one['reason']}: {one['detail']}", again, f"answered: {one['answer']}" if one["answer"] else ""]
    said = "; ".join([*filter(None, facts), f"{one['duration_ms']} ms"])
    return f"{told}: {said}"
