"""Patterns and routes compared with a simple model that follows docs/reference.md, "Routing", sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from gateway.core.events import event_of
from gateway.core.patterns import OPERATORS, compile_pattern
from gateway.core.routing import Decision, Route, Router

# The reference. `None` stands for an absent field, since null counts as absent.


def elements(value: Any) -> Iterator[Any]:
    """Yield the elements of an array, nested ones too; any other value yields itself."""
    if isinstance(value, list):
        for item in value:
            yield from elements(item)
    else:
        yield value


def table_holds(table: dict[str, Any], value: Any) -> bool:
    """Return True if all fields hold; on an array of tables, if all of them hold for one element."""
    return any(
        all(path_holds(key.split("."), condition, element) for key, condition in table.items()) for element in elements(value)
    )


def path_holds(path: list[str], condition: Any, table: Any) -> bool:
    """Return the values at a path, which may be nested, or quoted with dots."""
    value = table.get(path[0]) if isinstance(table, dict) else None
    if len(path) == 1:
        return condition_holds(condition, value)
    return any(path_holds(path[1:], condition, element) for element in elements(value))


def condition_holds(condition: Any, value: Any) -> bool:
    if isinstance(condition, list):
        return any(condition_holds(one, value) for one in condition)
    if isinstance(condition, dict) and condition and all(key in OPERATORS for key in condition):
        return operators_hold(condition, value)
    if isinstance(condition, dict):
        return table_holds(condition, value)
    return any(equal(condition, element) for element in elements(value))


def operators_hold(condition: dict[str, Any], value: Any) -> bool:
    """Return True if all operators hold. `exists` and `not` apply to the whole field, all others together to one element."""
    if "exists" in condition and (value is not None) is not condition["exists"]:
        return False
    if "not" in condition and condition_holds(condition["not"], value):
        return False
    others = {name: operand for name, operand in condition.items() if name not in ("exists", "not")}
    return not others or any(all(operator_holds(*pair, element) for pair in others.items()) for element in elements(value))


def operator_holds(name: str, operand: Any, value: Any) -> bool:
    if name in ("gt", "gte", "lt", "lte"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return bool({"gt": value > operand, "gte": value >= operand, "lt": value < operand, "lte": value <= operand}[name])
    if not isinstance(value, str):
        return False
    if isinstance(operand, list):
        return any(operator_holds(name, one, value) for one in operand)
    match name:
        case "prefix":
            return value[: len(operand)] == str(operand)
        case "suffix":
            return len(operand) <= len(value) and value[len(value) - len(operand) :] == str(operand)
        case "ignore_case":
            return value.casefold() == str(operand).casefold()
        case "glob":
            return glob_holds(operand, value)
        case "regex":
            return re.fullmatch(operand, value) is not None
        case _:
            raise AssertionError(f'add a case for "{name}" to operator_holds')


def glob_holds(glob: str, text: str) -> bool:
    if glob == "":
        return text == ""
    if glob[0] == "*":
        return any(glob_holds(glob[1:], text[at:]) for at in range(len(text) + 1))
    return text != "" and glob[0] in ("?", text[0]) and glob_holds(glob[1:], text[1:])


def equal(one: Any, other: Any) -> bool:
    """Compare like JSON: true is not 1, 1 equals 1.0, and an absent value equals nothing."""
    kinds = [
        bool if isinstance(value, bool) else float if isinstance(value, (int, float)) else type(value) for value in (one, other)
    ]
    return kinds[0] is kinds[1] and bool(one == other)


class Rule(Struct, frozen=True):
    """A route as it is written."""

    match: list[dict[str, Any]]
    unless: list[dict[str, Any]]
    sources: list[str]
    sinks: list[str]
    final: bool
    fallback: bool


def routed(rules: list[Rule], view: dict[str, Any]) -> list[int]:
    """Return the numbers of the routes that apply."""

    def fits(rule: Rule) -> bool:
        tables = rule.match
        if view["source"] == "gateway" and not rule.sources:  # it asks for that source, or never gets one
            tables = [table for table in tables if any(path.split(".")[0] == "source" for path in table)]
            if not tables:
                return False
        return (
            (not rule.sources or view["source"] in rule.sources)
            and (not tables or any(table_holds(table, view) for table in tables))
            and not any(table_holds(table, view) for table in rule.unless)
        )

    applied: list[int] = []
    for number, rule in enumerate(rules):
        stopped = any(rules[earlier].final for earlier in applied)
        if not rule.fallback and not stopped and fits(rule):
            applied.append(number)
    if applied:
        return applied
    return [number for number, rule in enumerate(rules) if rule.fallback and fits(rule)]


# Random values, patterns, rules and events.

TEXTS = ["", "a", "A", "ab", "aB", "b", "a\nb", "1", "true", "ß", "SS", "鞄", "a.b", "a*"]
GLOBS = ["", "*", "?", "a*", "*b", "a?b", "?*", "*a*", "a.b", "a\\*", "鞄", "[a]", "**?"]
REGEXES = ["", "a", "a.*", ".b", "(?s).*", "[a-z]+", "(a|b)*", "(?i)AB", "鞄?", "a|ab", r"\d", "[^a]+"]
numbers = st.sampled_from([-1, 0, 1, 2, 0.0, 1.0, 1.5, -0.5, 10**20])
texts = st.sampled_from(TEXTS)
scalars = st.booleans() | numbers | texts
names = st.sampled_from(["a", "b", "c", "prefix"])
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


def one_or_several(texts: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(texts) | st.lists(st.sampled_from(texts), min_size=1, max_size=3)


def operands(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Return the operands of each operator."""
    return {
        "prefix": one_or_several(TEXTS),
        "suffix": one_or_several(TEXTS),
        "ignore_case": one_or_several(TEXTS),
        "glob": one_or_several(GLOBS),
        "regex": one_or_several(REGEXES),
        "exists": st.booleans(),
        "not": inner,
        **dict.fromkeys(["gt", "gte", "lt", "lte"], numbers),
    }


