"""Helpers of the store's tests: messages to accept, a store that runs, and readers of its file that are not the store's own."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

import pytest

import gateway
from gateway.core.errors import StoreError
from gateway.core.outcome import Outcome
from gateway.core.records import Accepted, Attempt, Counts, Duplicate, Message, NewMessage, Settlement
from gateway.core.retry import RetryPolicy, decide
from gateway.core.selection import MessageStatus
from gateway.store.base import Accepting, Audit
from gateway.store.postgres.connection import Connection, Server, connect
from gateway.store.postgres.store import PostgresStore
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.support.postgres_server import PostgresPlace

Database = Path | PostgresPlace
"""Where a store of one of the engines keeps its rows."""
AnyStore = SqliteStore | PostgresStore
_Error = TypeVar("_Error", bound=StoreError)
HANG = 5.0
"""Seconds after which a future that is never resolved fails the test, so that the test does not hang."""
DAY = 86_400.0
RETENTION = 90 * DAY
POLICY = RetryPolicy()
STATES = ("queued", "delivered", "dead", "discarded")
_numbers = itertools.count(1)


def new(
    sender_id: str | None = None,
    *,
    body: bytes = b"{}",
    identity: str | None = None,
    source: str = "legitmark",
    at: float = START,
    sinks: tuple[str, ...] = ("erp",),
    due: float | None = None,
    status: MessageStatus = "accepted",
    content_type: str | None = "application/json",
) -> NewMessage:
    """Return a message with a new id, received at `at` (Unix seconds). Its deliveries to `sinks` are due at once, or at `due`."""
    message = Message(
        id=f"{os.getpid():016x}{next(_numbers):016x}",  # a database may have messages of another process, too
        source=source,
        sender_id=sender_id,
        received_at=at,
        content_type=content_type,
        body=body,
        event_type="state_change",
        milestone="authentic",
        sr_uuid="0f3f7a0e-5a4c-4f0e-8b3e-1f1f1f1f1f1f",
        reference_id="REF-1",
    )
    return NewMessage(message, status, identity, tuple((sink, at if due is None else due) for sink in sinks))


def settlement(
    seq: int,
    outcome: Outcome,
    *,
    sink: str = "erp",
    number: int = 1,
    retries: int = 0,
    at: float = START,
    policy: RetryPolicy = POLICY,
) -> Settlement:
    """Return the settlement of an attempt made at `at` and answered with `outcome`, as a lane builds it."""
    transition = decide(outcome, retries=retries, since=START, now=at, jitter=0.0, policy=policy)
    return Settlement(seq, sink, transition, at, Attempt(number=number, started_at=at, duration_ms=7, outcome=outcome))


def store_threads() -> list[threading.Thread]:
    """Return the threads of open connections."""
    return [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]


class Trap(str):
    """A sender id that calls when the writer's thread reads it, in the middle of the transaction."""

    _call: Callable[[], object]

    def __new__(cls, text: str, call: Callable[[], object]) -> Trap:
        self = super().__new__(cls, text)
        self._call = call
        return self

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        self._call()
        return super().encode(encoding, errors)


def raising(error: Exception) -> Trap:
    """A sender id that raises an error in the writer's thread."""

    def call() -> None:
        raise error

    return Trap("msg_trap", call)


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """Return the error that the sqlite3 module raises for a result code of SQLite."""
    error = sqlite3.OperationalError("as SQLite words it")
    error.sqlite_errorcode = code
    return error


@overload
def serving(path: Path, retention: float = ..., *, audit: Audit | None = ...) -> AbstractAsyncContextManager[SqliteStore]: ...


@overload
def serving(
    path: PostgresPlace, retention: float = ..., *, audit: Audit | None = ...
) -> AbstractAsyncContextManager[PostgresStore]: ...


def serving(path: Database, retention: float = RETENTION, *, audit: Audit | None = None) -> Any:
    """Run a store with its writer; at the end everything is committed and closed."""
    return _serving(path, retention, audit=audit)


@asynccontextmanager
async def _serving(path: Database, retention: float = RETENTION, *, audit: Audit | None = None) -> AsyncIterator[AnyStore]:
    store = await opened(path, retention, audit=audit)
    running = asyncio.create_task(store.run(), name="store")
    try:
        yield store
    finally:
        store.finish()
        try:
            await running
        finally:
            await store.close()


