"""The list of audit events is closed, its names are frozen, and a caller cannot misspell one of them.

The comments `type: ignore[...]` below are tests too: mypy fails on one that is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog

from gateway.cli.audit_line import STYLES
from gateway.core import audit_events
from gateway.core.audit_event_kinds import AuditEvent, GatewayEvent, MessageEvent
from gateway.core.audit_event_table import AUDIT_EVENTS
from gateway.core.audit_events import (
    AuditSealed,
    ConfigRefused,
    ConfigReloaded,
    DatabaseBackedUp,
    DeliveryDead,
    DeliveryDeferred,
    DeliveryDelivered,
    DeliveryDiscarded,
    DeliveryJoined,
    DeliveryReplayed,
    DeliveryRetrying,
    DeliverySuppressed,
    DriftFound,
    GatewayStarted,
    GatewayStopped,
    MessageAccepted,
    MessageDuplicate,
    MessageQuarantined,
    MessageRedecoded,
    MessageRejected,
    MessageReverified,
    MessageSampled,
    MessageUnrouted,
    ReconcileFinished,
    ReconcileStopped,
    SinkClosed,
    SinkDrilled,
    SinkFailing,
    SinkOpened,
    SinkPaused,
    SinkProbed,
    SinkResumed,
    SourceSilent,
    SrDiffers,
    SrNotFound,
    SrStalled,
)
from gateway.core.audit_fields import FIELDS, MESSAGE_FIELDS
from gateway.core.delivery_events import delivery_event, settled, settled_event
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.records import Attempt, Message, Owed
from gateway.core.retry import RetryPolicy, Transition, decide, expired, postponed
from gateway.observability.audit import AuditLog
from tests.fakes import FakeClock

MESSAGE = Message(
    id="m1",
    source="legitmark",
    sender_id="s1",
    received_at=0.0,
    content_type="application/json",
    body=b"{}",
    event_type="state_change",
    milestone="authentic",
    sr_uuid="u1",
    reference_id="r1",
)
IDS = (
    '"message_id":"m1","sender_id":"s1","source":"legitmark","event_type":"state_change","milestone":"authentic",'
    '"sr_uuid":"u1","reference_id":"r1"'
)
ATTEMPT = '"sink":"erp","delivery_id":"m1-erp","attempt":2,"status":500,"duration_ms":12,'
BY_ALICE = '"actor":"root","claimed":"alice"'
LINES: dict[AuditEvent, str] = {
    SinkFailing(sink="erp", reason="timeout", detail="failing for 1h"): (
        '"sink":"erp","reason":"timeout","detail":"failing for 1h"'
    ),
    SourceSilent(source="legitmark", detail="nothing has come"): '"source":"legitmark","detail":"nothing has come"',
    SrStalled(source="legitmark", sr_uuid="u1", reference_id="BAG-1", watch="QC", detail="QC/PENDING", count=1): (
        '"source":"legitmark","sr_uuid":"u1","reference_id":"BAG-1","watch":"QC","detail":"QC/PENDING","count":1'
    ),
    MessageRedecoded(detail="quarantined before", actor="admin"): f'{IDS},"detail":"quarantined before","actor":"admin"',
    SrStalled(detail="QC: 30", count=30): '"detail":"QC: 30","count":30',
    DriftFound(source="legitmark", kind="type", value="new", path="event_type", detail="it is new"): (
        '"source":"legitmark","kind":"type","value":"new","path":"event_type","detail":"it is new"'
    ),
    MessageAccepted(routes=("all",), sinks=("erp", "archive")): f'{IDS},"routes":["all"],"sinks":["erp","archive"]',
    MessageAccepted(sinks=(), body_sha256="44136f", key="env LEGITMARK", sender_timestamp="1772323200"): (
        f'{IDS},"sinks":[],"body_sha256":"44136f","key":"env LEGITMARK","sender_timestamp":"1772323200"'
    ),
    MessageDuplicate(reason="identity", conflict=True): f'{IDS},"reason":"identity","conflict":true',
    MessageQuarantined(body_sha256="44136f", detail="a list"): f'{IDS},"body_sha256":"44136f","detail":"a list"',
    MessageUnrouted(): IDS,
    DeliveryDelivered(sink="erp", delivery_id="m1-erp", attempt=1, status=200, duration_ms=3): (
        f'{IDS},"sink":"erp","delivery_id":"m1-erp","attempt":1,"status":200,"duration_ms":3'
    ),
    DeliveryRetrying(
        sink="erp",
        delivery_id="m1-erp",
        attempt=2,
        status=500,
        duration_ms=12,
        reason=Reason.HTTP_STATUS,
        detail="HTTP 500",
        next_attempt_at="2026-03-01T00:00:05.000Z",
    ): f'{IDS},{ATTEMPT}"reason":"http_status","detail":"HTTP 500","next_attempt_at":"2026-03-01T00:00:05.000Z"',
    DeliveryDeferred(
        sink="erp",
        delivery_id="m1-erp",
        attempt=2,
        status=500,
        duration_ms=12,
        reason="rate_limited",
        next_attempt_at="2026-03-01T00:00:05.000Z",
    ): f'{IDS},{ATTEMPT}"reason":"rate_limited","next_attempt_at":"2026-03-01T00:00:05.000Z"',
    DeliveryDead(sink="erp", delivery_id="m1-erp", reason="expired"): (
        f'{IDS},"sink":"erp","delivery_id":"m1-erp","reason":"expired"'
    ),
    DeliveryReplayed(sink="erp", delivery_id="m1-erp", actor="root", claimed="alice"): (
        f'{IDS},"sink":"erp","delivery_id":"m1-erp",{BY_ALICE}'
    ),
    DeliveryJoined(sink="desk", delivery_id="m2-desk", told_by="m1-desk", reason=Reason.JOINED): (
        f'{IDS},"sink":"desk","delivery_id":"m2-desk","told_by":"m1-desk","reason":"joined"'
    ),
    DeliverySuppressed(sink="erp", delivery_id="m1-erp", reason="stale"): (
        f'{IDS},"sink":"erp","delivery_id":"m1-erp","reason":"stale"'
    ),
    DeliveryDiscarded(sink="erp", delivery_id="m1-erp", actor="root"): (
        f'{IDS},"sink":"erp","delivery_id":"m1-erp","actor":"root"'
    ),
    MessageRejected(
        source="legitmark",
        reason="bad_signature",
        detail="no secret fits",
        count=3,
        sender_ids=("s1",),
        more_sender_ids=1,
        addresses=("192.0.2.1",),
        more_addresses=2,
    ): '"source":"legitmark","reason":"bad_signature","detail":"no secret fits","count":3,"sender_ids":["s1"],'
    '"more_sender_ids":1,"addresses":["192.0.2.1"],"more_addresses":2',
    MessageReverified(message_id="m1", sender_id="s1", source="legitmark", detail="accepted", actor="root", claimed="alice"): (
        f'"message_id":"m1","sender_id":"s1","source":"legitmark","detail":"accepted",{BY_ALICE}'
    ),
    SinkOpened(sink="erp", reason="connect", detail="refused"): '"sink":"erp","reason":"connect","detail":"refused"',
    SinkClosed(sink="erp"): '"sink":"erp"',
    SinkPaused(sink="erp", actor="root", claimed="alice"): f'"sink":"erp",{BY_ALICE}',
    SinkResumed(sink="erp", actor="root", claimed="alice"): f'"sink":"erp",{BY_ALICE}',
    DatabaseBackedUp(detail="/b.db: 2 messages", actor="root", claimed="alice"): f'"detail":"/b.db: 2 messages",{BY_ALICE}',
    SinkProbed(sink="erp", actor="root", claimed="alice"): f'"sink":"erp",{BY_ALICE}',
    MessageSampled(
        message_id="m1", sender_id="s1", source="legitmark", event_type="state_change", actor="root", claimed="alice"
    ): f'"message_id":"m1","sender_id":"s1","source":"legitmark","event_type":"state_change",{BY_ALICE}',
    SinkDrilled(
        sink="erp",
        delivery_id="m1-erp",
        status=500,
        duration_ms=12,
        reason="http_status",
        detail="500",
        actor="root",
        claimed="alice",
    ): f'"sink":"erp","delivery_id":"m1-erp","status":500,"duration_ms":12,"reason":"http_status","detail":"500",{BY_ALICE}',
    SrDiffers(sr_uuid="u1", reference_id="r1", detail="another state", actor="root", claimed="alice"): (
        f'"sr_uuid":"u1","reference_id":"r1","detail":"another state",{BY_ALICE}'
    ),
    SrNotFound(sr_uuid="u1", detail="no such request", actor="gap"): '"sr_uuid":"u1","detail":"no such request","actor":"gap"',
    ReconcileFinished(sr_uuid="u1", detail="1 of 1 asked", count=1, actor="root", claimed="alice"): (
        f'"sr_uuid":"u1","detail":"1 of 1 asked","count":1,{BY_ALICE}'
    ),
    ReconcileStopped(detail="the key", count=2, actor="gap"): '"detail":"the key","count":2,"actor":"gap"',
    ConfigReloaded(detail="nothing changed", actor="root", claimed="alice"): f'"detail":"nothing changed",{BY_ALICE}',
    ConfigRefused(detail="a bad key", actor="SIGHUP"): '"detail":"a bad key","actor":"SIGHUP"',
    GatewayStarted(detail="1.0"): '"detail":"1.0"',
    GatewayStopped(): "",
    AuditSealed(number=2, lines=3, read_back=1, root="6e340b", before="fac542", seal="aeb6bc"): (
        '"number":2,"lines":3,"read_back":1,"root":"6e340b","before":"fac542","seal":"aeb6bc"'
    ),
}
"""One event of each kind, and its line after `event`: the order of the keys belongs to the format."""


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[AuditLog]:
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    audit = AuditLog(tmp_path / "audit.jsonl", FakeClock(1772323200.0), log)
    yield audit
    audit.close()


@pytest.mark.parametrize("event", LINES, ids=lambda event: event.name)
async def test_the_line_of_each_event_is_the_same_to_the_byte(audit: AuditLog, event: AuditEvent) -> None:
    if isinstance(event, MessageEvent):
        audit.step(event, MESSAGE)
    else:
        assert isinstance(event, GatewayEvent)
        audit.step(event)
    assert await audit.write()
    rest = f",{LINES[event]}" if LINES[event] else ""
    assert audit.path.read_text() == f'{{"v":1,"time":"2026-03-01T00:00:00.000Z","event":"{event.name}"{rest}}}\n'


async def test_a_value_that_json_cannot_hold_is_replaced(audit: AuditLog) -> None:
    audit.step(MessageQuarantined(detail="half \ud83d of a pair"), msgspec.structs.replace(MESSAGE, reference_id="\ud83d"))
    audit.step(MessageRejected(reason="bad_signature", detail="", sender_ids=["\ud83d"], count=2**70))
    assert await audit.write()
    first, second = [json.loads(line) for line in audit.path.read_bytes().splitlines()]
    assert (first["detail"], first["reference_id"], first["sender_id"]) == ("half ? of a pair", "?", "s1")
    assert (second["sender_ids"], second["count"], list(second)[:3]) == (["?"], str(2**70), ["v", "time", "event"])


def test_the_line_of_every_event_is_tested_above() -> None:
    assert {type(event).name for event in LINES} == set(AUDIT_EVENTS), "add the line of the event to LINES"


def test_the_names_are_frozen() -> None:
    families: dict[str, tuple[str, ...]] = {
        "message": ("accepted", "duplicate", "quarantined", "rejected", "unrouted", "reverified"),
        "delivery": ("delivered", "retrying", "deferred", "dead", "replayed", "discarded"),
        "sink": ("opened", "closed", "paused", "resumed", "drilled"),
        "sr": ("differs", "not_found"),
        "reconcile": ("finished", "stopped"),
        "config": ("reloaded", "refused"),
        "gateway": ("started", "stopped"),
    }
    released = {f"{family}.{name}" for family, names in families.items() for name in names}
    assert released <= set(AUDIT_EVENTS), "the tools of partners know these names"


@pytest.mark.parametrize("name", AUDIT_EVENTS)
def test_each_event_declares_its_fields_in_the_order_of_the_file(name: str) -> None:
    event = AUDIT_EVENTS[name]
    fields = (*(MESSAGE_FIELDS if issubclass(event, MessageEvent) else ()), *event.__struct_fields__)
    order = list(FIELDS)
    assert set(fields) <= set(order), "add the field with its meaning to FIELDS"
    assert list(fields) == sorted(fields, key=order.index), "declare the fields in the order of FIELDS"
    assert len(set(fields)) == len(fields) and not {"v", "time", "event"} & set(fields)


def test_every_field_belongs_to_an_event() -> None:
    used = {field for event in AUDIT_EVENTS.values() for field in event.__struct_fields__}
    assert used | set(MESSAGE_FIELDS) | {"v", "time", "event"} == set(FIELDS), "FIELDS has each field of an event, and no other"


def test_every_event_has_a_description_of_its_own() -> None:
    assert all("__doc__" in vars(event) and vars(event)["__doc__"] for event in AUDIT_EVENTS.values())


def test_every_verdict_that_tail_colours_is_one_of_an_event() -> None:
    assert set(STYLES) <= {name.partition(".")[2] for name in AUDIT_EVENTS}


def test_a_misspelt_event_is_an_error() -> None:
    with pytest.raises(AttributeError):
        audit_events.MessageAcepted()  # type: ignore[attr-defined]


def test_a_misspelt_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="sinc"):
        SinkClosed(sink="erp", sinc="erp")  # type: ignore[call-arg]


def test_a_field_of_another_event_is_an_error() -> None:
    with pytest.raises(TypeError, match="reason"):
        SinkClosed(sink="erp", reason="connect")  # type: ignore[call-arg]


def test_a_required_field_that_is_missing_is_an_error() -> None:
    with pytest.raises(TypeError, match="delivery_id"):
        DeliveryDead(sink="erp", reason="expired")  # type: ignore[call-arg]


async def test_an_event_that_is_only_a_name_is_an_error(audit: AuditLog) -> None:
    with pytest.raises(KeyError):
        audit.step("gateway.started")  # type: ignore[call-overload]


async def test_a_message_event_needs_its_message_and_no_other_event_takes_one(audit: AuditLog) -> None:
    with pytest.raises(TypeError, match="message"):
        audit.step(MessageUnrouted())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="message"):
        audit.step(GatewayStopped(), MESSAGE)  # type: ignore[call-overload]


def _settlements() -> Iterator[tuple[Transition, Outcome | None]]:
    policy = RetryPolicy()
    outcomes: list[Outcome] = [
        Delivered(200),
        Retry(Reason.TIMEOUT, "too late"),
        Retry(Reason.SMTP_STATUS, "login refused", 535, sink_wide=True),
        Defer(Reason.RATE_LIMITED, 5.0, status=429),
        Reject(Reason.HTTP_STATUS, "gone", 410),
    ]
    for outcome in outcomes:
        for retries in (0, 4):
            yield decide(outcome, retries=retries, since=0.0, now=10.0, jitter=0.0, policy=policy), outcome
    yield postponed(retries=1, since=0.0, until=30.0, reason=Reason.CONNECT, policy=policy), Retry(Reason.CONNECT)
    yield expired(3), None


@pytest.mark.parametrize(("transition", "outcome"), list(_settlements()))
def test_a_settlement_has_one_event_whether_at_once_or_after_a_crash(transition: Transition, outcome: Outcome | None) -> None:
    owed = Owed(seq=1, sink="erp", message=MESSAGE, since=0.0)
    attempt = None if outcome is None else Attempt(number=2, started_at=9.0, duration_ms=12, outcome=outcome)
    told = settled(owed, transition, attempt, in_time=True)
    assert type(told) is settled_event(transition, outcome)
    assert delivery_event(told.name, **msgspec.to_builtins(told)) == told


def test_a_stored_delivery_event_that_lacks_what_it_needs_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="reason"):
        delivery_event("delivery.dead", sink="erp", delivery_id="m1-erp", reason=None)


async def test_a_commit_that_ends_after_the_log_is_closed_keeps_its_lines_and_opens_no_file(audit: AuditLog) -> None:
    audit.close()
    assert audit.write_now([b"a line"]) == [b"a line"]
    assert not audit.path.exists()
