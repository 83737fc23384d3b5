"""The facts that need a person's attention, and the time from which they do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from gateway.core.attention import (
    Flow,
    GatewayStatus,
    LastError,
    Refusal,
    RunningConfig,
    SinkStatus,
    SourceStatus,
    WatchStatus,
    attention,
)
from gateway.core.retry import LEGITMARK_SCHEDULE

NOW = datetime(2026, 3, 1, 3, 12, 4, tzinfo=UTC)
NONE = Flow(0.0, 0.0)
WELL = GatewayStatus(
    time=NOW,
    version="1.0.0",
    started_at=NOW - timedelta(days=3),
    ready=True,
    not_ready=(),
    config=RunningConfig(file="/etc/legitmark-gateway/gateway.toml", sha256="00" * 32, loaded_at=NOW - timedelta(days=3)),
    received=NONE,
    refused=NONE,
    delivered=NONE,
    sinks=(),
    quarantined=7,
    unrouted=7,
    disk_free_bytes=2000,
    disk_min_free_bytes=1000,
    database_bytes=1,
    wal_bytes=1,
    clock_suspect=False,
    certificate_expires_at=NOW + timedelta(days=21),
    invariant_violations=0,
)
LAST = LastError(time=NOW, reason="timeout", detail="no outcome within 30 s")


def told(**changes: Any) -> list[tuple[str, str | None, str, str]]:
    found = attention(structs.replace(WELL, **changes))
    return [(one.reason, one.sink, one.detail, one.run) for one in found]


def of_sink(**facts: Any) -> list[tuple[str, str | None, str, str]]:
    facts = {"state": "ok", "queued": 0, "dead": 0, "last_error": LAST, **facts}
    return told(sinks=(SinkStatus(sink="erp", **facts),))


def test_a_healthy_gateway_needs_no_attention() -> None:
    assert told() == []
    assert of_sink(queued=5, oldest_seconds=3599.0) == []
    assert of_sink(queued=None, dead=None) == []


@pytest.mark.parametrize(
    ("changes", "reason", "detail", "run"),
    [
        ({"ready": False, "not_ready": ("one", "two")}, "not_ready", "not ready: one; two", "journalctl"),
        ({"disk_free_bytes": 1999}, "disk", "make room", "df -h"),
        ({"certificate_expires_at": NOW + timedelta(days=20, hours=23)}, "certificate", "expires in 20 days", "gateway reload"),
        ({"certificate_expires_at": NOW}, "certificate", "has expired", "gateway reload"),
        (
            {"watches": (WatchStatus(watch="QC", stalled=1),)},
            "stalled",
            'watch "QC": 1 service request does not move on',
            "gateway srs --stalled",
        ),
        ({"watches": (WatchStatus(watch="QC", stalled=2),)}, "stalled", "2 service requests do not move on", "gateway srs"),
        (
            {"sources": (SourceStatus(source="legitmark", silent_since=NOW - timedelta(hours=3)),)},
            "silent",
            "nothing has come since",
            "gateway send authentic",
        ),
        ({"invariant_violations": 1}, "invariant", "report it", "journalctl"),
        ({"ledger_unjudged": 1}, "unjudged", "1 message was not judged", "journalctl"),
    ],
    ids=str,
)
def test_the_gateway_s_own_troubles(changes: dict[str, Any], reason: str, detail: str, run: str) -> None:
    ((found, sink, said, command),) = told(**changes)
    assert (found, sink) == (reason, None) and detail in said and run in command


def test_a_refused_reload_names_who_asked_and_a_command_for_any_path() -> None:
    refused = Refusal(time=NOW, actor="suzuki", detail="line 3")
    config = structs.replace(WELL.config, file="/srv/my rules/gateway.toml", refused=refused)
    ((reason, _, said, command),) = told(config=config)
    assert (reason, command) == ("reload", "gateway check '/srv/my rules/gateway.toml'")
    assert "suzuki" in said and "line 3" in said


@pytest.mark.parametrize(
    ("facts", "reason", "detail", "run"),
    [
        ({"dead": 1}, "dead", "1 delivery is dead", "gateway deliveries --state dead --sink erp"),
        ({"dead": 2}, "dead", "2 deliveries are dead", "gateway deliveries --state dead --sink erp"),
        ({"state": "breaker_open", "queued": 4}, "breaker", "4 waiting: no outcome within 30 s", "gateway drill erp"),
        ({"state": "held", "queued": 4}, "held", "not in the configuration", "gateway discard --state queued --sink erp"),
        (
            {"queued": 4, "oldest_seconds": 3600.0},
            "late",
            "late, 4 waiting: no outcome within",
            "gateway deliveries --state queued --sink erp",
        ),
        (
            {"state": "rate_limited", "queued": 1, "oldest_seconds": 9e9, "last_error": None},
            "late",
            "no error is known",
            "gateway",
        ),
    ],
    ids=str,
)
def test_a_sink_s_troubles_each_with_its_command(facts: dict[str, Any], reason: str, detail: str, run: str) -> None:
    ((found, sink, said, command),) = of_sink(**facts)
    assert (found, sink) == (reason, "erp") and detail in said and run in command


@pytest.mark.parametrize(("minutes", "queued", "needed"), [(59, 4, False), (60, 4, True), (60, 0, False)])
def test_a_pause_needs_attention_only_once_it_seems_forgotten(minutes: int, queued: int, needed: bool) -> None:
    facts = {"state": "paused", "paused_at": NOW - timedelta(minutes=minutes), "paused_by": "suzuki", "oldest_seconds": 9e9}
    found = of_sink(queued=queued, **facts)
    assert bool(found) is needed
    if found:
        assert found[0][0] == "paused" and "suzuki" in found[0][2] and found[0][3] == "gateway resume erp"


def test_a_removed_sink_without_waiting_deliveries_needs_no_attention() -> None:
    assert of_sink(state="held") == []


def test_the_outage_budget_is_the_sum_of_legitmark_s_own_schedule() -> None:
    assert WELL.outage_budget_seconds == sum(LEGITMARK_SCHEDULE) == 2 * 3600 + 35 * 60 + 5
