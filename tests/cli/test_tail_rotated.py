"""`gateway tail` on a long log, and on the files that it was rotated into."""

from __future__ import annotations

import gzip
import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from gateway.cli.tail import tail
from gateway.core.values import rfc3339
from tests.cli.following import Following
from tests.cli.running import Result, gateway

_NOW = time.time()
_HOUR = 3600.0


def line(number: int, *, ago: float = 0.0, sr: str = "sr-0", sink: str = "erp", detail: str = "") -> bytes:
    """Return the line with a number, as written so many seconds ago."""
    values = {"v": 1, "time": rfc3339(_NOW - ago), "event": "delivery.delivered", "n": number, "sr_uuid": sr, "sink": sink}
    return json.dumps({**values, "detail": detail}, ensure_ascii=False).encode() + b"\n"


def numbers(result: Result) -> list[int]:
    assert result.status == 0, result.err
    return [json.loads(text)["n"] for text in result.out.splitlines()]


def shown(folder: Path, *arguments: str) -> list[int]:
    result = gateway("tail", "--json", *arguments, cwd=folder)
    assert result.err == ""
    return numbers(result)


@pytest.fixture
def rotated(folder: Path) -> Path:
    """Nine lines, one an hour: 1 to 3 in the oldest file, which is compressed, 4 to 6 in the next, 7 to 9 in the log."""
    lines = {n: line(n, ago=_HOUR * (9 - n) + 60, sr=f"sr-{n % 2}") for n in range(1, 10)}
    parts = {"audit.jsonl.2.gz": (1, 2, 3), "audit.jsonl.1": (4, 5, 6), "audit.jsonl": (7, 8, 9)}
    for name, held in parts.items():
        content = b"".join(lines[n] for n in held)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        written = _NOW - _HOUR * (9 - held[-1])
        os.utime(folder / name, (written, written))
    return folder


@pytest.fixture
def long(folder: Path) -> Path:
    """A log of 6 MiB from one hour; the first and the last line have a service request of their own."""
    filling = "詳細" * 400
    middle = [line(n, ago=_HOUR - n / 2, detail=filling[: n % 800]) for n in range(1, 6000)]
    ends = [line(0, ago=_HOUR, sr="sr-rare"), line(6000, sr="sr-rare")]
    (folder / "audit.jsonl").write_bytes(ends[0] + b"".join(middle) + ends[1])
    assert (folder / "audit.jsonl").stat().st_size > 6 * 1024 * 1024
    return folder


def test_a_service_request_is_found_however_far_back_in_the_log(long: Path) -> None:
    assert shown(long, "--sr", "sr-rare") == [0, 6000]
    assert shown(long, "--sr", "sr-rare", "-n", "1") == [6000]
    assert shown(long, "--sr", "nobody") == []


def test_since_shows_all_lines_since_then_however_many(long: Path) -> None:
    assert shown(long, "--since", "2h") == list(range(6001))
    since = rfc3339(_NOW - _HOUR + 1000.25)
    assert shown(long, "--since", since) == [*range(2001, 6001)]


@pytest.mark.parametrize("count", [1, 137, 4000, 6001, 9000])
def test_the_last_lines_are_those_of_the_file_wherever_its_blocks_begin(long: Path, count: int) -> None:
    assert shown(long, "-n", str(count)) == list(range(6001))[-count:]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], list(range(1, 10))),
        (["-n", "2"], [8, 9]),
        (["-n", "4"], [6, 7, 8, 9]),
        (["-n", "8"], list(range(2, 10))),
        (["-n", "0"], []),
        (["--sr", "sr-1"], [1, 3, 5, 7, 9]),
        (["--sr", "sr-1", "-n", "4"], [3, 5, 7, 9]),
        (["--sr", "sr-1", "-n", "2"], [7, 9]),
        (["--since", "90m"], [8, 9]),
        (["--since", "5h"], [5, 6, 7, 8, 9]),
        (["--since", "7h"], [3, 4, 5, 6, 7, 8, 9]),
        (["--since", "7h", "--sr", "sr-1"], [3, 5, 7, 9]),
        (["--since", "7h", "-n", "5"], [5, 6, 7, 8, 9]),
        (["--since", "100d"], list(range(1, 10))),
    ],
)
def test_older_lines_are_read_from_the_files_that_the_log_was_rotated_into(
    rotated: Path, arguments: list[str], expected: list[int]
) -> None:
    assert shown(rotated, *arguments) == expected


def test_the_rotated_files_are_read_even_if_the_log_itself_is_missing(rotated: Path) -> None:
    (rotated / "audit.jsonl").unlink()
    assert shown(rotated, "-n", "4") == [3, 4, 5, 6]


