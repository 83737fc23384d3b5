"""The facts that a file of evidence names, compared with the lines of the log that a seal proves.

Every field of a record is either bound here to a line, or named in `evidence_file.DOES_NOT_PROVE`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.audit_events import (
    NEW_MESSAGE,
    DeliveryDead,
    DeliveryDeferred,
    DeliveryDelivered,
    DeliveryRetrying,
    MessageAccepted,
    MessageRedecoded,
)
from gateway.core.evidence_file import AttemptRecord, DeliveryRecord, KeptSignature, MessageRecord
from gateway.core.outcome import Reason
from gateway.core.records import delivery_id
from gateway.core.seals import Deviation

_OF_MESSAGE = ("sender_id", "source", "event_type", "milestone", "sr_uuid", "reference_id")
"""The fields that a message and the line of its arrival have in common."""
_OUTCOMES = {DeliveryDelivered.name: "delivered", DeliveryDeferred.name: "defer", DeliveryRetrying.name: "retry"}
"""The outcome of an attempt, by the line that tells of it. If the line says that the delivery is dead, its reason tells."""


class MessageVerdict(Struct, kw_only=True):
    """The result of a check for one message."""

    message_id: str
    received_at: str
    what: str
    """Its milestone or its event type."""
    seal: int | None = None
    """The number of the seal that proves its body; None while nothing does."""
    anchored: bool = False
    """That seal is not later than the head that the caller gave."""
    signature: str = ""
    """The result of checking its signature, in words."""
    lines: int = 0
    """Proven lines about it."""
    why: str = "the file has no line of its arrival"
    """Why nothing proves the body, while `seal` is None."""


class HeldMessage(Struct, kw_only=True):
    """A message whose lines are to come."""

    verdict: MessageVerdict
    record: MessageRecord
    sha256: str
    place: str = ""
    told: dict[str, Any] | None = None
    """The proven line that says last what the message is, and its place."""


class EvidenceFacts:
    """The messages, deliveries and attempts of one file, and what the proven lines say about them."""

    def __init__(self, problems: list[Deviation], unproven: list[str]) -> None:
        """
        Args:
            problems: gets each fact that differs from the log.
            unproven: gets each fact that no line tells of.
        """
        self.messages: dict[str, HeldMessage] = {}
        self.deliveries: dict[str, DeliveryRecord] = {}
        self.attempts: dict[tuple[str, int], AttemptRecord] = {}
        self._problems = problems
        self._unproven = unproven
        self._told: set[tuple[str, int]] = set()
        """The attempts that a line of the log tells of."""
        self._told_deliveries: dict[str, str] = {}
        """The deliveries that a line of the log names, each with the place of the first one."""

    def prove(self, place: str, fields: dict[str, Any], seal: int, *, anchored: bool) -> None:
        """Compare the facts with a line that a seal proves.

        Args:
            fields: the line, with the texts `event` and `message_id`.
            anchored: the seal is not later than the head that the caller gave.
        """
        held = self.messages.get(fields["message_id"])
        if held is None:
            return
        held.verdict.lines += 1
        event = fields["event"]
        if event in NEW_MESSAGE or event == MessageRedecoded.name:
            held.place, held.told = place, fields
        if event in NEW_MESSAGE:
            self._prove_message(place, held, fields, seal, anchored=anchored)
        elif "delivery_id" in fields:
            self._told_deliveries.setdefault(str(fields["delivery_id"]), place)
            if "attempt" in fields:
                self._prove_attempt(place, fields)

    def finish(self) -> None:
        """Say which facts the log does not tell of, or tells otherwise, now that all lines are there."""
        for (delivery, number), attempt in self.attempts.items():
            if (delivery, number) not in self._told:
                self._unproven.append(f"attempt {number} of {delivery}, at {attempt.time}: no line of the log tells of it")
        for delivery, place in self._told_deliveries.items():
            if delivery not in self.deliveries:
                self._report(place, f"the delivery {delivery} was dropped: the log tells of it")
        here = Counter(delivery for delivery, _ in self.attempts)
        for delivery, record in self.deliveries.items():
            if here[delivery] < record.attempts:
                self._unproven.append(f"{delivery} had {record.attempts} attempts, and {here[delivery]} are in the file")
            held = self.messages.get(record.message_id)
            if held is not None and held.verdict.seal is not None and delivery not in self._told_deliveries:
                self._unproven.append(f"{delivery}: no line of the log tells of this delivery")
        for held in self.messages.values():
            self._compare(held)
            if held.verdict.seal is None:
                self._unproven.append(f"message {held.verdict.message_id}: {held.verdict.why}")

    def _prove_message(self, place: str, held: HeldMessage, fields: dict[str, Any], seal: int, *, anchored: bool) -> None:
        sinks = fields.get("sinks")
        for sink in sinks if isinstance(sinks, list) else ():
            self._told_deliveries.setdefault(delivery_id(held.record.message_id, str(sink)), place)
        if fields["event"] == MessageAccepted.name and held.record.status == "quarantined":
            self._report(place, f"the status of {held.record.message_id} was changed: the log has it as accepted")
        self._prove_signed(place, held.record, fields)
        if "body_sha256" not in fields:
            held.verdict.why = "its body was accepted before the log named the hash of a body"
        elif fields["body_sha256"] != held.sha256:
            self._report(place, f"the body of {held.record.message_id} was changed: it is not the one that was accepted")
            held.verdict.why = "its body is not the one that was accepted"
        else:
            held.verdict.seal, held.verdict.anchored = seal, anchored

    def _prove_signed(self, place: str, record: MessageRecord, fields: dict[str, Any]) -> None:
        """Compare what is said of the signature with the line of the arrival: it has the secret's label and the timestamp."""
        signed = record.signed
        said = (signed.key, signed.timestamp) if isinstance(signed, KeptSignature) else (None, None)
        logged = (fields.get("key"), fields.get("sender_timestamp"))
        if said == logged:
            return
        if logged == (None, None):
            self._report(place, f"a signature was added to {record.message_id}: the log says that nobody checked one")
        elif said == (None, None):
            self._report(place, f"the signature of {record.message_id} was dropped: the log says that it fitted {logged[0]!r}")
        else:
            text = f"the log has the key {logged[0]!r} and the timestamp {logged[1]!r}"
            self._report(place, f"the signature of {record.message_id} was changed: {text}")

    def _compare(self, held: HeldMessage) -> None:
        """Compare what a message is with the last line that says so: it may have been decoded once more."""
        record, told = msgspec.to_builtins(held.record), held.told
        for name in _OF_MESSAGE:
            if told is not None and record.get(name) != told.get(name):
                self._report(held.place, f"{name} of {held.record.message_id} was changed: the log has {told.get(name)!r}")

    def _prove_attempt(self, place: str, fields: dict[str, Any]) -> None:
        delivery, number = str(fields["delivery_id"]), fields["attempt"]
        attempt = self.attempts.get((delivery, number))
        if attempt is None:
            self._report(place, f"attempt {number} of {delivery} was dropped: the log tells of it")
            return
        self._told.add((delivery, number))
        outcome = _OUTCOMES.get(fields["event"], "")
        if fields["event"] == DeliveryDead.name:
            outcome = "reject" if fields.get("reason") == Reason.REJECTED else "retry"
        same = attempt.status == fields.get("status") and attempt.duration_ms == fields.get("duration_ms")
        if not same or attempt.outcome != outcome:
            self._report(place, f"attempt {number} of {delivery} was changed: outcome, status or duration differ from the log")

    def _report(self, place: str, text: str) -> None:
        self._problems.append(Deviation(place, text))
