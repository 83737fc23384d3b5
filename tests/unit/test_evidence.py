"""A file of evidence: every single change of it is found and named, and so is what a forger with a new chain changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.documents import AttemptFacts, DeliveryFacts
from gateway.core.evidence_check import EvidenceCheck
from gateway.core.evidence_file import (
    BEFORE_THIS_VERSION,
    NOT_SIGNED,
    AttemptRecord,
    DeliveryRecord,
    EvidenceMessage,
    KeptSignature,
    LineRecord,
    MessageRecord,
    NotKept,
    Record,
    RecordWriter,
    RulesRecord,
    RulesSnapshot,
    SealRecord,
    about,
    attempt_record,
    delivery_record,
    message_record,
    read_record,
)
from gateway.core.log_prover import LogProver
from gateway.core.merkle import leaf_hash, root_of
from gateway.core.records import Message
from gateway.core.seals import read_seal, with_seal
from gateway.core.secrets import Secret
from gateway.core.signature import Key, sign

ID, OTHER = "0" * 31 + "1", "0" * 31 + "2"
KEY = Key(Secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"))
WRONG = Key(Secret("whsec_" + "QUFB" * 8))
LABEL, FORGED = "env LEGITMARK", "v1," + "A" * 43 + "="
BODY = b'{"event_type":"state_change","note":"\\u00fc \xe8\x87\xaa"}'


def line_of(event: str, message_id: str, **fields: object) -> bytes:
    ids = {"message_id": message_id, "sender_id": "msg_1", "source": "legitmark", "milestone": "authentic", "sr_uuid": "u1"}
    return json.dumps(
        {"v": 1, "time": "2026-03-01T00:00:00.000Z", "event": event, **ids, **fields}, separators=(",", ":")
    ).encode()


def accepted(message_id: str, body: bytes, *, signed: bool = True) -> bytes:
    said = {"key": LABEL, "sender_timestamp": "1772323200"} if signed else {}
    return line_of("message.accepted", message_id, sinks=["erp"], body_sha256=sha256(body).hexdigest(), **said)


def log(*, signed: bool = True) -> list[bytes]:
    """A log with three seals; a message of ours is in the first two, and a stranger's in each."""
    parts = [
        [accepted(OTHER, b"{}"), accepted(ID, BODY, signed=signed), line_of("delivery.retrying", ID, **attempt(1, 500))],
        [line_of("message.duplicate", OTHER), line_of("delivery.delivered", ID, **attempt(2, 200)), accepted("3" * 32, b"[]")],
        [line_of("message.duplicate", OTHER)],
    ]
    lines: list[bytes] = []
    before = None
    for number, part in enumerate(parts, 1):
        root = root_of([leaf_hash(one) for one in part]).hex()
        fields = {"number": number, "lines": len(part), "root": root} | ({"before": before} if before else {})
        text = json.dumps({"v": 1, "time": "2026-03-01T00:01:00.000Z", "event": "audit.sealed", **fields}, separators=(",", ":"))
        sealed, before = with_seal(text.encode())
        lines += [*part, sealed]
    return lines


def attempt(number: int, status: int) -> dict[str, object]:
    return {"sink": "erp", "delivery_id": f"{ID}-erp", "attempt": number, "status": status, "duration_ms": 7}


LOG, NOT_SIGNED_LOG = log(), log(signed=False)
HEADS = [seal.seal for one in LOG if (seal := read_seal(one)) is not None]


def evidence(body: bytes = BODY, *, signed: bool = True, rules: bool = True) -> EvidenceMessage:
    headers = sign([KEY], "msg_1", 1772323200.0, BODY)
    message = Message(ID, "legitmark", "msg_1", 1772323200.0, "application/json", body, None, "authentic", "u1", None)
    return EvidenceMessage(
        message=message,
        status="accepted",
        deliveries=(DeliveryFacts("erp", "delivered", 2, None, None, 1772323260.0),),
        signed=KeptSignature(headers["webhook-timestamp"], headers["webhook-signature"], LABEL)
        if signed
        else NotKept(NOT_SIGNED),
        rules=RulesSnapshot(4, "[[routes]]") if rules else NotKept(BEFORE_THIS_VERSION),
    )