def test_a_file_that_is_being_compressed_is_shown_once(rotated: Path) -> None:
    (rotated / "audit.jsonl.1.gz").write_bytes(gzip.compress((rotated / "audit.jsonl.1").read_bytes()))
    assert shown(rotated) == list(range(1, 10))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("audit.jsonl.2.gz", b"no gzip at all"),
        ("audit.jsonl.2.gz", gzip.compress(os.urandom(5000))[:3000]),
        ("audit.jsonl.2.xz", b""),
        ("audit.jsonl.2.zst", b""),
    ],
)
def test_an_unreadable_file_is_named_on_stderr_if_it_is_needed(rotated: Path, name: str, content: bytes) -> None:
    (rotated / "audit.jsonl.2.gz").unlink()
    (rotated / name).write_bytes(content)
    os.utime(rotated / name, (_NOW - 9 * _HOUR,) * 2)
    assert shown(rotated, "-n", "5") == [5, 6, 7, 8, 9]
    assert shown(rotated, "--since", "4h") == [6, 7, 8, 9]
    for arguments in (["-n", "8"], ["--sr", "sr-1"], ["--since", "8h"]):
        result = gateway("tail", "--json", *arguments, cwd=rotated)
        assert name in result.err and "skipped" in result.err and "Traceback" not in result.err
        assert numbers(result) == [n for n in range(4, 10) if n % 2 or "--sr" not in arguments]


def test_a_clock_that_was_set_back_for_a_while_hides_nothing_before_it(folder: Path) -> None:
    """Even if the lines with the wrong time fill several blocks."""
    lines = [line(n, ago=600, detail="x" * 1000) for n in range(1000)]
    (folder / "audit.jsonl").write_bytes(b"".join(lines) + line(1000, ago=5 * _HOUR) + line(1001))
    assert shown(folder, "--since", "1h") == [*range(1000), 1001]


def test_a_negative_number_of_lines_is_a_usage_error(rotated: Path) -> None:
    result = gateway("tail", "-n", "-1", cwd=rotated)
    assert result.status == 2 and "-n" in result.err


def test_a_log_of_any_size_takes_the_memory_of_a_block(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log has 24 MiB, half of them compressed."""
    half = b"".join(line(n, ago=60, detail="x" * 1000) for n in range(12_000))
    (folder / "audit.jsonl").write_bytes(half)
    (folder / "audit.jsonl.1.gz").write_bytes(gzip.compress(line(12_000, ago=90, sr="sr-rare") + half, 1))
    size = len(half)
    del half
    tracemalloc.start()
    try:
        for arguments in ({"since": "1h"}, {"lines": 3}):
            assert tail(config=folder / "gateway.toml", sr="sr-rare", json_=True, **arguments) == 0
            assert json.loads(capsys.readouterr().out)["n"] == 12_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 12 * 1024 * 1024 and peak < 8 * 1024 * 1024, f"{peak / 1024 / 1024:.1f} MiB"


def test_following_begins_in_the_rotated_files_and_keeps_its_filters_across_a_rotation(rotated: Path) -> None:
    log = rotated / "audit.jsonl"
    following = Following(rotated, "--json", "--sr", "sr-1", "--sink", "erp", "-n", "4")
    try:
        following.until('"n": 9')
        with log.open("ab") as file:
            file.write(line(10, sr="sr-2") + line(11, sr="sr-1"))
        following.until('"n": 11')
        log.rename(rotated / "audit.jsonl.0")
        with (rotated / "audit.jsonl.0").open("ab") as file:
            file.write(line(12, sr="sr-1", sink="crm") + line(13, sr="sr-1"))
        log.write_bytes(line(14, sr="sr-2") + line(15, sr="sr-1") + line(16, sr="sr-1", sink="crm"))
        following.until('"n": 15')
        with log.open("ab") as file:
            file.write(line(17, sr="sr-1"))
        assert [json.loads(text)["n"] for text in following.until('"n": 17')] == [3, 5, 7, 9, 11, 13, 15, 17]
    finally:
        following.close()


def test_following_since_an_instant_shows_the_lines_since_then_and_new_ones(rotated: Path) -> None:
    following = Following(rotated, "--json", "--since", "5h")
    try:
        following.until('"n": 9')
        with (rotated / "audit.jsonl").open("ab") as file:
            file.write(line(10, ago=9 * _HOUR) + line(11))
        assert [json.loads(text)["n"] for text in following.until('"n": 11')] == [5, 6, 7, 8, 9, 11]
    finally:
        following.close()
