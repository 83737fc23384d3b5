"""Every audit event by its name: what reads a line looks its event up here."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core import audit_events
from gateway.core.audit_event_kinds import AuditEvent

AUDIT_EVENTS: Mapping[str, type[AuditEvent]] = {
    event.name: event
    for event in vars(audit_events).values()
    if isinstance(event, type) and issubclass(event, AuditEvent) and "name" in vars(event)
}
"""The events in the order in which `audit_events` declares them."""
