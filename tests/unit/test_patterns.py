"""The pattern language of `match` and `unless`: each sentence about fields in docs/reference.md, "Routing"."""

from __future__ import annotations

import json
import time
import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.conditions import Mismatch
from gateway.core.events import Undecodable, decode
from gateway.core.patterns import OPERATORS, compile_pattern


def matches(written: str, values: dict[str, Any]) -> bool:
    """Return True if a pattern, written in TOML as after `match =`, matches. `failure` has to agree."""
    pattern, problems = compile_pattern(tomllib.loads(f"match = {written}")["match"])
    assert not problems
    answer = pattern.matches(values)
    assert (pattern.failure(values) is None) is answer
    return answer


def problems(written: str) -> list[str]:
    """Return the paths of the problems for which a pattern is refused."""
    found = compile_pattern(tomllib.loads(f"match = {written}")["match"])[1]
    assert all(problem.wrong for problem in found)
    return [problem.path for problem in found]


COUNTERFEIT = {
    "event_type": "state_change",
    "sr_uuid": "sr-1",
    "reference_id": "BAG-2026-000481",
    "state": {"primary": "COMPLETE", "supplement": "REJECTED"},
}

# Tables, lists, paths.


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ('{ event_type = "state_change" }', True),
        ('{ event_type = "media_rejected" }', False),
        ('{ event_type = "state_change", state = { primary = "COMPLETE" } }', True),
        ('{ event_type = "state_change", state = { primary = "QC" } }', False),
        ('{ event_type = "other", state = { primary = "COMPLETE" } }', False),
        ('{ state = { primary = "COMPLETE", supplement = "REJECTED" } }', True),
        ('{ state = { primary = "COMPLETE", supplement = "APPROVED" } }', False),
        ('{ state = { primary = "QC", supplement = "REJECTED" } }', False),
    ],
)
def test_all_fields_of_a_pattern_must_match(written: str, answer: bool) -> None:
    assert matches(written, COUNTERFEIT) is answer


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ('{ "state.primary" = "COMPLETE" }', True),
        ('{ "state.primary" = "QC" }', False),
        ('{ "state.primary" = "COMPLETE", "state.supplement" = "REJECTED" }', True),
        ('{ "state.primary" = "COMPLETE", "state.supplement" = "APPROVED" }', False),
        ('{ state.primary = "COMPLETE" }', True),
        ('{ state.primary = "QC" }', False),
        ('{ "a.b.c" = 1 }', True),
        ('{ a = { "b.c" = 1 } }', True),
        ('{ "a.b" = { c = 1 } }', True),
        ('{ "a.b" = { c = 2 } }', False),
        ('{ "a.b.c" = { gte = 1 } }', True),
        ('{ "a.b.c.d" = { exists = false } }', True),
    ],
)
def test_a_path_may_be_nested_or_quoted_and_dotted(written: str, answer: bool) -> None:
    assert matches(written, COUNTERFEIT | {"a": {"b": {"c": 1}}}) is answer


def test_a_dotted_path_is_not_a_key_with_a_dot() -> None:
    assert not matches('{ "state.primary" = "COMPLETE" }', {"state.primary": "COMPLETE"})


def test_a_nested_table_does_not_match_a_scalar() -> None:
    assert not matches('{ state = { primary = "COMPLETE" } }', {"state": "COMPLETE"})
    assert not matches('{ state = "COMPLETE" }', {"state": {"primary": "COMPLETE"}})


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ('{ event_type = ["media_rejected", "state_change"] }', True),
        ('{ event_type = ["media_rejected", "invalidate_sr"] }', False),
        ('{ event_type = [{ prefix = "media" }, { prefix = "state" }] }', True),
        ('{ event_type = [{ prefix = "media" }, { suffix = "sr" }] }', False),
        ('{ event_type = ["x", { prefix = "state" }] }', True),
        ('{ event_type = [1, true, "state_change"] }', True),
        ('{ state = [{ primary = "QC" }, { primary = "COMPLETE", supplement = "REJECTED" }] }', True),
        ('{ state = [{ primary = "QC" }, { primary = "COMPLETE", supplement = "APPROVED" }] }', False),
        ('{ event_type = ["x", ["y", "state_change"]] }', True),
    ],
)
def test_a_list_is_any_of_scalars_or_conditions(written: str, answer: bool) -> None:
    assert matches(written, COUNTERFEIT) is answer


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("{ event_type = [] }", "event_type"),
        ("{ state = { primary = [] } }", "state.primary"),
        ("{ a = { not = [] } }", "a.not"),
        ("{ a = [['x'], []] }", "a"),
        ("{ a = { prefix = [] } }", "a.prefix"),
    ],
)
def test_an_empty_list_is_an_error(written: str, path: str) -> None:
    assert problems(written) == [path]