def records(facts: EvidenceMessage | None = None, lines: list[bytes] | None = None) -> list[Record]:
    facts = facts or evidence()
    made: list[Record] = [about("ITEM-1", now=1772323300.0, version="1.0")]
    if isinstance(facts.rules, RulesSnapshot):
        made.append(RulesRecord(number=facts.rules.number, snapshot=facts.rules.snapshot))
    made += [message_record(facts), delivery_record(ID, facts.deliveries[0])]
    for number, outcome, status in ((1, "retry", 500), (2, "delivered", 200)):
        facts_of = AttemptFacts(number, 1772323200.0 + number, 7, outcome, None, status, "", "")  # type: ignore[arg-type]
        made.append(attempt_record(f"{ID}-erp", facts_of))
    prover = LogProver([ID])
    made += prover.add(LOG if lines is None else lines)
    return [*made, *prover.rest()]


def file_of(made: list[Record]) -> list[bytes]:
    """The lines of a file with a good chain; a forger can make one, too."""
    writer = RecordWriter()
    return [*(writer.encoded(one) for one in made), writer.end()]


def checked(lines: list[bytes], head: str | None = None, keys: tuple[Key, ...] = (KEY,)) -> EvidenceCheck:
    check = EvidenceCheck("item.evidence", keys=[(f"key {number}", key) for number, key in enumerate(keys)], head=head)
    for line in lines:
        check.add(line)
    check.finish()
    return check


FILE = file_of(records())


def test_an_untouched_file_is_sound_and_says_what_proves_its_message() -> None:
    check = checked(FILE, head=HEADS[-1])
    assert (check.problems, check.unproven, check.sound) == ([], [], True)
    (verdict,) = check.messages
    assert (verdict.seal, verdict.anchored, verdict.lines, verdict.signature) == (1, True, 3, "fits key 0")


def test_a_file_has_only_the_lines_of_its_message_and_every_seal_from_the_first_of_them_on() -> None:
    made = records()
    lines = [one for one in made if isinstance(one, LineRecord)]
    assert [(one.seal, one.index, len(one.path)) for one in lines] == [(1, 1, 2), (1, 2, 1), (2, 1, 2)]
    assert sum(isinstance(one, SealRecord) for one in made) == 3


def test_each_line_of_a_file_is_json_that_names_its_record() -> None:
    said = [json.loads(line) for line in FILE]
    assert [one["record"] for one in said[:4]] == ["about", "rules", "message", "delivery"]
    assert said[2]["body"].encode() == BODY, "a body in UTF-8 is readable"
    assert said[-1]["record"] == "end" and said[-1]["records"] == len(FILE) - 1


@pytest.mark.parametrize("body", [b"", b"\xff\x00\xfe", b"\xef\xbb\xbf{}", b'"\xed\xa0\x80"', "自".encode()])
def test_every_body_comes_back_byte_for_byte(body: bytes) -> None:
    record = read_record(RecordWriter().encoded(message_record(evidence(body)))[:-1]).record
    assert isinstance(record, MessageRecord) and record.raw_body() == body


def test_a_fact_that_was_not_kept_is_said_and_proves_nothing() -> None:
    lines = file_of(records(evidence(signed=False, rules=False), NOT_SIGNED_LOG))
    check = checked(lines)
    assert check.sound and check.messages[0].signature == NOT_SIGNED
    said = json.loads(lines[1])
    assert said["signed"] == {"kept": "no", "why": NOT_SIGNED} and said["rules"] == {"kept": "no", "why": BEFORE_THIS_VERSION}


@pytest.mark.parametrize("why", [NOT_SIGNED, BEFORE_THIS_VERSION, "fits file:secret"])
@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_a_signature_that_was_taken_out_is_missed_because_the_log_names_its_secret(why: str, keys: tuple[Key, ...]) -> None:
    check = checked(file_of(_replaced(records(), MessageRecord, 0, signed=NotKept(why))), keys=keys)
    assert f"the signature of {ID} was dropped: the log says that it fitted 'env LEGITMARK'" in [
        one.text for one in check.problems
    ]
    assert "fits" not in check.messages[0].signature


def test_a_signature_that_was_added_to_a_message_that_had_none_is_named() -> None:
    (problem,) = checked(file_of(records(lines=NOT_SIGNED_LOG)), keys=()).problems
    assert problem.text == f"a signature was added to {ID}: the log says that nobody checked one"


