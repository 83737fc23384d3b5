"""The reason why a route did not apply to an event, as fields and in the words of a person who reads it. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal

from msgspec import Struct, structs

from gateway.core.fact_fields import FACT_FIELDS
from gateway.core.routing import DERIVED_FIELDS, Trace

_LONGEST = 300
"""Characters of a value at most."""
_OF_THE_LEDGER = frozenset(
    (*FACT_FIELDS, *DERIVED_FIELDS, "event_type", "sr_uuid", "reference_id", "timestamp", "state.primary", "state.supplement")
)
"""Fields whose values the ledger shows as well."""

NotBecause = Literal["final", "fallback", "unless", "differs", "without_facts", "other", "unless_so"]
"""The kinds of reasons: a final route came before it; a route applied, and this one is a fallback; its `unless` matches; a
condition failed; a condition on a fact failed because the event has no facts; a condition failed whose actual value is not shown;
or its `unless` matches values that are not shown."""


class WhyNot(Struct, frozen=True):
    """The reason why a route did not apply. Values are JSON. They come from outside: make them harmless before you print them."""

    kind: NotBecause
    about: str = ""
    """The path of the condition, or the name of the route that came before."""
    expected: str = ""
    actual: str | None = None
    """The value of the event; None if it is absent. If `unless` matches, the values by their paths, as text."""

    @property
    def text(self) -> str:
        """The condition that failed, with the expected and the actual value."""
        match self.kind:
            case "final":
                return f'final: "{self.about}" before it is final, and matched'
            case "fallback":
                return f'fallback: "{self.about}" matched'
            case "unless":
                return f"unless: {self.expected} matches: {self.actual}"
            case "unless_so":
                return f"unless: {self.expected} matches"
            case "without_facts":
                return f"{self.about}: expected {self.expected}, is absent, because this event has no facts"
            case "other":
                return f"{self.about}: expected {self.expected}, is something else"
            case "differs":
                return f"{self.about}: expected {self.expected}, is {'absent' if self.actual is None else self.actual}"

    @property
    def quotes_body(self) -> bool:
        """True if the actual value may be one that only the body has, and the ledger does not show."""
        if self.kind == "unless":
            return True
        # The ledger shows no table and no list: `event_type` may be one, with anything in it.
        plain = self.about in FACT_FIELDS or not (self.actual or "").startswith(("{", "["))
        return self.actual is not None and not (self.about in _OF_THE_LEDGER and plain)

    def without_value(self) -> WhyNot:
        """Return the reason without the actual value."""
        return structs.replace(self, kind="unless_so" if self.kind == "unless" else "other", actual=None)


def reason_of(trace: Trace, *, judged: bool) -> WhyNot | None:
    """Return the condition that failed; None if the route applied.

    Args:
        judged: the event has facts; without them no condition on a fact can hold.
    """
    failed = trace.failed
    if failed is None:
        return None
    match trace.keys[0]:
        case "final" | "fallback" as kind:
            return WhyNot(kind, str(failed.actual))
        case "unless":
            found = ", ".join(f"{path} is {_shown(value)}" for path, value in failed.actual.items())
            return WhyNot("unless", "", _shown(failed.expected["not"]), found)
        case _:
            expected = _shown(failed.expected)
            if not judged and failed.path in FACT_FIELDS:
                return WhyNot("without_facts", failed.path, expected)
            return WhyNot("differs", failed.path, expected, None if failed.actual is None else _shown(failed.actual))


def why_not(trace: Trace, *, judged: bool) -> str:
    """Return the same in words; "" if the route applied."""
    reason = reason_of(trace, judged=judged)
    return "" if reason is None else reason.text


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "something nested very deeply"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
