"""The questions that people ask about service requests, with the names that the large store has."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from tests.benchmarks.requests.asking import Client, Cost
from tests.benchmarks.requests.build import Built

_DAY = 86_400.0

Asked = Iterator[Cost]
"""Asks again and again, each time about something else or for the next page."""


class Question(Struct, frozen=True):
    """A question, and how it is asked."""

    said: str
    ask: Callable[[Client], Asked]
    most: int
    """How often it is asked."""


class Names(Struct, frozen=True):
    """Names of requests of the store, in no order."""

    uuids: tuple[str, ...]
    references: tuple[str, ...]
    shared: tuple[str, ...]
    """Reference ids of four requests."""
    messages: tuple[str, ...]
    senders: tuple[str, ...]
    crowded: str


def some(built: Built, number: int) -> list[tuple[str, str]]:
    """Read uuids and reference ids of the store, those of other requests each time."""
    chance = random.Random()
    chosen = chance.sample(range(1, built.requests), min(number, built.requests - 1))
    with closing(sqlite3.connect(f"{built.database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT sr_uuid, reference_id FROM requests WHERE number = ?"
        rows = [connection.execute(query, (one,)).fetchone() for one in chosen]
    return [(uuid.decode(), reference.decode()) for uuid, reference in rows]


def names(built: Built, number: int) -> Names:
    """Read names out of the store; the same ones each time."""
    chance = random.Random(14)
    with closing(sqlite3.connect(f"{built.database.absolute().as_uri()}?mode=ro", uri=True)) as connection:

        def one(query: str, value: int) -> Any:
            return connection.execute(query, (value,)).fetchone()

        def request() -> int:
            return chance.randrange(built.requests // 10, built.requests - 1)

        chosen = [
            one("SELECT sr_uuid, reference_id, last FROM requests JOIN standings ON request = number WHERE number = ?", request())
            for _ in range(number)
        ]
        ids = [one("SELECT id, sender_id FROM messages WHERE seq = ?", last) for *_, last in chosen]
        shared = [
            one(
                "SELECT reference_id FROM requests WHERE number >= ? AND reference >= x'626167' AND number % 1000 = 500",
                request(),
            )
            for _ in range(min(number, 20))
        ]
        (crowded,) = one("SELECT sr_uuid FROM requests WHERE number = ?", built.requests)
    return Names(
        tuple(uuid.decode() for uuid, *_ in chosen),
        tuple(reference.decode() for _, reference, _ in chosen),
        tuple(row[0].decode() for row in shared if row is not None),
        tuple(row[0] for row in ids),
        tuple(row[1].decode() for row in ids),
        crowded.decode(),
    )


def questions(built: Built, known: Names, *, often: int, pages: int) -> Iterator[Question]:
    """Return the questions.

    Args:
        often: how often each question about one name is asked.
        pages: pages of a list or slices of an act, at most.
    """
    begins, ends = built.begins_ms / 1000, built.ends_ms / 1000
    middle = (begins + ends) / 2
    yield Question("sr UUID", _each(_request(name) for name in known.uuids), often)
    yield Question("sr BEGINNING (8 characters)", _each(_request(name[:8]) for name in known.uuids), often)
    yield Question("sr BEGINNING (4 characters)", _each(_request(name[:4]) for name in known.uuids), often)
    yield Question("sr REFERENCE", _each(_request(name) for name in known.references), often)
    yield Question("sr REFERENCE in other case", _each(_request(name.swapcase()) for name in known.references), often)
    yield Question("sr REFERENCE of four requests", _each(_request(name) for name in known.shared), often)
    yield Question("sr REFERENCE of very many", _each(_request("N/A") for _ in known.uuids), often)
    yield Question("sr MESSAGE (the gateway's id)", _each(_request(name) for name in known.messages), often)
    yield Question("sr MESSAGE (the sender's id)", _each(_request(name) for name in known.senders), often)
    yield Question("sr, unknown, with nearest names", _each(_request(f"{name[:-1]}x") for name in known.references), often)
    yield Question("sr, unknown, nothing near", _each(_request(f"nothing-{name}") for name in known.uuids), often)
    yield Question("sr of 300 events, all pages", _story(known.crowded, bodies=False), often)
    yield Question("sr --payload of 300 events, all pages", _story(known.crowded, bodies=True), often)
    lists: dict[str, dict[str, object]] = {
        "srs": {},
        "srs --state qc_rejected": {"milestone": "qc_rejected"},
        "srs --state authentic (the most)": {"milestone": "authentic,counterfeit,documented"},
        "srs --state queued (few)": {"milestone": "queued"},
        "srs --flag ended_twice": {"flag": "ended_twice"},
        "srs --flag undated (none)": {"flag": "undated"},
        "srs --state authentic --flag drift": {"milestone": "authentic", "flag": "drift"},
        "srs --stalled": {"stalled": "true"},
        "srs --since (a day)": {"since": ends - _DAY},
        "srs --state qc_pending --until (4 hours)": {"milestone": "qc_pending", "until": ends - 14_400},
        "srs --until (the middle)": {"until": middle},
        "srs of a source without any": {"source": "nobody"},
    }
    for said, query in lists.items():
        yield Question(f"{said}, pages", _pages("/api/srs", query), pages)
    yield Question("show MESSAGE", _each(f"/api/messages/{name}" for name in known.messages), often)
    yield Question("show UUID", _each(f"/api/messages/{name}" for name in known.uuids), often)
    yield Question("show UUID of 300 events (the first 100)", _each(f"/api/messages/{known.crowded}" for _ in known.uuids), often)
    yield Question("show REFERENCE of very many", _each("/api/messages/N%2FA" for _ in known.uuids), often)
    yield Question("show, unknown", _each(f"/api/messages/nothing-{name}" for name in known.uuids), often)
    yield Question("messages --id UUID", _each(_list("messages", id=name) for name in known.uuids), often)
    yield Question("messages --id REFERENCE", _each(_list("messages", id=name.upper()) for name in known.references), often)
    yield Question("messages --id BEGINNING (8)", _each(_list("messages", id=name[:8]) for name in known.uuids), often)
    yield Question("messages --id BEGINNING (2)", _each(_list("messages", id=name[:2]) for name in known.uuids), often)
    yield Question("messages --id BEGINNING (3)", _each(_list("messages", id=name[:3]) for name in known.uuids), often)
    yield Question("messages, pages", _pages("/api/messages", {}), pages)
    yield Question("messages --since (a day), pages", _pages("/api/messages", {"since": ends - _DAY}), pages)
    yield Question("messages --status unrouted, pages", _pages("/api/messages", {"status": "unrouted"}), pages)
    yield Question("deliveries --sr UUID", _each(_list("deliveries", id=name) for name in known.uuids), often)
    yield Question("deliveries --state dead, pages", _pages("/api/deliveries", {"state": "dead"}), pages)
    yield Question("deliveries --state queued, pages", _pages("/api/deliveries", {"state": "queued"}), pages)
    one = [{"selection": {"id": name}, "delivered": True} for name in known.references]
    yield Question("replay --dry-run of one item", _replays(one), often)
    day = {"since": middle, "until": middle + _DAY}
    yield Question("replay --dry-run of a day, dead, slices", _slices({"selection": day}), pages)
    yield Question("replay --dry-run --delivered of a day, slices", _slices({"selection": day, "delivered": True}), pages)
    yield Question("the evidence of a message", _each(f"/api/messages/{name}/evidence" for name in known.messages), often)
    yield Question("status", _each("/api/status" for _ in known.uuids), often)


def _request(name: str) -> str:
    return f"/api/srs/{quote(name, safe='')}"


def _list(what: str, **query: object) -> str:
    return f"/api/{what}?{urlencode(query)}"


def _each(paths: Iterator[str]) -> Callable[[Client], Asked]:
    asked = list(paths)

    def ask(client: Client) -> Asked:
        while True:
            for path in asked:
                yield client.ask(path)[1]

    return ask


def _story(name: str, *, bodies: bool) -> Callable[[Client], Asked]:
    def ask(client: Client) -> Asked:
        while True:
            before: int | None = None
            while True:
                query = {"bodies": "true"} if bodies else {}
                answer, cost = client.ask(
                    f"{_request(name)}?{urlencode(query if before is None else {**query, 'before': before})}"
                )
                yield cost
                before = answer["story"]["before"]
                if before is None:
                    break

    return ask


def _pages(path: str, query: dict[str, object]) -> Callable[[Client], Asked]:
    def ask(client: Client) -> Asked:
        after: object = None
        while True:
            asked = query if after is None else {**query, "after": after}
            answer, cost = client.ask(f"{path}?{urlencode(asked)}" if asked else path)
            yield cost
            after = answer["after"]
            if after is None:
                return

    return ask


def _replays(bodies: list[dict[str, Any]]) -> Callable[[Client], Asked]:
    def ask(client: Client) -> Asked:
        while True:
            for body in bodies:
                yield client.ask("/api/replay", {**body, "dry_run": True, "actor": "benchmark"})[1]

    return ask


def _slices(body: dict[str, Any]) -> Callable[[Client], Asked]:
    def ask(client: Client) -> Asked:
        after: object = None
        while True:
            asked = {**body, "dry_run": True, "actor": "benchmark"} | ({} if after is None else {"after": after})
            answer, cost = client.ask("/api/replay", asked)
            yield cost
            after = answer["after"]
            if after is None:
                return

    return ask
