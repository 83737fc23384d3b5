"""How long people's questions take PostgreSQL, beside `large`, which asks the same of SQLite: `make bench-large`.

The database of `large` is copied into a server of the benchmark's own. What holds the session is one page, so the longest page of
a question counts: the CPU time of the server's process for it, and of this one, so that other work on the host counts little.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.core.events import Milestone
from gateway.core.ledger import Flag
from gateway.core.request_documents import RequestSelection
from gateway.core.selection import Selection, Target
from gateway.store.postgres.connection import QUESTIONS, Connection, Session
from gateway.store.postgres.reading import PostgresReading
from tests.benchmarks.large import START_MS, STEP_MS, build
from tests.store.postgres.copies import copy
from tests.store.postgres.kit import connected, no_jitter, server_of
from tests.support.postgres_server import PostgresPlace, postgres_server

_BOUND_MS = 50.0
_LIMIT = 200
_SETTINGS = {"shared_buffers": "256MB", "fsync": "off", "max_wal_size": "4GB"}

Ask = Callable[[PostgresReading, Any], Awaitable[tuple[int, Any]]]
"""A page: the store and its place, then its number of rows, and the place of the next page, or None after the last one."""


def questions(messages: int) -> Iterator[tuple[str, Ask, Any]]:
    """The text of a question, how it is asked, and where its first page begins."""

    def at(part: float) -> float:
        return (START_MS + int(messages * part) * STEP_MS) / 1000

    windows = {
        "": Selection(),
        " --since (the last hour)": Selection(since=at(1) - 3600),
        " --since (a tenth back)": Selection(since=at(0.9)),
        " --until (a tenth in)": Selection(until=at(0.1)),
        " --since --until (an hour in the middle)": Selection(since=at(0.5), until=at(0.5) + 3600),
        " --since (nothing)": Selection(since=at(2)),
        " --until (nothing)": Selection(until=1.0),
    }
    for said, window in windows.items():
        for status in (None, "unrouted", "accepted"):
            of_status = Selection(status=status, since=window.since, until=window.until)
            words = "" if status is None else f" --status {status}"
            yield f"messages{words}{said}", _paged("messages", of_status), 0
            yield f"messages{words}{said}, the newest first", _paged("newest_messages", of_status), None
        for state in (None, "queued", "delivered", "dead", "discarded"):
            for sink in (None, "erp", "rare", "nobody"):
                of_state = Selection(state=state, sink=sink, since=window.since, until=window.until)
                parts = [f" --{name} {value}" for name, value in (("state", state), ("sink", sink)) if value is not None]
                yield f"deliveries{''.join(parts)}{said}", _paged("deliveries", of_state), Target(0, "")
    for text in (f"{messages // 2:032x}", f"msg_{messages // 2}", "sr-77", "BAG-77", "BAG-none", "msg_99", "msg_", "0", "sr-1"):
        yield f"show {text}", _named(text, whole=True), 0
        yield f"show {text} (a beginning)", _named(text, whole=False), 0
        yield f"sr {text}", _found(text), 0
    for said, chosen in (
        ("", RequestSelection()),
        (" --state", RequestSelection(milestones=(Milestone.AUTHENTIC, Milestone.QC_REJECTED))),
        (" --source", RequestSelection(source="nobody")),
        (" --flag (a frequent one)", RequestSelection(flag=Flag.DRIFT)),
        (" --flag (of none)", RequestSelection(flag=Flag.FUTURE)),
        (" --until (a tenth in)", RequestSelection(until=at(0.1))),
    ):
        yield f"srs{said}", _requests(chosen), None
    yield "the open requests", _open, None
    yield "the dead ones", _dead, None
    yield "a story of a request", _alone(lambda store: store.request_story(messages // 50)), 0
    targets = [Target(seq, "erp") for seq in range(1, messages, messages // 100)]
    yield "the late ones of 100", _alone(lambda store: store.late(targets)), 0
    yield "the last attempts", _alone(lambda store: store.last_attempts("erp", 50)), 0
    yield "the last failures", _alone(lambda store: store.last_failures(["archive", "chat", "erp", "rare"])), 0
    yield "status", _alone(lambda store: store.overview()), 0
    yield "the beginning of a window", _alone(lambda store: store.first_since(at(0.3))), 0
    yield "backtest", _routing, 0


def _paged(verb: str, selection: Selection) -> Ask:
    async def ask(store: PostgresReading, after: Any) -> tuple[int, Any]:
        page, go_on = await getattr(store, verb)(selection, None, after, _LIMIT)
        return len(page), go_on

    return ask


def _named(text: str, *, whole: bool) -> Ask:
    async def ask(store: PostgresReading, after: Any) -> tuple[int, Any]:
        seqs, go_on = await store.named(text, after, whole=whole)
        return len(seqs), go_on

    return ask


def _requests(selection: RequestSelection) -> Ask:
    async def ask(store: PostgresReading, after: Any) -> tuple[int, Any]:
        page, go_on = await store.requests(selection, after)
        return len(page), go_on

    return ask


def _found(name: str) -> Ask:
    return _alone(lambda store: store.find_requests(name))


def _alone(asked: Callable[[PostgresReading], Awaitable[Any]]) -> Ask:
    async def ask(store: PostgresReading, _: Any) -> tuple[int, Any]:
        await asked(store)
        return 1, None

    return ask


async def _open(store: PostgresReading, after: Any) -> tuple[int, Any]:
    page, go_on = await store.open_requests(["legitmark"], after)
    return len(page), go_on


async def _dead(store: PostgresReading, before: Any) -> tuple[int, Any]:
    page = await store.dead(None, before, 1000)
    return len(page.deliveries), page.go_on_before


async def _routing(store: PostgresReading, after: Any) -> tuple[int, Any]:
    page = await store.received_since(0.0, after, 100, 1024 * 1024)
    return len(page.messages), page.go_on_after


async def measure(database: Path, place: PostgresPlace, messages: int, seconds: float) -> float:
    """Copy the database, and print how long each question takes. Returns the milliseconds of the longest page of all."""
    begun = time.monotonic()
    async with connected(place) as connection:
        await copy(database, connection)
        await connection.execute("VACUUM (ANALYZE)")
    print(f"{messages:,} messages, copied in {time.monotonic() - begun:.0f} s")
    print("ms: the first page, the longest page; the pages (+: there are more), the question")
    session = Session(server_of(place), "questions", no_jitter, QUESTIONS)
    asked = list(questions(messages))
    until = time.monotonic() + seconds
    try:
        pid = await session.run(_pid)
        longest = 0.0
        for at, one in enumerate(asked):
            longest = max(
                longest, await _time(PostgresReading(session), pid, *one, (until - time.monotonic()) / (len(asked) - at))
            )
        return longest
    finally:
        await session.close()


async def _pid(connection: Connection) -> int:
    return connection.get_server_pid()


async def _time(store: PostgresReading, pid: int, said: str, ask: Ask, begin: Any, seconds: float) -> float:
    """Print how long a question takes; the milliseconds of its longest page."""
    pages, after, begun = list[float](), begin, time.perf_counter()
    while not pages or (after is not None and time.perf_counter() - begun < seconds):
        before = _worked(pid) + time.thread_time_ns()
        _, after = await ask(store, after)
        pages.append((_worked(pid) + time.thread_time_ns() - before) / 1e6)
    print(f"{pages[0]:8.1f} {max(pages):8.1f} {len(pages):6}{'+' if after is not None else ' '} {said}", flush=True)
    return max(pages)


def _worked(pid: int) -> int:
    """Return the nanoseconds for which a process has been on a CPU (Documentation/scheduler/sched-stats.rst of Linux)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="for all questions together")
    parser.add_argument("--database", type=Path, help="copy this database of `large`, which has so many messages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, postgres_server(_SETTINGS) as server:
        database = given.database or Path(made) / "gateway.db"
        if given.database is None:
            build(database, given.messages)
        place = PostgresPlace(server.url, "large")
        longest = asyncio.run(measure(database, place, given.messages, given.seconds))
    print(f"the longest page of all: {longest:.1f} ms (bound: {_BOUND_MS:.0f})")
    return 0 if longest < _BOUND_MS else 1


if __name__ == "__main__":
    sys.exit(main())
