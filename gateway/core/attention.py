"""The status of the gateway: the facts of one screen, and those of them that need a person. Pure; instants are in UTC.

    concern        begins when                           and means
    not_ready      /-/ready says why                     webhooks are answered 503, or will be
    reload         the last reload was refused           the gateway does not run what the file says
    disk           less than twice store.min_free        below store.min_free webhooks are answered 503
    certificate    21 days before it expires             clients will refuse it
    refusing       ten requests of a source in a row were refused, and none was good within five minutes
    silent         nothing has come from a source for its `silent_after`
    clock          the times of several authentic requests agree that the clock of this host is wrong
    reconcile      Legitmark's API refused the key       nothing is reconciled until the key is mended
    invariant      an invariant is violated              the gateway has a bug
    unjudged       the ledger could not judge a message  the gateway has a bug; the message is kept and was routed
    stalled        a service request stays in a state for longer than a `[[watch]]` rule allows, and people were told
    dead           a delivery is dead                    until a person replays or discards it
    breaker        a breaker is open                     the deliveries of the sink wait
    held           deliveries wait for a sink that is not in the configuration
    paused         for an hour, with deliveries waiting  they are still given up after `give_up_after`
    late           the oldest one waits for an hour      and no other concern says why

Unrouted and quarantined messages are only counted: they owe no delivery, and an operator may want them so.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from gateway.core.retry import OUTAGE_BUDGET

LATE = 3600.0
"""Seconds that a delivery may wait: Legitmark's schedule makes its fourth attempt after 35 minutes."""
PAUSED_LONG = 3600.0
DISK_FACTOR = 2
"""Times `store.min_free`: below that, there is still time to make room."""
EXPIRES_SOON = timedelta(days=21)
"""Time before a certificate expires: a renewal that works comes earlier."""
MOST_COUNTED = 10_000
"""Quarantined or unrouted messages up to which the store counts."""
_JOURNAL = "journalctl --unit legitmark-gateway"

Concern = Literal[
    "not_ready",
    "reload",
    "disk",
    "certificate",
    "refusing",
    "silent",
    "clock",
    "reconcile",
    "invariant",
    "unjudged",
    "stalled",
    "dead",
    "breaker",
    "held",
    "paused",
    "late",
]


SinkCondition = Literal["ok", "rate_limited", "breaker_open", "paused", "held"]
"""`rate_limited` means by its `rate` or by a `Retry-After`; `held` means that it is not in the configuration."""


class LastError(Struct, frozen=True, kw_only=True):
    """The last failed attempt at a sink."""

    time: datetime
    reason: str
    detail: str
    status: int | None = None


class LastDeath(Struct, frozen=True, kw_only=True):
    """Why the dead delivery of the newest message is dead. Others of its sink may have died of something else."""

    reason: str
    """Why it ended, as the closed list of reasons has it; "" if that is not known."""
    detail: str
    """The words of the gateway about the last attempt; "" if there was none."""
    answer: str = ""
    """The beginning of the last answer of the sink; empty for users who see no bodies, because it may quote one."""

    def said(self, why: str) -> str:
        """Return some words about why it died, followed by what the sink answered."""
        return f"{why} “{self.answer}”" if self.answer else why


class SinkStatus(Struct, frozen=True, kw_only=True):
    sink: str
    state: SinkCondition
    queued: int | None = None
    """How many deliveries are queued; None, as is `dead`, while the store cannot be asked."""
    dead: int | None = None
    last_death: LastDeath | None = None
    """Known for the first few sinks with dead deliveries."""
    oldest_seconds: float = 0.0
    """Seconds since the oldest queued delivery was accepted or replayed; 0 if none is queued."""
    paused_at: datetime | None = None
    paused_by: str | None = None
    next_probe_at: datetime | None = None
    held_until: datetime | None = None
    """The sink asked for a pause until then, by a `Retry-After`."""
    last_error: LastError | None = None
    """Later attempts may have succeeded."""


class Refusal(Struct, frozen=True, kw_only=True):
    """A reload that changed nothing."""

    time: datetime
    actor: str
    detail: str


