"""A log entry is always one line, and one record in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from gateway.host.line_writer import LineWriter
from gateway.observability.logs import Log, is_journal, set_up_logging

LONGEST = 48 * 1024
"""The default of LineMax= in journald.conf(5)."""


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "stderr").open("w+") as stream:
        yield stream
        if (writer := _writers.pop(stream, None)) is not None:
            writer.close()
    structlog.reset_defaults()


def journal_of(path: Path) -> str:
    state = path.stat()
    return f"{state.st_dev}:{state.st_ino}"


_writers: dict[TextIO, LineWriter] = {}


def logging_to(stream: TextIO, journal: str | None = None) -> Log:
    _writers[stream] = LineWriter(stream)
    return set_up_logging(_writers[stream], journal)


def lines(stream: TextIO) -> list[str]:
    assert _writers[stream].flush(10)
    stream.seek(0)
    return stream.read().split("\n")[:-1]


@pytest.mark.parametrize("journal", [True, False])
def test_a_traceback_and_a_strangers_bytes_stay_in_their_line(stream: TextIO, tmp_path: Path, journal: bool) -> None:
    log = logging_to(stream, journal_of(tmp_path / "stderr") if journal else None)
    secret = "whsec_only_in_a_local_variable"
    try:
        raise ZeroDivisionError("of\nours\x1b[31m\u202e\u2028")
    except ZeroDivisionError:
        log.exception("delivery.bug", sink="erp", secrets=len(secret))
    (line,) = lines(stream)
    said = json.loads(line.removeprefix("<3>"))
    assert line.startswith("<3>{") == journal and ("time" in said) != journal
    assert said["level"] == "error" and said["sink"] == "erp" and said["exception"].startswith("Traceback (most")
    assert line.isascii() and "\x1b" not in line and secret not in line


def test_fields_without_a_value_are_left_out(stream: TextIO) -> None:
    logging_to(stream).info("gateway.started", caught_up=None, version="1.0.0")
    (line,) = lines(stream)
    assert json.loads(line).keys() == {"event", "level", "time", "version"}


def test_a_record_of_the_journal_is_never_cut_in_two(stream: TextIO, tmp_path: Path) -> None:
    log = logging_to(stream, journal_of(tmp_path / "stderr"))
    try:
        raise ZeroDivisionError("x" * 100_000 + " the end")
    except ZeroDivisionError:
        log.exception("delivery.bug")
    log.error("config.refused", problems=["gateway.toml:1:1: error"] * 10_000)
    log.error("config.refused", problems=["\u7d4c\u8def"] * 10_000, error="\U0001f4e6" * 10_000, said="a" * 8000 + "\x1b" * 8000)
    bug, refused, foreign = lines(stream)
    assert len(bug) < LONGEST and json.loads(bug[3:])["exception"].endswith(" the end")
    assert len(refused) < LONGEST and json.loads(refused[3:])["problems"].startswith("['gateway.toml:1:1")
    assert len(foreign) < LONGEST and json.loads(foreign[3:])["problems"].startswith("['\u7d4c\u8def', ")


@pytest.mark.parametrize(("method", "priority"), [("info", 6), ("warning", 4), ("error", 3), ("critical", 2)])
def test_each_level_has_its_priority(stream: TextIO, tmp_path: Path, method: str, priority: int) -> None:
    getattr(logging_to(stream, journal_of(tmp_path / "stderr")), method)("something")
    assert [line[:3] for line in lines(stream)] == [f"<{priority}>"]


def test_the_journal_is_recognised_by_device_and_inode(stream: TextIO, tmp_path: Path) -> None:
    journal = journal_of(tmp_path / "stderr")
    assert is_journal(stream, journal)
    for other in (None, "", "1:2", journal + "0", journal.replace(":", "")):
        assert not is_journal(stream, other)
    stream.close()
    assert not is_journal(stream, journal)
