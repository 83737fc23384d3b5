"""The inbox reports everything that it commits, even if the request that asked for it is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from gateway.core.audit_event_kinds import MessageEvent
from gateway.core.audit_events import GatewayStarted
from gateway.core.documents import Ids
from gateway.core.errors import StoreError
from gateway.core.events import event_of
from gateway.core.ledger import Facts
from gateway.core.outcome import Delivered
from gateway.core.records import Accepted, Message, Owed
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Decision, Route, Router
from gateway.host.clock import Clock
from gateway.ingest.accept import Inbox, Rules
from gateway.maintenance.audit_catchup import catch_up
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import one, settlement
from tests.support.waiting import until

_EVENT = event_of({})
_TO_ERP = Decision(sinks=("erp",), routes=("all",))


class _Bench:
    def __init__(self, folder: Path, store: SqliteStore, audit: AuditLog) -> None:
        self.store = store
        self.audit = audit
        self.offered: list[str] = []
        self.bug: Exception | None = None
        self._file = folder / "audit.jsonl"
        self.inbox = Inbox(
            store=store,
            audit=audit,
            rules=Rules(router=Router([]), policies={"erp": RetryPolicy()}),
            offer=self._offer,
            metrics=Metrics(),
            clock=Clock(),
            log=structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]),
        )

    def _offer(self, owed: Owed, due: float) -> None:
        if self.bug is not None:
            raise self.bug
        self.offered.append(owed.message.id)

    def accepted(self) -> list[str]:
        lines = [json.loads(line) for line in self._file.read_text().splitlines()]
        return [line["message_id"] for line in lines if line["event"] == "message.accepted"]


def _message(name: str) -> Message:
    return Message(name * 32, "legitmark", f"msg_{name}", START, None, b"{}")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[_Bench]:
    async with _serving(tmp_path) as bench:
        yield bench


class _BuggyAudit(AuditLog):
    """An audit log that cannot make the line of one message."""

    def line(self, event: MessageEvent, message: Message | Ids, *, at: float | None = None) -> bytes:
        if message.id == "a" * 32:
            raise ZeroDivisionError("a bug")
        return super().line(event, message, at=at)


@asynccontextmanager
async def _serving(folder: Path, kind: type[AuditLog] = AuditLog, *, writing: bool = True) -> AsyncIterator[_Bench]:
    """A store, an audit log and an inbox, until the end of the block; `writing` runs the audit log's own thread."""
    audit = kind(folder / "audit.jsonl", Clock(), structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]))
    store = await SqliteStore.open(folder / "gateway.db", 86400.0, audit=audit)
    async with asyncio.TaskGroup() as beside:
        beside.create_task(store.run())
        if writing:
            beside.create_task(audit.run())
        yield _Bench(folder, store, audit)
        store.finish()
        audit.finish()
    await store.close()
    audit.close()


async def test_a_message_is_acknowledged_after_its_commit_its_audit_line_and_its_offer_to_the_lanes(bench: _Bench) -> None:
    assert await bench.inbox.put(_message("a"), _EVENT, decision=_TO_ERP) == Accepted(1)
    assert bench.accepted() == bench.offered == ["a" * 32]


async def test_the_audit_line_of_a_message_is_written_even_if_its_request_was_cut(bench: _Bench) -> None:
    bench.inbox.put(_message("a"), _EVENT, decision=_TO_ERP).cancel()
    await bench.inbox.put(_message("b"), _EVENT, decision=_TO_ERP)
    assert bench.accepted() == bench.offered == ["a" * 32, "b" * 32]


async def test_a_bug_with_one_message_does_not_stop_the_others(bench: _Bench) -> None:
    bench.bug = ZeroDivisionError("a bug")
    failing = bench.inbox.put(_message("a"), _EVENT, decision=_TO_ERP)
    with pytest.raises(ZeroDivisionError):
        await failing
    bench.bug = None
    assert await bench.inbox.put(_message("b"), _EVENT, decision=_TO_ERP) == Accepted(2)
    assert bench.accepted() == ["a" * 32, "b" * 32]


async def test_the_line_of_a_message_is_written_by_the_thread_that_commits_and_waits_for_no_other(tmp_path: Path) -> None:
    async with _serving(tmp_path, writing=False) as bench:
        assert await bench.inbox.put(_message("a"), _EVENT, decision=_TO_ERP) == Accepted(1)
        assert bench.accepted() == ["a" * 32]
        assert bench.audit.complete and bench.audit.written_to == one(bench.store.path, "SELECT max(id) FROM unlogged")


