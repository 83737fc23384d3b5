"""The settings of one lane, and the parts of the gateway that all lanes share."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from gateway.core.retry import RetryPolicy
from gateway.delivery.memory import Memory
from gateway.host.clock import Clock
from gateway.ingest.own_events import OwnEvents
from gateway.observability.audit import AuditLog
from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics
from gateway.store.base import LaneStore

TROUBLE_SECONDS = 1.0
"""Seconds between two tries while the database or the audit log takes nothing."""


class LaneSettings(Struct, frozen=True):
    policy: RetryPolicy
    concurrency: int
    """Slots. A delivery holds one from its claim until its outcome is committed, so a crash repeats at most this many."""
    timeout: float
    """Seconds for one attempt."""
    by_sr: bool = False
    """`ordering = "sr"`: only the first open delivery of each service request may be claimed."""
    joins: bool = False
    """The sink can tell the two events of a rejection as one."""


@dataclass(frozen=True)
class LaneWorld:
    """The parts that all lanes share."""

    store: LaneStore
    audit: AuditLog
    own_events: OwnEvents
    metrics: Metrics
    clock: Clock
    """The clock by which deliveries are planned and grow old."""
    log: Log
    memory: Memory = field(default_factory=Memory)
