"""An interpreter that has the gateway's code loaded, and forks a process for each command line that it is sent.

    python -m tests.support.fork_server FD

`forked_gateway` starts it and speaks to it over the socket FD. A process that it forks runs `python -m gateway` to its end as a
new interpreter would, except that all code is imported: it has its own streams, environment, working directory and descriptors.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 18
"""Bytes of one command line with its environment."""
MOST_FDS = 64
_ABOVE = 512
"""The descriptors that a process is handed wait from this number on until each has its place."""


def main() -> None:
    folder = Path(__file__).parents[2] / "gateway"
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
        if not module.startswith(
            ("gateway.__main__", "gateway.cli")
        ):  # the commands look at their arguments when they are imported
            importlib.import_module(module)
    importlib.import_module("cyclopts")
    gc.collect()
    gc.freeze()  # no process that is forked writes to the pages of these objects
    arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:  # in a process that was forked
        sys.argv = ["gateway", *arguments]
        runpy.run_module("gateway", run_name="__main__", alter_sys=True)


def _serve(connection: socket.socket) -> list[str] | None:
    """Fork until the other side has gone. Returns the arguments of the command in each forked process, and None in this one."""
    woken, waking = os.pipe()
    for fd in (woken, waking):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([connection.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(connection, children)
        if connection.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_FDS)
        if not message:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return None
        request = json.loads(message)
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (connection.detach(), woken, waking):
                os.close(fd)
            _become(request, fds)
            return list(request["arguments"])
        children.add(pid)
        for fd in fds:
            os.close(fd)
        connection.send(json.dumps({"started": pid}).encode())


def _report_ended(connection: socket.socket, children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        connection.send(json.dumps({"ended": pid, "status": status}).encode())


def _become(request: dict[str, Any], fds: Sequence[int]) -> None:
    """Take the descriptors, the working directory, the environment and the streams that a request asks for."""
    recorder = sys.modules.get("recorder")
    if recorder is not None:
        recorder.end()
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, place in zip(above, request["places"], strict=True):
        os.dup2(fd, place)
        os.close(fd)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, closefd=False)), encoding=sys.stdin.encoding, errors=sys.stdin.errors
    )
    sys.stdout = _output(1, sys.stdout, unbuffered=unbuffered)
    sys.stderr = _output(2, sys.stderr, unbuffered=unbuffered)
    sys.orig_argv = [sys.executable, "-m", "gateway", *request["arguments"]]
    if recorder is not None:
        recorder.begin_again()


def _output(fd: int, like: Any, *, unbuffered: bool) -> io.TextIOWrapper:
    """A stream as Python opens it at its start (docs.python.org, `sys.stdout` and PYTHONUNBUFFERED)."""
    raw = io.FileIO(fd, "wb", closefd=False)
    buffer: Any = raw if unbuffered else io.BufferedWriter(raw)
    is_line_buffered = not unbuffered and (fd == 2 or os.isatty(fd))
    return io.TextIOWrapper(
        buffer,
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=is_line_buffered,
        write_through=unbuffered,
    )


if __name__ == "__main__":
    main()
