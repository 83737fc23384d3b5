"""Settlements in one commit: they have the same effect as one by one, and take few statements."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.outcome import OUTCOME_NAMES, Delivered
from gateway.core.records import Attempt, NewMessage, Settlement
from gateway.core.retry import Transition
from gateway.core.selection import Target
from gateway.store.columns import milliseconds, milliseconds_or_none
from gateway.store.counted import Changes
from gateway.store.sqlite import accept_settle, operations, purging
from gateway.store.sqlite.judging import Ledger
from gateway.store.sqlite.migrations import Upgrade, migrate
from tests.fakes import START
from tests.store.kit import new
from tests.store.settlements import random_settlement

SINKS = ("erp", "crm", "ordered")
MESSAGES = 30


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    with tempfile.TemporaryDirectory() as folder:
        migrate(connection, Path(folder) / "gateway.db", Upgrade())
    made = [new(f"msg_{number}", sinks=SINKS, at=START + number) for number in range(MESSAGES)]
    ordered = [NewMessage(one.message, "accepted", None, one.deliveries, frozenset({"ordered"})) for one in made]
    accept_settle.accept(connection, ordered, 1e6, Changes(), Ledger())
    return connection


def content(connection: sqlite3.Connection) -> list[object]:
    """Read all deliveries and attempts. Whether one is behind another says nothing once it has ended."""
    deliveries = connection.execute("SELECT * FROM deliveries ORDER BY message, sink").fetchall()
    behind = "SELECT message, sink FROM deliveries WHERE state = 'queued' AND behind ORDER BY message, sink"
    attempts = "SELECT * FROM attempts ORDER BY message, sink, attempt"
    return [[row[:-1] for row in deliveries], *(connection.execute(query).fetchall() for query in (behind, attempts))]


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


Key = tuple[int, str]
_keys = st.tuples(st.integers(1, 6), st.sampled_from(SINKS))
_messages = st.lists(st.integers(1, 6), unique=True, max_size=3).map(lambda seqs: [(seq, sink) for seq in seqs for sink in SINKS])
_steps: st.SearchStrategy[tuple[str, list[Key]]] = st.one_of(
    st.tuples(st.just("settle"), st.lists(_keys, unique=True, max_size=18)),
    st.tuples(st.just("discard"), st.one_of(st.lists(_keys, unique=True, max_size=6), _messages)),
    st.tuples(st.just("purge"), st.just([])),
)


def settle_plainly(connection: sqlite3.Connection, one: Settlement, changes: Changes) -> bool:
    """Settle one delivery by statements that a reader can follow: what every batch is compared with."""
    key, transition, attempt = (one.seq, one.sink), one.transition, one.attempt
    row = connection.execute("SELECT state, attempts, sr FROM deliveries WHERE message = ? AND sink = ?", key).fetchone()
    if row is None:
        return False
    state, attempts, sr = row
    if attempt is not None:
        outcome, begun = attempt.outcome, milliseconds(attempt.started_at)
        reason, answer = (None, "") if isinstance(outcome, Delivered) else (outcome.reason.value, outcome.answer)
        facts = (OUTCOME_NAMES[type(outcome)], reason, outcome.status, outcome.detail, answer)
        connection.execute(
            "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, attempt.number, begun, attempt.duration_ms, *facts),
        )
        attempts = attempt.number
    if state != "queued":
        return False
    due_ms = milliseconds_or_none(transition.due_at)
    ended_ms = None if transition.state == "queued" else milliseconds(one.at)
    connection.execute(
        "UPDATE deliveries SET state = ?, attempts = ?, retries = ?, due_ms = ?, ended_ms = ?, reason = ?"
        " WHERE message = ? AND sink = ?",
        (transition.state, attempts, transition.retries, due_ms, ended_ms, transition.reason, *key),
    )
    changes.update({(one.sink, "queued"): -1})
    changes.update({(one.sink, transition.state): 1})
    if transition.state != "queued" and sr is not None:
        connection.execute(
            "UPDATE deliveries SET behind = 0 WHERE sink = ?1 AND message = (SELECT message FROM deliveries"
            " WHERE sink = ?1 AND sr = ?2 AND state = 'queued' ORDER BY event_ms, message LIMIT 1)",
            (one.sink, sr),
        )
    return True


@given(steps=st.lists(_steps, min_size=2, max_size=8), seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=60)
def test_a_batch_settles_as_plain_statements_do_even_if_a_person_discards_deliveries_meanwhile(
    steps: list[tuple[str, list[Key]]], seed: int
) -> None:
    """Some of the discarded ones are even purged before the outcome of their attempt comes."""
    chance = random.Random(seed)
    with closing(database()) as batches, closing(database()) as plain:
        for number, (step, chosen) in enumerate(steps, start=1):
            now = START + 60 * number
            changes, expected = Changes(), Changes()
            if step == "settle":
                batch = [random_settlement(chance, key, number, now) for key in chosen]
                in_time = [settle_plainly(plain, one, expected) for one in batch]
                assert accept_settle.settle(batches, batch, changes) == in_time
            for connection, counted in ((batches, changes), (plain, expected)):
                if step == "discard":
                    operations.discard(connection, [Target(*key) for key in chosen], now, counted)
                elif step == "purge":
                    purging.purge(connection, 0, 1000, START + 1e6, counted, Ledger())
            assert (+changes, -changes) == (+expected, -expected)
            assert content(batches) == content(plain)


def test_settlements_find_their_deliveries_by_the_key() -> None:
    """A plan that reads the whole table would hold the writer for seconds if a million deliveries wait."""
    batch = [random_settlement(random.Random(seq), (seq, sink), 1, START) for seq in range(1, MESSAGES + 1) for sink in SINKS]
    texts: list[str] = []
    with closing(database()) as connection:
        connection.set_trace_callback(texts.append)
        accept_settle.settle(connection, batch, Changes())
        updates = [text for text in texts if text.startswith("UPDATE deliveries")]
        assert len(updates) > 1
        for update in updates:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {update}")]
            assert "SEARCH deliveries USING PRIMARY KEY (message=? AND sink=?)" in plan
            assert not any(line.startswith("SCAN deliveries") for line in plan)


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
    assert len(batch) == 60 and len(texts) == 4, "one statement for outcomes and one for attempts, in two parts"
