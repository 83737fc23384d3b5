"""The outcomes of an attempt, and the closed list of reasons, which are also labels of the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct


class Reason(StrEnum):
    """The reason why an attempt failed, or a delivery ended. The list is closed: docs/reference.md, "Audit log"."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    RESET = "reset"
    PROTOCOL = "protocol"
    BLOCKED = "blocked"
    """The sink may not dial this address."""
    HTTP_STATUS = "http_status"
    SMTP_STATUS = "smtp_status"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    """The other side answers, and takes nothing at the moment."""
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    EXPIRED = "expired"
    STALE = "stale"
    """The event was late, and the sink suppresses late events."""
    JOINED = "joined"
    """Another delivery tells the event, together with the other half of its rejection."""
    TEMPLATE = "template"
    BUG = "bug"
    """A bug of this gateway; the log has the traceback."""


class Delivered(Struct, frozen=True):
    status: int | None = None
    detail: str = ""


class Retry(Struct, frozen=True):
    """The attempt failed, and a later one may succeed. It costs an attempt of the retry budget."""

    reason: Reason
    detail: str = ""
    status: int | None = None
    answer: str = ""
    """The beginning of the other side's answer, only for `gateway show`: a stranger wrote it."""
    sink_wide: bool = False
    """Every other message would fail alike (a login refused, a channel gone), so the breaker opens at once.

    `detail` then says what a person has to do. The status, the log, the audit line and the own event show it.
    See docs/reference.md, "Delivery".
    """


class Defer(Struct, frozen=True):
    """The other side named the time of the next attempt. It costs no attempt, and holds the whole lane."""

    reason: Reason
    after: float
    """Seconds from now, as the other side asked; the lane clamps them."""
    detail: str = ""
    status: int | None = None
    answer: str = ""


class Reject(Struct, frozen=True):
    """The sink will never take this message: its delivery is dead at once. The breaker does not change, as others may work."""

    reason: Reason
    detail: str = ""
    status: int | None = None
    answer: str = ""


Outcome = Delivered | Retry | Defer | Reject
OutcomeName = Literal["delivered", "retry", "defer", "reject"]
OUTCOME_NAMES: Mapping[type[Outcome], OutcomeName] = {
    Delivered: "delivered",
    Retry: "retry",
    Defer: "defer",
    Reject: "reject",
}
"""The word for each outcome, in the store, the metrics and the admin API."""
