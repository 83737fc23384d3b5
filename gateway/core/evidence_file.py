"""The file of `gateway evidence export`: JSON lines, one record each, that prove themselves without the gateway.

    about      what the file is, what it proves, and what it does not
    rules      the rules that decided, once for each number
    message    a webhook with its raw body, the sender's signature, and where the rules sent it
    delivery   what became of it at one sink
    attempt    one try at a delivery
    line       a line of the audit log about one of the messages, with the proof that it is under a seal
    seal       a seal of the audit log, after the lines that it covers
    end        the number of records

Each record ends with `chain`: the SHA-256 of the chain of the record before and of the record's own bytes before `,"chain":`. So
a changed byte, and a record that was dropped, added or swapped, is named. Anybody can make a new chain, though: only the seals
are beyond a forger, once their head was sent elsewhere.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256

import msgspec
from msgspec import Struct

from gateway.core.documents import AttemptFacts, DeliveryFacts
from gateway.core.records import Message, delivery_id
from gateway.core.selection import MessageStatus
from gateway.core.values import rfc3339

FORMAT = 1
"""The `v` of the record `about`."""
LONGEST = 64 * 1024 * 1024
"""Bytes of a record that a check reads; the longest holds the largest body."""
MOST_MESSAGES = 1000
"""Messages in one file. Their ids stay in memory while the log is read."""
BEFORE_THIS_VERSION = "not kept: accepted before this version"
NOT_SIGNED = "not signed: the source is not verified, or the gateway made the message itself"

READS = (
    "One JSON object per line. `chain` is the SHA-256 of the chain of the line before and of this line's own bytes before"
    ' `,"chain":`. Check it offline: gateway evidence verify FILE [--secret REF] [--head SEAL]'
)
PROVES = (
    "A line under a seal stood in the gateway's audit log, byte for byte, when the seal was written (RFC 6962, section 2.1).",
    "A body whose SHA-256 is in such a line is the body that the gateway accepted then.",
    "If a later seal was sent to somebody who kept it, nothing under the seals up to that one was changed since it was sent.",
    "A signature that fits the secret was made by somebody who knows that secret.",
)
DOES_NOT_PROVE = (
    "It does not prove to a third party who sent a message: HMAC is symmetric, so who can check a signature can make one.",
    "It proves nothing against the owner of the host unless a seal was sent elsewhere: they can write a new log with new seals.",
    "It does not prove that no other message, and no other line about one, exists: gateway evidence audit checks the whole log.",
    "It does not prove the times: they are those of the host's clock.",
    "It does not prove a signature without --secret: the log has the timestamp and the name of the secret, not the signature.",
    "It does not prove what the log does not have: what was asked for, and when the file was made; the time of arrival, the"
    " content type, the rules and the present status of a message; the state, the reason and the end of a delivery; and the time,"
    " the reason, the detail and the answer of an attempt.",
)


class KeptSignature(Struct, frozen=True, tag_field="kept", tag="yes", forbid_unknown_fields=True):
    """The signature of the sender, as it came."""

    timestamp: str
    """Unix seconds by the sender's clock, as the header had them."""
    signature: str
    """The entry of the header that fitted, `v1,<base64>`; or the whole header, entries with blanks between them."""
    key: str
    """The label of the secret that fitted."""


class ByRules(Struct, frozen=True, tag_field="kept", tag="yes", forbid_unknown_fields=True):
    """The rules that decided where a message goes."""

    number: int


class NotKept(Struct, frozen=True, tag_field="kept", tag="no", forbid_unknown_fields=True):
    """A fact that the gateway does not have, and why."""

    why: str


class RulesSnapshot(Struct, frozen=True):
    """The rules of one number, as they were."""

    number: int
    snapshot: str


class EvidenceMessage(Struct, frozen=True, kw_only=True):
    """Everything that the store has to give about one message."""

    message: Message
    status: MessageStatus
    deliveries: tuple[DeliveryFacts, ...]
    signed: KeptSignature | NotKept
    rules: RulesSnapshot | NotKept


class _Record(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="record", forbid_unknown_fields=True):
    """One line of the file, without its chain."""


class AboutRecord(_Record, frozen=True, kw_only=True, tag="about"):
    v: int
    asked: str
    """The id that somebody asked about."""
    made_at: str
    version: str
    reads: str
    proves: tuple[str, ...]
    does_not_prove: tuple[str, ...]


class RulesRecord(_Record, frozen=True, kw_only=True, tag="rules"):
    number: int
    snapshot: str


class MessageRecord(_Record, frozen=True, kw_only=True, tag="message"):
    message_id: str
    received_at: str
    source: str
    status: MessageStatus
    sender_id: str | None = None
    event_type: str | None = None
    milestone: str | None = None
    sr_uuid: str | None = None
    reference_id: str | None = None
    content_type: str | None = None
    body: str | None = None
    """The body, if it is UTF-8; its bytes are the UTF-8 of this text."""
    body_base64: str | None = None
    """The body, if it is not UTF-8."""
    signed: KeptSignature | NotKept
    rules: ByRules | NotKept

    def raw_body(self) -> bytes:
        """Return the body as it came. Raises ValueError if the record has none, or two."""
        if (self.body is None) is (self.body_base64 is None):
            raise ValueError("a message has either `body` or `body_base64`")
        return self.body.encode() if self.body is not None else base64.b64decode(self.body_base64 or "", validate=True)


