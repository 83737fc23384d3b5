"""The fields by which patterns and templates ask about the facts of an event (docs/reference.md, "Facts")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.ledger import Facts

FACT_FIELDS: Mapping[str, type] = {
    "stale": bool,
    "round": int,
    "skipped": list,
    "terminal_regression": str,
    "undated": bool,
    "future": bool,
    "state.before": str,
}
"""Each field with the type of its value. They win over fields of the same name in the body."""
_AT_THE_TOP = frozenset(name for name in FACT_FIELDS if "." not in name)
_STATE, _BEFORE = "state", "before"


def with_facts(values: Mapping[str, Any], facts: Facts | None) -> dict[str, Any]:
    """Return the values of an event with its facts beside them.

    A fact that does not apply is absent. Without facts, all of these fields are absent, also those that the body has itself:
    otherwise the sender could write them.
    """
    fields = {name: value for name, value in values.items() if name not in _AT_THE_TOP}
    state = fields.get(_STATE)
    if isinstance(state, dict) and _BEFORE in state:
        state = fields[_STATE] = {name: value for name, value in state.items() if name != _BEFORE}
    if facts is None:
        return fields
    fields["stale"], fields["round"] = facts.stale, facts.round
    fields["undated"], fields["future"] = facts.undated, facts.future
    if facts.skipped:
        fields["skipped"] = list(facts.skipped)
    if facts.terminal_regression is not None:
        fields["terminal_regression"] = facts.terminal_regression.value
    if facts.before is not None and (state is None or isinstance(state, dict)):
        fields[_STATE] = {**(state or {}), _BEFORE: facts.before}
    return fields
