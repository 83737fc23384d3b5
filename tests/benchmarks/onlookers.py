"""The cost of watching requests as they come: acks of a gateway with an open page, against those of one without."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.benchmarks.acks import paused_gateway
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.measured_gateway import MeasuredGateway
from tests.benchmarks.slices import Slice, cpu_shares, in_turns, shares
from tests.support.waiting import PATIENCE


def watched(bench: Bench) -> Iterator[Figure]:
    """Acks a second, and processor time for each, while a browser follows `/play`."""
    with paused_gateway(bench) as seen, paused_gateway(bench) as idle:
        loads: list[int] = []
        following = partial(_while_followed, bench, seen, loads)
        turns = in_turns(partial(bench.acks, idle), {"watched": following}, bench.size.rounds)
    if not loads:
        raise RuntimeError("the page was never loaded, so nobody watched")
    yield shares("durable ack while somebody watches / without", turns["watched"])
    yield cpu_shares("CPU of an ack without / while somebody watches", turns["watched"])


def _while_followed(bench: Bench, server: MeasuredGateway, loads: list[int]) -> Slice:
    with _follower(server, loads):
        return bench.acks(server)


@contextmanager
def _follower(server: MeasuredGateway, loads: list[int]) -> Iterator[None]:
    """Do what a browser does on the page: follow the stream, and load the page again whenever it tells of a change."""
    address = server.addresses["admin"]
    assert isinstance(address, tuple)
    stream = http.client.HTTPConnection(*address, timeout=PATIENCE)
    stream.request("GET", "/play/live")
    told = stream.getresponse()

    def follow() -> None:
        try:
            for line in told:
                if line == b"event: changed\n":
                    page = http.client.HTTPConnection(*address, timeout=PATIENCE)
                    page.request("GET", "/play", headers={"Accept": "text/html"})
                    answer = page.getresponse()
                    answer.read()
                    page.close()
                    loads.append(answer.status)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # the slice is over

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        if stream.sock is not None:
            stream.sock.shutdown(2)
        thread.join(PATIENCE)
        stream.close()