# Equality.


@pytest.mark.parametrize(
    ("written", "value", "answer"),
    [
        ("true", True, True),
        ("true", False, False),
        ("false", False, True),
        ("true", 1, False),
        ("true", 1.0, False),
        ("true", "true", False),
        ("false", 0, False),
        ("false", None, False),
        ("false", "", False),
        ("1", 1, True),
        ("1", 1.0, True),
        ("1.0", 1, True),
        ("0", 0.0, True),
        ("1", True, False),
        ("0", False, False),
        ("1.0", True, False),
        ("1", "1", False),
        ("'1'", 1, False),
        ("1", 2, False),
        ("9007199254740993", 9007199254740993, True),
        ("9007199254740993", 9007199254740992, False),
        ("''", "", True),
        ("''", None, False),
        ("'a'", "A", False),
        ("'a'", "a ", False),
        ("'日本'", "日本", True),
        ("'a'", {"a": "a"}, False),
    ],
)
def test_a_scalar_equals_as_json_says(written: str, value: Any, answer: bool) -> None:
    assert matches(f"{{ a = {written} }}", {"a": value}) is answer
    assert matches(f"{{ a = [{written}] }}", {"a": value}) is answer
    assert matches(f"{{ a = {{ not = {written} }} }}", {"a": value}) is not answer


# Operators.


@pytest.mark.parametrize(
    ("written", "value", "answer"),
    [
        ("prefix = 'BAG-'", "BAG-1", True),
        ("prefix = 'BAG-'", "BAG-", True),
        ("prefix = 'BAG-'", "bag-1", False),
        ("prefix = 'BAG-'", "xBAG-1", False),
        ("prefix = ['A', 'B']", "B1", True),
        ("prefix = ['A', 'B']", "C1", False),
        ("suffix = '-EU'", "1-EU", True),
        ("suffix = '-EU'", "1-EU2", False),
        ("suffix = '-EU'", "1-eu", False),
        ("glob = 'BAG-*'", "BAG-1", True),
        ("glob = 'BAG-*'", "BAG-", True),
        ("glob = 'BAG-*'", "xBAG-1", False),
        ("glob = 'BAG-?'", "BAG-1", True),
        ("glob = 'BAG-?'", "BAG-", False),
        ("glob = 'BAG-?'", "BAG-12", False),
        ("glob = 'BAG'", "BAG-1", False),
        ("glob = 'BAG'", "BAG", True),
        ("glob = '*-*-EU'", "a-b-EU", True),
        ("glob = '*-*-EU'", "a-EU", False),
        ("glob = '?'", "日", True),
        ("glob = '?'", "😀", True),
        ("glob = 'a*b'", "a\nb", True),
        ("glob = 'a?b'", "a\nb", True),
        ("glob = 'a.b'", "axb", False),
        ("glob = 'a.b'", "a.b", True),
        ("glob = '[a-c]'", "b", False),
        ("glob = '[a-c]'", "[a-c]", True),
        ("glob = '{a,b}'", "a", False),
        ("glob = 'a|b'", "a", False),
        ("glob = 'a\\*'", "a\\b", True),
        ("glob = '(a)+^$ #&~-'", "(a)+^$ #&~-", True),
        ("glob = ''", "", True),
        ("glob = '*'", "", True),
        ("glob = ''", "a", False),
        ("regex = 'B[A-Z]+-[0-9]+'", "BAG-12", True),
        ("regex = 'B[A-Z]+-[0-9]+'", "BAG-12x", False),
        ("regex = 'B[A-Z]+-[0-9]+'", "xBAG-12", False),
        ("regex = 'a|ab'", "ab", True),
        ("regex = 'a|b'", "ab", False),
        ("regex = '(?i)bag'", "BAG", True),
        ("regex = 'bag'", "BAG", False),
        ("regex = ['x', 'B.*']", "BAG", True),
        ("regex = 'a'", "a\n", False),
        ("regex = 'a$'", "a\n", False),
        ("regex = '日.'", "日本", True),
        ("ignore_case = 'Bag'", "bAG", True),
        ("ignore_case = 'Bag'", "Bags", False),
        ("ignore_case = 'straße'", "STRASSE", True),
        ("ignore_case = ['x', 'BAG']", "bag", True),
        ("ignore_case = 'true'", True, False),
        ("exists = true", "a", True),
        ("exists = true", "", True),
        ("exists = true", 0, True),
        ("exists = true", False, True),
        ("exists = true", {}, True),
        ("exists = true", None, False),
        ("exists = false", None, True),
        ("exists = false", "a", False),
        ("exists = false", False, False),
        ("not = 'a'", "b", True),
        ("not = 'a'", "a", False),
        ("not = ['a', 'b']", "b", False),
        ("not = ['a', 'b']", "c", True),
        ("not = { prefix = 'a' }", "ab", False),
        ("not = { prefix = 'a' }", "ba", True),
        ("not = { not = 'a' }", "a", True),
        ("not = { prefix = 'a', suffix = 'z' }", "ab", True),
        ("not = { prefix = 'a', suffix = 'z' }", "az", False),
        ("not = { exists = true }", None, True),
        ("not = { exists = true }", "a", False),
        ("gt = 5", 6, True),
        ("gt = 5", 5, False),
        ("gt = 5", 5.5, True),
        ("gte = 5", 5, True),
        ("gte = 5", 4.9, False),
        ("lt = 5", 4, True),
        ("lt = 5", 5, False),
        ("lte = 5", 5.0, True),
        ("lte = 5", 5.1, False),
        ("gt = -1.5", -1, True),
        ("gt = 0", 10**400, True),
        ("lt = 0.5", -(10**400), True),
        ("gt = 0", "6", False),
        ("gt = 0", True, False),
        ("lt = 5", False, False),
        ("lte = 5", None, False),
        ("gt = 1, lt = 3", 2, True),
        ("gt = 1, lt = 3", 3, False),
        ("gt = 1, lt = 3", 1, False),
        ("prefix = 'a', suffix = 'z'", "a-z", True),
        ("prefix = 'a', suffix = 'z'", "a-y", False),
        ("prefix = 'a', suffix = 'z'", "b-z", False),
        ("prefix = 'a', not = 'ab'", "ac", True),
        ("prefix = 'a', not = 'ab'", "ab", False),
        ("prefix = 'a', not = 'ab'", "b", False),
        ("exists = true, not = 'a'", "b", True),
        ("exists = true, not = 'a'", None, False),
        ("exists = true, prefix = 'a'", "b", False),
    ],
)
def test_an_operator_matches_these_values_and_no_others(written: str, value: Any, answer: bool) -> None:
    assert matches(f"{{ a = {{ {written} }} }}", {"a": value}) is answer


