"""Numbers, spans of time and instants, as a page writes them in each language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.instants import parse_instant
from gateway.web.pages.catalogue import catalogue
from gateway.web.pages.formats import Formats, plain_value
from gateway.web.pages.sparkline import sparkline

NOW = parse_instant("2026-11-30T02:00:00Z")
EN, JA = Formats(catalogue("en")), Formats(catalogue("ja"))


@pytest.mark.parametrize(
    ("seconds", "english", "japanese"),
    [
        (0, "0 s", "0 秒"),
        (-3, "0 s", "0 秒"),
        (59.9, "59 s", "59 秒"),
        (60, "1 min", "1 分"),
        (3599, "59 min", "59 分"),
        (3600, "1 h", "1 時間"),
        (3660, "1 h 1 min", "1 時間 1 分"),
        (86400, "1 d", "1 日"),
        (90061, "1 d 1 h", "1 日 1 時間"),
        (86400 + 120, "1 d", "1 日"),
        (1_000_000_000, "11,574 d 1 h", "11,574 日 1 時間"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, english: str, japanese: str) -> None:
    assert (EN.span(seconds), JA.span(seconds)) == (english, japanese)


def test_an_instant_has_no_year_if_that_goes_without_saying() -> None:
    assert EN.day_and_time("2026-03-01T09:05:07Z", NOW) == "1 Mar 09:05"
    assert JA.day_and_time("2026-03-01T09:05:07Z", NOW) == "3月1日 09:05"
    assert EN.day_and_time("2026-03-01T09:05:07Z", NOW, seconds=True) == "1 Mar 09:05:07"
    assert EN.day_and_time("2025-12-31T23:59:59Z", NOW) == "31 Dec 2025 23:59"
    assert JA.day_and_time("2025-12-31T23:59:59Z", NOW) == "2025年12月31日 23:59"


def test_an_instant_is_an_element_with_the_exact_time_in_it() -> None:
    said = EN.ago("2026-11-30T01:57:00.5Z", NOW)
    assert said == ('<time datetime="2026-11-30T01:57:00.500Z" title="2026-11-30T01:57:00.500Z" data-ago>2 min ago</time>')
    assert "data-until>in 1 min<" in EN.until(NOW + 60, NOW)
    assert EN.moment(None, NOW) == EN.ago(None, NOW) == EN.until(None, NOW) == ""


@given(st.floats(allow_nan=False, allow_infinity=True))
def test_any_instant_can_be_written(instant: float) -> None:
    assert EN.moment(instant, NOW).startswith("<time") and JA.moment(instant, NOW).startswith("<time")


def test_a_number_has_separators_and_an_unknown_one_is_a_question_mark() -> None:
    assert [EN.number(one) for one in (0, 1234567, 2.5, 31.19, 1200.0, None)] == ["0", "1,234,567", "2.5", "31", "1,200", "?"]


def test_a_size_has_a_unit() -> None:
    assert [EN.size(one) for one in (0, 1023, 1536, 5 << 20, 3 << 30)] == ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]


@pytest.mark.parametrize(
    ("json", "plain"),
    [
        ('"authentic"', "authentic"),
        ('["authentic", "counterfeit"]', "authentic | counterfeit"),
        ('"a b"', "a b"),
        ('""', '""'),
        ('" a"', '" a"'),
        ('["a|b"]', '["a|b"]'),
        ("5", "5"),
        ("[]", "[]"),
        ('{"prefix": "x"}', '{"prefix": "x"}'),
        ('["cut …', '["cut …'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_of_a_rule_loses_its_quotes_only_where_that_leaves_it_clear(json: str, plain: str) -> None:
    assert plain_value(json) == plain


def test_a_curve_stands_on_the_ground_and_has_no_style_of_its_own() -> None:
    assert sparkline([1.0]) == ""
    drawn = sparkline([0.0, 10.0, 5.0])
    assert 'points="0.0,23.0 60.0,1.0 120.0,12.0"' in drawn
    assert "style" not in drawn and 'aria-hidden="true"' in drawn
    assert "nan" not in sparkline([0.0, 0.0])
