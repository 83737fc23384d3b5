"""`/rules`: where messages go, by the rules of this moment; and what they would do with an event. Sends nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gateway.control.rule_trial import RouteVerdict, Trial
from gateway.core.ledger import Facts
from gateway.core.patterns import OPERATORS
from gateway.core.samples import SAMPLES
from gateway.core.watches import Watch
from gateway.web.pages.asking import Asked, Control, Mistake, NotThere

_MOST_CONDITIONS = 40
"""Conditions of one route that are shown."""


class ShownRoute(Struct, frozen=True, kw_only=True):
    """One route."""

    name: str
    place: str
    """The file and the line; "" if they are not known."""
    sinks: Sequence[str]
    sources: Sequence[str]
    match: Sequence[Sequence[tuple[str, str]]]
    """The patterns of which one must match, each as conditions: a path, and what is wanted there as JSON."""
    unless: Sequence[Sequence[tuple[str, str]]]
    final: bool
    fallback: bool
    join: float
    """Seconds."""


class ShownWatch(Struct, frozen=True):
    """One `[[watch]]` rule."""

    name: str
    states: Sequence[str]
    after: float
    """Seconds, as in the next one."""
    again: float | None


class ShownTest(Struct, frozen=True):
    """One `[[tests]]` table. `gateway test` runs them."""

    name: str
    sinks: Sequence[str] | None
    """The sinks that its event is expected to reach; None if it names none."""


class RulesPage(Struct, frozen=True, kw_only=True):
    """The rules, and what they do with an event."""

    number: int | None
    """The number of these rules; None while they cannot be read."""
    file: str
    routes: Sequence[ShownRoute]
    watches: Sequence[ShownWatch]
    tests: Sequence[ShownTest]
    sources: Sequence[str]
    source: str
    """The source of the event that is tried."""
    event: str = ""
    """The event that is tried, as the visitor typed it; "" if the URL names a message."""
    trial: Trial | None = None
    wrong: str | None = None
    """Why the event cannot be tried."""

    @property
    def samples(self) -> Sequence[str]:
        """The names of the samples."""
        return tuple(SAMPLES)

    def verdict(self, route: str) -> RouteVerdict | None:
        """Return what a route does with the event; None if none was tried."""
        return None if self.trial is None else next((one for one in self.trial.verdicts if one.route == route), None)


async def rules(control: Control, asked: Asked) -> RulesPage:
    """Find the rules, and try the message, or the sample, that the URL names."""
    if (id := asked.given("id")) is not None:
        try:
            found = await control.browse.message(id)
        except ValueError as error:
            raise Mistake(str(error)) from None
        if found is None:
            raise NotThere(id)
        story = found.shown.story
        return await _page(control, story.ids.source, found.body, "", story.facts)
    if (sample := asked.given("sample")) is not None:
        if sample not in SAMPLES:
            raise Mistake(f'"sample" is one of {", ".join(SAMPLES)}')
        body = msgspec.json.format(msgspec.json.encode(SAMPLES[sample]), indent=2)
        return await _page(control, _source(control, asked.given("source")), body, body.decode(), None)
    return await _page(control, _source(control, asked.given("source")), None, "", None)


async def try_event(control: Control, asked: Asked) -> RulesPage:
    """Try the event that a form brings."""
    text = asked.form.get("event", "")
    return await _page(control, _source(control, asked.form.get("source")), text.encode("utf-8", "replace"), text, None)


async def _page(control: Control, source: str, body: bytes | None, text: str, facts: Facts | None) -> RulesPage:
    trial, wrong = None, None
    if body is not None:
        try:
            trial = await control.acts.trial.of(body, source, facts)
        except ValueError as error:
            wrong = str(error)
    number, known = await control.acts.trial.rules()
    config = control.config()
    return RulesPage(
        number=number if known is not None else None,
        file=config.file.name,
        routes=[
            ShownRoute(
                name=route.name,
                place=route.place,
                sinks=route.sinks,
                sources=route.sources,
                match=[_conditions(pattern) for pattern in route.match],
                unless=[_conditions(pattern) for pattern in route.unless],
                final=route.final,
                fallback=route.fallback,
                join=float(route.join),
            )
            for route in (known.routes if known is not None else ())
        ],
        watches=[
            ShownWatch(one.name, one.states, float(one.after), None if one.again is None else float(one.again))
            for one in config.watches
        ],
        tests=[ShownTest(one.settings.name, one.settings.sinks) for one in config.tests],
        sources=control.acts.sampling.sources,
        source=source,
        event=text,
        trial=trial,
        wrong=wrong,
    )


def _watch(watch: Watch) -> ShownWatch:
    return ShownWatch(watch.name, watch.states, float(watch.after), None if watch.again is None else float(watch.again))


def _source(control: Control, given: str | None) -> str:
    sources = control.acts.sampling.sources
    if given is None:
        return sources[0]
    if given not in sources:
        raise Mistake(f'"source" is one of {", ".join(sources)}')
    return given


def _conditions(pattern: Mapping[str, Any]) -> list[tuple[str, str]]:
    return list(_flat(pattern, ""))[:_MOST_CONDITIONS]


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the conditions of a pattern, by their paths. A table of operators, or one for a list of tables, stays one value."""
    for name, value in table.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and not (value.keys() & set(OPERATORS)):
            yield from _flat(value, f"{path}.")
        else:
            yield path, msgspec.json.encode(value).decode()
