"""Logs for rare events, and metrics. Labels come from closed lists and from names in the configuration only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from gateway import __version__
from gateway.core.events import EVENT_TYPES

Log = structlog.typing.FilteringBoundLogger
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def set_up_logging(stream: TextIO = sys.stderr) -> Log:
    """JSON lines to stderr, or coloured ones where it is a terminal; returns the logger that is passed on.

    Tracebacks come without local variables: they would hold secrets. JSON is the only renderer that escapes line breaks,
    ESC and bidirectional marks, so nothing that a stranger sent can draw on a terminal or forge a line.
    """
    readable = stream.isatty()
    plain_traceback = structlog.dev.plain_traceback
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=True)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    log: Log = structlog.get_logger()
    return log


class Metrics:
    """All of `/metrics`, in a registry of its own. The methods are named by what happened."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # each would double the series
        self.registry = CollectorRegistry()
        self._messages = self._counter("messages", "Webhooks answered 200", "source", "event_type", "result")
        self._rejections = self._counter("rejections", "Requests refused", "source", "reason")
        self._unrouted = self._counter("unrouted", "Messages that no route matched", "source")
        self._conflicts = self._counter("conflicts", "Duplicates with another body", "source")
        self._attempts = self._counter("attempts", "Requests made to sinks", "sink", "outcome", "reason")
        self._ended = self._counter("deliveries_ended", "Deliveries that left the queue", "sink", "state", "reason")
        self._ack = self._histogram("ack_seconds", "From the request to its answer", "source")
        self._delivery = self._histogram("delivery_seconds", "Of one attempt", "sink")
        self._arrival = self._histogram("arrival_to_delivery_seconds", "From arrival to delivered", "sink")
        self._commit = self._histogram("commit_seconds", "Of one commit, with its fsync")
        self._commit_size = Histogram(
            "legitmark_gateway_commit_jobs",
            "Writes in one commit",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=self.registry,
        )
        self._deliveries = Gauge(
            "legitmark_gateway_deliveries", "Deliveries in the store", ("sink", "state"), registry=self.registry
        )
        self._gates = Gauge(
            "legitmark_gateway_gate_closed",
            "1 while a lane is paused or its breaker open",
            ("sink", "gate"),
            registry=self.registry,
        )
        self._free = Gauge("legitmark_gateway_disk_free_bytes", "Free where the database lies", registry=self.registry)
        self._clock_suspect = Gauge(
            "legitmark_gateway_clock_suspect", "1: this host's clock seems wrong, webhooks are refused", registry=self.registry
        )
        self._violations = self._counter("invariant_violations", "What must never be, and was", "invariant")
        self._reload_good = Gauge(
            "legitmark_gateway_config_last_reload_successful", "0: the last reload was refused", registry=self.registry
        )
        self._reload_time = Gauge(
            "legitmark_gateway_config_last_reload_success_timestamp_seconds",
            "When the running configuration was loaded",
            registry=self.registry,
        )
        build = Gauge("legitmark_gateway_build_info", "Always 1", ("version",), registry=self.registry)
        build.labels(__version__).set(1)
        self._hot: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._children: dict[tuple[int, tuple[str, ...]], Any] = {}

    def message(self, source: str, event_type: str | None, result: str, seconds: float) -> None:
        bounded = event_type if event_type in EVENT_TYPES else "other"
        key = (source, bounded, result)
        children = self._hot.get(key)
        if children is None:
            children = self._hot[key] = (self._messages.labels(*key), self._ack.labels(source))
        children[0].inc()
        children[1].observe(seconds)

    def rejection(self, source: str, reason: str) -> None:
        self._child(self._rejections, source, reason).inc()

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

    def commit(self, jobs: int, seconds: float) -> None:
        self._commit.observe(seconds)
        self._commit_size.observe(jobs)

    def deliveries(self, sink: str, state: str, number: int) -> None:
        self._deliveries.labels(sink, state).set(number)

    def gate(self, sink: str, gate: str, *, closed: bool) -> None:
        self._gates.labels(sink, gate).set(closed)

    def free_bytes(self, free: int) -> None:
        self._free.set(free)

    def config_reloaded(self, now: float) -> None:
        self._reload_good.set(1)
        self._reload_time.set(now)

    def config_refused(self) -> None:
        self._reload_good.set(0)

    def forget_gates(self, sink: str) -> None:
        """The sink left the configuration: what its lane would do is no question any more."""
        for gate in ("paused", "breaker"):
            self._gates.remove(sink, gate)

    def clock_suspect(self, suspect: bool) -> None:
        self._clock_suspect.set(suspect)

    def violation(self, invariant: str) -> None:
        self._violations.labels(invariant).inc()

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"legitmark_gateway_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(f"legitmark_gateway_{name}", help_text, labels, buckets=_SECONDS, registry=self.registry)

    def _child(self, metric: Counter | Histogram, *labels: str) -> Any:
        # labels() takes a lock and builds a tuple of strings each time; the hot path asks for the same few children.
        key = (id(metric), labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


class RateLimited(logging.Handler):
    """aiohttp's server logger, made harmless: one short line a kind in `every` seconds, no traceback, no bytes of a peer."""

    def __init__(self, log: Log, monotonic: Callable[[], float], every: float = 10.0) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._monotonic = monotonic
        self._every = every
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        kind = error.__name__ if error else "server"
        now = self._monotonic()
        if now - self._last.get(kind, -self._every) < self._every:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._last[kind] = now
        self._log.warning("server.bad_request", kind=kind, more=self._held.pop(kind, 0))
