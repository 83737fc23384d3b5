"""The ages of deliveries: the expired ones and the oldest one are those that a look at every row would find."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.sqlite import claims
from gateway.store.sqlite.migrations import Upgrade, migrate

_MOMENT = st.integers(0, 12)
_WAIT = st.one_of(st.just(0), st.integers(0, 12))
_DELIVERY = st.tuples(
    st.sampled_from(["erp", "crm"]), st.sampled_from(["queued", "queued", "dead"]), _MOMENT, _WAIT, st.booleans()
)
_AWAY = st.sampled_from([None, 0, 3])


@contextmanager
def written(deliveries: list[tuple[str, str, int, int, bool]], away: int | None) -> Iterator[sqlite3.Connection]:
    """A database of deliveries: sink, state, time of acceptance, seconds until due, and whether an earlier one goes first."""
    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path(folder) / "gateway.db", Upgrade())
        for seq, (sink, state, since, wait, behind) in enumerate(deliveries, 1):
            connection.execute(
                "INSERT INTO messages (seq, id, source, sender_id, received_ms, event_ms, body, status)"
                " VALUES (?1, ?1, 'legitmark', CAST(?1 AS BLOB), 0, 0, x'7b7d', 'accepted')",
                (seq,),
            )
            queued = state == "queued"
            connection.execute(
                "INSERT INTO deliveries (message, sink, state, since_ms, due_ms, ended_ms, behind) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (seq, sink, state, since * 1000, (since + wait) * 1000 if queued else None, None if queued else 0, behind),
            )
        if away is not None:
            connection.execute("INSERT INTO sinks (sink, away_ms) VALUES ('erp', ?)", (away * 1000,))
        yield connection


@given(st.lists(_DELIVERY, max_size=12), _AWAY, _MOMENT, st.integers(1, 5), st.frozensets(st.integers(1, 12), max_size=3))
def test_deliveries_expire_by_their_age_and_not_by_their_due_time(
    deliveries: list[tuple[str, str, int, int, bool]], away: int | None, before: int, limit: int, busy: frozenset[int]
) -> None:
    with written(deliveries, away) as connection:
        old = {
            seq: since
            for seq, (sink, state, since, _, _) in enumerate(deliveries, 1)
            if sink == "erp" and state == "queued" and since + (away or 0) <= before and seq not in busy
        }
        found = [owed.seq for owed in claims.expired(connection, "erp", float(before), limit, busy)]
        assert set(found) <= old.keys() and len(found) == len(set(found)) == min(limit, len(old))
        everything = claims.expired(connection, "erp", float(before), 20, busy)
        assert [owed.seq for owed in everything] == sorted(old, key=lambda seq: (old[seq], seq))
        assert all(owed.since == old[owed.seq] + (away or 0) for owed in everything)


@given(st.lists(_DELIVERY, max_size=12), _AWAY)
def test_the_oldest_delivery_is_the_one_accepted_first(
    deliveries: list[tuple[str, str, int, int, bool]], away: int | None
) -> None:
    with written(deliveries, away) as connection:
        times = [since + (away or 0) for sink, state, since, _, _ in deliveries if (sink, state) == ("erp", "queued")]
        assert claims.oldest_since(connection, "erp") == min(times, default=None)
