"""The fields of a line in the audit log, whatever its event: the names, what they mean, and their order."""

from __future__ import annotations

from collections.abc import Mapping

VERSION = 1
"""The `v` of every line."""

FIELDS: Mapping[str, str] = {
    "v": "The version of the format: 1.",
    "time": "When it happened (RFC 3339, UTC, milliseconds).",
    "event": "The name of the event.",
    "message_id": "The gateway's id of the message. A duplicate carries the id of the first message.",
    "sender_id": "The sender's id of the message (`svix-id`).",
    "source": "The source that the message came from.",
    "event_type": "The `event_type` of the webhook.",
    "milestone": "The meaning of the webhook, from the list of milestones.",
    "sr_uuid": "The service request that the webhook is about.",
    "reference_id": "The `reference_id` of the webhook.",
    "routes": "The routes that matched.",
    "sinks": "The sinks that the message goes to.",
    "body_sha256": "The SHA-256 of the body as it came, in lower-case hex.",
    "key": "The label of the secret that the signature fitted. A message that nobody verified has none.",
    "sender_timestamp": "The signed timestamp as its header had it: digits, Unix seconds by the sender's clock.",
    "sink": "The sink.",
    "watch": "The `[[watch]]` rule.",
    "kind": "The kind of a new value: `type`, `state`, `field` or `reason`.",
    "value": "The new value.",
    "path": "Where it stands in the body.",
    "delivery_id": "The id of the delivery, which is also its idempotency key.",
    "told_by": "The delivery whose message also tells this event.",
    "attempt": "The number of the attempt, from 1, counted over the whole life of the delivery.",
    "status": "The status code of the sink's answer (HTTP or SMTP).",
    "duration_ms": "How long the attempt took, in milliseconds.",
    "reason": "The reason, from a closed list.",
    "detail": "The same in words, for people. Its text may change.",
    "conflict": "`true` if the duplicate has another body than the first message.",
    "count": "How many requests this line sums up; in `sr.stalled`, service requests.",
    "sender_ids": "Ids that the refused requests claim, at most 20.",
    "more_sender_ids": "How many requests had another id than those.",
    "addresses": "Addresses that the refused requests came from, at most 20.",
    "more_addresses": "How many requests came from another address than those.",
    "next_attempt_at": "When the next attempt is due (RFC 3339, UTC).",
    "actor": "The user who acted, as the admin listener knows them, such as `admin`; or `SIGHUP`, `reload`, `gap` or "
    "`source_silent`.",
    "claimed": "The name that the request gave for who acts. Nothing checks it.",
    "number": "The place of the seal in the chain of seals, from 1.",
    "lines": "How many lines the seal covers: the last ones before it that are no seals.",
    "read_back": "How many of the first of these lines a start read back from the file, after an unclean end.",
    "root": "The Merkle root of these lines in hex (RFC 6962, section 2.1). A leaf is a line without its line break.",
    "before": "The `seal` of the seal before this one. The first seal has none.",
    "seal": 'The SHA-256 of this line up to `,"seal":`, in lower-case hex.',
}
"""Every field of a line, in the order of the file, with its meaning."""

MESSAGE_FIELDS = ("message_id", "sender_id", "source", "event_type", "milestone", "sr_uuid", "reference_id")
"""The fields that an event about a message begins with; those that the message does not have are left out."""
