"""Values with units, and secrets that are never shown."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import marshal
import math
import pickle
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import Duration, Rate, Size, rfc3339
from gateway.host.environment import Environment

HIDDEN = "hunter2-hunter2-hunter2"

# Duration.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("90d", 90 * 86400),
        ("7d", 604800),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("3650d", 3650 * 86400),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert Duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "s",
        "30 s",
        " 30s",
        "30s ",
        "-5s",
        "30x",
        "5min",
        "thirty",
        "1e3s",
        "1..5s",
        "nan",
        "inf",
        "30s\n",
        "4000d",
        "9" * 30 + "d",
        "9" * 400 + "d",
    ],
)
def test_a_text_that_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        Duration(text)


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, -math.inf, 3651 * 86400, 1e300])
def test_a_number_that_is_not_a_duration_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        Duration(seconds)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0s", "0s"), ("30s", "30s"), ("300s", "5m"), ("1h30m", "90m"), ("24h", "1d"), ("250ms", "250ms"), ("1.5s", "1500ms")],
)
def test_a_duration_is_shown_in_the_largest_whole_unit(text: str, shown: str) -> None:
    assert str(Duration(text)) == shown


@given(milliseconds=st.integers(0, 10 * 365 * 86400 * 1000))
def test_a_duration_is_read_back_as_it_is_shown(milliseconds: int) -> None:
    duration = Duration(milliseconds / 1000)
    assert Duration(str(duration)) == duration


@given(text=st.text(max_size=12) | st.from_regex(r"[-+]?[0-9.]{0,4}(ms|s|m|h|d|w|y|us|µs)?", fullmatch=True))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= Duration(text) <= 10 * 365 * 86400


# Size.


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0B", 0),
        ("512B", 512),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("256KiB", 262_144),
        ("1MB", 1_000_000),
        ("256MiB", 268_435_456),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("4 MiB", 4_194_304),
    ],
)
def test_a_size_is_read_with_its_unit(text: str, number: int) -> None:
    assert Size(text) == number
    assert isinstance(Size(text), int)


@pytest.mark.parametrize(
    "text", ["", "256", "KiB", "-1B", "1.5MiB", "1XB", "1kib", "1KIB", "1K", "1e3B", "٣B", "1B\n", "9" * 13 + "B", "0x1B"]
)
def test_a_text_that_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        Size(text)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        Size(-1)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (512, "512B"), (1024, "1KiB"), (1000, "1000B"), (1536, "1536B"), (262_144, "256KiB"), (2**30, "1GiB")],
)
def test_a_size_is_shown_in_the_largest_whole_unit(size: int, shown: str) -> None:
    assert str(Size(size)) == shown


@given(size=st.integers(0, 10**11) | st.integers(0, 10**6).map(lambda n: n * 1024) | st.integers(0, 500).map(lambda n: n * 2**30))
def test_a_size_is_read_back_as_it_is_shown(size: int) -> None:
    assert Size(str(Size(size))) == size


@given(text=st.text(max_size=12))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert Size(text) >= 0


# Rate.


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("50/s", 50), ("1/s", 1), ("0.5/s", 0.5), ("60/m", 1), ("100/m", 100 / 60), ("3600/h", 1), ("1/h", 1 / 3600)],
)
def test_a_rate_is_read_per_unit(text: str, per_second: float) -> None:
    assert Rate(text) == pytest.approx(per_second, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", "50", "/s", "0/s", "0.0/h", "-1/s", "50/d", "50/ms", "50 /s", "50/s ", "1e3/s", "٣/s", "nan/s", "inf/s", ".5/s", "5./s"],
)
def test_a_text_that_is_not_a_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(text)


@pytest.mark.parametrize("number", [0, -1])
def test_a_rate_is_above_zero(number: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(number)


@pytest.mark.parametrize("text", ["50/s", "1/s", "100/m", "1/h", "7/h", "999999999/s"])
def test_a_rate_is_shown_as_it_was_written(text: str) -> None:
    assert str(Rate(text)) == text


@given(count=st.integers(1, 999_999_999), unit=st.sampled_from("smh"))
def test_a_rate_is_read_back_as_it_is_shown(count: int, unit: str) -> None:
    rate = Rate(f"{count}/{unit}")
    assert Rate(str(rate)) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("text", ["0.5/s", "0.333333/s", "5.5/m", "0.25/h", "0.001/h", "0.000001/h"])
def test_a_rate_with_a_fraction_is_read_back_as_it_is_shown(text: str) -> None:
    rate = Rate(text)
    assert Rate(str(rate)) == pytest.approx(rate, rel=1e-3)


@given(text=st.text(max_size=12))
def test_any_text_is_a_rate_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert Rate(text) > 0


# Secret.


def test_a_secret_is_revealed_only_when_asked() -> None:
    assert Secret(HIDDEN).reveal() == HIDDEN


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(HIDDEN)
    nested: dict[str, Any] = {"a": [secret], "b": (secret,)}
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.emit(logging.LogRecord("name", logging.INFO, "file", 1, "%s %r", (secret, secret), None))
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret!s}",
        repr(nested),
        pretty_repr(nested),
        log.getvalue(),
    ]
    assert all("***" in text for text in shown)
    assert not any("hunter2" in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert copy.copy(secret).reveal() == copy.deepcopy(nested)["a"][0].reveal() == HIDDEN


@pytest.mark.parametrize("encode", [json.dumps, msgspec.json.encode, msgspec.to_builtins, pickle.dumps, marshal.dumps])
def test_a_secret_can_not_be_encoded(encode: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        encode({"secret": Secret(HIDDEN)})
    assert "hunter2" not in str(caught.value)


def test_a_secret_does_not_show_in_a_traceback_with_locals() -> None:
    def fails(secret: Secret) -> None:
        raise RuntimeError(f"with {secret}")

    try:
        fails(Secret(HIDDEN))
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert "***" in shown
        # The source line has the name of the constant; its content must not appear.
        assert HIDDEN not in shown


# SecretRef.


@pytest.mark.parametrize(
    ("table", "kinds", "shown"),
    [
        ({"env": "NAME"}, ["env"], "env NAME"),
        ({"file": "/path"}, ["file"], "file /path"),
        ({"credential": "name"}, ["credential"], "credential name"),
        ({}, [], "nothing"),
        ({"env": "A", "file": "b"}, ["env", "file"], "env A and file b"),
    ],
)
def test_a_reference_says_where_its_secret_is(table: dict[str, str], kinds: list[str], shown: str) -> None:
    ref = msgspec.convert(table, SecretRef)
    assert ref.kinds() == kinds
    assert str(ref) == shown


@pytest.mark.parametrize("table", [{"value": "x"}, {"env": "A", "other": 1}, {"env": 1}, "whsec_literal"], ids=str)
def test_a_reference_of_another_form_is_refused(table: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, SecretRef)


# Environment.


def test_an_empty_variable_counts_as_unset() -> None:
    environment = Environment({"EMPTY": "", "SET": "x"})
    assert (environment.get("EMPTY"), environment.get("NONE"), environment.get("SET")) == (None, None, "x")


def test_the_first_of_several_directories_counts() -> None:
    environment = Environment({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "EMPTY": ""})
    assert environment.directory("STATE_DIRECTORY") == Path("/var/lib/a")
    assert environment.directory("EMPTY") is environment.directory("NONE") is None


def test_the_environment_of_the_process_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_VALUE", "before")
    environment = Environment.of_process()
    monkeypatch.setenv("GATEWAY_TEST_VALUE", "after")
    assert environment.get("GATEWAY_TEST_VALUE") == "before"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_each_of_its_places_without_its_line_break(tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").write_bytes((HIDDEN + ending).encode())
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "name").write_bytes((HIDDEN + ending).encode())
    environment = Environment({"NAME": HIDDEN + ending, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    refs = [SecretRef(env="NAME"), SecretRef(file="file"), SecretRef(file=str(tmp_path / "file")), SecretRef(credential="name")]
    assert [environment.secret(ref, tmp_path).reveal() for ref in refs] == [HIDDEN] * 4


def test_spaces_inside_a_secret_are_kept_and_around_it_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("pass word\n")
    assert Environment({}).secret(SecretRef(file="file"), tmp_path).reveal() == "pass word"
    (tmp_path / "file").write_text(" pass word \n")
    with pytest.raises(ValueError, match="begins or ends with a space"):
        Environment({}).secret(SecretRef(file="file"), tmp_path)


def test_a_secret_file_is_read_again_each_time(tmp_path: Path) -> None:
    environment, ref = Environment({}), SecretRef(file="file")
    for value in ("first-6Yt1", "second-3Ty7"):
        (tmp_path / "file").write_text(value)
        assert environment.secret(ref, tmp_path).reveal() == value


def refusal(ref: SecretRef, base: Path, variables: dict[str, str] | None = None) -> str:
    """Return the message about a secret that cannot be read. It names the place, never the content."""
    with pytest.raises(ValueError, match=r".") as caught:
        Environment(variables or {}).secret(ref, base)
    shown = str(caught.value) + repr(caught.value)
    assert "hunter2" not in shown
    # What was raised before is printed with a traceback, unless it is suppressed; UnicodeDecodeError holds the content.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return shown


def test_an_unset_variable_is_named(tmp_path: Path) -> None:
    assert "NAME" in refusal(SecretRef(env="NAME"), tmp_path, {"OTHER": HIDDEN})


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    shown = refusal(SecretRef(file="absent"), tmp_path)
    assert str(tmp_path / "absent") in shown
    assert "No such file" in shown


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(SecretRef(file="."), tmp_path)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(HIDDEN.encode() + b"\xff\xfe")
    shown = refusal(SecretRef(file="file"), tmp_path)
    assert str(tmp_path / "file") in shown
    assert "UTF-8" in shown


@pytest.mark.parametrize("content", ["", "\n", "\r\n\n"])
def test_an_empty_secret_is_refused_and_its_place_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "name").write_text(content)
    variables = {"NAME": content, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    for ref, place in ((SecretRef(env="NAME"), "NAME"), (SecretRef(file="name"), "name"), (SecretRef(credential="name"), "name")):
        shown = refusal(ref, tmp_path, variables)
        assert "empty" in shown
        assert place in shown


@pytest.mark.parametrize("variables", [{}, {"CREDENTIALS_DIRECTORY": ""}], ids=str)
def test_a_credential_outside_systemd_says_what_is_missing(tmp_path: Path, variables: dict[str, str]) -> None:
    shown = refusal(SecretRef(credential="legitmark"), tmp_path, variables)
    assert "legitmark" in shown
    assert "CREDENTIALS_DIRECTORY" in shown


def test_a_credential_that_systemd_did_not_load_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "legitmark") in refusal(
        SecretRef(credential="legitmark"), Path("/"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    )


@pytest.mark.parametrize(
    "ref", [SecretRef(), SecretRef(env="A", file="b"), SecretRef(env="A", file="b", credential="c")], ids=str
)
def test_a_reference_names_exactly_one_place(tmp_path: Path, ref: SecretRef) -> None:
    assert "env" in refusal(ref, tmp_path, {"A": HIDDEN})


# Instants.


@pytest.mark.parametrize(
    ("instant", "shown"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_772_402_761.25, "2026-03-01T22:06:01.250Z"),
        (1_772_000_000, "2026-02-25T06:13:20.000Z"),
        (1_709_164_800.5, "2024-02-29T00:00:00.500Z"),
        (951_782_399.999, "2000-02-28T23:59:59.999Z"),
        (-62_135_596_800.0, "0001-01-01T00:00:00.000Z"),
        (-62_135_647_200.0, "0001-01-01T00:00:00.000Z"),  # 0001-01-01T00:00:00+14:00, which is in the year 0 of UTC
        (253_402_300_799.9999, "9999-12-31T23:59:59.000Z"),  # which would be rounded into the year 10000
        (-1e300, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_an_instant_is_shown_in_utc_with_milliseconds(instant: float, shown: str) -> None:
    assert rfc3339(instant) == shown


@given(milliseconds=st.integers(0, 4_000_000_000_000))
def test_a_shown_instant_reads_back_within_a_millisecond(milliseconds: int) -> None:
    shown = rfc3339(milliseconds / 1000)
    assert len(shown) == 24
    assert abs(datetime.fromisoformat(shown).timestamp() - milliseconds / 1000) < 0.0011


@given(instants=st.lists(st.floats(0, 4e9), min_size=2, max_size=2))
def test_shown_instants_sort_as_they_happened(instants: list[float]) -> None:
    earlier, later = sorted(instants)
    assert rfc3339(earlier) <= rfc3339(later)
