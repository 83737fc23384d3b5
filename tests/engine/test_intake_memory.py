"""The memory of messages that wait for the disk: the decoded form of a large body is given up, and made again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from gateway.core.events import Event
from gateway.core.records import Accepted, Message, NewMessage
from gateway.core.retry import RetryPolicy
from gateway.core.routing import Route, Router
from gateway.ingest.accept import KEPT_DECODED, Inbox, Rules
from gateway.ingest.disk_space import DiskSpace
from gateway.ingest.own_events import OwnEvents
from gateway.ingest.receive import Intake, Source
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.audit import AuditLog
from gateway.observability.metrics import Metrics
from gateway.store.base import Accepting
from tests.fakes import FakeClock
from tests.support.webhooks import event

SOURCE = Source("open", [], 300.0, {})


class SlowStore:
    """A store whose disk hangs until `answer`."""

    def __init__(self) -> None:
        self.waiting: list[tuple[NewMessage, Callable[[Any], None]]] = []

    def submit(self, new: NewMessage, told: Callable[[Any], None], lines: object = None) -> None:
        self.waiting.append((new, told))

    def answer(self) -> None:
        for seq, (new, told) in enumerate(self.waiting, 1):
            assert new.decide is not None
            new.decide(None)
            told(Accepted(seq))


@pytest.mark.parametrize("size", [100, KEPT_DECODED + 1])
async def test_a_large_body_waits_without_its_decoded_form_and_is_still_looked_at_for_drift(
    size: int, tmp_path: Path, clock: FakeClock
) -> None:
    log, metrics, store = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]), Metrics(), SlowStore()
    audit = AuditLog(tmp_path / "audit.jsonl", clock, log)
    rules = Rules(router=Router([Route(name="all", sinks=("erp",))]), policies={"erp": RetryPolicy()})
    inbox = Inbox(
        store=cast("Accepting", store), audit=audit, rules=rules, offer=lambda *_: None, metrics=metrics, clock=clock, log=log
    )
    own_events = OwnEvents(inbox=inbox, clock=clock, log=log)
    looked_at: list[tuple[Event, Message]] = []
    intake = Intake(
        audit=audit,
        inbox=inbox,
        own_events=own_events,
        watch=SourceWatch(tell=own_events.source_refused, metrics=metrics, clock=clock, log=log),
        drift=lambda event, message: looked_at.append((event, message)),
        space=DiskSpace(lambda: 1, 0, metrics, log),
        keep=lambda request: None,
        metrics=metrics,
        clock=clock,
    )
    body = event("sr-1", mark=["the decoded form"], note="x" * size)
    intake.submit(SOURCE, intake.read(SOURCE, {}, body, "application/json"), lambda receipt: None, None)
    gc.collect()
    decoded = [one for one in gc.get_objects() if isinstance(one, dict) and one.get("mark") == ["the decoded form"]]
    assert len(decoded) == (1 if size < KEPT_DECODED else 0)
    store.answer()
    ((found, message),) = looked_at
    assert found.values["mark"] == ["the decoded form"] and message.body == body
    audit.close()
