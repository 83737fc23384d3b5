"""A thread that runs functions in turn, and that the process does not wait for at its end."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial

import pytest

from gateway.host.blocking import Worker

HANGS = """
import os, threading
from gateway.host.blocking import Worker
worker, began = Worker("refused"), threading.Event()
worker.submit(began.set)
worker.submit(os.read, os.pipe()[0], 1)
began.wait()
worker.shutdown(wait=False)
print("ended")
"""


def test_the_process_ends_while_a_function_hangs_as_on_a_dead_disk() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"ended\n")


def test_functions_run_in_turn_in_one_thread_and_tell_their_results_and_errors() -> None:
    worker, ran = Worker("turn"), list[int]()
    futures = [worker.submit(partial(ran.append, number)) for number in range(100)]
    failing = worker.submit(int, "x")
    names = {worker.submit(lambda: threading.current_thread().name).result(10) for _ in range(3)}
    assert [future.result(10) for future in futures] == [None] * 100
    assert (ran, names) == (list(range(100)), {"turn"})
    with pytest.raises(ValueError, match="invalid literal"):
        failing.result(10)
    worker.shutdown()
    with pytest.raises(RuntimeError, match="accepts no more work"):
        worker.submit(int)


def test_functions_submitted_before_the_shutdown_still_run() -> None:
    worker, ran = Worker("turn"), list[int]()
    for number in range(10):
        worker.submit(ran.append, number)
    worker.shutdown()
    assert ran == list(range(10))


def test_a_worker_that_was_never_used_ends_at_once() -> None:
    Worker("idle").shutdown()