async def opened(path: Database, retention: float = RETENTION, *, audit: Audit | None = None) -> AnyStore:
    """Open a store of either engine."""
    if isinstance(path, Path):
        return await SqliteStore.open(path, retention, audit=audit)
    server = Server(path.url, path.schema)
    return await PostgresStore.open(
        server, retention, node="gw1", boot=str(next(_numbers)), version="1", jitter=lambda: 0.0, audit=audit
    )


async def accepted(store: Accepting, message: NewMessage) -> int:
    """Accept a message that has to be new, and return its seq."""
    answer = await store.accept(message)
    assert isinstance(answer, Accepted), f"{answer} for a message that is new"
    return answer.seq


async def duplicate(store: Accepting, message: NewMessage) -> Duplicate:
    answer = await store.accept(message)
    assert isinstance(answer, Duplicate), f"{answer} for a message that was seen before"
    return answer


async def refusal(path: Path, kind: type[_Error]) -> _Error:
    """Return the error with which a database is refused. If it opens all the same, it is closed again, and the test fails."""
    with pytest.raises(kind) as refused:
        await (await SqliteStore.open(path, RETENTION)).close(clean=False)
    return refused.value


async def opened_and_closed(path: Path, *, clean: bool = True) -> bool:
    """Open and close a database. Returns True if its last user ended uncleanly."""
    store = await SqliteStore.open(path, RETENTION)
    await store.close(clean=clean)
    return store.after_unclean_end


def set_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection for the test alone."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection


