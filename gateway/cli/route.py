"""`gateway route`: where would this event go, and why?"""

from __future__ import annotations

import json
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.common import ConfigOption, EventArgument, JsonOption, SetOption, UsageError, configuration, event_bytes
from gateway.cli.lines import printable
from gateway.core import events
from gateway.core.patterns import Failure
from gateway.core.routing import Router, Trace


def route(
    event: EventArgument,
    /,
    *,
    config: ConfigOption = None,
    set_: SetOption = None,
    source: Annotated[str | None, Parameter(help="The source it comes from; else the first one.")] = None,
    expect: Annotated[str | None, Parameter(help="Exactly these sinks, as a,b; exit 1 where they differ.")] = None,
    json_: JsonOption = False,
) -> int:
    """Show which routes an event takes, and for the others the first condition that failed. Sends nothing, reads no secret.

    Parameters
    ----------
    event
        The name of a sample, a file, - for standard input, or the id of a message that the running gateway has.
    """
    loaded = configuration(config, secrets=False)
    name = source or next(iter(loaded.sources))
    if name not in loaded.sources:
        raise UsageError(f'there is no source "{name}"; there is {", ".join(loaded.sources)}')
    decoded = events.decode(event_bytes(event, set_, config))
    if isinstance(decoded, events.Undecodable):
        raise UsageError(f"{decoded.detail}: such a message would be quarantined, and not routed")
    router = Router(loaded.routes)
    decision = router.route(decoded, name)
    traces = router.explain(decoded, name)
    identity = events.identity(decoded, loaded.sources[name].identity_fields())
    if json_:
        document = {
            "sinks": decision.sinks,
            "milestone": decoded.milestone.value,
            "identity": identity,
            "routes": [_trace_json(trace) for trace in traces],
        }
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(printable(f"{decoded.event_type or 'no event_type'}  milestone {decoded.milestone.value}"))
        for trace in traces:
            print(f"  {'+' if trace.matched else '-'} {trace.name}{_why(trace.failed)}")
        print(f"-> {', '.join(decision.sinks) or ('nobody, on purpose' if decision.routes else 'nobody: unrouted')}")
    if expect is None:
        return 0
    wanted = {part.strip() for part in expect.split(",") if part.strip()}
    if wanted == set(decision.sinks):
        return 0
    if not json_:
        print(f"expected {', '.join(sorted(wanted)) or 'nobody'}")
    return 1


def _trace_json(trace: Trace) -> dict[str, Any]:
    failed = trace.failed
    shown = (
        {"path": failed.path, "expected": failed.expected, "actual": failed.actual, "line": None, "column": None}
        if failed
        else None
    )
    return {"name": trace.name, "matched": trace.matched, "failed": shown}


def _why(failed: Failure | None) -> str:
    if failed is None:
        return ""
    actual = "absent" if failed.actual is None else json.dumps(failed.actual, ensure_ascii=False, default=str)
    return printable(f"   {failed.path}: expected {json.dumps(failed.expected, ensure_ascii=False, default=str)}, is {actual}")
