"""Signals that arrive while a process ends do not kill it, on either event loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

_ON_THE_LOOP = """
if sys.argv[1] == "uvloop":
    from uvloop import Loop
else:
    from asyncio import SelectorEventLoop as Loop
with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(run())
print("ended")
"""
"""The end of a program that runs `run` on the loop that its argument names."""
_ENDS_AGAIN_AND_AGAIN = """
import asyncio, sys
from gateway.host.signals import signals_call

async def run():
    asked = asyncio.Event()
    with signals_call(asked.set, lambda: None, last=True):
        print("ready", flush=True)
        await asyncio.wait_for(asked.wait(), 60)
    for _ in range(1_000):
        with signals_call(asked.set, lambda: None, last=True):
            await asyncio.sleep(0)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_signals_until_the_very_end_do_not_kill_a_process_that_ends(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with subprocess.Popen(
        [sys.executable, "-c", _ENDS_AGAIN_AND_AGAIN + _ON_THE_LOOP, loop], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline, "it hangs"
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                process.send_signal(number)
        assert (process.returncode, process.stdout.read()) == (0, "ended\n")


_READS_NO_SIGNAL = """
import asyncio, signal, sys
from gateway.host.signals import signals_call

async def run():
    reloads = []
    with signals_call(lambda: None, lambda: reloads.append(1)):
        for _ in range(3000):  # the loop reads nothing meanwhile; a socket has room for some hundred single bytes
            signal.raise_signal(signal.SIGHUP)
        while not reloads:
            await asyncio.sleep(0)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_more_signals_than_the_loop_has_room_for_are_no_trouble(loop: str) -> None:
    """The interpreter would report each of them from inside its signal handler, where it can wait for itself without end."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    command = [sys.executable, "-c", _READS_NO_SIGNAL + _ON_THE_LOOP, loop]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


_READS_BEYOND_THE_END = """
import mmap, os, sys, threading
from gateway.host.signals import end_on_bus_error

end_on_bus_error("cut: \\u00fc", 74)
with open(sys.argv[1], "w+b") as file:
    file.truncate(mmap.PAGESIZE)
    mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    os.truncate(sys.argv[1], 0)
reading = threading.Thread(target=mapped.find, args=(b"x",))
reading.start()
reading.join()
"""


def test_a_truncated_mapped_file_ends_the_process_with_a_log_line_whichever_thread_reads_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _READS_BEYOND_THE_END, str(tmp_path / "mapped")]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (74, "cut: \u00fc\n")


def test_a_truncated_mapped_file_ends_the_process_even_if_its_log_is_not_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    command = [sys.executable, "-c", _READS_BEYOND_THE_END, str(tmp_path / "mapped")]
    assert subprocess.run(command, stderr=writing, timeout=60, check=False).returncode == 74
    os.close(reading)
    os.close(writing)
