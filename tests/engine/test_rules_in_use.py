"""The rules are kept in the store before a message is routed by them; a reload that is refused changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.app.derive import rules_of
from gateway.app.rules_in_use import RulesInUse
from gateway.config import Config, load
from gateway.core.errors import StoreError
from gateway.core.rules_then import read_rules
from gateway.host.environment import Environment
from gateway.ingest.accept import Inbox
from gateway.observability.metrics import Metrics
from gateway.store.sqlite.store import SqliteStore
from tests.engine.bench import working
from tests.fakes import FakeClock

TOML = """
[sources.legitmark]
verify = "none"
[sinks.erp]
type = "jsonl"
path = "erp.jsonl"
on_stale = "suppress"
[[routes]]
name = "{name}"
sinks = ["erp"]
"""


class FullStore(SqliteStore):
    """A store that takes no rules while its disk is full."""

    full = False

    async def keep_rules(self, snapshot: bytes, now: float) -> int:
        if self.full:
            raise StoreError("the disk is full")
        return await super().keep_rules(snapshot, now)

    async def use_rules(self, number: int, now: float) -> None:
        if self.full:
            raise StoreError("the disk is full")
        await super().use_rules(number, now)


def configured(folder: Path, name: str) -> Config:
    file = folder / "gateway.toml"
    file.write_text(TOML.format(name=name), encoding="utf-8")
    return load(file, Environment({}))


async def test_messages_go_by_rules_that_are_kept_with_their_places(tmp_path: Path, clock: FakeClock) -> None:
    log: Any = structlog.testing.CapturingLogger()
    async with working(FullStore, tmp_path, clock, log) as (store, audit):
        first, second = configured(tmp_path, "first"), configured(tmp_path, "second")
        inbox = Inbox(
            store=store,
            audit=audit,
            rules=rules_of(first),
            offer=lambda owed, due: None,
            metrics=Metrics(),
            clock=clock,
            log=structlog.wrap_logger(log, processors=[]),
        )
        rules = RulesInUse(inbox=inbox, store=store, clock=clock)
        await rules.begin(first)
        number = inbox.rules.number
        assert number is not None
        kept = await store.kept_rules(number)
        assert kept is not None
        then = read_rules(kept.snapshot)
        assert [(route.name, route.place) for route in then.routes] == [("first", "gateway.toml:8")]
        assert then.suppressing == ("erp",)

        swap = await rules.prepare(second)
        assert inbox.rules.number == number, "nothing changes before the swap"
        swap()
        await rules.tidy()
        assert inbox.rules.number not in (None, number) and list(inbox.router().sinks) == ["second"]

        store.full = True
        with pytest.raises(StoreError):
            await rules.prepare(first)
        assert list(inbox.router().sinks) == ["second"]
        await rules.tidy()  # what only bounds the rulebook stops no reload
