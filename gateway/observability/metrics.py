"""The metrics, and how they are written for Prometheus. Labels come from closed lists and from names in the configuration only.

A series that an alert counts exists from the start, at 0 (`expect`): `increase()` does not see the step from nothing to one.
Only `exposition` and `pieces` raise: a number that cannot be counted disturbs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, NamedTuple, TypeVar, get_args

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from gateway import __version__
from gateway.core.drift import KINDS as DRIFT_KINDS
from gateway.core.drift import DriftKind
from gateway.core.events import EVENT_TYPES
from gateway.core.lasting import LastingKind
from gateway.core.reconciliation import Result
from gateway.core.request_documents import LedgerMemory
from gateway.core.retry import DEAD_REASONS
from gateway.observability.exposition import Labelled, pieces_of, whole

PREFIX = "legitmark_gateway"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LONG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 259200, 604800)
"""Buckets from 10 ms, through the waits of a retry schedule, to a week, after which a delivery is given up."""
_EVENT_TYPES = (*sorted(EVENT_TYPES), "other")
_REFUSALS = (
    "forbidden",
    "method_not_allowed",
    "unsupported_encoding",
    "body_too_large",
    "timeout",
    "missing_signature",
    "bad_signature",
    "stale_timestamp",
    "malformed_body",
    "store_unavailable",
    "overloaded",
)
"""The reasons why a source refuses a request (docs/reference.md, "Receiving webhooks"); `not_found` belongs to no source."""
_INVARIANTS = ("overdue", "counters", "stuck")
_T = TypeVar("_T")
_M = TypeVar("_M", bound=Labelled)


class Totals(Struct):
    """Counts since the start, over all sources and sinks, for those who ask for a number and not for a metric."""

    received: int = 0
    """Webhooks that were answered 200."""
    refused: int = 0
    """Requests that were refused."""
    delivered: int = 0
    """Deliveries that a sink took."""
    violations: int = 0
    """Violated invariants."""


class Described(NamedTuple):
    """A metric as the reference lists it."""

    name: str
    kind: str
    """`counter`, `gauge` or `histogram`."""
    labels: tuple[str, ...]
    text: str


class _Series(NamedTuple):
    """The series of a metric with labels."""

    names: tuple[str, ...]
    children: dict[tuple[str, ...], Labelled]


def _harmless(metrics: type[_T]) -> type[_T]:
    """Keep the errors of the public methods from their callers, except those of a method that writes the exposition."""
    for name, method in list(vars(metrics).items()):
        if callable(method) and not name.startswith("_") and name not in ("exposition", "pieces", "described"):
            setattr(metrics, name, _quiet(method))
    return metrics


def _quiet(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def quiet(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return method(self, *args, **options)
        except Exception:
            self.failed += 1
            return []

    return quiet


@_harmless
class Metrics:
    """All metrics, in a registry of their own. Each method is named after the thing that happened."""

    def __init__(self) -> None:
        self.failed = 0
        """How many calls could not be counted."""
        self.totals = Totals()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # each would double the series
        self.registry = CollectorRegistry()
        self._shown: list[Any] = []
        self._series: dict[Any, _Series] = {}
        self._shown.append(ProcessCollector(namespace=PREFIX, registry=self.registry))  # empty if a sandbox hides /proc/stat
        self._messages = self._counter("messages", "Webhooks that were answered 200", "source", "event_type", "result")
        self._rejections = self._counter("rejections", "Requests that were refused", "source", "reason")
        self._unrouted = self._counter("unrouted", "Messages that no route matched", "source")
        self._conflicts = self._counter("conflicts", "Duplicates whose body differs from that of the first message", "source")
        self._attempts = self._counter("attempts", "Attempts at deliveries", "sink", "outcome", "reason")
        self._ended = self._counter("deliveries_ended", "Deliveries that left the queue", "sink", "state", "reason")
        self._ack = self._histogram("ack_seconds", "Time from the arrival of a request to its answer", "source")
        self._delivery = self._histogram("delivery_seconds", "Time that one attempt took", "sink")
        said = "Time from a message's arrival to its delivery"
        self._arrival = self._histogram("arrival_to_delivery_seconds", said, "sink", buckets=_LONG_SECONDS)
        self._commit = self._histogram("commit_seconds", "Time that one commit took, with its fsync")
        self._commit_size = self._histogram("commit_jobs", "Writes in one commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))
        self._deliveries = self._gauge("deliveries", "Deliveries in the store", "sink", "state")
        said = "Time since the oldest queued delivery was accepted or replayed, or 0"
        self._oldest = self._gauge("oldest_delivery_age_seconds", said, "sink")
        self._gates = self._gauge("gate_closed", "1 while the sink is paused, or its breaker is open", "sink", "gate")
        self._store_bytes = self._gauge("store_bytes", "Size of the database and of its write-ahead log", "file")
        self._store_free = self._gauge("store_free_bytes", "Free space inside the database")
        self._free = self._gauge("disk_free_bytes", "Free space on the disk of the database")
        self._least_free = self._gauge("disk_min_free_bytes", "store.min_free: with less free space, webhooks get a 503")
        self._memory = self._gauge("delivery_memory_bytes", "Memory that waiting and running deliveries take")
        self._memory_limit = self._gauge("delivery_memory_limit_bytes", "Memory that the deliveries of all sinks may take")
        self._ledger = (
            self._gauge("ledger_rows", "Service requests whose rows are in memory"),
            self._gauge("ledger_memory_bytes", "Memory that the rows of service requests take"),
            self._gauge("ledger_memory_limit_bytes", "Memory that the rows of service requests may take"),
            self._gauge("ledger_unflushed_rows", "Rows in memory that the database does not have, or has in an older form"),
            self._gauge("ledger_complete", "0 while the ledger reads in the messages of an earlier version, otherwise 1"),
        )
        self._unjudged = self._counter("ledger_unjudged", "Messages that a bug of the gateway kept from being judged")
        self._unjudged_before = 0
        self._ready = self._gauge("ready", "1 while the gateway takes webhooks, as /-/ready says")
        self._store_failing = self._gauge("store_failing", "1 if the last commit failed")
        self._audit_failing = self._gauge("audit_failing", "1 while the audit log cannot be written")
        self._seal_number = self._gauge("audit_seal_number", "The number of the last seal of the audit log; 0 before the first")
        self._unsealed = self._gauge("audit_unsealed_lines", "Lines of the audit log that no seal covers yet")
        self._clock_suspect = self._gauge("clock_suspect", "1 while the clock of this host seems to be wrong")
        self._refused_kept = self._gauge("refused_kept", "Refused requests that are kept for gateway reverify", "source")
        self._refused_bytes = self._gauge("refused_kept_bytes", "Size of the refused requests that are kept", "source")
        self._refused_dropped = self._counter("refused_dropped", "Refused requests that were not kept", "source", "reason")
        self._reverified = self._counter("reverified", "Kept requests that a later secret verified", "source", "result")
        self._stalls = self._counter("stalls", "Service requests that stayed in a state for longer than a rule allows", "watch")
        self._silent = self._gauge("source_silent", "1 while nothing has come from the source for silent_after", "source")
        self._failing = self._gauge("sink_failing", "1 while the sink has been failing for failing_after", "sink")
        self._drift = self._counter("drift", "Undocumented values that a source sent for the first time", "source", "kind")
        self._reconciled = self._counter("reconciled", "Service requests that Legitmark's API was asked for", "result")
        self._reconcile_left = self._gauge("reconcile_left", "Service requests that Legitmark's API is still to be asked for")
        self._reconcile_refused = self._gauge("reconcile_refused", "1 if Legitmark's API refused the key of [reconcile]")
        self._log_lost = self._counter("log_lines_dropped", "Log lines that could not be written to stderr")
        self._log_dropped = 0
        self._violations = self._counter("invariant_violations", "Violated invariants: each is a bug of the gateway", "invariant")
        self._reload_good = self._gauge("config_last_reload_successful", "1 if the last reload succeeded, 0 if it was refused")
        self._reload_time = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When the running configuration was loaded, in Unix seconds"
        )
        self._started = self._gauge("start_time_seconds", "When this process started, in Unix seconds")
        self._child(self._gauge("build_info", "Always 1", "version"), __version__).set(1)
        self._certificate: Gauge | None = None
        self._hot: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        for invariant in _INVARIANTS:
            self._child(self._violations, invariant)
        for outcome in get_args(Result):
            self._child(self._reconciled, outcome)
        self._child(self._rejections, "", "not_found")

    def expect(self, sources: Iterable[str], sinks: Iterable[str], watches: Iterable[str] = ()) -> None:
        """Show a 0 for everything that may happen to these names. The counts of other names stay: a counter never goes back."""
        for watch in watches:
            self._child(self._stalls, watch)
        for source in sources:
            for event_type in _EVENT_TYPES:
                for result in ("accepted", "duplicate"):
                    self._child(self._messages, source, event_type, result)
            self._child(self._messages, source, "other", "quarantined")
            for reason in _REFUSALS:
                self._child(self._rejections, source, reason)
            for kind in DRIFT_KINDS:
                self._child(self._drift, source, kind)
            for metric in (self._unrouted, self._conflicts, self._ack, self._silent):
                self._child(metric, source)
        for sink in sinks:
            self._child(self._attempts, sink, "delivered", "")
            self._child(self._ended, sink, "delivered", "")
            for why in DEAD_REASONS:
                self._child(self._ended, sink, "dead", why.value)
            for histogram in (self._delivery, self._arrival):
                self._child(histogram, sink)
            self._child(self._failing, sink)

    def message(self, source: str, event_type: str | None, result: str, seconds: float) -> None:
        bounded = event_type if event_type in EVENT_TYPES else "other"
        key = (source, bounded, result)
        children = self._hot.get(key)
        if children is None:
            children = self._hot[key] = (self._child(self._messages, *key), self._child(self._ack, source))
        children[0].inc()
        children[1].observe(seconds)
        self.totals.received += 1

    def rejection(self, source: str, reason: str) -> None:
        self._child(self._rejections, source, reason).inc()
        self.totals.refused += 1

    def unrouted(self, source: str) -> None:
        self._child(self._unrouted, source).inc()

    def conflict(self, source: str) -> None:
        self._child(self._conflicts, source).inc()

    def attempt(self, sink: str, outcome: str, reason: str, seconds: float) -> None:
        self._child(self._attempts, sink, outcome, reason).inc()
        self._child(self._delivery, sink).observe(seconds)

    def ended(self, sink: str, state: str, reason: str, seconds_since_arrival: float) -> None:
        self._child(self._ended, sink, state, reason).inc()
        if state == "delivered":
            self._child(self._arrival, sink).observe(max(seconds_since_arrival, 0.0))
            self.totals.delivered += 1

    def commit(self, jobs: int, seconds: float) -> None:
        self._commit.observe(seconds)
        self._commit_size.observe(jobs)

    def deliveries(self, sink: str, state: str, number: int) -> None:
        self._child(self._deliveries, sink, state).set(number)

    def oldest(self, sink: str, seconds: float) -> None:
        self._child(self._oldest, sink).set(seconds)

    def gate(self, sink: str, gate: str, *, closed: bool) -> None:
        self._child(self._gates, sink, gate).set(closed)

    def forget_gates(self, sink: str) -> None:
        """Drop the gates of a sink that left the configuration."""
        for gate in ("paused", "breaker"):
            self._gates.remove(sink, gate)
            self._series[self._gates].children.pop((sink, gate), None)

    def store_bytes(self, *, database: int, wal: int, free: int | None) -> None:
        """Set the sizes, in bytes; `free` is the free space inside the database, and None if the database cannot be asked now."""
        self._child(self._store_bytes, "database").set(database)
        self._child(self._store_bytes, "wal").set(wal)
        if free is not None:
            self._store_free.set(free)

    def free_bytes(self, free: int, least: int) -> None:
        self._free.set(free)
        self._least_free.set(least)

    def delivery_memory(self, used: int, limit: int) -> None:
        """Set the memory that deliveries take, and may take, in bytes."""
        self._memory.set(used)
        self._memory_limit.set(limit)

    def ledger(self, memory: LedgerMemory) -> None:
        """Set what the ledger says of itself; its count of messages that were not judged starts with the process."""
        shown = (memory.rows, memory.bytes, memory.limit, memory.unflushed, memory.complete)
        for gauge, value in zip(self._ledger, shown, strict=True):
            gauge.set(value)
        self._unjudged.inc(max(memory.unjudged - self._unjudged_before, 0))
        self._unjudged_before = memory.unjudged

    def ready(self, ready: bool, *, store_failing: bool, audit_failing: bool) -> None:
        self._ready.set(ready)
        self._store_failing.set(store_failing)
        self._audit_failing.set(audit_failing)

    def seals(self, number: int, unsealed: int) -> None:
        """Set the number of the last seal of the audit log, and how many lines no seal covers yet."""
        self._seal_number.set(number)
        self._unsealed.set(unsealed)

    def started(self, now: float) -> None:
        self._started.set(now)

    def certificate_ends(self, instant: float) -> None:
        """Set when the certificate expires, in Unix seconds. Without TLS there is no such metric: a 0 would look expired."""
        if self._certificate is None:
            said = "When the TLS certificate expires, in Unix seconds; only with TLS"
            self._certificate = self._gauge("tls_certificate_expiry_timestamp_seconds", said)
        self._certificate.set(instant)

    def config_reloaded(self, now: float) -> None:
        self._reload_good.set(1)
        self._reload_time.set(now)

    def config_refused(self) -> None:
        self._reload_good.set(0)

    def log_dropped(self, number: int) -> None:
        """Count lost log lines; `number` is how many were lost since the start."""
        self._log_lost.inc(max(number - self._log_dropped, 0))
        self._log_dropped = number

    def refused_kept(self, source: str, number: int, size: int) -> None:
        """Set how many requests of a source are kept, and their size in bytes."""
        self._child(self._refused_kept, source).set(number)
        self._child(self._refused_bytes, source).set(size)

    def refused_dropped(self, source: str, why: str) -> None:
        self._child(self._refused_dropped, source, why).inc()

    def reverified(self, source: str, result: str) -> None:
        self._child(self._reverified, source, result).inc()

    def stalled(self, watch: str, number: int) -> None:
        self._child(self._stalls, watch).inc(number)

    def lasting(self, kind: LastingKind, subject: str, *, told: bool) -> None:
        """Set whether a source is silent, or a sink fails."""
        self._child(self._silent if kind == "source_silent" else self._failing, subject).set(told)

    def forget_lasting(self, kind: LastingKind, subject: str) -> None:
        """Drop the gauge of a source or sink that left the configuration."""
        gauge = self._silent if kind == "source_silent" else self._failing
        if self._series[gauge].children.pop((subject,), None) is not None:
            gauge.remove(subject)

    def drift(self, source: str, kind: DriftKind) -> None:
        self._child(self._drift, source, kind).inc()

    def reconciled(self, result: Result) -> None:
        self._child(self._reconciled, result).inc()

    def reconcile_left(self, number: int) -> None:
        self._reconcile_left.set(number)

    def reconcile_refused(self, refused: bool) -> None:
        self._reconcile_refused.set(refused)

    def clock_suspect(self, suspect: bool) -> None:
        self._clock_suspect.set(suspect)

    def violation(self, invariant: str) -> None:
        self._child(self._violations, invariant).inc()
        self.totals.violations += 1

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return b"".join(self.pieces())

    def described(self) -> list[Described]:
        """Describe every metric of the gateway, without the process metrics of the Prometheus client."""
        found = []
        for metric in self._shown:
            (family,) = metric.describe() if isinstance(metric, Labelled) else (None,)
            if family is not None:
                name = f"{family.name}_total" if family.type == "counter" else family.name
                labels = self._series[metric].names if metric in self._series else ()
                found.append(Described(name, family.type, labels, family.documentation))
        return found

    def pieces(self) -> Iterator[bytes]:
        """Yield the exposition in pieces, each a few milliseconds of work."""
        for collector in list(self._shown):
            labelled = self._series.get(collector)
            yield from whole(collector) if labelled is None else pieces_of(collector, labelled.names, labelled.children)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return self._show(Counter(f"{PREFIX}_{name}", help_text, labels, registry=self.registry), labels)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return self._show(Gauge(f"{PREFIX}_{name}", help_text, labels, registry=self.registry), labels)

    def _histogram(self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return self._show(Histogram(f"{PREFIX}_{name}", help_text, labels, buckets=buckets, registry=self.registry), labels)

    def _show(self, metric: _M, labels: tuple[str, ...]) -> _M:
        self._shown.append(metric)
        if labels:
            self._series[metric] = _Series(labels, {})
        return metric

    def _child(self, metric: _M, *labels: str) -> _M:
        # labels() takes a lock and builds a tuple of strings each time; the hot path asks for the same few children.
        children = self._series[metric].children
        child = children.get(labels)
        if child is None:
            texts = tuple(str(label) for label in labels)
            child = children[texts] = metric.labels(*texts)
        return child  # type: ignore[return-value]