class RunningConfig(Struct, frozen=True, kw_only=True):
    file: str
    sha256: str
    """The digest of the file and of all files that it includes or names as `template` and `ca`, one after the other."""
    loaded_at: datetime
    refused: Refusal | None = None
    """The last reload, if it was refused."""


class SourceStatus(Struct, frozen=True, kw_only=True):
    source: str
    refusing: bool = False
    """The source refuses everything. The next four fields say since when, how often, why, and what to do."""
    since: datetime | None = None
    count: int = 0
    reason: str | None = None
    do: str | None = None
    kept_refused: int = 0
    """Requests whose signature fits no secret, kept for `gateway reverify`."""
    kept_refused_bytes: int = 0
    silent_since: datetime | None = None
    """When the last message came, if longer ago than `silent_after`, without the time in which the gateway did not run."""


class WatchStatus(Struct, frozen=True, kw_only=True):
    watch: str
    """The name of a `[[watch]]` rule."""
    stalled: int
    """Service requests that people were told about and that are still in their state, counted up to MOST_COUNTED."""


class LedgerFilling(Struct, frozen=True, kw_only=True):
    """How far the ledger has got with the messages that an earlier version stored, by the order of their arrival."""

    read_to: int
    """The place of the last message that it has. Until it has the newest one, messages have no facts."""
    newest: int
    """The place of the newest message of all."""


class Flow(Struct, frozen=True):
    """How many per minute, on average over the last minute, and over the last hour or since the start."""

    minute: float
    hour: float


class Attention(Struct, frozen=True, kw_only=True):
    """One thing that needs a person, and the command to begin with."""

    reason: Concern
    detail: str
    run: str
    sink: str | None = None
    source: str | None = None
    watch: str | None = None
    """The name of a `[[watch]]` rule."""


class GatewayStatus(Struct, frozen=True, kw_only=True):
    time: datetime
    version: str
    started_at: datetime
    ready: bool
    not_ready: tuple[str, ...]
    """The reasons why the gateway is not ready."""
    config: RunningConfig
    received: Flow
    """Webhooks that were answered 200."""
    refused: Flow
    delivered: Flow
    sinks: tuple[SinkStatus, ...]
    quarantined: int | None
    """How many messages, counted up to MOST_COUNTED; None while the store cannot be asked."""
    unrouted: int | None
    """How many messages, counted in the same way."""
    disk_free_bytes: int
    disk_min_free_bytes: int
    database_bytes: int
    wal_bytes: int
    clock_suspect: bool
    certificate_expires_at: datetime | None
    invariant_violations: int
    """Violations since the start."""
    sources: tuple[SourceStatus, ...] = ()
    """The sources that refuse everything or are silent, and those with kept refused requests."""
    watches: tuple[WatchStatus, ...] = ()
    """The rules that have stalled service requests."""
    reconcile_refused: str | None = None
    """Why Legitmark's API refused the key of [reconcile], and what to do; None while it does not."""
    ledger_unjudged: int = 0
    """Messages that a bug kept from being judged, since the start."""
    ledger_filling: LedgerFilling | None = None
    """How far the ledger has got; None once it has the messages of earlier versions."""
    outage_budget_seconds: float = OUTAGE_BUDGET
    attention: tuple[Attention, ...] = ()


def attention(status: GatewayStatus) -> tuple[Attention, ...]:
    """Return what needs a person, the gateway's own troubles first."""
    return (*_of_the_gateway(status), *(found for sink in status.sinks for found in _of_a_sink(sink, status.time)))


