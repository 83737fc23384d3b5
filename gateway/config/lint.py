"""Warnings and notes about configurations that work, but are probably not meant. It never reports errors."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gateway.config.decode import secrets_in
from gateway.config.join_checks import pointless
from gateway.config.location import Finding, Findings, warning
from gateway.config.memo import Memo, Same
from gateway.config.overlap import shadowed
from gateway.config.rules import tables_of
from gateway.config.settings import Config, Rule
from gateway.config.spelling import of_pattern, of_test
from gateway.config.watch_rules import hasty_watches, unusual_watches
from gateway.core.errors import Problem
from gateway.core.events import Milestone
from gateway.core.routing import GATEWAY, RECONCILE, may_apply
from gateway.core.vocabulary import OwnEvent


def warnings(config: Config, findings: Findings, memo: Memo) -> Iterator[Finding]:
    """Yield the warnings. `findings` are the errors so far: the parts with an error get no warning."""
    wrong = {(finding.place.file, finding.place.keys[:2]) for finding in findings}
    unknown_routes = any(finding.place.keys == ("routes",) for finding in findings)
    yield from _readable_secrets(config, memo)
    if not config.rules and not unknown_routes:
        yield warning(config.place("routes"), "there are no routes", "every message will be kept, but sent nowhere")
    if not unknown_routes and not any(finding.place.keys[0::2] == ("routes", "sinks") for finding in findings):
        yield from _unused_sinks(config)
    yield from _late_events(config, wrong)
    good = [rule for rule in config.rules if (rule.place.file, rule.place.keys[:2]) not in wrong]
    yield from shadowed(good, memo)
    yield from pointless(config, good)
    yield from unusual_watches(rule for rule in config.watch_rules if (rule.place.file, rule.place.keys[:2]) not in wrong)
    sources = frozenset((*config.sources, GATEWAY, RECONCILE))
    for rule in config.rules:
        yield from memo.get(("words", Same(rule), sources), partial(_words, rule, sources))
    named: set[str] = set()
    for test in config.tests:
        yield from of_test(test, sources)
        if test.settings.name in named:
            yield warning(test.place / "name", "another test already has this name")
        named.add(test.settings.name)


def notes(config: Config) -> Iterator[Problem]:
    """Yield notes about things that a valid configuration leaves out, on purpose or by mistake: only the operator knows."""
    dead = {"source": GATEWAY, "event_type": OwnEvent.DELIVERY_DEAD.value, "milestone": Milestone.UNRECOGNIZED.value}
    if config.rules and not any(rule.route.sinks and may_apply(rule.route, dead) for rule in config.rules):
        wrong = "nobody is told when a delivery dies: no route asks for the gateway's own events"
        hint = 'add [[routes]] with source = "gateway" and the sinks of the people who should know'
        yield Problem(file=str(config.file), place="[[routes]]", wrong=wrong, hint=hint, level="note")
    stalled = {**dead, "event_type": OwnEvent.SR_STALLED.value}
    if config.watch_rules and not any(rule.route.sinks and may_apply(rule.route, stalled) for rule in config.rules):
        wrong = "nobody is told when a service request stays in a state for too long: no route asks for gateway.sr_stalled"
        hint = 'add [[routes]] with source = "gateway" and the sinks of the people who should know'
        yield Problem(file=str(config.file), place="[[watch]]", wrong=wrong, hint=hint, level="note")
    yield from hasty_watches(config.watch_rules)
    if config.reconcile is not None and config.rules:
        yield from _notes_of_reconcile(config, config.reconcile.emit)


def _notes_of_reconcile(config: Config, emit: bool) -> Iterator[Problem]:
    """Yield a note if nobody hears what a reconciliation finds."""
    told = {"source": GATEWAY, "event_type": OwnEvent.SR_DIFFERS.value, "milestone": Milestone.UNRECOGNIZED.value}
    if not any(rule.route.sinks and may_apply(rule.route, told) for rule in config.rules):
        wrong = "nobody is told what a reconciliation finds: no route asks for gateway.sr_differs"
        hint = 'add [[routes]] with source = "gateway" and the sinks of the people who should know'
        yield Problem(file=str(config.file), place="[[routes]]", wrong=wrong, hint=hint, level="note")
    made = {"source": RECONCILE, "event_type": "state_change"}
    if emit and not any(rule.route.sinks and may_apply(rule.route, made) for rule in config.rules):
        wrong = "the events that [reconcile] emits go nowhere: no route takes their source"
        hint = 'add "reconcile" to the source of the routes that should take them'
        yield Problem(file=str(config.file), place="[[routes]]", wrong=wrong, hint=hint, level="note")


def _words(rule: Rule, sources: frozenset[str]) -> list[Finding]:
    patterns = [("match", rule.settings.match), ("unless", rule.settings.unless)]
    tables = [pair for key, raw in patterns for pair in tables_of(raw, rule.place / key)]
    return [finding for place, table in tables for finding in of_pattern(table, place, sources)]


def _late_events(config: Config, wrong: set[tuple[Path, tuple[str | int, ...]]]) -> Iterator[Finding]:
    """Find sinks whose receiver may end on an old state after an outage."""
    for name, settings in config.sinks.items():
        where = config.sink_places[name]
        if settings.late_unsaid and (where.file, where.keys[:2]) not in wrong:
            yield warning(
                where / "on_stale",
                "is missing, as is ordering: a late event may leave the receiver in an old state",
                'write ordering = "sr", or on_stale = "suppress", "annotate" (with the header x-gateway-stale) or "deliver"',
            )


def _readable_secrets(config: Config, memo: Memo) -> Iterator[Finding]:
    owners = [(config.place(table), getattr(config, table)) for table in ("server", "admin", "store")]
    places = [*owners, *((config.place("sources", name), source) for name, source in config.sources.items())]
    places += [(config.place("reconcile"), config.reconcile)] if config.reconcile is not None else []
    places += [(config.sink_places[name], sink) for name, sink in config.sinks.items()]
    for where, ref in [pair for place, owner in places for pair in secrets_in(owner, place, memo)]:
        # A certificate is referenced like a secret, but it is public.
        if ref.file is not None and where.keys[-1] != "certificate" and _others_read(config.base / ref.file):
            yield warning(where, f"every user of this machine can read {ref.file}", f"chmod o= {ref.file}")


def _others_read(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
        return stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)
    except OSError:
        return False


def _unused_sinks(config: Config) -> Iterator[Finding]:
    used = {sink for rule in config.rules for sink in rule.route.sinks}
    # A misspelt name in a route also counts as a use of the sink.
    used |= {close for name in used - set(config.sinks) for close in difflib.get_close_matches(name, config.sinks, 1)}
    for name, where in config.sink_places.items():
        if name not in used and config.rules:
            yield warning(where, "no route names this sink, so it receives nothing", on_key=True)
