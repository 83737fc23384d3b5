"""`gateway tail` on audit logs that these tests write themselves; no gateway runs."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.following import Following
from tests.cli.running import TIMEOUT, command, environment, gateway

BASE = {"v": 1, "time": "2026-03-02T09:14:27.512Z"}


def line(number: int, **more: Any) -> bytes:
    values = {"event": "message.accepted", "message_id": f"id{number}", "reference_id": f"ITEM-{number}", **more}
    return json.dumps(BASE | values, ensure_ascii=False).encode() + b"\n"


@pytest.fixture
def log(folder: Path) -> Path:
    """An audit log of 30 lines, at the path in the folder's configuration."""
    file = folder / "audit.jsonl"
    file.write_bytes(b"".join(line(number) for number in range(1, 31)))
    return file


def test_a_configuration_that_is_being_edited_does_not_hide_the_log(folder: Path, log: Path) -> None:
    (folder / "gateway.toml").write_text((folder / "gateway.toml").read_text() + "half a li")
    result = gateway("tail", "-n", "2", cwd=folder)
    assert (result.status, result.err, ids(result.out)) == (0, "", [29, 30])


def ids(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\bid(\d+)\b", text)]


@pytest.fixture
def following(log: Path) -> Iterator[Following]:
    made = Following(log.parent)
    yield made
    made.close()


def test_the_last_20_lines_are_shown_in_their_order(log: Path) -> None:
    result = gateway("tail", cwd=log.parent)
    assert (result.status, result.err) == (0, "")
    assert ids(result.out) == list(range(11, 31))


@pytest.mark.parametrize(("count", "shown"), [("3", [28, 29, 30]), ("100", list(range(1, 31))), ("1", [30]), ("0", [])])
def test_n_is_the_number_of_lines(count: str, shown: list[int], log: Path) -> None:
    result = gateway("tail", "-n", count, cwd=log.parent)
    assert result.status == 0
    assert ids(result.out) == shown


def test_a_line_is_short_and_holds_the_facts_that_a_person_needs(log: Path) -> None:
    log.write_bytes(
        line(1, event="delivery.retrying", sink="erp", milestone="authentic", attempt=2, status=503, reason="http_status")
    )
    (shown,) = gateway("tail", cwd=log.parent).out.splitlines()
    assert shown.startswith("09:14:27.512  delivery.retrying")
    assert all(word in shown for word in ("erp", "authentic", "ITEM-1", "attempt 2", "503", "http_status", "id1"))
    assert not shown.startswith("{")


def test_json_prints_the_lines_as_they_are(log: Path) -> None:
    result = gateway("tail", "-n", "2", "--json", cwd=log.parent)
    assert result.out.encode() == line(29) + line(30)


def test_it_reads_no_secret_and_knows_the_path_of_the_configuration(log: Path) -> None:
    file = log.parent / "gateway.toml"
    file.write_text(file.read_text() + '[audit]\npath = "log/a.jsonl"\n')
    (log.parent / "log").mkdir()
    log.rename(log.parent / "log" / "a.jsonl")
    result = gateway("tail", "-n", "1", "-c", file, variables={"LEGITMARK_SECRET": ""})
    assert (result.status, ids(result.out)) == (0, [30])


def test_a_missing_log_is_named(folder: Path) -> None:
    result = gateway("tail", cwd=folder)
    assert result.status != 0
    assert "audit.jsonl does not exist" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_a_torn_last_line_is_left_out_until_it_is_complete(options: list[str], log: Path) -> None:
    log.write_bytes(line(1) + line(2)[:25])
    result = gateway("tail", *options, cwd=log.parent)
    assert (result.status, result.err) == (0, "")
    assert ids(result.out) == [1]
    assert len(result.out.splitlines()) == 1


def test_a_torn_line_within_the_log_costs_only_itself(log: Path) -> None:
    log.write_bytes(line(1) + line(2)[:25] + b"\n" + line(3) + b"\xff\xfe\n[1]\n\n" + line(4))
    result = gateway("tail", cwd=log.parent)
    assert (result.status, result.err) == (0, "")
    assert ids(result.out) == [1, 3, 4]


HOSTILE = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x07",
    "\x08\x08",
    "a\nb",
    "a\rb",
    "\u202egnp.exe",
    "\u2028",
    "\x00",
    "\x7f",
]


def test_control_characters_of_a_payload_do_not_reach_the_terminal(log: Path) -> None:
    written = [
        line(number, reference_id=f"A{hostile}Z", event_type=hostile, milestone="unrecognized")
        for number, hostile in enumerate(HOSTILE)
    ]
    log.write_bytes(b"".join(written))
    result = gateway("tail", cwd=log.parent)
    assert result.status == 0
    shown = result.out.removesuffix("\n").split("\n")
    assert [text for text in shown if not text.isprintable()] == []
    assert [ids(text) for text in shown] == [[number] for number in range(len(HOSTILE))]


def test_markup_of_a_payload_is_shown_as_it_is(log: Path) -> None:
    log.write_bytes(line(1, reference_id="[bold]A[/bold] [link=https://example.com]x[/link] :smile:"))
    assert "[bold]A[/bold] [link=https://example.com]x[/link] :smile:" in gateway("tail", cwd=log.parent).out


def test_a_line_is_not_wrapped(log: Path) -> None:
    log.write_bytes(line(1, reference_id="A" * 500))
    assert len(gateway("tail", cwd=log.parent, variables={"COLUMNS": "40"}).out.splitlines()) == 1


