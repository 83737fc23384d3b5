"""Checks on `join` of [[routes]]: which sinks can tell two events as one message, and whether both events come to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gateway.config.location import Finding, Findings, warning
from gateway.config.rules import was_refused
from gateway.config.settings import Config, Rule
from gateway.core.events import Milestone
from gateway.core.joins import LONGEST_JOIN
from gateway.core.routing import may_apply
from gateway.core.values import Duration
from gateway.sinks import type_of

_APART = "give these sinks a route of their own, without join"
_HALVES = {Milestone.QC_REJECTED: "state_change", Milestone.NEEDS_RESUBMISSION: "media_rejected"}
"""The milestones that tell one rejection, each with its type of event."""


def check(config: Config, findings: Findings) -> None:
    """Report each `join` that is too long, and each sink that cannot join or would give up before the end of the wait."""
    for rule in config.rules:
        join, where = rule.settings.join, rule.place / "join"
        if join > LONGEST_JOIN:
            findings.append(
                Finding(
                    where,
                    f"must be at most {Duration('10m')}",
                    "people wait for the rejection as long as its reasons are missing",
                )
            )
            continue
        if join <= 0:
            continue
        for number, name in enumerate(rule.settings.sinks):
            at = rule.place / "sinks" / number
            if (sink := config.sinks.get(name)) is None or was_refused(at, findings):
                continue
            if not sink.joins:
                kind = type_of(sink).name
                wrong = f'"{name}" cannot join two events: a sink of the type {kind} gets the body of each as it came'
                findings.append(Finding(at, wrong, _APART))
            elif join >= sink.give_up_after > 0:
                wrong = f'is not shorter than give_up_after of "{name}", which is {sink.give_up_after}'
                findings.append(Finding(where, wrong, "a delivery would be given up while it waits"))


def pointless(config: Config, rules: list[Rule]) -> Iterator[Finding]:
    """Yield a warning for each `join` at whose sinks one of the two events never comes to be joined.

    Args:
        rules: those without errors.
    """
    joining = [rule for rule in rules if rule.settings.join > 0]
    taken: dict[str, set[Milestone]] = defaultdict(set)
    for rule in joining:
        halves = _halves(config, rule)
        for name in rule.route.sinks:
            taken[name] |= halves
    for rule in joining:
        came = set.union(*(taken[name] for name in rule.route.sinks)) if rule.route.sinks else set(_HALVES)
        if missing := [half.value for half in _HALVES if half not in came]:
            wrong = f"joins nothing: no route with join brings {' or '.join(missing)} to {', '.join(rule.route.sinks)}"
            hint = 'take both events, such as with match = { milestone = ["qc_rejected", "needs_resubmission"] }'
            yield warning(rule.place / "join", wrong, hint)


def _halves(config: Config, rule: Rule) -> set[Milestone]:
    """Return the events of a rejection that a route may take."""
    return {
        half
        for half, event_type in _HALVES.items()
        for source in config.sources
        if may_apply(rule.route, {"source": source, "event_type": event_type, "milestone": half.value})
    }
