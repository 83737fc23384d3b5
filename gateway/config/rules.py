"""Routes and tests: from their tables to compiled rules, every name in them known."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from datetime import date, time
from typing import Any, TypeVar

from msgspec import Struct, structs

from gateway.config.decode import decode_table, suggestion
from gateway.config.files import TomlFile
from gateway.config.place import Finding, Findings, Place
from gateway.config.settings import RouteSettings, Rule, Test, TestSettings
from gateway.core.patterns import OPERATORS, Pattern, compile_pattern
from gateway.core.routing import Route

S = TypeVar("S", bound=Struct)

Raw = dict[str, Any] | list[dict[str, Any]] | None


def read_routes(files: list[TomlFile], sinks: Collection[str], sources: Collection[str], findings: Findings) -> list[Rule]:
    """The routes of all files, in their order; one without a name is called by its number."""
    rules: list[Rule] = []
    first: dict[str, Place] = {}
    for number, place, settings in _tables(files, "routes", RouteSettings, findings):
        name = settings.name if settings.name is not None else f"route {number}"
        where = structs.replace(place, name=name)
        if (other := first.setdefault(name, where)) is not where:
            message = "another route has this name already"
            in_file = f", in {other.file.name}" if other.file != where.file else ""
            findings.append(Finding(where / "name", message + in_file))
        _known(settings.sinks, sinks, where / "sinks", "sink", findings)
        source_names = [settings.source] if isinstance(settings.source, str) else settings.source or []
        if settings.source == []:
            findings.append(Finding(where / "source", "an empty list matches nothing", "remove it, and every source matches"))
        _known(source_names, {*sources, "gateway"}, where / "source", "source", findings)
        route = Route(
            name=name,
            sinks=tuple(dict.fromkeys(settings.sinks)),
            match=_patterns(settings.match, where / "match", findings),
            unless=_patterns(settings.unless, where / "unless", findings),
            sources=tuple(source_names),
            final=settings.final,
            fallback=settings.fallback,
        )
        rules.append(Rule(where, settings, route))
    return rules


def read_tests(
    files: list[TomlFile], sinks: Collection[str], sources: Collection[str], routes: Collection[str], findings: Findings
) -> list[Test]:
    """The tests of all files, in their order."""
    tests = []
    for _, place, settings in _tables(files, "tests", TestSettings, findings):
        where = structs.replace(place, name=settings.name)
        for key, names in (("sinks", settings.sinks), ("not_sinks", settings.not_sinks)):
            _known(names or [], sinks, where / key, "sink", findings)
        _known(settings.routes or [], routes, where / "routes", "route", findings)
        _known([settings.source] if settings.source else [], {*sources, "gateway"}, where / "source", "source", findings)
        _only_json(settings.event, where / "event", findings)
        expected = {"sinks": settings.sinks, "routes": settings.routes, "not_sinks": settings.not_sinks}
        if all(names is None and not _refused(where / key, findings) for key, names in expected.items()):
            findings.append(Finding(where, "expects nothing", "name sinks, routes or not_sinks"))
        for name in sorted(set(settings.sinks or []) & set(settings.not_sinks or [])):
            findings.append(Finding(where / "not_sinks", f'"{name}" is expected by sinks'))
        tests.append(Test(where, settings))
    return tests


def written_names(files: list[TomlFile]) -> set[str]:
    """Of every route that is written, good or not."""
    tables = [table for file in files for table in _list(file, "routes")]
    return {str(table.get("name", f"route {at + 1}")) for at, table in enumerate(tables) if isinstance(table, dict)}


def _tables(files: list[TomlFile], name: str, kind: type[S], findings: Findings) -> Iterator[tuple[int, Place, S]]:
    """Each with its number in all files together, from 1."""
    number = 0
    for file in files:
        where = Place(file.path, (name,))
        if not isinstance(file.document.get(name, []), list):
            findings.append(Finding(where, f"has to be written [[{name}]]"))
        for at, table in enumerate(_list(file, name)):
            number += 1
            settings = decode_table(kind, table, where / at, findings)
            if settings is not None:
                yield number, where / at, settings


def _list(file: TomlFile, name: str) -> list[Any]:
    tables = file.document.get(name, [])
    return tables if isinstance(tables, list) else []


def _patterns(raw: Raw, where: Place, findings: Findings) -> tuple[Pattern, ...]:
    if raw == []:
        findings.append(Finding(where, "an empty list matches nothing", "remove it, and every event matches"))
    patterns: list[Pattern] = []
    for place, table in tables_of(raw, where):
        if not table and not _refused(place, findings):
            findings.append(Finding(place, "an empty table says nothing", "remove it, and every event matches"))
        pattern, problems = compile_pattern(table)
        for problem in problems:
            on_key = problem.path in OPERATORS or not all(problem.path.split("."))
            where_at = structs.replace(place, keys=(*place.keys, *problem.keys))
            findings.append(Finding(where_at, problem.message, problem.hint, on="key" if on_key else "value"))
        patterns.append(pattern)
    return tuple(patterns)


def tables_of(raw: Raw, where: Place) -> list[tuple[Place, dict[str, Any]]]:
    """The tables of a `match` or `unless`, each with its place."""
    if isinstance(raw, dict):
        return [(where, raw)]
    return [(where / at, table) for at, table in enumerate(raw or [])]


def _only_json(value: Any, where: Place, findings: Findings) -> None:
    """An event came as JSON, which has no dates and no infinite numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _only_json(inner, where / key, findings)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _only_json(inner, where / at, findings)
    elif isinstance(value, (date, time)):
        findings.append(Finding(where, "a date is not a JSON value", "put it in quotes: timestamps are strings"))
    elif isinstance(value, float) and not math.isfinite(value):
        findings.append(Finding(where, "is no number that JSON has"))


def _known(names: list[str], known: Collection[str], where: Place, word: str, findings: Findings) -> None:
    for number, name in enumerate(names):
        if name not in known and not _refused(where / number, findings):
            findings.append(Finding(where / number, f'there is no {word} "{name}"', suggestion(name, known)))


def _refused(where: Place, findings: Findings) -> bool:
    """Whether something empty stands here now, in place of what was written."""
    return any(where.holds(finding.place) for finding in findings)