def operators(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    every = operands(inner)
    one = st.sampled_from(sorted(every)).flatmap(lambda name: st.fixed_dictionaries({name: every[name]}))
    return st.lists(one, min_size=1, max_size=3).map(
        lambda several: {key: raw for table in several for key, raw in table.items()}
    )


# A field named like an operator can only stand in a quoted path.
paths = st.sampled_from(["a", "b", "c", "a.b", "b.c", "a.prefix", "c.a.b", "a.a"])


def tables(inner: st.SearchStrategy[Any], paths: st.SearchStrategy[str] = paths) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(paths, inner, min_size=1, max_size=3)


conditions: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, min_size=1, max_size=3) | tables(inner) | operators(inner), max_leaves=6
)


@pytest.mark.parametrize("name", ["prefix", "suffix", "ignore_case", "glob", "regex"])
def test_each_text_operator_holds_exactly_where_the_reference_says(name: str) -> None:
    for operand in {"glob": GLOBS, "regex": REGEXES}.get(name, TEXTS):
        for value in TEXTS:
            pattern, _ = compile_pattern({"a": {name: operand}})
            assert pattern.matches({"a": value}) is operator_holds(name, operand, value), (operand, value)


def test_random_patterns_have_every_operator() -> None:
    assert set(operands(st.nothing())) == set(OPERATORS), "add the operator with its operands to `operands`"


@given(table=tables(conditions), values=st.dictionaries(names, json_values, max_size=4))
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_a_pattern_matches_exactly_what_the_reference_says(table: dict[str, Any], values: dict[str, Any]) -> None:
    pattern, problems = compile_pattern(table)
    assert problems == []
    expected = table_holds(table, values)
    assert pattern.matches(values) is expected
    assert (pattern.failure(values) is None) is expected


@given(condition=conditions, value=json_values)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_a_condition_on_a_field_that_is_there_holds_exactly_where_the_reference_says(condition: Any, value: Any) -> None:
    pattern, problems = compile_pattern({"a": condition})
    assert problems == []
    assert pattern.matches({"a": value}) is condition_holds(condition, value)