async def test_a_line_that_waits_stands_before_those_of_later_commits(bench: _Bench) -> None:
    bench.audit.step(GatewayStarted(detail="1.0"))
    await asyncio.gather(*(bench.inbox.put(_message(name), _EVENT, decision=_TO_ERP) for name in "ab"))
    events = [json.loads(line)["event"] for line in bench.audit.path.read_text().splitlines()]
    assert events == ["gateway.started", "message.accepted", "message.accepted"]


async def test_a_message_whose_line_the_disk_refuses_is_not_acknowledged_and_has_its_line_later(tmp_path: Path) -> None:
    async with _serving(tmp_path) as bench:
        bench.audit.path.mkdir()
        for name in "ab":
            with pytest.raises(StoreError, match="audit log"):
                await bench.inbox.put(_message(name), _EVENT, decision=_TO_ERP)
        assert bench.audit.failing and bench.audit.written_to == 0
        settled = bench.store.settle(settlement(1, Delivered(200)), lines=lambda in_time: [b'{"event":"settled"}'])
        assert await settled, "the outcome of a delivery is committed all the same"
        bench.audit.path.rmdir()
        await until(lambda: bench.audit.complete)
        assert [json.loads(line)["event"] for line in bench.audit.path.read_text().splitlines()][2:] == ["settled"]
        assert bench.accepted() == bench.offered == ["a" * 32, "b" * 32]
        assert await bench.inbox.put(_message("c"), _EVENT, decision=_TO_ERP) == Accepted(3)
        assert bench.audit.written_to == one(bench.store.path, "SELECT max(id) FROM unlogged")


async def test_a_bug_in_the_line_of_one_message_does_not_stop_the_others(tmp_path: Path) -> None:
    async with _serving(tmp_path, _BuggyAudit) as bench:
        failing, passing = (bench.inbox.put(_message(name), _EVENT, decision=_TO_ERP) for name in "ab")
        with pytest.raises(ZeroDivisionError):
            await failing
        assert await passing == Accepted(2) and bench.accepted() == ["b" * 32]
        assert bench.offered == ["a" * 32, "b" * 32], "what is on disk is delivered"


_LATE = Decision(sinks=("archive",), routes=("all",), suppressed=("erp",))


async def test_a_suppressed_delivery_gets_its_audit_line_and_goes_to_no_lane(tmp_path: Path) -> None:
    async with _serving(tmp_path) as bench:
        bench.inbox.use(Rules(router=Router([]), policies={"erp": RetryPolicy(), "archive": RetryPolicy()}))
        await bench.inbox.put(_message("a"), _EVENT, decision=_LATE)
        accepted, suppressed = (json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines())
        assert (accepted["event"], accepted["sinks"]) == ("message.accepted", ["archive"])
        assert suppressed["event"] == "delivery.suppressed"
        assert (suppressed["sink"], suppressed["delivery_id"], suppressed["reason"]) == ("erp", f"{'a' * 32}-erp", "stale")
        assert bench.offered == ["a" * 32]


@pytest.mark.parametrize("kept", [1, 2, 3])
async def test_after_a_crash_the_missing_lines_of_suppressed_deliveries_are_written_once(kept: int, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with _serving(tmp_path) as bench:
        bench.inbox.use(Rules(router=Router([]), policies={"erp": RetryPolicy(), "archive": RetryPolicy()}))
        bench.audit.step(GatewayStarted(detail="1"))
        await bench.inbox.put(_message("a"), _EVENT, decision=_LATE)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:kept]))
    async with _serving(tmp_path) as bench:
        await catch_up(bench.store, bench.audit, file, unclean=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["gateway.started", "message.accepted", "delivery.suppressed"]
    assert lines[1]["sinks"] == ["archive"] and lines[2]["sink"] == "erp"


async def test_the_inbox_suppresses_late_events_by_its_rules(tmp_path: Path) -> None:
    routes = [Route("all", ("erp", "archive"))]
    async with _serving(tmp_path) as bench:
        bench.inbox.use(Rules(router=Router(routes), policies={}, suppressing=frozenset(("erp",))))
        assert bench.inbox.route(event_of({}), "legitmark", facts=Facts(stale=True)).suppressed == ("erp",)
        assert bench.inbox.route(event_of({}), "legitmark", facts=Facts()).suppressed == ()
        assert bench.inbox.route(event_of({}), "legitmark").sinks == ("erp", "archive")