@pytest.mark.parametrize("operator", ["prefix", "suffix", "glob", "regex", "ignore_case"])
@pytest.mark.parametrize("value", [1, True, 1.5, {"1": "1"}])
def test_an_operator_for_text_matches_only_text(operator: str, value: Any) -> None:
    operand = {"glob": "*", "regex": "(?s).*"}.get(operator, "")
    assert not matches(f"{{ a = {{ {operator} = '{operand}' }} }}", {"a": value})
    assert matches(f"{{ a = {{ {operator} = '{operand}' }} }}", {"a": ""})


def test_the_operators_are_the_documented_ones() -> None:
    known = {"prefix", "suffix", "glob", "regex", "not", "exists", "ignore_case", "gt", "gte", "lt", "lte"}
    assert set(OPERATORS) == known, "add a new operator here, and its cases to the tables of this file; remove or rename none"


@pytest.mark.parametrize(
    "written",
    [
        "{ a = { prefix = 1 } }",
        "{ a = { suffix = true } }",
        "{ a = { glob = ['a', 1] } }",
        "{ a = { regex = { b = 1 } } }",
        "{ a = { ignore_case = 1 } }",
        "{ a = { exists = 'yes' } }",
        "{ a = { exists = 1 } }",
        "{ a = { gt = '5' } }",
        "{ a = { gte = true } }",
        "{ a = { lt = [1] } }",
        "{ a = { lte = 2026-01-01 } }",
    ],
)
def test_an_operand_of_the_wrong_type_is_an_error(written: str) -> None:
    (path,) = problems(written)
    assert path.startswith("a.")


# Absent and null.


