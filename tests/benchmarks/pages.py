"""How long the pages of the admin listener take beside ingest, and what open pages cost the acks."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final

from msgspec import Struct

from gateway.web.pages.page import Page
from gateway.web.pages.page_table import PAGES
from tests.benchmarks import open_pages, prepared_requests, sender
from tests.benchmarks.acks import paused_gateway
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, Skipped
from tests.benchmarks.measured_gateway import MeasuredGateway
from tests.benchmarks.requests.build import Built, build
from tests.benchmarks.requests.questions import Names, names, some
from tests.benchmarks.requests.run import TOML, webhooks
from tests.benchmarks.slices import Slice, cpu_shares, in_turns, shares
from tests.support.waiting import PATIENCE

_PACE: Final = 1000
"""Events a second beside which pages are asked for."""
_OPEN: Final = 10
_FOLDER: Final = Path("build/pages")
_WARM_SECONDS: Final = 1
"""Seconds of ingest before the first page is asked for."""
_STEP_MESSAGES: Final = 10
_SINK: Final = "erp"


class Taken(Struct, frozen=True):
    """How long one page took, in milliseconds since it was asked for."""

    first_byte: float
    whole: float


def figures(bench: Bench) -> Iterator[Figure | Skipped]:
    """Pages on a large store beside ingest; acks with open pages and without."""
    yield from _beside_ingest(bench)
    yield from _with_open_pages(bench)


def _beside_ingest(bench: Bench) -> Iterator[Figure | Skipped]:
    messages = bench.size.page_steps * _STEP_MESSAGES
    about = f"{messages:,} messages, {_PACE:,} events/s"
    try:
        built = build(_FOLDER.absolute() / str(messages), bench.size.page_steps)
    except OSError as error:  # too little room
        yield Skipped(f"pages at {about}", str(error))
        return
    taken = _ask_beside_ingest(built, bench.size.page_seconds)
    for page in PAGES:
        whole = [one.whole for one in taken[page.name]]
        yield Figure(name=f"page {page.path} at {about}", unit="ms", samples=whole, note=f"asked for {len(whole)} times")
    slowest = max(taken, key=lambda name: _p99([one.whole for one in taken[name]]))
    latest = max(taken, key=lambda name: _p99([one.first_byte for one in taken[name]]))
    whole_p99, first_p99 = _p99([one.whole for one in taken[slowest]]), _p99([one.first_byte for one in taken[latest]])
    yield Figure(name=f"slowest page at {about}, p99", unit="ms", samples=[whole_p99], note=slowest)
    yield Figure(name=f"first byte of the slowest page at {about}, p99", unit="ms", samples=[first_p99], note=latest)


def _ask_beside_ingest(built: Built, seconds: int) -> dict[str, list[Taken]]:
    """Ask for one page after the other, each time about something else, until the load ends."""
    known = names(built, 50)
    with MeasuredGateway(built.folder, TOML) as server:
        # Made beforehand, because signing takes the processor time of this process, which is the one that measures.
        requests = built.folder / "requests"
        prepared_requests.write(requests, webhooks(some(built, 4000), _PACE * (seconds + _WARM_SECONDS)))
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(partial(sender.send, server.port, requests, connections=32, rate=_PACE))
            taken = _asked(server, known, load)
            load.result()
    return taken


def _asked(server: MeasuredGateway, known: Names, load: Future[sender.Sent]) -> dict[str, list[Taken]]:
    taken: dict[str, list[Taken]] = {page.name: [] for page in PAGES}
    begun = time.monotonic()
    for turn in itertools.count():
        for page in PAGES:
            caught = _newest_caught(server.admin_address) if "{number}" in page.path else 0
            one = _ask(server.admin_address, path_of(page, known, turn, caught))
            if load.done():
                return taken
            if time.monotonic() - begun > _WARM_SECONDS:
                taken[page.name].append(one)
    raise AssertionError("a count has no end")


def _newest_caught(address: tuple[str, int]) -> int:
    """Return the number of the newest request that the page of requests has, once it has one: it keeps what comes from now on."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
            connection.request("GET", "/play.json")
            requests = json.load(connection.getresponse())["requests"]
        if requests:
            return int(requests[0]["number"])
    raise RuntimeError("the page of requests shows none of those that come")


def path_of(page: Page, known: Names, turn: int, caught: int) -> str:
    """Return an address of a page, about another request or message each time; `caught` is the number of a request."""
    at = turn % len(known.uuids)
    values = {"sr_uuid": known.uuids[at], "id": known.messages[at], "name": _SINK, "number": caught}
    query = f"?q={known.references[at]}x" if "q" in page.query else ""
    return f"{page.path.format_map(values)}{query}"


def _ask(address: tuple[str, int], path: str) -> Taken:
    """Ask for a page on a connection of its own, as a browser's first request does. Raises RuntimeError unless it is there."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        begun = time.perf_counter()
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        first = time.perf_counter()
        answer.read()
        if answer.status >= 400 and "?q=" not in path:
            raise RuntimeError(f"{path}: {answer.status}")
        return Taken((first - begun) * 1000, (time.perf_counter() - begun) * 1000)
    finally:
        connection.close()


def _with_open_pages(bench: Bench) -> Iterator[Figure]:
    """Acks a second while ten pages are open, against those of the same gateway while none is."""
    with paused_gateway(bench) as server:
        turns = in_turns(partial(bench.acks, server), {"open": partial(_acks_with_open_pages, bench, server)}, bench.size.rounds)
    yield shares(f"durable ack with {_OPEN} open pages / without", turns["open"])
    yield cpu_shares(f"CPU of an ack without open pages / with {_OPEN}", turns["open"])


def _acks_with_open_pages(bench: Bench, server: MeasuredGateway) -> Slice:
    with _open_pages(server.admin_address[1]):
        return bench.acks(server)


@contextmanager
def _open_pages(port: int) -> Iterator[None]:
    """Keep pages open, spread over all live ones that need no name. Raises RuntimeError if they did not follow the gateway."""
    paths = [page.path for page in PAGES if page.live and "{" not in page.path]
    command = [sys.executable, "-m", open_pages.__name__, str(port), *itertools.islice(itertools.cycle(paths), _OPEN)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != open_pages.OPEN:
            raise RuntimeError("the pages did not open")
        yield
    finally:
        told, _ = process.communicate("\n", PATIENCE)
    if process.returncode or int(told) < 1:
        raise RuntimeError(f"{_OPEN} open pages were drawn {told.strip() or 'never'} times")


def _p99(samples: list[float]) -> float:
    """Return the value that one of a hundred exceeds; the greatest of a few."""
    return quantiles(samples, n=100, method="inclusive")[98] if len(samples) > 100 else max(samples)