@given(table=tables(conditions), values=st.dictionaries(names, json_values, max_size=4), known=st.sets(names))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_the_rest_of_a_pattern_after_known_fields_matches_like_the_whole(
    table: dict[str, Any], values: dict[str, Any], known: set[str]
) -> None:
    pattern, _ = compile_pattern(table)
    left = pattern.given({name: values.get(name) for name in known})
    assert (left if isinstance(left, bool) else left.matches(values)) is table_holds(table, values)


# Routes ask mostly for what a router settles beforehand: type, milestone and source.
kinds = st.sampled_from(["state_change", "media_rejected", "invalidate_sr", "other"])
milestones = st.sampled_from(["authentic", "counterfeit", "qc_pending", "needs_resubmission", "invalidated", "unrecognized"])
sources = st.sampled_from(["legitmark", "shop", "gateway"])


def asking(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = values | st.lists(values, min_size=1, max_size=3)
    condition = plain | operators(plain) | st.lists(operators(plain), min_size=1, max_size=2)
    return plain | condition


patterns = st.fixed_dictionaries(
    {},
    optional={
        "event_type": asking(kinds),
        "milestone": asking(milestones),
        "source": asking(sources),
        "a": conditions,
        "state.primary": asking(st.sampled_from(["COMPLETE", "QC"])),
        "event_type.a": conditions,
    },
).filter(bool)
rules = st.lists(
    st.builds(
        Rule,
        match=st.just([]) | st.lists(patterns, min_size=1, max_size=3),
        unless=st.just([]) | st.lists(patterns, min_size=1, max_size=2),
        sources=st.just([]) | st.lists(sources, min_size=1, max_size=2),
        sinks=st.lists(st.sampled_from("wxyz"), max_size=3),
        final=st.booleans(),
        fallback=st.booleans(),
    ),
    max_size=6,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "event_type": kinds | st.sampled_from([None, "", "state_change ", 5, True, ["state_change"], {"a": 1}, [], {}]),
        "state": st.fixed_dictionaries(
            {"primary": st.sampled_from(["COMPLETE", "QC", 5, None])},
            optional={"supplement": st.sampled_from(["APPROVED", "REJECTED", "PENDING", None, 5])},
        ),
        "a": json_values,
        # The body cannot pretend to be what it is not.
        "milestone": milestones,
        "source": sources,
    },
)


def router_of(rules: list[Rule]) -> Router:
    routes = []
    for number, rule in enumerate(rules):
        compiled = [[compile_pattern(table) for table in tables] for tables in (rule.match, rule.unless)]
        assert not any(problems for pairs in compiled for _, problems in pairs)
        match, unless = (tuple(pattern for pattern, _ in pairs) for pairs in compiled)
        routes.append(
            Route(
                name=f"route {number}",
                sinks=tuple(rule.sinks),
                match=match,
                unless=unless,
                sources=tuple(rule.sources),
                final=rule.final,
                fallback=rule.fallback,
            )
        )
    return Router(routes)


@given(rules=rules, arriving=st.lists(st.tuples(bodies, sources), min_size=1, max_size=5))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_router_decides_like_the_reference_whatever_it_routed_before(
    rules: list[Rule], arriving: list[tuple[dict[str, Any], str]]
) -> None:
    router = router_of(rules)
    for body, source in [*arriving, *reversed(arriving)]:
        event = event_of(body)
        applied = routed(rules, {**body, "milestone": str(event.milestone), "source": source})
        expected = Decision(
            sinks=tuple(dict.fromkeys(sink for number in applied for sink in rules[number].sinks)),
            routes=tuple(f"route {number}" for number in applied),
        )
        assert router.route(event, source) == expected


@given(rules=rules, body=bodies, source=sources)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_explain_agrees_with_route(rules: list[Rule], body: dict[str, Any], source: str) -> None:
    assume(rules)
    router, event = router_of(rules), event_of(body)
    applied = routed(rules, {**body, "milestone": str(event.milestone), "source": source})
    traces = router.explain(event, source)
    assert [trace.name for trace in traces] == [f"route {number}" for number in range(len(rules))]
    assert [number for number, trace in enumerate(traces) if trace.matched] == applied
    assert all((trace.failed is None) is trace.matched for trace in traces)
