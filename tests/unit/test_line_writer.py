"""The log never raises, whatever value it is given and wherever its lines go."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.host.line_writer import MOST_BYTES, MOST_LINES, LineWriter
from gateway.observability.logs import Log, set_up_logging
from gateway.observability.metrics import Metrics


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("it can't be shown")


def cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@contextmanager
def logging_into(path: Path) -> Iterator[tuple[Log, LineWriter]]:
    with path.open("a") as stream:
        writer = LineWriter(stream)
        yield set_up_logging(writer), writer
        writer.close()


@given(
    st.dictionaries(
        st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8).filter(lambda name: name not in ("event", "self")),
        st.one_of(
            st.text(st.characters()),
            st.integers(),
            st.floats(),
            st.binary(),
            st.sampled_from(["\ud800", "x" * 100_000, 10**5000]),
            st.builds(Unshowable),
            st.builds(cycle),
            st.lists(st.builds(Unshowable), max_size=2),
        ),
        max_size=4,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_makes_the_log_raise_and_the_line_is_still_written(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "stderr"
    path.unlink(missing_ok=True)
    with logging_into(path) as (log, writer):
        log.warning("something.happened", **values)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["event"] == "something.happened" and writer.dropped == 0


def test_an_endlessly_nested_value_is_left_out(tmp_path: Path) -> None:
    with logging_into(tmp_path / "stderr") as (log, _):
        log.error("something.happened", deep=deep(), path="kept")
    (line,) = map(json.loads, (tmp_path / "stderr").read_text().splitlines())
    assert (line["event"], line["path"], line["left_out"]) == ("something.happened", "kept", ["deep"])


def test_lines_for_a_reader_that_is_gone_are_dropped_and_counted() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        for _ in range(5):
            writer.put("a line")
            assert writer.flush(10)
        assert writer.dropped == 5
        writer.close()


def test_lines_for_a_full_disk_are_dropped_and_counted() -> None:
    with Path("/dev/full").open("w") as stream:
        writer = LineWriter(stream)
        writer.put("a line")
        assert writer.flush(10) and writer.dropped == 1
        writer.close()


def test_a_closed_stream_only_drops_lines(tmp_path: Path) -> None:
    nothing = LineWriter(None)
    nothing.put("a line")
    assert nothing.dropped == 1
    stream = (tmp_path / "stderr").open("w")
    writer = LineWriter(stream)
    os.close(stream.fileno())
    writer.put("a line")
    assert writer.flush(10) and writer.dropped == 1
    os.open(os.devnull, os.O_WRONLY)  # takes the free descriptor, which the stream closes again
    for one in (nothing, writer):
        one.close()
    stream.close()


def test_a_full_pipe_blocks_no_caller_and_the_lost_lines_are_reported_when_it_drains() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        writer = LineWriter(stream, note=lambda lost: f"lost {lost}")
        line = "x" * 4000
        for _ in range(MOST_LINES):
            writer.put(line)
        assert writer.dropped > MOST_LINES - MOST_BYTES / 4000 - 30
        assert not writer.flush(0.01)
        lost = writer.dropped
        read: list[bytes] = []
        reads = threading.Thread(target=lambda: read.extend(reader))
        reads.start()
        assert writer.flush(10)
        writer.put("the last one")
        writer.close()
        assert writer.dropped == lost
        stream.close()
        reads.join(60)
        said = [raw.decode().strip() for raw in read]
        # One note, or two where the thread took a line out between two that were dropped.
        notes = [int(text.removeprefix("lost ")) for text in said if text.startswith("lost ")]
        assert sum(notes) == lost and said[-1] == "the last one" and len(said) == MOST_LINES - lost + len(notes) + 1


def test_metrics_never_raise() -> None:
    metrics = Metrics()
    metrics.rejection(object(), [])  # type: ignore[arg-type]
    metrics.forget_gates("never seen")
    metrics.oldest("erp", "not a number")  # type: ignore[arg-type]
    assert metrics.failed >= 2 and metrics.exposition()
