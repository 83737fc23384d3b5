"""The tables [[watch]], decoded and checked: how long a service request may stay in a state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from msgspec import structs

from gateway.config.decode import decode_table, suggestion
from gateway.config.files import TomlFile
from gateway.config.location import Finding, Findings, Place, warning
from gateway.config.memo import Memo
from gateway.config.rules import tables_in, was_refused
from gateway.config.settings import WatchRule, WatchSettings
from gateway.core.errors import Problem
from gateway.core.events import ANY, STATES, State
from gateway.core.values import Duration
from gateway.core.watches import SETTLE, Watch

_SHORTEST = Duration(SETTLE)
"""A timer is due no earlier than this after an event arrived, and the loop that tells looks once a second."""
KNOWN_STATES: tuple[str, ...] = tuple(
    sorted({State(primary, one if isinstance(one, str) else None).text for primary, one in STATES} | {name for name, _ in STATES})
)
"""The states that a rule may name, as the sender documents them."""
_OPEN = frozenset(primary for primary, supplement in STATES if supplement is ANY)
"""The primary states that come with any supplement."""


def read_watches(files: list[TomlFile], findings: Findings, memo: Memo) -> list[WatchRule]:
    """Return the rules of all files in order."""
    rules: list[WatchRule] = []
    first: dict[str, Place] = {}
    for _, place, table in tables_in(files, "watch", findings):
        rule = memo.collect(("watch", place, memo.text(table)), findings, partial(_rule, place, table))
        if rule is None:
            continue
        name, where = rule.settings.name, rule.place
        if (other := first.setdefault(name, where)) is not where and name:
            in_file = f", in {other.file.name}" if other.file != where.file else ""
            findings.append(Finding(where / "name", f"another watch already has this name{in_file}"))
        rules.append(rule)
    return rules


def unusual_watches(rules: Iterable[WatchRule]) -> Iterator[Finding]:
    """Yield warnings about states that the sender does not document: most of them are misspelt."""
    for rule in rules:
        for state, where in _states(rule.settings, rule.place):
            primary = state.partition("/")[0]
            if state not in KNOWN_STATES and primary not in _OPEN:
                yield warning(where, "no documented state has this name", suggestion(state, KNOWN_STATES))


def hasty_watches(rules: Iterable[WatchRule]) -> Iterator[Problem]:
    """Yield notes about times that are shorter than the one that the gateway waits for late events."""
    for rule in rules:
        if rule.settings.after < _SHORTEST:
            wrong = f"people are told {_SHORTEST} after an event came, at the earliest, and not after {rule.settings.after}"
            hint = "until then an event that arrives late may still end the state"
            yield Problem(
                file=str(rule.place.file), place=f'[[watch]] "{rule.settings.name}"', wrong=wrong, hint=hint, level="note"
            )


def _rule(place: Place, table: Any, findings: Findings) -> WatchRule | None:
    settings = decode_table(WatchSettings, table, place, findings)
    if settings is None:
        return None
    where = structs.replace(place, name=settings.name)
    if not settings.name and not was_refused(where / "name", findings):
        findings.append(Finding(where / "name", "is empty", 'write what people shall read, such as "QC longer than 4 h"'))
    states = list(_states(settings, where))
    if settings.state == []:
        findings.append(Finding(where / "state", "an empty list watches nothing", 'write a state, such as "QC/PENDING"'))
    for state, at in states:
        if not (len(state.split("/")) <= 2 and all(state.split("/"))) and not was_refused(at, findings):
            findings.append(
                Finding(at, f'"{state}" is not a state', 'write PRIMARY/SUPPLEMENT, such as "QC/PENDING", or PRIMARY')
            )
    if settings.after <= 0 and not was_refused(where / "after", findings):
        findings.append(Finding(where / "after", "must be longer than 0s"))
    if settings.again is not None and settings.again < _SHORTEST:
        findings.append(Finding(where / "again", f"must be at least {_SHORTEST}", "leave it out to tell once"))
    watch = Watch(settings.name, tuple(state for state, _ in states), settings.after, settings.again)
    return WatchRule(where, settings, watch)


def _states(settings: WatchSettings, where: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(settings.state, str):
        yield settings.state, where / "state"
    else:
        for number, state in enumerate(settings.state):
            yield state, where / "state" / number