@pytest.mark.parametrize("values", [{}, {"a": None}, {"a": {}}, {"a": {"b": None}}], ids=str)
@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("''", False),
        ("false", False),
        ("0", False),
        ("['', 0, false]", False),
        ("{ c = '' }", False),
        ("{ prefix = '' }", False),
        ("{ suffix = '' }", False),
        ("{ glob = '*' }", False),
        ("{ regex = '.*' }", False),
        ("{ ignore_case = '' }", False),
        ("{ gt = -1 }", False),
        ("{ gte = 0 }", False),
        ("{ lt = 1 }", False),
        ("{ lte = 0 }", False),
        ("{ exists = true }", False),
        ("{ exists = false }", True),
        ("{ not = 'x' }", True),
        ("{ not = { prefix = 'x' } }", True),
        ("{ not = ['x', 'y'] }", True),
        ("{ not = { exists = false } }", False),
        ("['x', { exists = false }]", True),
        ("{ exists = false, prefix = '' }", False),
        ("{ c = { exists = false } }", True),
        ("{ c = { not = 'x' } }", True),
    ],
)
def test_null_counts_as_absent_and_absent_matches_only_exists_false_and_not(
    values: dict[str, Any], condition: str, answer: bool
) -> None:
    assert matches(f'{{ "a.b" = {condition} }}', values) is answer
    assert matches(f"{{ a = {{ b = {condition} }} }}", values) is answer


# Arrays.


@pytest.mark.parametrize(
    ("written", "value", "answer"),
    [
        ("'x'", ["a", "x"], True),
        ("'x'", ["a", "b"], False),
        ("'x'", [], False),
        ("1", [True, 1.0], True),
        ("1", [True], False),
        ("['x', 'y']", ["a", "y"], True),
        ("{ prefix = 'x' }", ["a", "xa"], True),
        ("{ prefix = 'x' }", ["a", "ax"], False),
        ("{ gt = 5 }", [1, 6], True),
        ("{ gt = 5 }", [1, 5], False),
        ("{ gt = 1, lt = 5 }", [0, 3, 9], True),
        ("{ gt = 1, lt = 5 }", [0, 9], False),
        ("{ prefix = 'a', suffix = 'z' }", ["ab", "bz"], False),
        ("{ prefix = 'a', suffix = 'z' }", ["b", "az"], True),
        ("{ not = 'x' }", ["a", "b"], True),
        ("{ not = 'x' }", ["a", "x"], False),
        ("{ not = { prefix = 'x' } }", ["a", "xa"], False),
        ("{ not = 'x' }", [], True),
        ("{ not = 'x', prefix = 'a' }", ["a", "x"], False),
        ("{ not = 'x', prefix = 'a' }", ["a", "b"], True),
        ("{ exists = true }", ["a"], True),
        ("{ exists = false }", ["a"], False),
    ],
)
def test_an_array_matches_if_one_element_does_and_not_applies_to_all_elements(
    written: str, value: list[Any], answer: bool
) -> None:
    assert matches(f"{{ a = {written} }}", {"a": value}) is answer


SIDES = {"sides": [{"side": "Front", "reason": "Glare"}, {"side": "Label", "reason": "Blurry", "message": "again"}]}


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("{ sides = { side = 'Label' } }", True),
        ("{ sides = { side = 'Back' } }", False),
        ("{ 'sides.side' = 'Label' }", True),
        ("{ sides = { side = 'Label', reason = 'Blurry' } }", True),
        ("{ sides = { side = 'Front', reason = 'Blurry' } }", False),
        ("{ sides = { side = 'Front', message = { exists = true } } }", False),
        ("{ sides = { side = 'Front', message = { exists = false } } }", True),
        ("{ sides = { side = 'Label', message = { exists = false } } }", False),
        # Written as two paths they are two conditions, each of which may find its own element.
        ("{ 'sides.side' = 'Front', 'sides.reason' = 'Blurry' }", True),
        ("{ sides = [{ side = 'Front', reason = 'Blurry' }, { side = 'Label', reason = 'Blurry' }] }", True),
        ("{ sides = { not = { side = 'Label' } } }", False),
        ("{ sides = { not = { side = 'Back' } } }", True),
        ("{ sides = { not = { side = 'Front', reason = 'Blurry' } } }", True),
        ("{ sides = { side = { not = 'Front' } } }", True),
        ("{ sides = { side = { not = ['Front', 'Label'] } } }", False),
    ],
)
def test_a_table_of_conditions_must_hold_on_one_element_together(written: str, answer: bool) -> None:
    assert matches(written, SIDES) is answer


