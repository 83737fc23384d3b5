"""The kinds of audit events: what their structs have in common. The events themselves are in `audit_events`."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class AuditEvent(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The base of all events. The docstring of each one is its description in the reference."""

    name: ClassVar[str]
    """The `event` of its lines."""
    failed: ClassVar[bool] = False
    """The event tells that something went wrong: `gateway tail --failed` shows it."""


class MessageEvent(AuditEvent, frozen=True, kw_only=True):
    """The base of the events about one message: their lines begin with `audit_fields.MESSAGE_FIELDS`."""


class GatewayEvent(AuditEvent, frozen=True, kw_only=True):
    """The base of the events about a request, a sink, the configuration or the process."""
