"""The tables [[routes]] and [[tests]], decoded and compiled, with every name in them checked."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from datetime import date, time
from functools import partial
from typing import Any

from msgspec import structs

from gateway.config.decode import decode_table, suggestion
from gateway.config.files import TomlFile
from gateway.config.location import Finding, Findings, Place
from gateway.config.memo import Memo
from gateway.config.settings import RouteSettings, Rule, Test, TestSettings
from gateway.core.patterns import OPERATORS, Pattern, compile_pattern
from gateway.core.routing import GATEWAY, RECONCILE, Route

Raw = dict[str, Any] | list[dict[str, Any]] | None
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*routes[ \t]*\]\]")


def read_routes(
    files: list[TomlFile], sinks: Collection[str], sources: Collection[str], findings: Findings, memo: Memo
) -> list[Rule]:
    """Return the routes of all files in order. A route without a name is named after its number."""
    rules: list[Rule] = []
    first: dict[str, Place] = {}
    for number, place, table in tables_in(files, "routes", findings):
        rule = memo.collect(("route", number, place, memo.text(table)), findings, partial(_rule, number, place, table))
        if rule is None:
            continue
        where, settings = rule.place, rule.settings
        if (other := first.setdefault(rule.route.name, where)) is not where:
            wrong = "another route already has this name"
            in_file = f", in {other.file.name}" if other.file != where.file else ""
            findings.append(Finding(where / "name", wrong + in_file))
        _known(settings.sinks, sinks, where / "sinks", "sink", findings)
        source_names = [settings.source] if isinstance(settings.source, str) else settings.source or []
        _known(source_names, {*sources, GATEWAY, RECONCILE}, where / "source", "source", findings)
        rules.append(rule)
    return rules


def _rule(number: int, place: Place, table: Any, findings: Findings) -> Rule | None:
    """Decode and compile one route, as far as that is possible without the other routes."""
    settings = decode_table(RouteSettings, table, place, findings)
    if settings is None:
        return None
    name = settings.name if settings.name is not None else f"route {number}"
    where = structs.replace(place, name=name)
    if settings.source == []:
        findings.append(Finding(where / "source", "an empty list matches nothing", "remove it to match every source"))
    route = Route(
        name=name,
        sinks=tuple(dict.fromkeys(settings.sinks)),
        match=_patterns(settings.match, where / "match", findings),
        unless=_patterns(settings.unless, where / "unless", findings),
        sources=(settings.source,) if isinstance(settings.source, str) else tuple(settings.source or ()),
        final=settings.final,
        fallback=settings.fallback,
        join=float(settings.join),
    )
    return Rule(where, settings, route)


def read_tests(
    files: list[TomlFile],
    sinks: Collection[str],
    sources: Collection[str],
    routes: Collection[str],
    findings: Findings,
    memo: Memo,
) -> list[Test]:
    """Return the tests of all files in order."""
    tests = []
    for _, place, table in tables_in(files, "tests", findings):
        test = memo.collect(("test", place, memo.text(table)), findings, partial(_test, place, table))
        if test is None:
            continue
        where, settings = test.place, test.settings
        for key, names in (("sinks", settings.sinks), ("not_sinks", settings.not_sinks)):
            _known(names or [], sinks, where / key, "sink", findings)
        _known(settings.routes or [], routes, where / "routes", "route", findings)
        _known([settings.source] if settings.source else [], {*sources, GATEWAY, RECONCILE}, where / "source", "source", findings)
        expected = {"sinks": settings.sinks, "routes": settings.routes, "not_sinks": settings.not_sinks}
        if all(names is None and not was_refused(where / key, findings) for key, names in expected.items()):
            findings.append(Finding(where, "expects nothing", "name sinks, routes or not_sinks"))
        for name in sorted(set(settings.sinks or []) & set(settings.not_sinks or [])):
            findings.append(Finding(where / "not_sinks", f'"{name}" is also in sinks', "remove it from one of the two"))
        tests.append(test)
    return tests


def _test(place: Place, table: Any, findings: Findings) -> Test | None:
    """Decode one test, as far as that is possible without the routes."""
    settings = decode_table(TestSettings, table, place, findings)
    if settings is None:
        return None
    where = structs.replace(place, name=settings.name)
    _only_json(settings.event, where / "event", findings)
    return Test(where, settings)


def written_names(files: list[TomlFile]) -> set[str]:
    """Return the names of all routes in the files, valid or not."""
    tables = [table for file in files for table in _list(file, "routes")]
    return {str(table.get("name", f"route {at + 1}")) for at, table in enumerate(tables) if isinstance(table, dict)}


def tables_in(files: list[TomlFile], name: str, findings: Findings) -> Iterator[tuple[int, Place, Any]]:
    """Yield each table with its place, and its 1-based number over all files."""
    number = 0
    for file in files:
        where = Place(file.path, (name,))
        if not isinstance(file.document.get(name, []), list):
            findings.append(Finding(where, f"must be written [[{name}]]"))
        for at, table in enumerate(_list(file, name)):
            number += 1
            yield number, where / at, table


def header_lines(files: list[TomlFile]) -> tuple[int, ...]:
    """Return the 1-based line of each route, in the order of the files; 0 for the routes of a file that writes them otherwise."""
    lines: list[int] = []
    for file in files:
        routes = _list(file, "routes")
        texts = file.text.split("\n") if routes else []
        found = [number for number, line in enumerate(texts, 1) if _HEADER.match(line)]
        lines += found if len(found) == len(routes) else [0] * len(routes)
    return tuple(lines)


def _list(file: TomlFile, name: str) -> list[Any]:
    tables = file.document.get(name, [])
    return tables if isinstance(tables, list) else []


def _patterns(raw: Raw, where: Place, findings: Findings) -> tuple[Pattern, ...]:
    if raw == []:
        findings.append(Finding(where, "an empty list matches nothing", "remove it to match every event"))
    patterns: list[Pattern] = []
    for place, table in tables_of(raw, where):
        if not table and not was_refused(place, findings):
            findings.append(Finding(place, "an empty table has no condition", "remove it to match every event"))
        pattern, problems = compile_pattern(table)
        for problem in problems:
            on_key = problem.path in OPERATORS or not all(problem.path.split("."))
            where_at = structs.replace(place, keys=(*place.keys, *problem.keys))
            findings.append(Finding(where_at, problem.wrong, problem.hint, on="key" if on_key else "value"))
        patterns.append(pattern)
    return tuple(patterns)


def tables_of(raw: Raw, where: Place) -> list[tuple[Place, dict[str, Any]]]:
    """Return the tables of a `match` or `unless`, each with its place."""
    if isinstance(raw, dict):
        return [(where, raw)]
    return [(where / at, table) for at, table in enumerate(raw or [])]


def _only_json(value: Any, where: Place, findings: Findings) -> None:
    """Refuse values that an event, which arrives as JSON, cannot have: dates and infinite numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _only_json(inner, where / key, findings)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _only_json(inner, where / at, findings)
    elif isinstance(value, (date, time)):
        findings.append(Finding(where, "a date is not a JSON value", "put it in quotes; timestamps are strings"))
    elif isinstance(value, float) and not math.isfinite(value):
        findings.append(Finding(where, "is not a number in JSON"))


def _known(names: list[str], known: Collection[str], where: Place, word: str, findings: Findings) -> None:
    for number, name in enumerate(names):
        if name not in known and not was_refused(where / number, findings):
            findings.append(Finding(where / number, f'there is no {word} "{name}"', suggestion(name, known)))


def was_refused(where: Place, findings: Findings) -> bool:
    """Return True if the value here was refused, and an empty one replaces it."""
    return any(where.holds(finding.place) for finding in findings)