def test_one_element_together_holds_at_every_depth() -> None:
    values = {"a": [{"b": [{"c": 1, "d": 2}, {"c": 3, "d": 4}]}, {"b": [{"c": 5, "d": 6}]}]}
    assert matches("{ a = { b = { c = 3, d = 4 } } }", values)
    assert not matches("{ a = { b = { c = 3, d = 6 } } }", values)


# Tables of operators, tables of fields.


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("{ state = { primary = 'QC', exists = true } }", "state"),
        ("{ state = { not = 'x', primary = 'QC' } }", "state"),
        ("{ sides = [{ side = 'x', prefix = 'y' }] }", "sides"),
        ("{ a = { b = { gt = 1, c = 2 } } }", "a.b"),
        ("{ a = { not = { b = 1, lt = 2 } } }", "a.not"),
    ],
)
def test_a_table_that_mixes_operators_and_fields_is_an_error(written: str, path: str) -> None:
    assert path in problems(written)


def test_a_field_named_like_an_operator_is_written_as_a_quoted_path() -> None:
    assert matches("{ 'a.prefix' = 'x' }", {"a": {"prefix": "x"}})
    assert not matches("{ 'a.prefix' = 'x' }", {"a": {"prefix": "y"}})
    assert not matches("{ 'a.prefix' = 'x' }", {"a": "xyz"})
    assert matches("{ 'a.not' = { not = 'x' }, 'a.b' = 1 }", {"a": {"not": "y", "b": 1}})
    assert not matches("{ 'a.not' = { not = 'x' } }", {"a": {"not": "x"}})
    assert matches("{ b = { 'gt.lt' = { gt = 1 } } }", {"b": {"gt": {"lt": 2}}})


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_without_a_field_is_an_error(operator: str) -> None:
    assert compile_pattern({operator: True})[1][0].path == operator


@pytest.mark.parametrize(
    ("written", "path"),
    [("{ a = {} }", "a"), ("{ a = { b = {} } }", "a.b"), ("{ a = 2026-01-01 }", "a"), ("{ a = 2026-01-01T00:00:00Z }", "a")],
)
def test_a_pattern_without_conditions_is_an_error(written: str, path: str) -> None:
    assert problems(written) == [path]


@pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b"])
def test_a_path_with_an_empty_name_is_an_error(key: str) -> None:
    assert [problem.path for problem in compile_pattern({key: 1})[1]] == [key]
    assert [problem.path for problem in compile_pattern({"x": {key: 1}})[1]] == [f"x.{key}"]


def test_all_problems_are_found_at_once() -> None:
    assert problems("{ a = [], b = { regex = '(' }, c = { d = { gt = 'x' } } }") == ["a", "b.regex", "c.d.gt"]


# Regular expressions.


@pytest.mark.parametrize("source", ["(", "[a", "a{1001}", "(?=a)", r"(a)\1", "*", "\\"])
def test_an_expression_that_re2_cannot_compile_is_an_error(source: str) -> None:
    _, (problem,) = compile_pattern({"a": {"b": {"regex": source}}})
    assert problem.path == "a.b.regex"
    assert "RE2" in problem.wrong


@pytest.mark.parametrize("written", ["regex = '(a|a)*b'", "regex = '(a*)*b'", f"glob = '{'a*' * 24}b'"])
def test_matching_takes_linear_time(written: str) -> None:
    # With a backtracking matcher 200,000 characters would take longer than the universe has.
    started = time.thread_time()
    assert not matches(f"{{ a = {{ {written} }} }}", {"a": "a" * 200_000})
    assert time.thread_time() - started < 2


# Values of any shape.


@pytest.mark.parametrize("depth", [100, 500, 900])
@pytest.mark.parametrize(
    "written", ["{ a = 'x' }", "{ a = { b = 'x' } }", "{ a = { prefix = 'x' } }", "{ a = { not = 'x' } }", "{ a = ['x', 'y'] }"]
)
def test_a_value_of_any_depth_that_was_decoded_can_be_matched(written: str, depth: int) -> None:
    # Promise 2: an authentic message is never lost, so a pattern may not raise on one. Too deep to decode is quarantined.
    decoded = decode(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")
    if isinstance(decoded, Undecodable):
        assert depth > 100
        return
    pattern, _ = compile_pattern(tomllib.loads(f"match = {written}")["match"])
    assert pattern.matches(decoded.values) is ("not" in written)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from(["", "a", "ab", "b", "A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
scalars = st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", "b", "A"])
texts = st.sampled_from(["", "a", "b", "ab"])
conditions: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2)
        | st.fixed_dictionaries({"not": inner}, optional={"exists": st.booleans(), "prefix": texts})
        | st.fixed_dictionaries({"exists": st.booleans()}, optional={"gt": st.integers(-3, 3), "suffix": texts})
        | st.fixed_dictionaries({"lte": st.integers(-3, 3)}, optional={"gte": st.integers(-3, 3)})
    ),
    max_leaves=6,
)
tables = st.dictionaries(st.sampled_from(["a", "b", "a.b", "b.c.a"]), conditions, max_size=3)
objects = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


