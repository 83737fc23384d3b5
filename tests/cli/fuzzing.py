"""Runs many command lines in one process, each with its own stdout and stderr, and prints each result as a line of JSON.

    python -m tests.cli.fuzzing < calls.jsonl

A call that takes longer than `SECONDS` is ended, and its status says that it hung.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from typing import IO, Any

SECONDS = 60


class Hung(BaseException):
    """A call has not ended in time. It is not an Exception, so that no command takes it for an error of its own."""


def main() -> None:
    from gateway.cli import main as gateway

    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    signal.signal(signal.SIGALRM, _hung)
    for call in [json.loads(line) for line in sys.stdin]:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout, sys.stderr = _text(1), _text(2)
            sys.argv = ["gateway", *call]
            signal.alarm(SECONDS)
            status: Any = None
            try:
                gateway()
            except SystemExit as error:
                status = error.code
            except BaseException as error:
                status = repr(error)
            signal.alarm(0)
            sys.stdout.flush()
            result = {"call": call, "status": status, "out": _read(out), "err": _read(err)}
            results.write(json.dumps(result) + "\n")
    results.flush()


def _hung(*_: object) -> None:
    raise Hung


def _text(number: int) -> Any:
    return open(number, "w", encoding="utf-8", errors="surrogateescape", closefd=False)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


if __name__ == "__main__":
    main()