def test_following_shows_the_last_lines_and_then_each_as_it_comes(following: Following, log: Path) -> None:
    assert ids("".join(following.until("id30"))) == list(range(11, 31))
    with log.open("ab") as file:
        file.write(line(31))
    assert ids("".join(following.until("id31"))) == list(range(11, 32))


def test_following_waits_for_the_rest_of_a_torn_line(log: Path) -> None:
    log.write_bytes(line(1) + line(2)[:25])
    following = Following(log.parent)
    try:
        following.until("id1")
        with log.open("ab") as file:
            file.write(line(2)[25:])
        assert ids("".join(following.until("id2"))) == [1, 2]
    finally:
        following.close()


def test_following_goes_on_across_a_rotation_and_loses_and_repeats_nothing(following: Following, log: Path) -> None:
    following.until("id30")
    with log.open("ab") as file:
        file.write(line(31))
    following.until("id31")
    log.rename(log.with_suffix(".jsonl.1"))
    log.write_bytes(line(32))
    following.until("id32")
    log.rename(log.with_suffix(".jsonl.2"))
    with log.open("ab") as file:
        file.write(line(33) + line(34))
    assert ids("".join(following.until("id34"))) == list(range(11, 35))


def test_a_rotation_between_the_last_lines_and_the_first_new_one_costs_nothing_of_the_new_file(
    following: Following, log: Path
) -> None:
    following.until("id30")
    log.rename(log.with_suffix(".jsonl.1"))
    log.write_bytes(line(31))
    assert ids("".join(following.until("id31"))) == list(range(11, 32))


def test_following_waits_for_a_log_that_is_not_there_yet(folder: Path) -> None:
    following = Following(folder, "--json")
    try:
        (folder / "audit.jsonl").write_bytes(line(1))
        assert following.until("id1") == [line(1).decode()]
    finally:
        following.close()


@pytest.mark.parametrize("left", [b"", line(31)[:7]], ids=["to nothing", "within a line"])
def test_following_reports_a_truncated_log_and_goes_on(following: Following, log: Path, left: bytes) -> None:
    following.until("id30")
    with log.open("r+b") as file:
        file.truncate(0)
        file.write(left)
    with log.open("ab") as file:
        file.write(line(31)[len(left) :])
    assert ids("".join(following.until("id31"))) == list(range(11, 32))
    assert f"{log} was truncated" in following.interrupt()[1]


def test_an_interrupt_ends_following_with_130_and_no_message(following: Following, log: Path) -> None:
    following.until("id30")
    with log.open("ab") as file:
        file.write(line(31))
    following.until("id31")
    assert following.interrupt() == (130, "")


def test_a_reader_that_has_seen_enough_is_not_an_error(log: Path) -> None:
    log.write_bytes(b"".join(line(number, detail="x" * 1000) for number in range(2000)))
    for options in ([], ["--json"]):
        process = subprocess.Popen(
            command("tail", "-n", "2000", *options),
            cwd=log.parent,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(TIMEOUT), process.stderr.read()) == (0, b""), options
        process.stderr.close()


def on_a_terminal(folder: Path, **variables: str) -> str:
    """Run `gateway tail -n 1` at a terminal, and return the text that it writes."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("tail", "-n", "1"),
        cwd=folder,
        env=environment({"TERM": "xterm-256color", **variables}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    deadline = time.monotonic() + TIMEOUT
    try:
        while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            written += (chunk := os.read(ours, 65536))
            if not chunk:
                break
    except OSError:
        pass  # Linux answers EIO once the other side is closed
    finally:
        os.close(ours)
        if process.poll() is None and time.monotonic() >= deadline:
            process.kill()
        process.wait(TIMEOUT)
    return written.decode()


def test_a_terminal_gets_colours(log: Path) -> None:
    assert re.search(r"\x1b\[[0-9;]*m", on_a_terminal(log.parent))


def test_no_color_means_no_escape_codes_on_a_terminal_either(log: Path) -> None:
    log.write_bytes(line(1, event="delivery.dead"))
    shown = on_a_terminal(log.parent, NO_COLOR="1")
    assert "ITEM-1" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("arguments", [["tail"], ["check"], ["route", "counterfeit"], ["--help"], ["route", "--help"], ["bogus"]])
def test_piped_output_has_no_escape_codes(arguments: list[str], log: Path) -> None:
    result = gateway(*arguments, cwd=log.parent, variables={"TERM": "xterm-256color"})
    assert result.out + result.err
    assert "\x1b" not in result.out + result.err


def test_lines_that_are_written_meanwhile_are_left_out(folder: Path, log: Path) -> None:
    log.write_bytes(b"".join(line(number) for number in range(5000)))
    arguments = ("tail", "--json", "-n", "4000")
    with subprocess.Popen(command(*arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # and no more: a pipe holds less than all of them
        with log.open("ab") as file:
            file.write(b"".join(line(number) for number in range(5000, 6000)))
        shown = ids((first + process.stdout.read()).decode())
    assert shown == list(range(1000, 5000))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
@pytest.mark.parametrize("option", [[], ["-f"], ["--since", "1h"]])
def test_a_log_that_is_not_a_file_is_refused(path: str, option: list[str], folder: Path) -> None:
    file = folder / "gateway.toml"
    file.write_text(f'{file.read_text()}[audit]\npath = "{path}"\n')
    result = gateway("tail", *option, cwd=folder)
    assert (result.status, result.out) == (74, "")
    assert result.err == f"gateway: error: {path} is a folder, a pipe or a device, not an audit log: see [audit] path\n"
