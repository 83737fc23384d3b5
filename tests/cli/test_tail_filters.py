"""`gateway tail` with `--sr`, `--sink`, `--failed` and `--since`, on an audit log that these tests write themselves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.core.values import rfc3339
from tests.cli.running import gateway

_NOW = time.time()
_LINES: list[dict[str, Any]] = [
    {"event": "message.accepted", "sr_uuid": "sr-1", "reference_id": "BAG-1", "message_id": "m1", "sender_id": "s1"},
    {"event": "delivery.delivered", "sr_uuid": "sr-1", "reference_id": "BAG-1", "message_id": "m1", "sink": "erp"},
    {"event": "delivery.retrying", "sr_uuid": "sr-2", "reference_id": "BAG-2", "message_id": "m2", "sink": "crm"},
    {"event": "delivery.dead", "sr_uuid": "sr-2", "reference_id": "BAG-2", "message_id": "m2", "sink": "crm"},
    {"event": "message.rejected", "reason": "bad_signature"},
    {"event": "sink.opened", "sink": "crm"},
    {"event": "sink.closed", "sink": "crm"},
    {"event": "message.quarantined", "message_id": "m3"},
]


@pytest.fixture
def log(folder: Path) -> Path:
    """An audit log of the lines above, one hour apart; the last one is new."""
    file = folder / "audit.jsonl"
    times = [rfc3339(_NOW - 3600.0 * (len(_LINES) - number - 1)) for number in range(len(_LINES))]
    lines = [json.dumps({"v": 1, "time": at, "n": n, **line}) for n, (at, line) in enumerate(zip(times, _LINES, strict=True))]
    file.write_text("".join(f"{line}\n" for line in lines))
    return folder


def numbers(log: Path, *arguments: str) -> list[int]:
    result = gateway("tail", "--json", *arguments, cwd=log)
    assert result.status == 0, result.err
    return [json.loads(line)["n"] for line in result.out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--sr", "sr-1"], [0, 1]),
        (["--sr", "BAG-2"], [2, 3]),
        (["--sr", "m3"], [7]),
        (["--sr", "s1"], [0]),
        (["--sr", "nobody"], []),
        (["--sink", "crm"], [2, 3, 5, 6]),
        (["--failed"], [2, 3, 4, 5, 7]),
        (["--since", "150m"], [5, 6, 7]),
        (["--since", rfc3339(_NOW - 3600.0 * 3)], [4, 5, 6, 7]),
        (["--since", "1s", "--failed", "--sink", "crm"], []),
        (["--sink", "crm", "--failed"], [2, 3, 5]),
        (["--sink", "crm", "--sr", "sr-2", "--failed", "-n", "1"], [3]),
        (["--failed", "-n", "2"], [5, 7]),
    ],
)
def test_only_the_lines_that_fit_all_filters_are_shown(log: Path, arguments: list[str], expected: list[int]) -> None:
    assert numbers(log, *arguments) == expected


def test_the_number_of_lines_counts_those_that_fit(log: Path) -> None:
    assert numbers(log, "--sink", "erp", "-n", "1") == [1]


@pytest.mark.parametrize("more", [[], ["--follow"], ["--json", "--since", "1h"]])
def test_a_sink_in_neither_the_configuration_nor_the_log_is_a_usage_error(log: Path, more: list[str]) -> None:
    result = gateway("tail", "--sink", "fraud-desk", *more, cwd=log)
    assert (result.status, result.out) == (2, "")
    assert 'there is no sink "fraud-desk"' in result.err and 'did you mean "fraud_desk"?' in result.err


def test_a_sink_of_the_configuration_without_lines_has_no_lines(log: Path) -> None:
    assert numbers(log, "--sink", "archive") == []


def test_a_sink_that_left_the_configuration_is_known_by_a_line_in_a_rotated_file(log: Path) -> None:
    (log / "audit.jsonl").rename(log / "audit.jsonl.1")
    (log / "audit.jsonl").write_text("")
    assert numbers(log, "--sink", "erp") == [1]
    assert numbers(log, "--sink", "crm", "--since", "1s") == []


def test_while_the_configuration_is_being_edited_every_sink_is_taken_for_known(log: Path) -> None:
    file = log / "gateway.toml"
    file.write_text(file.read_text() + "half a li")
    assert numbers(log, "--sink", "nobody") == []


def test_a_malformed_time_is_a_usage_error(log: Path) -> None:
    result = gateway("tail", "--since", "soon", cwd=log)
    assert result.status == 2 and "soon" in result.err
