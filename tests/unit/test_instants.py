"""Instants in the form of RFC 3339, and in the forms that senders use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import event_of
from gateway.core.instants import parse_instant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01 12:00:00z", NOON),
        ("2026-03-01t12:00:00.250z", NOON + 0.25),
        ("2026-03-01T12:00:00.1234567890123Z", NOON + 0.1234567890123),
        ("2026-03-01T12:00:00.5+00:00", NOON + 0.5),
        ("2026-03-01t21:00:00+09:00", NOON),
        ("2026-03-01T11:59:60Z", NOON),
        ("2026-03-01T11:59:60.5z", NOON + 0.5),
        ("2026-03-01T20:59:60+09:00", NOON),
        ("2026-03-01T12:00:00-00:00", NOON),
        ("2026-03-01T12:00:00", NOON),
        ("2026-03-01T12:00Z", NOON),
        ("20260301T120000Z", NOON),
        ("20260301T210000+0900", NOON),
        ("2026-W09-7T12:00:00Z", NOON),
        ("2026-03-01T12", NOON),
        ("2026-03-02T11:59:00+23:59", NOON),
        ("2026-02-28T12:01:00-23:59", NOON),
        (f"2026-03-01T12:00:00.{'3' * 30}Z", NOON + 1 / 3),
        (f"2026-03-01T12:00:00.{'0' * 100_000}Z", NOON),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC).timestamp()),
        ("0001-01-01t00:00:00+23:59", datetime(1, 1, 1, tzinfo=UTC).timestamp() - 86340),
        ("9999-12-31T23:59:60Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1),
        ("9999-12-31T23:59:59-23:59", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 86340),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC).timestamp()),
    ],
)
def test_an_instant_is_read_in_every_form(text: str, seconds: float) -> None:
    assert parse_instant(text) == pytest.approx(seconds, abs=1e-6)
    assert event_of({"timestamp": text}).instant() == parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:00:61Z",
        "2026-03-01T12:60:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-01T12:00:00+24:00",
        "0001-01-01T00:00:00+01:00x",
        "２０26-03-01T12:00:00Z",
        "1772366400",
        "0000-01-01T00:00:00Z",
        "2026-03-01T12:00:00+23:60",
        "2026-03-01T12:00:00+00:60",
        "2026-03-01T12:00:00-24:00",
        "2026-03-01T24:00Z",
        "20260301T240000Z",
        "2026-03-01T12:00:00.Z",
        "2026-03-01T12:00:00 Z",
        "2026-03-01T12:00:00Zz",
        "2026-03-01T12:00:00z+01:00",
        "2026-03-01T12:00:00+09:00:30",
        "2026-03-01x12:00:00Z",
        "2026-03-01\u00a012:00:00Z",
        "2026-03-01T12:00:00Z\n",
        " 2026-03-01T12:00:00Z",
        "12026-03-01T12:00:00Z",
        "-2026-03-01T12:00:00Z",
        "\ud83d",
        "0" * 100_000,
    ],
)
def test_a_text_that_is_not_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)
    assert event_of({"timestamp": text}).instant() is None


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("tT "),
    st.text("0123456789", max_size=12),
)
def test_instants_sort_by_time_in_every_form(at: datetime, offset: int, separator: str, fraction: str) -> None:
    zone = timezone(timedelta(minutes=offset))
    written = at.replace(microsecond=0, tzinfo=zone)
    text = written.isoformat(separator)
    text = f"{text[:19]}{f'.{fraction}' if fraction else ''}{text[19:]}"
    expected = written.timestamp() + (float(f"0.{fraction}") if fraction else 0)
    assert parse_instant(text) == pytest.approx(expected, abs=1e-6)


@given(st.datetimes())
def test_the_usual_form_is_the_same_instant_as_any_other_form_of_it(at: datetime) -> None:
    usual = f"{at.isoformat(timespec='milliseconds')}Z"
    assert parse_instant(usual) == parse_instant(usual.replace(".", ",")) == parse_instant(usual.lower())


@pytest.mark.parametrize("text", ["2026-02-29T12:00:00.000Z", "2026-13-01T12:00:00.000Z", "2026-03-01T24:00:00.000Z"])
def test_a_text_in_the_usual_form_that_is_not_an_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)
