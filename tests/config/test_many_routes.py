"""Hundreds of routes and sinks: comparisons between them are complete, and their time grows in proportion to the file."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import load
from gateway.config.files import TomlFile
from gateway.config.location import Findings
from gateway.config.memo import Memo
from gateway.config.overlap import shadowed
from gateway.config.rules import read_routes
from gateway.config.settings import Rule
from gateway.host.environment import Environment
from tests.config.large_file import large_file
from tests.support.webhooks import SECRET

FIELDS = ("event_type", "milestone", "reference_id", "source")
VALUES = st.sampled_from(["a", "b", "c", "gateway"])
TABLES = st.dictionaries(
    st.sampled_from(FIELDS), st.one_of(VALUES, st.lists(VALUES, min_size=1, max_size=3)), min_size=1, max_size=3
)
PATTERNS = st.one_of(TABLES, st.lists(TABLES, min_size=1, max_size=2))
ROUTES: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.fixed_dictionaries(
        {"sinks": st.just([])},
        optional={
            "match": PATTERNS,
            "unless": TABLES,
            "source": st.sampled_from(["legitmark", "gateway", ["legitmark", "gateway"]]),
            "final": st.booleans(),
            "fallback": st.booleans(),
        },
    ),
    max_size=8,
)


def asked(raw: Any) -> set[frozenset[tuple[str, frozenset[str]]]]:
    """Return the conditions of the patterns of a route."""
    tables = raw if isinstance(raw, list) else [raw or {}]
    return {
        frozenset((field, frozenset(value if isinstance(value, list) else [value])) for field, value in table.items())
        for table in tables
    }


def covers(one: Rule, other: Rule) -> bool:
    """Return True if `one` applies to every event that `other` could apply to, by plain comparison."""
    by, to = one.settings, other.settings
    sources, others = set(one.route.sources), set(other.route.sources)
    if by.unless is not None and asked(by.unless) != asked(to.unless):
        return False
    if sources and not (others and others <= sources):
        return False
    if not sources and other.route.for_own_events() is not None and one.route.for_own_events() is None:
        return False
    return all(
        any(
            all(any(field == name and wanted <= allowed for name, wanted in strict) for field, allowed in loose)
            for loose in asked(by.match)
        )
        for strict in asked(to.match)
    )


def expected(rules: list[Rule]) -> Iterator[tuple[int, str, str]]:
    """Yield each route that another one makes useless, and that other one. Fallbacks are not considered."""
    for number, rule in enumerate(rules):
        if rule.route.fallback:
            continue
        before = [other for other in rules[:number] if not other.route.fallback]
        closing = next((other for other in before if other.route.final and covers(other, rule)), None)
        equal = next(
            (
                other
                for other in before
                if asked(other.settings.match) == asked(rule.settings.match)
                and asked(other.settings.unless) == asked(rule.settings.unless)
                and set(other.route.sources) == set(rule.route.sources)
            ),
            None,
        )
        if closing is not None:
            yield number, closing.route.name, "can n"
        elif equal is not None:
            yield number, equal.route.name, "takes"


@given(ROUTES)
def test_each_route_is_compared_with_all_before_it(tables: list[dict[str, Any]]) -> None:
    findings: Findings = []
    file = TomlFile(Path("gateway.toml"), "", {"routes": tables})
    rules = read_routes([file], [], ["legitmark"], findings, Memo())
    assert findings == []
    told = [
        (finding.place.keys[1], finding.wrong.partition('"')[2].partition('"')[0], finding.wrong[:5])
        for finding in shadowed(rules, Memo())
        if "this is a fallback" not in finding.wrong
    ]
    assert told == list(expected(rules))


def seconds(folder: Path, number: int) -> float:
    """Return the processor time of this thread for one load, in seconds.

    The garbage collector does not look at the objects that other tests left behind: there may be any number of them.
    """
    file = folder / f"{number}.toml"
    file.write_text(large_file(number))
    gc.collect()
    gc.freeze()
    try:
        began = time.thread_time()
        assert load(file, Environment({"LEGITMARK": SECRET})).warnings == ()
        return time.thread_time() - began
    finally:
        gc.unfreeze()


@pytest.mark.speed
def test_four_times_the_configuration_takes_about_four_times_as_long_to_read(tmp_path: Path) -> None:
    """The two sizes take turns and the least time of each counts, because other processes disturb the processor's caches."""
    few, many = (min(took) for took in zip(*((seconds(tmp_path, 150), seconds(tmp_path, 600)) for _ in range(5)), strict=True))
    assert many < 7 * few, (few, many)
