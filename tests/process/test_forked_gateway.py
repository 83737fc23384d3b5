"""A gateway that the tests fork from a loaded interpreter does what one in an interpreter of its own does."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.running import TIMEOUT, command, environment
from tests.support import forked_gateway
from tests.support.configurations import route
from tests.support.gateway_process import Running
from tests.support.waiting import until
from tests.support.webhooks import event

SINK = '[sinks.log]\ntype = "jsonl"\npath = "log"\n' + route("log")
CONFIG = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n' + SINK


def result(
    start: Callable[..., subprocess.Popen[bytes]], arguments: list[str], folder: Path, stdin: bytes
) -> tuple[int, bytes, bytes]:
    pipe = subprocess.PIPE
    with start(command(*arguments), cwd=folder, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate(stdin, TIMEOUT)
    return process.returncode, out, err


def test_commands_are_forked_unless_a_setting_of_python_is_another_one(tmp_path: Path) -> None:
    for more, kind in ({}, forked_gateway.Forked), ({"PYTHONUTF8": "1"}, subprocess.Popen), ({"LANG": "C"}, subprocess.Popen):
        with forked_gateway.start(command("--help"), cwd=tmp_path, env=environment(more), stdout=subprocess.DEVNULL) as process:
            assert type(process) is kind
            assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["--help"], b""),
        (["serve", "--help"], b""),
        (["nonsense"], b""),
        (["check"], b""),
        (["check", "missing.toml"], b""),
        (["route", "counterfeit"], b""),
        (["route", "-"], event()),
        (["status"], b""),
        (["serve", "--config", "missing.toml"], b""),
    ],
)
def test_a_command_has_the_same_exit_code_and_the_same_output(arguments: list[str], stdin: bytes, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(CONFIG)
    forked = result(forked_gateway.Forked, arguments, tmp_path, stdin)
    assert forked == result(subprocess.Popen, arguments, tmp_path, stdin)


def descriptors(running: Running) -> Counter[str]:
    assert running.process is not None
    links = []
    for descriptor in Path(f"/proc/{running.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(descriptor.readlink())
    return Counter("records" if link.suffix == ".records" else link.name.partition(":")[0] for link in links)


def signals(running: Running) -> list[str]:
    assert running.process is not None
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt", "Umask"))]


async def test_the_process_has_the_descriptors_and_the_signals_of_one_that_was_started(tmp_path: Path) -> None:
    (tmp_path / "forked").mkdir()
    (tmp_path / "started").mkdir()
    forked, started = (Running(tmp_path / name, SINK) for name in ("forked", "started"))
    started.from_scratch = True
    with forked, started:
        assert isinstance(forked.process, forked_gateway.Forked) and not isinstance(started.process, forked_gateway.Forked)
        await until(lambda: descriptors(forked) == descriptors(started))
        assert signals(forked) == signals(started)


def test_its_end_is_reported_as_that_of_a_child(tmp_path: Path) -> None:
    with Running(tmp_path, SINK) as running:
        process = running.process
        assert process is not None and process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()
        assert process.wait(TIMEOUT) == process.poll() == -signal.SIGKILL
        running.start()
        running.terminate()
        assert running.process is not None and running.process.wait(TIMEOUT) == 0
