"""The things that need a person, in the words of `gateway status` in English, and in words of its own in Japanese."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from msgspec import structs

from gateway.core.attention import (
    Concern,
    Flow,
    GatewayStatus,
    LastDeath,
    LastError,
    Refusal,
    RunningConfig,
    SinkStatus,
    SourceStatus,
    WatchStatus,
    attention,
)
from gateway.web.pages.attention_words import attention_words
from gateway.web.pages.catalogue import catalogue

NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)
WELL = GatewayStatus(
    time=NOW,
    version="1.0",
    started_at=NOW,
    ready=True,
    not_ready=(),
    config=RunningConfig(file="gateway.toml", sha256="", loaded_at=NOW),
    received=Flow(0, 0),
    refused=Flow(0, 0),
    delivered=Flow(0, 0),
    sinks=(),
    quarantined=0,
    unrouted=0,
    disk_free_bytes=10,
    disk_min_free_bytes=1,
    database_bytes=0,
    wal_bytes=0,
    clock_suspect=False,
    certificate_expires_at=None,
    invariant_violations=0,
)
ERROR = LastError(time=NOW, reason="http_status", detail="HTTP 500 OrderNotFound", status=500)
DEATH = LastDeath(reason="expired", detail="HTTP 500", answer="OrderNotFound")
REFUSING = SourceStatus(
    source="legitmark", refusing=True, since=NOW, count=1200, reason="bad_signature", do="look at the secret", kept_refused=1
)
TROUBLED = structs.replace(
    WELL,
    ready=False,
    not_ready=("the disk is full", "stopping"),
    config=structs.replace(WELL.config, refused=Refusal(time=NOW, actor="ann", detail="gateway.toml:3: no such key")),
    disk_free_bytes=1,
    certificate_expires_at=NOW + timedelta(days=3, hours=1),
    sources=(REFUSING, SourceStatus(source="other", silent_since=NOW)),
    clock_suspect=True,
    reconcile_refused="401: the key was revoked",
    invariant_violations=1,
    ledger_unjudged=2,
    watches=(WatchStatus(watch="QC", stalled=1), WatchStatus(watch="authenticator", stalled=2)),
    sinks=(
        SinkStatus(sink="dead", state="ok", dead=1, queued=0, last_death=DEATH),
        SinkStatus(sink="unanswered", state="ok", dead=2, queued=0, last_death=structs.replace(DEATH, detail="", answer="")),
        SinkStatus(sink="held", state="held", dead=2, queued=3),
        SinkStatus(sink="breaker", state="breaker_open", dead=0, queued=3, last_error=ERROR),
        SinkStatus(sink="unexplained", state="breaker_open", dead=0, queued=3),
        SinkStatus(sink="paused", state="paused", dead=0, queued=3, paused_at=NOW - timedelta(days=1), paused_by="ann"),
        SinkStatus(sink="nobody", state="paused", dead=0, queued=3, paused_at=NOW - timedelta(days=1)),
        SinkStatus(sink="late", state="ok", dead=0, queued=3, oldest_seconds=5000.0),
    ),
)
EXPIRED = structs.replace(
    WELL, certificate_expires_at=NOW, ledger_unjudged=1, sources=(structs.replace(REFUSING, kept_refused=0),)
)


def test_english_is_word_for_word_what_the_command_says() -> None:
    for status in (TROUBLED, EXPIRED):
        found = attention(status)
        assert [attention_words(one, status, catalogue("en")) for one in found] == [one.detail for one in found]


def test_these_are_all_concerns_that_there_are() -> None:
    assert {one.reason for one in attention(TROUBLED)} == set(get_args(Concern))


def test_japanese_says_the_same_with_words_of_its_own_and_the_same_facts() -> None:
    for status in (TROUBLED, EXPIRED):
        for one in attention(status):
            said = attention_words(one, status, catalogue("ja"))
            assert any("\u3040" <= letter <= "\u30ff" for letter in said), said
            assert "{" not in said
    words = [attention_words(one, TROUBLED, catalogue("ja")) for one in attention(TROUBLED) if one.sink == "breaker"]
    assert words == ["遮断中、3 件が待機しています：HTTP 500 OrderNotFound"]


def test_a_dead_delivery_says_what_the_newest_one_died_of() -> None:
    dead = [one for one in attention(TROUBLED) if one.reason == "dead"]
    assert [one.detail for one in dead] == [
        "1 delivery is dead (the newest: HTTP 500 “OrderNotFound”): look why, then replay or discard",
        "2 deliveries are dead (the newest: expired): look why, then replay or discard",
        "2 deliveries are dead: look why, then replay or discard",
    ]
    words = [attention_words(one, TROUBLED, catalogue("ja")) for one in dead]
    assert ["HTTP 500 “OrderNotFound”" in words[0], "期限切れ" in words[1]] == [True, True]


def test_two_rules_that_watch_are_told_apart() -> None:
    stalled = [one for one in attention(TROUBLED) if one.reason == "stalled"]
    words = [attention_words(one, TROUBLED, catalogue("ja")) for one in stalled]
    assert ["QC" in words[0], "authenticator" in words[1]] == [True, True]