def _of_the_gateway(status: GatewayStatus) -> Iterator[Attention]:
    if not status.ready:
        yield Attention(reason="not_ready", detail=f"not ready: {'; '.join(status.not_ready)}", run=f"{_JOURNAL} --lines 50")
    if (refused := status.config.refused) is not None:
        said = f"the last reload was refused ({refused.actor}): {refused.detail}"
        yield Attention(reason="reload", detail=said, run=f"gateway check {shlex.quote(status.config.file)}")
    if status.disk_free_bytes < DISK_FACTOR * status.disk_min_free_bytes:
        yield Attention(reason="disk", detail="the disk is nearly full: make room on the disk of the database", run="df -h")
    expires = status.certificate_expires_at
    if expires is not None and expires - status.time < EXPIRES_SOON:
        said = "has expired" if expires <= status.time else f"expires in {(expires - status.time).days} days"
        yield Attention(reason="certificate", detail=f"the TLS certificate {said}: renew it, then reload", run="gateway reload")
    for source in status.sources:
        if source.refusing:
            yield _refusing(source)
        if source.silent_since is not None:
            said = f"nothing has come since {source.silent_since:%Y-%m-%dT%H:%M:%SZ}: look at the sender's webhook page"
            yield Attention(reason="silent", source=source.source, detail=said, run="gateway send authentic")
    if status.clock_suspect:
        said = "the times of webhooks with right signatures differ from the clock of this host: compare it"
        yield Attention(reason="clock", detail=said, run="timedatectl")
    if status.reconcile_refused is not None:
        yield Attention(reason="reconcile", detail=f"reconciliation stopped: {status.reconcile_refused}", run="gateway reload")
    if status.invariant_violations:
        said = "an invariant was violated, which is a bug of the gateway: report it with these lines of its log"
        yield Attention(reason="invariant", detail=said, run=f"{_JOURNAL} --grep invariant")
    if status.ledger_unjudged:
        number = _number(status.ledger_unjudged, "message was", "messages were")
        said = f"{number} not judged, which is a bug of the gateway: they are kept and routed without facts; report these lines"
        yield Attention(reason="unjudged", detail=said, run=f"{_JOURNAL} --grep ledger")
    for watch in status.watches:
        number = _number(watch.stalled, "service request does", "service requests do")
        said = f'watch "{watch.watch}": {number} not move on'
        yield Attention(reason="stalled", watch=watch.watch, detail=said, run="gateway srs --stalled")


def _refusing(source: SourceStatus) -> Attention:
    row = f"{source.count:,} in a row since {source.since:%Y-%m-%dT%H:%M:%SZ}"
    said = f"every webhook is refused, {row} ({source.reason}): {source.do}"
    if source.kept_refused:
        said += f"; {_number(source.kept_refused, 'refused request is', 'refused requests are')} kept for gateway reverify"
    return Attention(reason="refusing", source=source.source, detail=said, run="gateway reload")


def _of_a_sink(sink: SinkStatus, now: datetime) -> Iterator[Attention]:
    name, waiting = sink.sink, f"{sink.queued} waiting"
    if sink.dead:
        number, last = _number(sink.dead, "delivery is", "deliveries are"), sink.last_death
        why = f" (the newest: {last.said(last.detail or last.reason)})" if last else ""
        said = f"{number} dead{why}: look why, then replay or discard"
        yield Attention(reason="dead", sink=name, detail=said, run=f"gateway deliveries --state dead --sink {name}")
    if sink.state == "held" and sink.queued:
        said = f"not in the configuration, {waiting}: put it back, or end them"
        yield Attention(reason="held", sink=name, detail=said, run=f"gateway discard --state queued --sink {name}")
    if sink.state == "breaker_open":
        said = f"breaker open, {waiting}: {_why(sink)}"
        yield Attention(reason="breaker", sink=name, detail=said, run=f"gateway drill {name}")
    elif sink.state == "paused":
        assert sink.paused_at is not None
        if sink.queued and (now - sink.paused_at).total_seconds() >= PAUSED_LONG:
            said = f"paused by {sink.paused_by or 'somebody'}, {waiting}"
            yield Attention(reason="paused", sink=name, detail=said, run=f"gateway resume {name}")
    elif sink.state != "held" and sink.oldest_seconds >= LATE:
        said = f"late, {waiting}: {_why(sink)}"
        yield Attention(reason="late", sink=name, detail=said, run=f"gateway deliveries --state queued --sink {name}")


def _why(sink: SinkStatus) -> str:
    return sink.last_error.detail or sink.last_error.reason if sink.last_error else "no error is known"


def _number(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