def test_a_message_that_was_decoded_once_more_is_compared_with_the_line_that_says_so() -> None:
    message = msgspec.structs.replace(evidence().message, milestone="counterfeit", event_type="state_change")
    facts = msgspec.structs.replace(evidence(), message=message)
    said = {"event_type": "state_change", "milestone": "counterfeit", "detail": "understood", "actor": "ann"}
    redecoded = _sealed([*LOG[:3], *LOG[4:6], line_of("message.redecoded", ID, **said)], 1)
    assert checked(file_of(records(facts, redecoded))).sound
    assert not checked(file_of(records(lines=redecoded))).sound, "the file has what the first line said"


def test_a_delivery_that_a_person_added_is_told_by_its_own_line() -> None:
    lines = [*LOG[:3], *LOG[4:6]]
    desk = DeliveryRecord(delivery_id=f"{ID}-desk", message_id=ID, sink="desk", state="queued", attempts=0)
    replayed = line_of("delivery.replayed", ID, sink="desk", delivery_id=f"{ID}-desk", actor="ann")
    for told, expected in ((_sealed([*lines, replayed], 1), []), (_sealed(lines, 1), [f"{ID}-desk: no line of the log tells"])):
        made = records(lines=told)
        check = checked(file_of([*made[:4], desk, *made[4:]]))
        assert check.problems == [] and [one[: len(f"{ID}-desk: no line of the log tells")] for one in check.unproven] == expected
    dropped = checked(file_of(records(lines=_sealed([*lines, replayed], 1))))
    assert [one.text for one in dropped.problems] == [f"the delivery {ID}-desk was dropped: the log tells of it"]


@given(st.data())
def test_every_byte_that_is_changed_is_found_and_named_with_its_line(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FILE) - 1))
    line = FILE[at]
    byte = data.draw(st.integers(0, len(line) - 2))
    changed = line[:byte] + bytes([line[byte] ^ data.draw(st.integers(1, 255))]) + line[byte + 1 :]
    if b"\n" in changed[:-1]:
        return
    check = checked([*FILE[:at], changed, *FILE[at + 1 :]])
    assert any(one.place == f"item.evidence:{at + 1}" for one in check.problems), check.problems


def test_a_first_record_that_cannot_be_read_accuses_no_other_record() -> None:
    (problem,) = checked([b"}" + FILE[0], *FILE[1:]]).problems
    assert problem.place == "item.evidence:1" and problem.text.startswith("changed: this line is no record")


@given(st.data())
def test_every_record_that_is_dropped_doubled_or_swapped_is_found(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FILE) - 1))
    match data.draw(st.sampled_from(["drop", "double", "swap"])):
        case "drop":
            changed = [*FILE[:at], *FILE[at + 1 :]]
        case "double":
            changed = [*FILE[: at + 1], *FILE[at:]]
        case _:
            other = data.draw(st.integers(0, len(FILE) - 1).filter(lambda one: one != at))
            changed = list(FILE)
            changed[at], changed[other] = changed[other], changed[at]
    check = checked(changed)
    first = min(number for number, (one, two) in enumerate(zip([*changed, b""], [*FILE, b""], strict=False), 1) if one != two)
    assert any(one.place == f"item.evidence:{first}" for one in check.problems), check.problems


@given(st.integers(0, sum(map(len, FILE)) - 1))
def test_a_file_that_was_cut_off_anywhere_is_not_sound(length: int) -> None:
    assert any("cut off" in one.text for one in checked(b"".join(FILE)[:length].splitlines(keepends=True)).problems)


def test_what_is_added_behind_the_end_is_named() -> None:
    (problem,) = checked([*FILE, b"\n", b"\n"]).problems
    assert problem.text == "a record was added behind the end"


def _sealed(lines: list[bytes], number: int) -> list[bytes]:
    """Some lines, and the seal that covers them."""
    root = root_of([leaf_hash(one) for one in lines]).hex()
    fields = {
        "v": 1,
        "time": "2026-03-01T00:01:00.000Z",
        "event": "audit.sealed",
        "number": number,
        "lines": len(lines),
        "root": root,
    }
    return [*lines, with_seal(json.dumps(fields, separators=(",", ":")).encode())[0]]