class DeliveryRecord(_Record, frozen=True, kw_only=True, tag="delivery"):
    delivery_id: str
    message_id: str
    sink: str
    state: str
    attempts: int
    reason: str | None = None
    ended_at: str | None = None


class AttemptRecord(_Record, frozen=True, kw_only=True, tag="attempt"):
    delivery_id: str
    attempt: int
    time: str
    duration_ms: int
    outcome: str
    reason: str | None = None
    status: int | None = None
    detail: str = ""
    answer: str = ""


class LineRecord(_Record, frozen=True, kw_only=True, tag="line"):
    line: str
    seal: int | None = None
    """The number of the seal that covers it; None if none does yet."""
    index: int | None = None
    """Its place among the lines that the seal covers, from 0."""
    path: tuple[str, ...] = ()
    """The siblings on the way to the root (RFC 6962, section 2.1.1), in hex."""


class SealRecord(_Record, frozen=True, kw_only=True, tag="seal"):
    line: str


class EndRecord(_Record, frozen=True, kw_only=True, tag="end"):
    records: int
    """The number of records before this one."""


Record = AboutRecord | RulesRecord | MessageRecord | DeliveryRecord | AttemptRecord | LineRecord | SealRecord | EndRecord

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
_ENDING = re.compile(rb'(.*),"chain":"([0-9a-f]{64})"\}', re.DOTALL)


class RecordWriter:
    """Encodes records, each chained to the one before."""

    def __init__(self) -> None:
        self.records = 0
        self._chain = ""

    def encoded(self, record: Record) -> bytes:
        """Return the line of the next record, with its line break."""
        body = _encode(record)[:-1]
        self._chain = chain_of(self._chain, body)
        self.records += 1
        return body + b',"chain":"%b"}\n' % self._chain.encode()

    def end(self) -> bytes:
        """Return the last line."""
        return self.encoded(EndRecord(records=self.records))


class ReadRecord(Struct, frozen=True):
    """A line of the file, read."""

    record: Record
    chain: str
    """The chain that the line names."""
    body: bytes
    """The bytes that the chain covers."""


def read_record(line: bytes) -> ReadRecord:
    """Read a line without its line break. Raises ValueError, with what is wrong, if it is no record."""
    found = _ENDING.fullmatch(line)
    if found is None:
        raise ValueError("this line does not end with its chain")
    try:
        record = _decode(found[1] + b"}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this line is no record: {error}") from None
    return ReadRecord(record, found[2].decode(), found[1])


def chain_of(before: str, body: bytes) -> str:
    """Return the chain of a record: SHA-256 of the chain before it, and of its own bytes, in hex."""
    return sha256(before.encode() + body).hexdigest()


def about(asked: str, *, now: float, version: str) -> AboutRecord:
    """Return the first record. `now` is Unix seconds, UTC."""
    return AboutRecord(
        v=FORMAT,
        asked=asked,
        made_at=rfc3339(now),
        version=version,
        reads=READS,
        proves=PROVES,
        does_not_prove=DOES_NOT_PROVE,
    )


def message_record(evidence: EvidenceMessage) -> MessageRecord:
    """Return the record of a message."""
    message = evidence.message
    try:
        body, encoded = message.body.decode(), None
    except UnicodeDecodeError:
        body, encoded = None, base64.b64encode(message.body).decode()
    return MessageRecord(
        message_id=message.id,
        received_at=rfc3339(message.received_at),
        source=message.source,
        status=evidence.status,
        sender_id=message.sender_id,
        event_type=message.event_type,
        milestone=message.milestone,
        sr_uuid=message.sr_uuid,
        reference_id=message.reference_id,
        content_type=message.content_type,
        body=body,
        body_base64=encoded,
        signed=evidence.signed,
        rules=ByRules(evidence.rules.number) if isinstance(evidence.rules, RulesSnapshot) else evidence.rules,
    )


def rules_record(evidence: EvidenceMessage) -> RulesRecord | None:
    """Return the record of the rules that decided about a message; None if they are not kept."""
    rules = evidence.rules
    return RulesRecord(number=rules.number, snapshot=rules.snapshot) if isinstance(rules, RulesSnapshot) else None


def delivery_record(message_id: str, facts: DeliveryFacts) -> DeliveryRecord:
    """Return the record of a delivery."""
    return DeliveryRecord(
        delivery_id=delivery_id(message_id, facts.sink),
        message_id=message_id,
        sink=facts.sink,
        state=facts.state,
        attempts=facts.attempts,
        reason=facts.reason,
        ended_at=None if facts.ended_at is None else rfc3339(facts.ended_at),
    )


def attempt_record(delivery: str, facts: AttemptFacts) -> AttemptRecord:
    """Return the record of an attempt at the delivery of that id."""
    return AttemptRecord(
        delivery_id=delivery,
        attempt=facts.number,
        time=rfc3339(facts.started_at),
        duration_ms=facts.duration_ms,
        outcome=facts.outcome,
        reason=facts.reason,
        status=facts.status,
        detail=facts.detail,
        answer=facts.answer,
    )
