"""`gateway`, except that it keeps no ledger: what a message costs without one. The real one has no such mode."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.cli import main
from gateway.core.records import NewMessage, Owes
from gateway.store.ledger_state import Judged
from gateway.store.sqlite import store
from gateway.store.sqlite.judging import Ledger


class NoLedger(Ledger):
    """Routes messages without judging them, and writes nothing about them."""

    def judge(self, connection: sqlite3.Connection, batch: Sequence[NewMessage]) -> list[Judged]:
        return [Judged(new, None, _routed(new), None, None, None, new.companions) for new in batch]

    def enter(self, connection: sqlite3.Connection, accepted: Sequence[tuple[Judged, int]]) -> list[int | None]:
        return [None] * len(accepted)


def _routed(new: NewMessage) -> Owes:
    return Owes(new.status, new.deliveries) if new.decide is None else new.decide(None)


if __name__ == "__main__":
    store.Ledger = NoLedger  # type: ignore[attr-defined]
    main()
