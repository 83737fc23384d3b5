"""What works, and is probably not meant. Warnings only."""

from __future__ import annotations

import difflib
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config.decode import secret_refs, suggestion
from gateway.config.place import Finding, Findings, Place
from gateway.config.rules import tables_of
from gateway.config.settings import Config, Rule
from gateway.core.patterns import OPERATORS
from gateway.core.vocabulary import FIELDS, VALUES, is_state
from gateway.sinks import EmailConfig, SlackConfig


class _Asked(NamedTuple):
    """A field that a pattern speaks of, and one value that it names there, if it names any."""

    path: str
    field: Place
    value: Place
    literal: Any = None


def warnings(config: Config, findings: Findings) -> Iterator[Finding]:
    """Args: findings: the errors so far, so that nothing is said of what stands in their place."""
    wrong = {(finding.place.file, finding.place.keys[:2]) for finding in findings}
    unknown_routes = any(finding.place.keys == ("routes",) for finding in findings)
    for name, sink in config.sinks.items():
        where = config.sink_places[name]
        if sink.breaker.failures >= len(sink.retry) > 0:
            message = f"opens after {sink.breaker.failures} failures, and a delivery is dead after {len(sink.retry)}"
            hint = "so one delivery dies before the breaker holds the others back"
            yield _warning(where / "breaker", message, hint)
        if isinstance(sink, EmailConfig) and sink.username is not None and sink.security == "none":
            message = 'is "none": the password crosses the network in clear'
            yield _warning(where / "security", message, 'use "starttls" or "tls"')
        if isinstance(sink, SlackConfig):
            for key in ("token", "channel"):
                if getattr(sink, key) is not None:
                    yield _warning(where / key, "has no effect yet")
    yield from _readable_secrets(config)
    if not config.rules and not unknown_routes:
        yield _warning(config.place("routes"), "there is none", "every message will be kept, and go nowhere")
    if not unknown_routes and not any(finding.place.keys[0::2] == ("routes", "sinks") for finding in findings):
        yield from _unused_sinks(config)
    yield from _shadowed([rule for rule in config.rules if (rule.place.file, rule.place.keys[:2]) not in wrong])
    values = {**VALUES, "source": frozenset((*config.sources, "gateway"))}
    for rule in config.rules:
        for key, raw in (("match", rule.settings.match), ("unless", rule.settings.unless)):
            for place, table in tables_of(raw, rule.place / key):
                yield from _unknown_words(list(_fields(table, place, "")), values)


def _readable_secrets(config: Config) -> Iterator[Finding]:
    owners = [(config.place("admin"), config.admin)]
    places = [*owners, *((config.place("sources", name), source) for name, source in config.sources.items())]
    places += [(config.sink_places[name], sink) for name, sink in config.sinks.items()]
    for where, ref in [pair for place, owner in places for pair in secret_refs(owner, place)]:
        if ref.file is not None and _others_read(config.base / ref.file):
            yield _warning(where, f"every user of this machine can read {ref.file}", f"chmod o= {ref.file}")


def _others_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _unused_sinks(config: Config) -> Iterator[Finding]:
    used = {sink for rule in config.rules for sink in rule.route.sinks}
    # What was misspelt is named, too.
    used |= {close for name in used - set(config.sinks) for close in difflib.get_close_matches(name, config.sinks, 1)}
    for name, where in config.sink_places.items():
        if name not in used and config.rules:
            yield _warning(where, "no route names this sink: nothing will go there", on_key=True)


def _shadowed(rules: list[Rule]) -> Iterator[Finding]:
    """Routes that say nothing, since another one before them says it or takes everything."""
    everything = next((rule for rule in rules if not rule.route.fallback and _takes_everything(rule)), None)
    for number, rule in enumerate(rules):
        if rule.route.fallback:
            if everything is not None:
                yield _warning(
                    rule.place, f'can never apply: "{everything.route.name}" matches every event, and this is a fallback'
                )
            continue
        closing = next((other for other in rules[:number] if other.route.final and _covers(other, rule)), None)
        equal = next((other for other in rules[:number] if _same(other, rule) and not other.route.fallback), None)
        if closing is not None:
            takes = "takes everything" if _takes_everything(closing) else "takes the same events"
            yield _warning(rule.place, f'can never apply: "{closing.route.name}" before it is final, and {takes}')
        elif equal is not None:
            hint = "one route can name the sinks of both"
            where = rule.place / "match" if rule.route.match else rule.place
            yield _warning(where, f'takes the same events as "{equal.route.name}"', hint)


