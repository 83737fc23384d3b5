"""Settlements in one commit: they have the same effect as one by one, and take few statements."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.outcome import Delivered
from gateway.core.records import Attempt, NewMessage, Settlement
from gateway.core.retry import Transition
from gateway.store.sqlite import accept_settle
from gateway.store.sqlite.counting import Changes
from gateway.store.sqlite.migrations import Upgrade, migrate
from tests.fakes import START
from tests.store.kit import new
from tests.store.settlements import random_settlement

SINKS = ("erp", "crm", "ordered")
MESSAGES = 30


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with tempfile.TemporaryDirectory() as folder:
        migrate(connection, Path(folder) / "gateway.db", Upgrade())
    made = [new(f"msg_{number}", sinks=SINKS, at=START + number) for number in range(MESSAGES)]
    ordered = [NewMessage(one.message, "accepted", None, one.deliveries, frozenset({"ordered"})) for one in made]
    accept_settle.accept(connection, ordered, 1e6, Changes())
    return connection


def content(connection: sqlite3.Connection) -> list[object]:
    return [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in ("deliveries", "attempts")]


@pytest.mark.parametrize("seed", range(20))
def test_settlements_in_one_commit_have_the_same_effect_as_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    batches: list[list[Settlement]] = []
    numbers: dict[tuple[int, str], int] = {}
    for round_number in range(4):
        keys = [(chance.randrange(1, MESSAGES + 4), chance.choice(SINKS)) for _ in range(chance.choice((1, 20, 90)))]
        batch: list[Settlement] = []
        for key in keys if chance.random() < 0.5 else dict.fromkeys(keys):  # a bug may hand over the same settlement twice
            numbers[key] = numbers.get(key, 0) + 1
            batch.append(random_settlement(chance, key, numbers[key], START + 60 * round_number))
        batches.append(batch)
    with closing(database()) as together, closing(database()) as single:
        for batch in batches:
            changes, alone = Changes(), Changes()
            held = accept_settle.settle(together, batch, changes)
            assert held == [one for each in batch for one in accept_settle.settle(single, [each], alone)]
            assert {key: number for key, number in changes.items() if number} == {
                key: number for key, number in alone.items() if number
            }
        assert content(together) == content(single)


def test_a_commit_settles_in_few_statements_whatever_their_number() -> None:
    """Each statement hands Python's lock to the event loop, which may be busy."""
    done = Transition(state="delivered")
    batch = [
        Settlement(seq, sink, done, START, Attempt(1, START, 7, Delivered(200)))
        for seq in range(1, MESSAGES + 1)
        for sink in ("erp", "crm")
    ]
    texts: list[str] = []
    with closing(database()) as connection:
        connection.set_trace_callback(texts.append)
        assert all(accept_settle.settle(connection, batch, Changes()))
    assert len(texts) <= 3 * len(batch).bit_length()
