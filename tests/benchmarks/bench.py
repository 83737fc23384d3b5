"""The bench that every figure is measured on: a folder, a bare handler, the sizes of this run, and slices of load."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from tests.benchmarks import prepared_requests, receiver, sender, wrk
from tests.benchmarks.machine import PINNED, cpu_seconds, free_port, running
from tests.benchmarks.measured_gateway import MeasuredGateway
from tests.benchmarks.prepared_requests import Shape
from tests.benchmarks.slices import Slice
from tests.support.webhooks import PATH

CONNECTIONS = 64
"""Connections of the load where a figure names no other number."""


_LOAD_BYTES = 100_000_000
"""The files of the load are smaller than that."""


class Size(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    seconds: int
    """Seconds of a slice."""
    rounds: int
    """Slices of each subject."""
    events: int
    """Events of one run from end to end with one sink; with three sinks it is a half of them."""
    runs: int
    """Such runs of each subject; and slices of each of the other programs."""
    drained: int
    """Deliveries of the backlog that is drained."""
    waiting: int
    """Deliveries that wait when the gateway starts."""
    paced_seconds: int
    """Seconds of load at 1,000 events a second."""
    remembered: int
    """Events after which memory is measured; 0: it is not."""
    page_steps: int
    """A tenth of the messages in the store of which pages are asked for."""
    page_seconds: int
    """Seconds of load beside which they are."""


SIZES = {
    "full": Size(
        seconds=2,
        rounds=4,
        events=4000,
        runs=3,
        drained=100_000,
        waiting=1_000_000,
        paced_seconds=10,
        remembered=1_000_000,
        page_steps=100_000,
        page_seconds=30,
    ),
    "quick": Size(
        seconds=1,
        rounds=2,
        events=1500,
        runs=1,
        drained=15_000,
        waiting=100_000,
        paced_seconds=4,
        remembered=0,
        page_steps=10_000,
        page_seconds=8,
    ),
    "tiny": Size(
        seconds=1,
        rounds=1,
        events=200,
        runs=1,
        drained=300,
        waiting=3000,
        paced_seconds=1,
        remembered=4000,
        page_steps=200,
        page_seconds=3,
    ),
}
"""`tiny` shows that the harness works. Its figures say nothing."""


class Bench:
    """See the head of this file."""

    def __init__(self, folder: Path, load_folder: Path, size: Size, bare_port: int, bare_pid: int) -> None:
        """`load_folder` is where the files of the load go."""
        self.size = size
        self._folder = folder
        self._bare_port = bare_port
        self._bare_pid = bare_pid
        self._numbers = itertools.count(1)
        self._requests = load_folder / "requests"
        self._bare_requests = load_folder / "bare-requests"
        prepared_requests.write_webhooks(self._bare_requests, 2000)
        self._most_per_second = 10_000.0
        """The highest rate that was seen, and 10,000 at least: so many requests are made for each second of a slice."""

    def folder(self) -> Path:
        """Make a folder that nothing else is in, for one process."""
        made = self._folder / str(next(self._numbers))
        made.mkdir()
        return made

    def clear(self) -> None:
        """Delete what the processes of a part left, before the kernel writes it to the disk in the slices of another part."""
        for left in self._folder.iterdir():
            shutil.rmtree(left)

    def bare(self, connections: int = CONNECTIONS) -> Slice:
        """Measure a slice of the bare handler."""
        measured = self._slice(self._bare_requests, self._bare_pid, self._bare_port, connections)
        self._most_per_second = max(self._most_per_second, measured.per_second)
        return measured

    def acks(self, server: MeasuredGateway, *, connections: int = CONNECTIONS, shape: Shape = "growing") -> Slice:
        """Measure a slice of a gateway. Raises RuntimeError unless all requests, or half of the repeated ones, were new to it."""
        before = server.accepted
        measured = self.load(server.pid, server.port, connections=connections, shape=shape)
        accepted = server.accepted - before
        new = measured.events // 2 if shape == "repeated" else measured.events
        if abs(accepted - new) > connections + prepared_requests.REPEATED_AFTER:  # wrk ends in the middle of things
            raise RuntimeError(f"of {measured.events:,} requests, {accepted:,} were new messages; expected about {new:,}")
        return measured

    def load(self, pid: int, port: int, *, connections: int = CONNECTIONS, shape: Shape = "growing", path: str = PATH) -> Slice:
        """Measure a slice of any server that takes signed webhooks."""
        # No server is faster than the bare handler, and each request must be new: see `acks`.
        count = int(self._most_per_second * self.size.seconds * 1.2) + connections
        prepared_requests.write_webhooks(self._requests, count, shape, path=path)
        return self._slice(self._requests, pid, port, connections)

    def latency_us(self, server: MeasuredGateway, connections: int) -> float:
        """Return the median of how long an ack of a slice takes, in microseconds."""
        prepared_requests.write_webhooks(self._requests, int(self._most_per_second * self.size.seconds) + connections)
        return wrk.load(self._requests, server.port, connections=connections, seconds=self.size.seconds).p50_us

    def send(self, port: int, count: int, make: Callable[[], bytes], *, rate: float | None = None) -> sender.Sent:
        """Send so many new requests, as fast as the answers come or at a rate; at a rate, note when each event was sent."""
        prepared_requests.write(self._requests, (make() for _ in range(count)))
        return sender.send(port, self._requests, connections=CONNECTIONS, rate=rate, keep=rate is not None)

    @contextmanager
    def receiving(self, *, keep: bool = False) -> Iterator[int]:
        """Run the receiving end of the sinks on the core of the load. Yields its port."""
        port = free_port()
        command = [sys.executable, "-m", receiver.__name__, str(port), *(["--keep"] if keep else [])]
        with running(command, port):
            yield port

    def await_received(self, port: int, number: int, seconds: float = 300.0) -> receiver.Tally:
        """Wait until the receiver has had so many requests in all, and return its tally."""
        deadline = time.monotonic() + seconds
        while (tally := receiver.tally_of(port)).received < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{tally.received:,} of {number:,} requests came")
            time.sleep(0.02)
        return tally

    def _slice(self, requests: Path, pid: int, port: int, connections: int) -> Slice:
        begun = cpu_seconds(pid)
        loaded = wrk.load(requests, port, connections=connections, seconds=self.size.seconds)
        return Slice(loaded.requests, loaded.seconds, cpu_seconds(pid) - begun)


@contextmanager
def bench(folder: Path, size: Size) -> Iterator[Bench]:
    """Run the bare handler until the end of the block."""
    port = free_port()
    command = [*PINNED, sys.executable, "-m", "tests.benchmarks.bare", str(port)]
    with running(command, port) as pid, tempfile.TemporaryDirectory(prefix="gateway-load-", dir=_folder_in_memory()) as load:
        made = Bench(folder, Path(load), size, port, pid)
        made.bare()  # shows how many requests a slice of this machine needs
        yield made


def _folder_in_memory() -> Path | None:
    """Return the folder for the files of the load, which must not reach the disk while the gateway waits for it."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _LOAD_BYTES else None