def _takes_everything(rule: Rule) -> bool:
    return not rule.route.match and not rule.route.unless and not rule.route.sources


def _covers(other: Rule, rule: Rule) -> bool:
    """Whatever `rule` could apply to, `other` applies to."""
    if other.route.fallback or other.route.unless:
        return _same(other, rule) and not other.route.fallback
    if other.route.sources and not (rule.route.sources and set(rule.route.sources) <= set(other.route.sources)):
        return False
    return not other.route.match or _same(other, rule)


def _same(one: Rule, other: Rule) -> bool:
    return _question(one) == _question(other)


def _question(rule: Rule) -> str:
    settings = rule.settings
    return json.dumps([settings.match, settings.unless, sorted(rule.route.sources)], sort_keys=True, default=str)


def _unknown_words(asked: list[_Asked], values: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    """Fields and values that no documented event has. A rule for a new event type knows more than we do: it is let alone."""
    if any(one.path == "event_type" and isinstance(one.literal, str) and one.literal not in values[one.path] for one in asked):
        asked = [one for one in asked if one.path == "event_type"]
    for field, path in dict.fromkeys((one.field, one.path) for one in asked):
        if path not in FIELDS:
            yield _warning(field, "no known event has this field", _meant(path, FIELDS), on_key=True)
    for one in asked:
        known = values.get(one.path)
        if known is not None and one.literal is not None and one.literal not in known:
            what = "there is no such source" if one.path == "source" else "no documented event has this value here"
            yield _warning(one.value, what, suggestion(str(one.literal), known))
    yield from _impossible_pairs(asked)


def _impossible_pairs(asked: list[_Asked]) -> Iterator[Finding]:
    tables: dict[str, dict[str, _Asked]] = {}
    for one in asked:
        # Plain values only: of a list, another one may still come.
        if one.path in ("state.primary", "state.supplement") and one.field == one.value and "not" not in one.field.keys:
            table = ".".join(map(str, one.field.keys)).rpartition(".")[0]
            tables.setdefault(table, {})[one.path] = one
    for pair in tables.values():
        if len(pair) < 2:
            continue
        primary, supplement = pair["state.primary"].literal, pair["state.supplement"].literal
        documented = primary in VALUES["state.primary"] and supplement in VALUES["state.supplement"]
        if documented and not is_state(primary, supplement):
            yield _warning(pair["state.supplement"].value, f'"{primary}" never comes with "{supplement}"')


def _fields(table: dict[str, Any], where: Place, prefix: str) -> Iterator[_Asked]:
    for key, raw in table.items():
        # An operator without a field, and a path without a name between its dots, are errors already.
        if (prefix or key not in OPERATORS) and all(key.split(".")):
            yield from _condition(raw, f"{prefix}{key}", where / key, where / key)


def _condition(raw: Any, path: str, field: Place, where: Place) -> Iterator[_Asked]:
    if isinstance(raw, list):
        for number, item in enumerate(raw):
            yield from _condition(item, path, field, where / number)
    elif isinstance(raw, dict) and any(name in OPERATORS for name in raw):
        yield _Asked(path, field, where)
        if "not" in raw:
            yield from _condition(raw["not"], path, field, where / "not")
    elif isinstance(raw, dict):
        yield from _fields(raw, where, f"{path}.")
    else:
        yield _Asked(path, field, where, raw)


def _meant(path: str, known: frozenset[str]) -> str:
    said = suggestion(path, known)
    return said if said.startswith("did you mean") else ""


def _warning(where: Place, message: str, hint: str = "", *, on_key: bool = False) -> Finding:
    return Finding(where, message, hint, level="warning", on="key" if on_key else "value")
