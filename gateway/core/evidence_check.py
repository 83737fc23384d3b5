"""Checks a file of evidence, record by record, from the file alone. Keeps only what a later record has to fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, assert_never

from msgspec import Struct

from gateway.core.errors import RejectedWebhook
from gateway.core.evidence_facts import EvidenceFacts, HeldMessage, MessageVerdict
from gateway.core.evidence_file import (
    BEFORE_THIS_VERSION,
    FORMAT,
    NOT_SIGNED,
    AboutRecord,
    AttemptRecord,
    ByRules,
    DeliveryRecord,
    EndRecord,
    KeptSignature,
    LineRecord,
    MessageRecord,
    ReadRecord,
    RulesRecord,
    SealRecord,
    chain_of,
    read_record,
)
from gateway.core.merkle import leaf_hash, root_by
from gateway.core.records import delivery_id
from gateway.core.seals import Chain, Deviation, Seal, read_seal
from gateway.core.signature import Claim, Key, fit


class _Proof(Struct, frozen=True):
    """A line whose seal is to come."""

    place: str
    record: LineRecord
    fields: dict[str, Any]


class EvidenceCheck:
    """Checks the lines of one file in their order; `finish` tells what a whole file would have had."""

    def __init__(self, file: str, *, keys: Sequence[tuple[str, Key]] = (), head: str | None = None) -> None:
        """
        Args:
            file: the name for the places of problems.
            keys: secrets to check the senders' signatures with, each with a name to show.
            head: the `seal` that somebody kept; it has to be among the seals of the file.
        """
        self.problems: list[Deviation] = []
        """Records that were changed, dropped, added, swapped or cut off."""
        self.unproven: list[str] = []
        """Facts that the file names, and that no seal covers."""
        self.about: AboutRecord | None = None
        self.chain = Chain()
        self.head_found = False
        self.records = 0
        self._file = file
        self._keys = keys
        self._head = head
        self._before = ""
        self._ended = False
        self._goes_on = False
        """Something stands behind the end."""
        self._facts = EvidenceFacts(self.problems, self.unproven)
        self._rules: set[int] = set()
        self._proofs: list[_Proof] = []
        self._last_line = (0, -1)

    @property
    def messages(self) -> list[MessageVerdict]:
        """The verdict about each message, in the order of the file."""
        return [held.verdict for held in self._facts.messages.values()]

    @property
    def sound(self) -> bool:
        """Nothing is wrong, and everything that the file names is proven."""
        return not self.problems and not self.unproven

    def add(self, line: bytes) -> None:
        """Check the next line, with its line break."""
        self.records += 1
        if not line.endswith(b"\n"):
            self._wrong("the file was cut off in this line: its line break is missing")
        line = line.removesuffix(b"\n")
        if self._ended:
            if not self._goes_on:
                self._wrong("a record was added behind the end")
            self._goes_on = True
            return
        try:
            read = read_record(line)
        except ValueError as error:
            self._wrong(f"changed: {error}")
            self._before = ""
            return
        self._check_chain(read)
        record = read.record
        if isinstance(record, AboutRecord) is not (self.records == 1):
            self._wrong("the first record, and no other, says what the file is about")
        match record:
            case AboutRecord():
                self._add_about(record)
            case RulesRecord():
                if record.number in self._rules:
                    self._wrong(f"the rules {record.number} stand here twice")
                self._rules.add(record.number)
            case MessageRecord():
                self._add_message(record)
            case DeliveryRecord():
                self._add_delivery(record)
            case AttemptRecord():
                self._add_attempt(record)
            case LineRecord():
                self._add_line(record)
            case SealRecord():
                self._add_seal(record)
            case EndRecord():
                self._ended = True
                if record.records != self.records - 1:
                    self._wrong(f"the file had {record.records} records, and {self.records - 1} are here")
            case _:
                assert_never(record)

    def finish(self) -> None:
        """Say what is missing at the end of the file."""
        if not self._ended:
            self.records += 1
            self._wrong("the file was cut off: its last record is not its end")
        for proof in self._proofs:
            self._report(proof.place, f"seal {proof.record.seal}, which covers this line, is not in the file")
        self._facts.finish()
        if self._head is not None and not self.head_found:
            known = self._seals_here()
            self._report(self._file, f"the seal {self._head} is not in the file: cut off, made before it, or rewritten; {known}")

    def _seals_here(self) -> str:
        first, last = self.chain.first, self.chain.last
        return "it has no seal" if first is None or last is None else f"it has the seals {first.number} to {last.number}"

    def _check_chain(self, read: ReadRecord) -> None:
        before, self._before = self._before, read.chain
        if not before and self.records > 1:
            return  # the record before could not be read, which was reported
        if chain_of(before, read.body) != read.chain:
            self._wrong("this record was changed, or a record before it was dropped, added or swapped")

    def _add_about(self, record: AboutRecord) -> None:
        self.about = self.about or record
        if record.v != FORMAT:
            self._wrong(f"this version reads files of version {FORMAT}, and this is version {record.v}: use a newer gateway")

    def _add_message(self, record: MessageRecord) -> None:
        if record.message_id in self._facts.messages:
            self._wrong(f"the message {record.message_id} stands here twice")
            return
        try:
            body = record.raw_body()
        except ValueError as error:
            self._wrong(f"the body of {record.message_id} cannot be read: {error}")
            body = b""
        if isinstance(record.rules, ByRules) and record.rules.number not in self._rules:
            self._wrong(f"the rules {record.rules.number} of {record.message_id} were dropped")
        what = record.milestone if record.milestone not in (None, "unrecognized") else record.event_type
        verdict = MessageVerdict(message_id=record.message_id, received_at=record.received_at, what=what or record.status)
        verdict.signature = self._signature(record, body)
        self._facts.messages[record.message_id] = HeldMessage(verdict=verdict, record=record, sha256=sha256(body).hexdigest())

    def _signature(self, record: MessageRecord, body: bytes) -> str:
        signed = record.signed
        if not isinstance(signed, KeptSignature):
            if signed.why not in (BEFORE_THIS_VERSION, NOT_SIGNED):
                self._wrong(
                    f"the signature of {record.message_id} was changed: the gateway writes no such reason for its absence"
                )
                return "not in the file"
            return signed.why
        if not self._keys:
            return f"not checked (key {signed.key}): give --secret"
        try:
            claim = Claim((record.sender_id or "").encode(), signed.timestamp.encode(), signed.signature.encode())
            for name, key in self._keys:
                try:
                    fit(claim, body, [key], now=float(claim.timestamp))
                except RejectedWebhook:
                    continue
                return f"fits {name}"
        except ValueError:
            pass
        self._wrong(f"the signature of {record.message_id} fits no secret: body, id, timestamp or signature was changed")
        return "fits no secret"

    def _add_delivery(self, record: DeliveryRecord) -> None:
        if record.message_id not in self._facts.messages:
            self._wrong(f"the message of {record.delivery_id} was dropped, or stands behind it")
        if record.delivery_id in self._facts.deliveries:
            self._wrong(f"the delivery {record.delivery_id} stands here twice")
        if record.delivery_id != delivery_id(record.message_id, record.sink):
            self._wrong(f"the message or the sink of {record.delivery_id} was changed")
        self._facts.deliveries[record.delivery_id] = record

    def _add_attempt(self, record: AttemptRecord) -> None:
        key = (record.delivery_id, record.attempt)
        if record.delivery_id not in self._facts.deliveries:
            self._wrong(f"the delivery of attempt {record.attempt} of {record.delivery_id} was dropped, or stands behind it")
        if key in self._facts.attempts:
            self._wrong(f"attempt {record.attempt} of {record.delivery_id} stands here twice")
        self._facts.attempts[key] = record

    def _add_line(self, record: LineRecord) -> None:
        try:
            fields = json.loads(record.line)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            self._wrong("this line of the log was changed: it is no JSON object")
            return
        texts = (fields.get("event"), fields.get("message_id"))
        if not all(isinstance(text, str) for text in texts) or not isinstance(fields.get("attempt", 0), int):
            self._wrong("this line of the log was changed: the gateway writes no such line")
            return
        if fields["message_id"] not in self._facts.messages:
            self._wrong("this line is about a message that is not in the file: the message was dropped")
        if record.seal is None:
            self.unproven.append(f"{self._place}: {fields.get('event')} at {fields.get('time')}: no seal covers this line yet")
            return
        here = (record.seal, -1 if record.index is None else record.index)
        if here <= self._last_line:
            self._wrong("this line stands before the line in front of it in the log: lines were swapped or doubled")
        self._last_line = max(here, self._last_line)
        self._proofs.append(_Proof(self._place, record, fields))

    def _add_seal(self, record: SealRecord) -> None:
        seal = read_seal(record.line.encode())
        if seal is None:
            self._wrong("this seal was changed: its bytes do not have the hash that it names")
            self.chain.damaged()
            return
        if (wrong := self.chain.wrong(seal)) is not None:
            self._wrong(wrong)
        anchored = self._head is not None and not self.head_found
        self.head_found = self.head_found or seal.seal == self._head
        proofs, self._proofs = self._proofs, []
        for proof in proofs:
            if proof.record.seal == seal.number:
                self._prove(proof, seal, anchored=anchored)
            elif (proof.record.seal or 0) > seal.number:
                self._proofs.append(proof)
            else:
                self._report(proof.place, f"seal {proof.record.seal}, which covers this line, is not in the file")

    def _prove(self, proof: _Proof, seal: Seal, *, anchored: bool) -> None:
        record, fields = proof.record, proof.fields
        try:
            path = [bytes.fromhex(one) for one in record.path]
        except ValueError:
            path = []
        index = -1 if record.index is None else record.index
        root = root_by(path, leaf_hash(record.line.encode()), index, seal.lines)
        if root is None or root.hex() != seal.root:
            self._report(proof.place, f"this line is not what seal {seal.number} covers: line, place or proof was changed")
            return
        self._facts.prove(proof.place, fields, seal.number, anchored=anchored)

    @property
    def _place(self) -> str:
        return f"{self._file}:{self.records}"

    def _wrong(self, text: str) -> None:
        self._report(self._place, text)

    def _report(self, place: str, text: str) -> None:
        self.problems.append(Deviation(place, text))
