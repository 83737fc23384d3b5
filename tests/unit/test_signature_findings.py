"""The sentences about the signature of a request: each is true of a request that a real signer signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from gateway.core.secrets import Secret
from gateway.core.signature import Key, verify
from gateway.core.signature_findings import BodyChange, Kind, SignatureFinding, SignedContent, Suspect, examine

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_" + base64.b64encode(bytes(range(32, 0, -1))).decode()
OURS = [Suspect("env NEW", Secret(SECRET)), Suspect("env OLD", Secret(OTHER))]
RAW = base64.b64decode(SECRET.removeprefix("whsec_"))
NOW = 1_772_000_000
ID = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"
BODY = '{"event_type":"state_change","note":"bag/é 袋","amount":10}'.encode()

Headers = list[tuple[bytes, bytes]]


def signed(body: bytes = BODY, *, secret: str = SECRET, age: int = 0, family: str = "svix") -> Headers:
    """The headers of a request, as the package `standardwebhooks` signs it."""
    at = NOW - age
    return headers(Webhook(secret).sign(ID, datetime.fromtimestamp(at, UTC), body.decode()), str(at), family)


def headers(signature: str, timestamp: str = str(NOW), family: str = "svix", message_id: str = ID) -> Headers:
    fields = {"id": message_id, "timestamp": timestamp, "signature": signature}
    return [(f"{family}-{name}".encode(), value.encode()) for name, value in fields.items()]


def made_by(key: bytes, content: bytes, digest: str = "sha256") -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, digest)).decode()


def content(body: bytes) -> bytes:
    return f"{ID}.{NOW}.".encode() + body


def found(
    request: Headers, body: bytes | None = BODY, suspects: list[Suspect] = OURS
) -> tuple[bool | None, list[tuple[Kind, str]]]:
    findings = examine(request, body, suspects, NOW)
    return findings.signed, [(one.kind, one.subject) for one in findings.found]


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_the_secret_that_fits_is_named(family: str) -> None:
    assert found(signed(family=family)) == (True, [(Kind.SIGNED, "env NEW")])
    assert found(signed(secret=OTHER, family=family)) == (True, [(Kind.SIGNED, "env OLD")])
    assert examine(signed(), BODY, OURS, NOW).words == "signed by env NEW"


def test_several_signatures_are_all_looked_at() -> None:
    (_, one), (_, two) = signed()[2], signed(secret=OTHER)[2]
    request = [*signed()[:2], (b"Svix-Signature", b"v1a,xyz " + two + b" " + one)]
    assert found(request) == (True, [(Kind.SIGNED, "env NEW")])


def test_a_request_that_another_secret_signed_fits_none_and_both_reasons_are_named() -> None:
    third = "whsec_" + base64.b64encode(b"x" * 24).decode()
    assert found(signed(secret=third)) == (False, [(Kind.NO_FIT, "")])
    words = examine(signed(secret=third), BODY, OURS, NOW).words
    assert "another one signed it" in words and "changed after signing" in words


def test_a_value_that_was_changed_after_signing_is_not_taken_for_a_known_change() -> None:
    assert found(signed(), BODY.replace(b"10", b"11")) == (False, [(Kind.NO_FIT, "")])


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (420, "the timestamp is 7 min old; at most 5 min are allowed"),
        (-420, "the timestamp is 7 min ahead of this clock; at most 5 min are allowed"),
        (2 * 86_400, "the timestamp is 2 d old; at most 5 min are allowed"),
        (301, "the timestamp is 5 min old; at most 5 min are allowed"),
    ],
)
def test_a_right_signature_with_a_wrong_time_says_both(age: int, words: str) -> None:
    findings = examine(signed(age=age), BODY, OURS, NOW)
    assert findings.signed is False
    assert findings.words == f"signed by env NEW; {words}"


def test_a_wrong_signature_with_a_wrong_time_says_both() -> None:
    request = signed(BODY.replace(b"10", b"11"), age=420)
    assert found(request) == (False, [(Kind.NO_FIT, ""), (Kind.STALE, "")])


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    request = [one for one in signed() if one[0] != name.encode()]
    assert found(request) == (False, [(Kind.MISSING, name)])
    assert examine(request, BODY, OURS, NOW).words == f"the header {name} is missing"


def test_a_request_without_any_of_the_headers_is_not_signed() -> None:
    assert found([(b"content-type", b"application/json")]) == (False, [(Kind.NO_SIGNATURE, "")])


def test_headers_of_two_families_are_named() -> None:
    mixed = [*signed()[:2], *signed(family="webhook")[2:]]
    assert found(mixed) == (False, [(Kind.MIXED, "svix-id, webhook-signature")])


def test_a_header_that_came_twice_is_named() -> None:
    assert found([*signed(), signed()[1]]) == (False, [(Kind.DOUBLED, "svix-timestamp")])


def test_a_timestamp_in_milliseconds_is_recognized() -> None:
    at = str(NOW * 1000)
    request = headers(made_by(RAW, f"{ID}.{at}.".encode() + BODY), at)
    assert found(request) == (False, [(Kind.MILLISECONDS, "svix-timestamp")])


@pytest.mark.parametrize("timestamp", ["2026-03-01T22:05:59Z", "", "-5", "1e9", "12345678901234567890"])
def test_a_timestamp_that_is_no_number_of_seconds_is_named(timestamp: str) -> None:
    assert found(headers("v1,x", timestamp)) == (False, [(Kind.BAD_TIMESTAMP, "svix-timestamp")])


@pytest.mark.parametrize("message_id", ["", "x" * 256, "a\x07b"])
def test_an_id_that_is_none_is_named(message_id: str) -> None:
    assert found(headers("v1,x", message_id=message_id)) == (False, [(Kind.BAD_ID, "svix-id")])


@pytest.mark.parametrize("signature", ["", "garbage", "v2,abc", "v1a,abc", "v1,", "sha256=00"])
def test_a_signature_header_without_an_entry_of_the_version_is_named(signature: str) -> None:
    assert found(headers(signature)) == (False, [(Kind.NO_ENTRY, "svix-signature")])


_DIGEST = hmac.digest(RAW, content(BODY), "sha256")


@pytest.mark.parametrize(
    "signature",
    [
        _DIGEST.hex(),
        f"v1,{_DIGEST.hex()}",
        f"sha256={_DIGEST.hex().upper()}",
        base64.b64encode(_DIGEST).decode(),
        f"v1,{base64.b64encode(_DIGEST).decode().rstrip('=')}",
        f"v1={base64.b64encode(_DIGEST).decode()}",
        f"v1,x,v1,{base64.b64encode(_DIGEST).decode()}",
    ],
)
def test_the_right_signature_in_another_form_is_recognized(signature: str) -> None:
    assert found(headers(signature)) == (False, [(Kind.WRONG_FORM, "")])


def test_the_right_signature_in_base64_for_urls_is_recognized() -> None:
    bodies = (b'{"n":%d}' % number for number in range(1000))
    body = next(one for one in bodies if "-" in base64.urlsafe_b64encode(hmac.digest(RAW, content(one), "sha256")).decode())
    signature = "v1," + base64.urlsafe_b64encode(hmac.digest(RAW, content(body), "sha256")).decode()
    assert found(headers(signature), body) == (False, [(Kind.WRONG_FORM, "")])


@pytest.mark.parametrize("digest", ["sha1", "sha384", "sha512"])
def test_another_hash_is_named(digest: str) -> None:
    assert found(headers(made_by(RAW, content(BODY), digest))) == (False, [(Kind.WRONG_HASH, f"HMAC-{digest.upper()}")])


def test_a_hash_that_is_no_hmac_is_named() -> None:
    signature = "v1," + base64.b64encode(hashlib.sha256(RAW + content(BODY)).digest()).decode()
    assert found(headers(signature)) == (False, [(Kind.WRONG_HASH, "SHA-256")])


@pytest.mark.parametrize("key", [SECRET, SECRET.removeprefix("whsec_")])
def test_a_secret_that_was_used_as_text_is_recognized(key: str) -> None:
    request = headers(made_by(key.encode(), content(BODY)))
    assert found(request) == (False, [(Kind.WRONG_KEY, "env NEW")])
    words = examine(request, BODY, OURS, NOW).words
    assert "decode what follows whsec_ from base64" in words and SECRET.removeprefix("whsec_") not in words


@pytest.mark.parametrize(
    ("covered", "signed_content"),
    [
        (SignedContent.BODY, BODY),
        (SignedContent.TIMESTAMP_BODY, f"{NOW}.".encode() + BODY),
        (SignedContent.ID_BODY, f"{ID}.".encode() + BODY),
        (SignedContent.TIMESTAMP_ID_BODY, f"{NOW}.{ID}.".encode() + BODY),
    ],
)
def test_a_signature_of_something_else_than_id_timestamp_and_body_is_recognized(
    covered: SignedContent, signed_content: bytes
) -> None:
    request = headers(made_by(RAW, signed_content))
    assert found(request) == (False, [(Kind.WRONG_CONTENT, covered)])
    assert "it has to sign id.timestamp.body" in examine(request, BODY, OURS, NOW).words


VALUES = json.loads(BODY)


@pytest.mark.parametrize(
    ("change", "before", "came"),
    [
        (BodyChange.LINE_BREAK_ADDED, BODY, BODY + b"\n"),
        (BodyChange.LINE_BREAK_ADDED, BODY, BODY + b"\r\n"),
        (BodyChange.LINE_BREAK_ADDED, BODY + b"\n", BODY + b"\n\n"),
        (BodyChange.LINE_BREAK_LOST, BODY + b"\n", BODY),
        (BodyChange.LINE_BREAK_LOST, BODY + b"\r\n", BODY),
        (BodyChange.CRLF, b'{\n"a": 1\n}', b'{\r\n"a": 1\r\n}'),
        (BodyChange.LF, b'{\r\n"a": 1\r\n}', b'{\n"a": 1\n}'),
        (BodyChange.BOM_ADDED, BODY, b"\xef\xbb\xbf" + BODY),
        (BodyChange.BODY_ADDED, b"", BODY),
        (BodyChange.ENCODING, '{"a":"é"}'.encode(), '{"a":"é"}'.encode("latin-1")),
        (BodyChange.ENCODING, '{"a":"é"}'.encode("latin-1"), '{"a":"é"}'.encode()),
        (BodyChange.REWRITTEN, BODY, json.dumps(VALUES).encode()),
        (BodyChange.REWRITTEN, BODY, json.dumps(VALUES, indent=2).encode()),
        (BodyChange.REWRITTEN, json.dumps(VALUES).encode(), BODY),
        (BodyChange.REWRITTEN, json.dumps(VALUES, indent=4, ensure_ascii=False).encode(), BODY),
        (BodyChange.REWRITTEN, json.dumps(VALUES, sort_keys=True, separators=(",", ":")).encode(), BODY),
        (BodyChange.REWRITTEN, json.dumps(VALUES, separators=(",", ":")).replace("/", "\\/").encode(), BODY),
    ],
)
def test_a_change_of_the_body_after_signing_is_proved_by_the_signature(change: BodyChange, before: bytes, came: bytes) -> None:
    request = headers(made_by(RAW, content(before)))
    assert found(request, came) == (False, [(Kind.BODY_CHANGED, change)])
    assert "changed after signing" in examine(request, came, OURS, NOW).words


@pytest.mark.parametrize("suspects", [[], OURS])
def test_without_a_secret_or_a_body_nothing_is_claimed(suspects: list[Suspect]) -> None:
    body = BODY if not suspects else None
    assert found(signed(), body, suspects) == (None, [(Kind.NOT_CHECKED, "")])


def test_a_text_that_is_no_signing_secret_fits_nothing_and_breaks_nothing() -> None:
    odd = [Suspect("odd", Secret(text)) for text in ("", "whsec_", "whsec_!!!", "v1,whsec_abc", "袋")]
    assert found(signed(), suspects=odd) == (False, [(Kind.NO_FIT, "")])


def test_the_words_of_every_kind_quote_no_secret_and_end_without_a_full_stop() -> None:
    subjects = {Kind.BODY_CHANGED: list(BodyChange)}
    for kind in Kind:
        for subject in subjects.get(kind, ["svix-id"]):
            words = SignatureFinding(kind, subject, 500.0).words
            assert words and not words.endswith(".") and words == words.strip()


@given(
    st.lists(st.tuples(st.sampled_from([b"svix-id", b"svix-timestamp", b"svix-signature", b"webhook-id", b"x"]), st.binary())),
    st.binary(max_size=300),
)
def test_no_bytes_of_a_stranger_raise(request_headers: Headers, body: bytes) -> None:
    assert examine(request_headers, body, OURS, NOW).words


@given(st.binary(max_size=200), st.sampled_from([None, b"\n", b"x"]))
def test_the_findings_agree_with_the_verification(body: bytes, added: bytes | None) -> None:
    request = headers(made_by(RAW, content(body)))
    came = body + (added or b"")
    try:
        verify(request, came, [Key(one.secret) for one in OURS], NOW)
        right = True
    except Exception:
        right = False
    assert examine(request, came, OURS, NOW).signed is right


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 12_000, b"1" * 60_000, b"\x00" * 60_000, b"9" * 200_000])
def test_a_hostile_body_costs_little_and_raises_nothing(body: bytes) -> None:
    assert found(headers(made_by(b"x", content(body))), body) == (False, [(Kind.NO_FIT, "")])
