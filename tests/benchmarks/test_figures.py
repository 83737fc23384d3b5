"""The arithmetic of the benchmark: medians, quartiles, shares and bounds, and the reading of what wrk and the kernel say."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks import prepared_requests, wrk
from tests.benchmarks.figures import FLOORS, Bound, Figure, Skipped, Spread, document, missed, shown, spread, table
from tests.benchmarks.machine import cpu_of_stat, memory_of_status
from tests.benchmarks.slices import Slice, cpu_shares, in_turns, multiples, shares

REPORT = """Running 2s test @ http://127.0.0.1:8080
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.87ms    1.96ms  34.10ms   88.20%
    Req/Sec     9.40k   601.04    10.16k    85.71%
  Latency Distribution
     50%    6.48ms
     75%    7.13ms
     90%    8.60ms
     99%    1.02s
  19654 requests in 2.10s, 2.83MB read
Requests/sec:   9358.96
Transfer/sec:      1.35MB
""".replace("1.02s", "1.02s ")  # wrk writes each unit with two characters


def slices(*rates: int) -> Callable[[], Slice]:
    """Return what measures slices of a second with so many events, one after the other."""
    found = iter(rates)
    return lambda: Slice(next(found), 1.0, 0.5)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([3.0], Spread(3.0, 3.0, 3.0)),
        ([1.0, 2.0], Spread(1.25, 1.5, 1.75)),
        ([5.0, 1.0, 4.0, 2.0, 3.0], Spread(2.0, 3.0, 4.0)),
        ([1.0, 2.0, 3.0, 100.0], Spread(1.75, 2.5, 27.25)),
    ],
)
def test_a_spread_is_the_median_and_the_quartiles_with_both_ends(samples: list[float], expected: Spread) -> None:
    assert spread(samples) == expected


@pytest.mark.parametrize(
    ("value", "text"), [(0.34123, "0.341"), (5.0, "5.00"), (99.9, "99.9"), (100.4, "100"), (12345.6, "12,346")]
)
def test_a_number_is_shown_with_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_each_slice_is_a_share_of_the_slices_of_the_base_around_it() -> None:
    turns = in_turns(slices(100, 300, 100, 100, 100), {"one": slices(50, 50), "other": slices(100, 25)}, rounds=2)
    assert [turn.share for turn in turns["one"]] == [0.25, 0.5]
    assert [turn.share for turn in turns["other"]] == [0.5, 0.25]
    assert multiples("multiple", turns["one"]).samples == [4.0, 2.0]
    # Each slice takes half a second of the processor: 5,000 and 1,667 microseconds an event around 10,000, then 5,000 twice.
    assert cpu_shares("cpu", turns["one"]).samples == pytest.approx([1 / 3, 0.5])
    figure = shares("share", turns["one"])
    assert figure.samples == [0.25, 0.5] and figure.per_second == [50.0, 50.0] and figure.cpu_us == [10_000.0, 10_000.0]


@pytest.mark.parametrize(
    ("bound", "good", "bad"), [(Bound(0.5), (0.5, 0.9), (0.49,)), (Bound(15.0, less_is_better=True), (15.0, 1.0), (15.1,))]
)
def test_a_bound_holds_on_its_own_side(bound: Bound, good: tuple[float, ...], bad: tuple[float, ...]) -> None:
    assert all(map(bound.holds, good)) and not any(map(bound.holds, bad))


def test_a_median_below_its_floor_is_missed_and_shown() -> None:
    name = "durable ack / bare, 64 connections"
    low, high, best = (Figure(name=name, samples=[0.4, median, 0.9]) for median in (0.45, 0.55, 0.7))
    other = Figure(name="a figure without a bound", samples=[0.0])
    assert missed([low, high, best, other]) == [low]
    shown_in_table = [line.split("|")[5].strip() for line in table([low, high, best, other]).splitlines()[2:]]
    assert shown_in_table == [">= 0.500 MISSED", ">= 0.500", ">= 0.500 beyond", ""]


def test_the_document_has_all_samples_and_what_was_skipped() -> None:
    figure = Figure(name="sent to delivered at 1,000 events/s, 3 sinks, p99", unit="ms", samples=[14.0, 16.0], cpu_us=[9.0])
    assert document([figure], [Skipped("a peer", "it is not installed")], {"cores": 2}) == {
        "cores": 2,
        "figures": [
            {
                "name": "sent to delivered at 1,000 events/s, 3 sinks, p99",
                "unit": "ms",
                "samples": {"lower": 14.5, "median": 15.0, "upper": 15.5, "all": [14.0, 16.0]},
                "cpu_us": {"lower": 9.0, "median": 9.0, "upper": 9.0, "all": [9.0]},
                "bound": {"worst": 15.0, "beyond": 8.0, "less_is_better": True, "holds": True},
            }
        ],
        "skipped": [{"name": "a peer", "reason": "it is not installed"}],
    }


def test_what_is_beyond_a_bound_is_on_its_good_side() -> None:
    assert all(bound.holds(bound.beyond) for bound in FLOORS.values() if bound.beyond is not None)


def test_the_report_of_wrk_is_read() -> None:
    assert wrk.parse(REPORT) == wrk.Load(requests=19654, seconds=2.1, per_second=9358.96, p50_us=6480.0, p99_us=1_020_000.0)


@pytest.mark.parametrize(
    "trouble", ["  Non-2xx or 3xx responses: 7\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"]
)
def test_a_load_that_met_errors_is_no_measurement(trouble: str) -> None:
    with pytest.raises(RuntimeError, match="the load met errors"):
        wrk.parse(REPORT + trouble)


def test_what_is_no_report_of_wrk_is_refused() -> None:
    with pytest.raises(ValueError, match="no report"):
        wrk.parse("Running 2s test\n")
    with pytest.raises(ValueError, match="for a time"):
        wrk.microseconds("6.48h")


@pytest.mark.parametrize(("text", "expected"), [("640.00us", 640.0), ("6.48ms", 6480.0), ("1.02s", 1_020_000.0), ("2m", 120e6)])
def test_a_time_of_wrk_is_read_in_microseconds(text: str, expected: float) -> None:
    assert wrk.microseconds(text) == pytest.approx(expected)


def test_processor_time_is_that_of_the_process_and_of_its_ended_children() -> None:
    fields = ["S", "1", *("0" for _ in range(9)), "250", "50", "30", "20", "20", "0"]
    assert cpu_of_stat(f"4711 (a name) with (parentheses) {' '.join(fields)}", 100) == 3.5


def test_memory_is_read_in_megabytes() -> None:
    assert memory_of_status("Name:\tpython\nVmHWM:\t  100000 kB\nVmRSS:\t   50000 kB\n", "VmRSS") == 51.2
    with pytest.raises(ValueError, match="VmSwap"):
        memory_of_status("Name:\tpython\n", "VmSwap")


def test_prepared_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    prepared_requests.write_webhooks(file, 3)
    found = prepared_requests.read(file)
    assert len(set(found)) == 3 and all(request.startswith(b"POST /webhooks/legitmark HTTP/1.1\r\n") for request in found)


def test_each_repeated_request_comes_a_second_time_later(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    prepared_requests.write_webhooks(file, 4 * prepared_requests.REPEATED_AFTER, "repeated")
    found = prepared_requests.read(file)
    assert len(found) == 4 * prepared_requests.REPEATED_AFTER and len(set(found)) == len(found) // 2
    assert found[0] == found[prepared_requests.REPEATED_AFTER]


def test_timestamps_grow_with_the_number_of_the_event() -> None:
    numbers = (0, 1, 999, 1000, 59_999, 60_000, 3_599_999, 3_600_000, 86_400_000)
    stamps = [prepared_requests.timestamp(number) for number in numbers]
    assert stamps[0] == "2026-01-01T00:00:00.000Z" and stamps[-1] == "2026-01-02T00:00:00.000Z"
    assert all(earlier < later for earlier, later in itertools.pairwise(stamps))