@given(table=tables, values=objects)
def test_a_pattern_fails_exactly_where_it_does_not_match(table: dict[str, Any], values: dict[str, Any]) -> None:
    pattern, found = compile_pattern(table)
    assert not found
    assert (pattern.failure(values) is None) is pattern.matches(values)


@given(condition=conditions, value=json_values)
def test_not_is_the_opposite_of_every_condition(condition: Any, value: Any) -> None:
    plain, _ = compile_pattern({"a": condition})
    negated, _ = compile_pattern({"a": {"not": condition}})
    twice, _ = compile_pattern({"a": {"not": {"not": condition}}})
    assert negated.matches({"a": value}) is not plain.matches({"a": value})
    assert twice.matches({"a": value}) is plain.matches({"a": value})


@given(table=tables, values=objects)
def test_null_is_absent_in_every_pattern(table: dict[str, Any], values: dict[str, Any]) -> None:
    def pruned(value: Any) -> Any:
        return {key: pruned(inner) for key, inner in value.items() if inner is not None} if isinstance(value, dict) else value

    pattern, _ = compile_pattern(table)
    assert pattern.matches(values) is pattern.matches(pruned(values))


@given(first=conditions, second=conditions, value=json_values)
def test_a_list_of_conditions_is_their_or(first: Any, second: Any, value: Any) -> None:
    each = [compile_pattern({"a": condition})[0].matches({"a": value}) for condition in (first, second)]
    assert compile_pattern({"a": [first, second]})[0].matches({"a": value}) is any(each)


# What went wrong, for `explain`.


@pytest.mark.parametrize(
    ("written", "failure"),
    [
        ("{ event_type = 'x', sr_uuid = 'y' }", Mismatch("event_type", "x", "state_change")),
        ("{ event_type = 'state_change', sr_uuid = 'y' }", Mismatch("sr_uuid", "y", "sr-1")),
        ("{ state = { primary = 'COMPLETE', supplement = 'APPROVED' } }", Mismatch("state.supplement", "APPROVED", "REJECTED")),
        ("{ 'state.primary' = ['QC', 'DRAFT'] }", Mismatch("state.primary", ["QC", "DRAFT"], "COMPLETE")),
        ("{ reference_id = { prefix = 'SNK' } }", Mismatch("reference_id", {"prefix": "SNK"}, "BAG-2026-000481")),
        ("{ missing = { deep = 1 } }", Mismatch("missing.deep", 1, None)),
    ],
)
def test_a_failure_names_the_first_condition_that_does_not_hold(written: str, failure: Mismatch) -> None:
    pattern, _ = compile_pattern(tomllib.loads(f"match = {written}")["match"])
    assert pattern.failure(COUNTERFEIT) == failure


def test_a_failure_over_an_array_shows_the_array() -> None:
    pattern, _ = compile_pattern({"sides": {"side": "Back"}})
    assert pattern.failure(SIDES) == Mismatch("sides", {"side": "Back"}, SIDES["sides"])


def test_the_text_form_of_a_pattern_is_what_was_written() -> None:
    pattern, _ = compile_pattern(
        tomllib.loads("m = { event_type = 'x', state = { primary = ['A', 'B'] }, amount = { gt = 5 } }")["m"]
    )
    assert str(pattern) == "event_type = x, state.primary = A or B, amount gt 5"


def test_a_local_date_is_refused_with_a_hint() -> None:
    _, (problem,) = compile_pattern({"timestamp": datetime(2026, 1, 1, tzinfo=UTC)})
    assert "quotes" in problem.hint


def test_a_failure_can_be_shown_as_json() -> None:
    pattern, _ = compile_pattern(tomllib.loads("m = { a = { not = 'x', prefix = 'y' } }")["m"])
    failure = pattern.failure({"a": ["z"]})
    assert failure is not None
    assert json.loads(json.dumps([failure.path, failure.expected, failure.actual])) == ["a", {"not": "x", "prefix": "y"}, ["z"]]