def _replaced(made: list[Record], kind: type, number: int, **fields: Any) -> list[Record]:
    found = [at for at, one in enumerate(made) if isinstance(one, kind)][number]
    return [*made[:found], msgspec.structs.replace(made[found], **fields), *made[found + 1 :]]


def _without(made: list[Record], kind: type, number: int) -> list[Record]:
    found = [at for at, one in enumerate(made) if isinstance(one, kind)][number]
    return [*made[:found], *made[found + 1 :]]


def _relined(made: list[Record], number: int, old: str, new: str) -> list[Record]:
    lines = [one for one in made if isinstance(one, LineRecord)]
    return _replaced(made, LineRecord, number, line=lines[number].line.replace(old, new))


def _signed() -> KeptSignature:
    signed = evidence().signed
    assert isinstance(signed, KeptSignature)
    return signed


FORGERIES: dict[str, tuple[Callable[[list[Record]], list[Record]], str]] = {
    "the body": (lambda made: _replaced(made, MessageRecord, 0, body="{}"), "the body of"),
    "the milestone": (lambda made: _replaced(made, MessageRecord, 0, milestone="counterfeit"), "milestone of"),
    "the sender's id": (lambda made: _replaced(made, MessageRecord, 0, sender_id="msg_2"), "sender_id of"),
    "a line": (lambda made: _relined(made, 0, "authentic", "counterfeit"), "this line is not what seal 1 covers"),
    "the hash in a line": (lambda made: _relined(made, 0, sha256(BODY).hexdigest(), "0" * 64), "this line is not what seal 1"),
    "the place of a line": (lambda made: _replaced(made, LineRecord, 0, index=0), "this line is not what seal 1 covers"),
    "a proof": (lambda made: _replaced(made, LineRecord, 0, path=("00" * 32,)), "this line is not what seal 1 covers"),
    "the seal of a line": (lambda made: _replaced(made, LineRecord, 0, seal=2), "this line"),
    "an attempt": (lambda made: _replaced(made, type(made[4]), 0, status=200), "attempt 1 of"),
    "an outcome": (lambda made: _replaced(made, type(made[4]), 0, outcome="delivered"), "attempt 1 of"),
    "a dropped attempt": (lambda made: _without(made, type(made[4]), 1), "attempt 2 of"),
    "a dropped message": (lambda made: _without(made, MessageRecord, 0), "the message was dropped"),
    "a dropped delivery": (
        lambda made: [one for one in made if not isinstance(one, DeliveryRecord)],
        f"the delivery {ID}-erp was dropped",
    ),
    "the sink of a delivery": (
        lambda made: _replaced(made, DeliveryRecord, 0, sink="desk"),
        f"the message or the sink of {ID}-erp was changed",
    ),
    "the outcome of a failed attempt": (lambda made: _replaced(made, AttemptRecord, 0, outcome="reject"), "attempt 1 of"),
    "the status of an accepted message": (lambda made: _replaced(made, MessageRecord, 0, status="quarantined"), "the status of"),
    "the name of the secret": (
        lambda made: _replaced(made, MessageRecord, 0, signed=msgspec.structs.replace(_signed(), key="env OTHER")),
        "the log has the key 'env LEGITMARK'",
    ),
    "the signed timestamp": (
        lambda made: _replaced(made, MessageRecord, 0, signed=msgspec.structs.replace(_signed(), timestamp="1772323201")),
        "and the timestamp '1772323200'",
    ),
    "dropped rules": (lambda made: _without(made, RulesRecord, 0), "the rules 4 of"),
    "a dropped seal": (lambda made: _without(made, SealRecord, 1), "seal 2 dropped before this one"),
    "a dropped first seal": (lambda made: _without(made, SealRecord, 0), "seal 1, which covers this line, is not in the file"),
    "a seal's time": (
        lambda made: _replaced(made, SealRecord, 0, line=LOG[3].decode().replace("00:01:00", "00:02:00")),
        "this seal was changed",
    ),
    "the signature": (
        lambda made: _replaced(
            made, MessageRecord, 0, signed=KeptSignature("1772323201", "v1," + "A" * 43 + "=", "env LEGITMARK")
        ),
        "the signature of",
    ),
    "swapped lines": (
        lambda made: [one for at in (0, 1, 2, 3, 4, 5, 7, 6, *range(8, len(made))) for one in [made[at]]],
        "lines were swapped or doubled",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forger_who_makes_a_new_chain_of_records_is_caught_by_seals_and_signatures(name: str) -> None:
    forge, found = FORGERIES[name]
    check = checked(file_of(forge(records())))
    assert any(found in one.text for one in check.problems), check.problems


def test_a_message_whose_line_was_left_out_is_not_proven() -> None:
    check = checked(file_of(_without(records(), LineRecord, 0)))
    assert check.problems == [] and not check.sound
    assert check.unproven == [f"message {ID}: the file has no line of its arrival"]


def test_an_attempt_that_was_left_out_together_with_its_line_is_missed() -> None:
    check = checked(file_of(_without(_without(records(), LineRecord, 2), AttemptRecord, 1)))
    assert check.problems == [] and not check.sound
    assert check.unproven == [f"{ID}-erp had 2 attempts, and 1 are in the file"]


@pytest.mark.parametrize("field", ["event", "message_id", "attempt"])
@pytest.mark.parametrize("value", [[], {}])
def test_a_line_with_a_value_that_no_log_has_is_named(field: str, value: object) -> None:
    line = json.dumps({**json.loads(LOG[1]), field: value}, separators=(",", ":"))
    check = checked(file_of(_replaced(records(), LineRecord, 0, line=line)))
    assert any("the gateway writes no such line" in one.text for one in check.problems), check.problems


def test_a_log_that_was_made_anew_is_told_only_by_the_head_that_was_sent_elsewhere() -> None:
    forged = [one.replace(b"authentic", b"counterfeit") for one in LOG[:3]]
    root = root_of([leaf_hash(one) for one in forged]).hex()
    text, _ = with_seal(LOG[3].partition(b',"root"')[0] + b',"root":"%b"}' % root.encode())
    anew = msgspec.structs.replace(evidence().message, milestone="counterfeit")
    facts = msgspec.structs.replace(evidence(), message=anew)
    made = _without(records(facts, [*forged, text]), type(records()[4]), 1)
    made = _replaced(made, DeliveryRecord, 0, attempts=1)
    assert checked(file_of(made)).sound, "nothing in the file can tell"
    (problem,) = checked(file_of(made), head=HEADS[0]).problems
    assert "is not in the file" in problem.text


@pytest.mark.parametrize("head", range(3))
def test_a_head_tells_which_messages_it_anchors(head: int) -> None:
    check = checked(FILE, head=HEADS[head])
    assert check.sound and check.head_found and check.messages[0].anchored


def test_a_file_that_ends_before_the_head_is_not_sound() -> None:
    made = _without(records(), SealRecord, 2)
    (problem,) = checked(file_of(made), head=HEADS[2]).problems
    assert problem.text.endswith("it has the seals 1 to 2")


def test_a_line_without_a_seal_is_not_proven_yet() -> None:
    check = checked(file_of(records(lines=LOG[:3])))
    assert check.problems == [] and len(check.unproven) == 5 and "no seal covers this line yet" in check.unproven[0]


def test_another_secret_does_not_fit() -> None:
    assert [one.text.partition(" of ")[0] for one in checked(FILE, keys=(WRONG,)).problems] == ["the signature"]
    assert checked(FILE, keys=(WRONG, KEY)).messages[0].signature == "fits key 1"
    assert checked(FILE, keys=()).messages[0].signature == "not checked (key env LEGITMARK): give --secret"


@given(st.binary(max_size=300))
def test_no_bytes_make_the_check_fail(data: bytes) -> None:
    assert not checked(data.splitlines(keepends=True)).sound


def test_a_line_that_a_start_wrote_twice_after_a_crash_is_no_problem() -> None:
    twice = [*LOG[:3], LOG[2]]
    root = root_of([leaf_hash(one) for one in twice]).hex()
    text = b'{"v":1,"time":"2026-03-01T00:01:00.000Z","event":"audit.sealed","number":1,"lines":4,"root":"%b"}' % root.encode()
    made = [one for one in records(lines=[*twice, with_seal(text)[0]]) if getattr(one, "attempt", 1) != 2]
    assert checked(file_of(_replaced(made, DeliveryRecord, 0, attempts=1))).sound