def rows(path: Database, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Ask the database of either engine, on a connection of its own. A `?` in the query stands for a parameter."""
    if not isinstance(path, Path):
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, _postgres_rows(path, query, parameters)).result()
    with looking(path) as connection:
        return connection.execute(query, parameters).fetchall()


async def _postgres_rows(place: PostgresPlace, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    """Ask PostgreSQL; its booleans come as SQLite's numbers do."""
    numbers = itertools.count(1)
    connection = await connect(Server(place.url, place.schema), "test")
    try:
        found = await connection.fetch(re.sub(r"\?", lambda _: f"${next(numbers)}", query), *parameters)
    finally:
        await connection.close()
    return [tuple(int(value) if isinstance(value, bool) else value for value in row) for row in found]


def one(path: Database, query: str, *parameters: object) -> Any:
    """Return the single value that a query answers."""
    ((value,),) = rows(path, query, *parameters)
    return value


def counted(path: Database) -> dict[str, Counts]:
    """Count the deliveries by sink and state: the numbers that the counters have to show."""
    numbers: dict[str, dict[str, int]] = {}
    for sink, state, number in rows(path, "SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state"):
        numbers.setdefault(sink, dict.fromkeys(STATES, 0))[state] = number
    return {sink: Counts(**by_state) for sink, by_state in numbers.items()}


def beside(path: Database, name: str) -> Database:
    """Return a place for another store of the same engine."""
    if isinstance(path, Path):
        return path.with_name(name)
    return PostgresPlace(path.url, f"{path.schema}_{name}")


def database_of(store: AnyStore) -> Database:
    """Return where the rows of a store are."""
    if isinstance(store, SqliteStore):
        return store.path
    server = store.commits.session.server
    return PostgresPlace(server.url, server.schema)


async def assert_counters_right(store: AnyStore) -> None:
    nothing = Counts(queued=0, delivered=0, dead=0, discarded=0)
    counters = {sink: counts for sink, counts in (await store.counts()).items() if counts != nothing}
    assert counters == counted(database_of(store))


async def run_sql(store: AnyStore, *statements: str) -> None:
    """Run statements in the next commit that no verb of the store has, to spoil a row or to set a pragma of the writer."""
    if isinstance(store, PostgresStore):

        async def run(connection: Connection, changes: object) -> None:
            for statement in statements:
                await connection.execute(statement)

        await store.commits.change(run)
        return

    def work(connection: sqlite3.Connection, changes: object) -> None:
        for statement in statements:
            connection.execute(statement)

    await store.change(work)


async def limit_pages(store: SqliteStore, most: int) -> int:
    """Limit the database to so many pages, or to its present size if that is larger. Returns the limit before."""

    def work(connection: sqlite3.Connection, changes: object) -> int:
        (before,) = connection.execute("PRAGMA max_page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {most}")
        return int(before)

    return await store.change(work)


def crash_copy(path: Path, folder: Path) -> Path:
    """Copy the files into another folder, as a crash at this instant would leave them.

    Another process copies them: closing a file of an open database would drop SQLite's POSIX locks in this process.
    """
    folder.mkdir()
    names = [name for suffix in ("", "-wal", ".lock") if (name := Path(f"{path}{suffix}")).exists()]
    subprocess.run(["cp", "--", *names, folder], check=True)
    return folder / path.name


def files(path: Path) -> dict[str, bytes]:
    """Read the bytes of the database and of its write-ahead log, if it has any; only while SQLite has neither open."""
    contents = {name.name: name.read_bytes() for suffix in ("", "-wal") if (name := Path(f"{path}{suffix}")).exists()}
    return {name: content for name, content in contents.items() if content}


@contextmanager
def process(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run another Python process with this gateway on its path; kill it at the end if it still lives."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        cwd=Path(gateway.__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def line(child: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints; empty if it has ended."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def go_on(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


async def fill(path: Path, number: int, *, body: bytes = b"{}", sinks: tuple[str, ...] = ("erp",)) -> None:
    """Make a database of `number` messages with queued deliveries, due one millisecond apart, and of one row of the rest."""
    store = await SqliteStore.open(path, RETENTION)
    await store.close()
    now = round(START * 1000)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO messages"
            " (seq, id, source, sender_id, body_sha256, received_ms, event_ms, body, identity, sr_uuid, status)"
            " VALUES (?, ?, 'legitmark', ?, ?, ?, 0, ?, ?, x'00', 'accepted')",
            (
                (
                    seq,
                    f"f{seq:031x}",
                    *((None, b"1") if seq == 1 else (b"msg_%d" % seq, None)),
                    now + seq,
                    body,
                    b"identity %d" % seq,
                )
                for seq in range(1, number + 1)
            ),
        )
        for sink in sinks:
            connection.executemany(
                "INSERT INTO deliveries (message, sink, state, since_ms, due_ms, sr, event_ms)"
                " VALUES (?, ?, 'queued', ?, ?, x'00', 0)",
                ((seq, sink, now + seq, now + seq) for seq in range(1, number + 1)),
            )
            connection.execute("INSERT INTO counters (sink, queued) VALUES (?, ?)", (sink, number))
        connection.execute(
            "INSERT INTO deliveries VALUES (1, 'dead', 'dead', 1, 1, ?, NULL, ?, 'rejected', 0, NULL, NULL, 0)", (now, now)
        )
        connection.execute("INSERT INTO attempts VALUES (1, 'dead', 1, ?, 1, 'reject', 'rejected', 410, '', '')", (now,))
        connection.execute("INSERT INTO counters (sink, dead) VALUES ('dead', 1)")
        connection.execute("INSERT INTO sinks (sink) VALUES ('erp')")
        connection.execute("UPDATE ledger SET flushed = ?", (number,))
        connection.execute("INSERT INTO rules VALUES (1, x'00', 0, NULL, x'00')")
        connection.execute("INSERT INTO requests VALUES (1, 'legitmark', x'00', x'00', x'00')")
        connection.execute("INSERT INTO standings VALUES (1, 1, 0, 0, 1, x'00')")
        connection.execute("INSERT INTO signing_keys VALUES (1, 'env SECRET')")
        connection.execute("INSERT INTO entries (message, request) VALUES (1, 1)")
        connection.execute("INSERT INTO loose_references VALUES (1, x'00')")
        connection.execute("INSERT INTO repeats VALUES (1, 1, 0, NULL)")
        connection.execute("INSERT INTO arrivals VALUES (0, 0, 0)")
        connection.execute("INSERT INTO acts VALUES (1, 1, 'dead', 0, 'ann', NULL, 'replay', 'dead', 'queued')")
        connection.execute("INSERT INTO joins VALUES (1, 1, 'dead', 1, NULL, 1)")
        connection.execute("INSERT INTO conflicts VALUES (1, x'00', NULL, ?, x'00')", (now,))
