"""What a sink may answer, and the closed list of reasons, which are also the labels of the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct


class Reason(StrEnum):
    """Why an attempt did not deliver, or a delivery ended. Closed: docs/reference.md, "Audit log"."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    RESET = "reset"
    PROTOCOL = "protocol"
    BLOCKED = "blocked"
    """The address is one that this sink may not dial."""
    HTTP_STATUS = "http_status"
    SMTP_STATUS = "smtp_status"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    """The other side is there, and says that it can't take anything now."""
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    EXPIRED = "expired"
    TEMPLATE = "template"
    BUG = "bug"
    """A bug of this gateway; the log has the traceback."""


class Delivered(Struct, frozen=True):
    status: int | None = None
    detail: str = ""


class Retry(Struct, frozen=True):
    """It did not work, and may work later; costs an attempt of the budget."""

    reason: Reason
    detail: str = ""
    status: int | None = None
    answer: str = ""
    """The beginning of what the other side said, for `gateway show` alone: it is a stranger's text."""
    sink_wide: bool = False
    """Every other message would fail alike (a login refused, a channel gone), so the breaker opens at once.

    `detail` then says what a person has to do: it stands in the status, the log, the audit line and the notice.
    See docs/reference.md, "Delivery".
    """


class Defer(Struct, frozen=True):
    """The other side named the time of the next attempt; costs nothing, and holds the whole lane."""

    reason: Reason
    after: float
    """Seconds from now, as asked for; the lane clamps it."""
    detail: str = ""
    status: int | None = None
    answer: str = ""


class Reject(Struct, frozen=True):
    """This message will never work: its delivery is dead at once. The next message may work, so the breaker learns nothing."""

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
