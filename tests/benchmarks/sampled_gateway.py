"""`gateway`, with a sampler that notes where its processor time goes: from SIGUSR1 to SIGUSR2, which writes $BENCH_SAMPLES.

The kernel sends SIGPROF whenever the process has used another millisecond of processor time (setitimer(2), ITIMER_PROF). The
handler runs in the main thread, and asks each thread's own clock how much it has used since the last sample. So a thread counts
for what it used, not for how long it waited, even while it is inside SQLite and holds no lock of the interpreter.

What C code uses counts for the Python function that called it. No function calls uvloop and aiohttp's parser, which are C code:
what they use counts for the function that the loop runs next.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import sysconfig
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from gateway.cli import main
from tests.support.forked_gateway import CODE

_INTERVAL = 0.001
"""Seconds of processor time between two samples."""
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


class Sampler:
    """The processor time by place."""

    def __init__(self) -> None:
        self.seconds: Counter[tuple[str, str, str]] = Counter()
        """Seconds by thread, module of the house, and the library whose function ran."""
        self._used: dict[int, float] = {}
        """Seconds that each thread has used since its start, at the last sample."""

    def listen(self) -> None:
        """Wait for the signals that begin and end the sampling."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._stop)

    def _start(self, number: int, frame: FrameType | None) -> None:
        self._used = {thread.ident: used_by(thread.ident) for thread in threading.enumerate() if thread.ident is not None}
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        file = Path(os.environ["BENCH_SAMPLES"])
        rows = [[*place, seconds] for place, seconds in self.seconds.items()]
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(rows), encoding="utf-8")
        unfinished.rename(file)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        frames = sys._current_frames()
        main_thread = threading.main_thread()
        for thread in threading.enumerate():  # a thread that is listed here is alive, so its clock can be read
            if thread.ident is None:
                continue
            used = used_by(thread.ident)
            spent, self._used[thread.ident] = used - self._used.get(thread.ident, 0.0), used
            at = frame if thread is main_thread else frames.get(thread.ident)
            if spent > 0.0 and at is not None:
                self.seconds["loop" if thread is main_thread else thread.name, module_of(at), library_of(at)] += spent  # type: ignore[assignment]


def used_by(thread: int) -> float:
    """Return the seconds of processor time that a living thread has used."""
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


def module_of(frame: FrameType) -> str:
    """Return the innermost module of the house that the frame was called from, or `-` if the loop called it itself.

    `cli` and `app` run the loop, so they are below every frame.
    """
    at: FrameType | None = frame
    while at is not None:
        place = Path(at.f_code.co_filename)
        if place.is_relative_to(CODE / "gateway"):
            module = place.relative_to(CODE / "gateway")
            return "-" if module.parts[0] in ("cli", "app") else module.with_suffix("").as_posix()
        at = at.f_back
    return "-"


def library_of(frame: FrameType) -> str:
    """Return the package that a frame's own function lies in: `gateway`, an installed one, or a module of Python."""
    file = frame.f_code.co_filename
    if "site-packages/" in file:
        return file.partition("site-packages/")[2].split("/")[0].removesuffix(".py")
    if Path(file).is_relative_to(CODE / "gateway"):
        return "gateway"
    if file.startswith(_STANDARD_LIBRARY):
        return Path(file).relative_to(_STANDARD_LIBRARY).parts[0].removesuffix(".py")
    return "other"


if __name__ == "__main__":
    Sampler().listen()
    main()
