"""The reason why a route did not apply to an event, in the words of a person who reads it. Pure."""

from __future__ import annotations

import json
from typing import Any

from gateway.core.fact_fields import FACT_FIELDS
from gateway.core.routing import DERIVED_FIELDS, Trace

_LONGEST = 300
"""Characters of a value at most."""
_OF_THE_LEDGER = frozenset(
    (*FACT_FIELDS, *DERIVED_FIELDS, "event_type", "sr_uuid", "reference_id", "timestamp", "state.primary", "state.supplement")
)
"""Fields whose values the ledger shows as well."""


def why_not(trace: Trace, *, judged: bool) -> str:
    """Return the condition that failed, with the expected and the actual value; "" if the route applied.

    Values come from outside: a caller that prints them has to make them harmless.

    Args:
        judged: the event has facts; without them no condition on a fact can hold.
    """
    failed = trace.failed
    if failed is None:
        return ""
    match trace.keys[0]:
        case "final":
            return f'final: "{failed.actual}" before it is final, and matched'
        case "fallback":
            return f'fallback: "{failed.actual}" matched'
        case "unless":
            found = ", ".join(f"{path} is {_shown(value)}" for path, value in failed.actual.items())
            return f"unless: {_shown(failed.expected['not'])} matches: {found}"
        case _:
            actual = "absent" if failed.actual is None else _shown(failed.actual)
            if not judged and failed.path in FACT_FIELDS:
                actual = "absent, because this event has no facts"
            return f"{failed.path}: expected {_shown(failed.expected)}, is {actual}"


def quotes_body(trace: Trace) -> bool:
    """Return True if the reason of `why_not` has a value of the body that the ledger does not show."""
    if trace.failed is None or trace.keys[0] in ("final", "fallback"):
        return False
    values = trace.failed.actual if trace.keys[0] == "unless" else {trace.failed.path: trace.failed.actual}
    return not all(path in _OF_THE_LEDGER and _is_plain(value) for path, value in values.items())


def _is_plain(value: Any) -> bool:
    """Return True if a value is none that holds others: `event_type` may be a table, whose fields no ledger shows."""
    return value is None or isinstance(value, (str, bool, int))


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "something nested very deeply"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
