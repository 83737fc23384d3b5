"""Standard Webhooks, checked against two signers that share no code with ours: `standardwebhooks` and openssl."""

from __future__ import annotations

import base64
import copy
import hashlib
import shutil
import string
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from gateway.core.errors import RejectedWebhook
from gateway.core.secrets import Secret
from gateway.core.signature import Key, Signed, VerifiedMessage, sign, unverified, verify
from tests.support.webhooks import SECRET

NOW = 1_649_367_553
"""Unix seconds: the timestamp of the published vector, so that every table below can use it."""
ID = b"msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"
BODY = b'{"email":"test@example.com","username":"test_user"}'
SIGNATURE = b"v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
KEY = Key(Secret(SECRET))
OTHER = Key(Secret("whsec_" + base64.b64encode(hashlib.sha256(b"other").digest()).decode()))

Headers = list[tuple[bytes, bytes]]


def headers(
    message_id: bytes = ID, timestamp: bytes = b"%d" % NOW, signature: bytes = SIGNATURE, family: bytes = b"svix"
) -> Headers:
    return [(family + b"-id", message_id), (family + b"-timestamp", timestamp), (family + b"-signature", signature)]


def signed(
    message_id: bytes = ID, timestamp: bytes = b"%d" % NOW, body: bytes = BODY, key: Key = KEY, family: bytes = b"svix"
) -> Headers:
    """Return headers with a correct signature for the given values."""
    return headers(message_id, timestamp, key.signature(message_id, timestamp, body), family)


def refusal(given: Headers, body: bytes = BODY, keys: Sequence[Key] = (KEY,), now: float = NOW) -> str:
    """The code that `verify` refuses with; the status is 401 for every one of them."""
    with pytest.raises(RejectedWebhook) as caught:
        verify(given, body, keys, now)
    assert caught.value.status == 401
    return caught.value.code


def accepted(given: Headers, body: bytes = BODY, keys: Sequence[Key] = (KEY,), now: float = NOW) -> VerifiedMessage:
    return verify(given, body, keys, now)


# The published vector, and the independent signers.


def test_the_published_vector_verifies() -> None:
    message = accepted(headers())
    assert (message.sender_id, message.body) == (ID.decode(), BODY)


def test_we_sign_the_published_vector_as_published() -> None:
    assert KEY.signature(ID, b"%d" % NOW, BODY) == SIGNATURE
    assert sign([KEY], ID.decode(), NOW + 0.9, BODY) == {
        "webhook-id": ID.decode(),
        "webhook-timestamp": str(NOW),
        "webhook-signature": SIGNATURE.decode(),
    }


def test_sign_names_the_headers_after_the_family_asked_for() -> None:
    assert set(sign([KEY], "msg_1", NOW, BODY, family="svix")) == {"svix-id", "svix-timestamp", "svix-signature"}


raw_secrets = st.binary(min_size=24, max_size=75).map(lambda raw: hashlib.shake_256(raw).digest(len(raw)))
"""Secrets without bytes that Hypothesis collected from source code, where the search for leaked secrets would find them too."""
message_ids = st.text(string.ascii_letters + string.digits + "_-.:é日", min_size=1, max_size=255)
text_bodies = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)


def whsec(raw: bytes) -> str:
    return "whsec_" + base64.b64encode(raw).decode()


@given(raw=raw_secrets, message_id=message_ids, body=text_bodies, at=st.integers(0, 4_000_000_000))
def test_what_the_reference_library_signs_is_accepted(raw: bytes, message_id: str, body: bytes, at: int) -> None:
    theirs = Webhook(whsec(raw)).sign(message_id, datetime.fromtimestamp(at, UTC), body.decode())
    message = verify(headers(message_id.encode(), b"%d" % at, theirs.encode(), b"webhook"), body, [Key(Secret(whsec(raw)))], at)
    assert (message.sender_id, message.body) == (message_id, body)


@given(raw=raw_secrets, message_id=message_ids, body=text_bodies)
def test_what_we_sign_the_reference_library_accepts(raw: bytes, message_id: str, body: bytes) -> None:
    # Their verifier reads the clock of this host, so ours has to be the same.
    ours = sign([OTHER, Key(Secret(whsec(raw)))], message_id, time.time(), body)
    Webhook(whsec(raw)).verify(body, ours, json_parse=False)


@pytest.mark.parametrize("length", [24, 32, 63, 64, 65, 75])
def test_openssl_computes_the_same_signature(length: int) -> None:
    # 64 bytes is the block of SHA-256: longer keys are hashed first (RFC 2104), and openssl does that by itself.
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: the second independent signer is missing")
    raw, body = hashlib.shake_256(b"key").digest(length), b"\x00\xff not UTF-8 \xc3\x28"
    command = [openssl, "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{raw.hex()}", "-binary"]
    digest = subprocess.run(command, input=b"msg_1.1700000000." + body, capture_output=True, check=True).stdout
    entry = b"v1," + base64.b64encode(digest)
    key = Key(Secret(whsec(raw)))
    assert key.signature(b"msg_1", b"1700000000", body) == entry
    assert verify(headers(b"msg_1", b"1700000000", entry), body, [key], 1_700_000_000).body == body


# Which headers count.


def test_the_webhook_family_is_accepted_too() -> None:
    assert accepted(headers(family=b"webhook")).sender_id == ID.decode()


def test_header_names_may_be_of_any_case() -> None:
    assert accepted([(name.title(), value) for name, value in headers()]).body == BODY


def test_other_headers_are_ignored() -> None:
    assert accepted([(b"content-type", b"\xff"), *headers(), (b"x-api-key", b"k"), (b"id", b"")]).body == BODY


def test_no_headers_is_a_missing_signature() -> None:
    assert refusal([]) == "missing_signature"


def test_an_api_key_is_not_a_signature() -> None:
    assert refusal([(b"x-api-key", b"secret")]) == "missing_signature"


@pytest.mark.parametrize("family", [b"svix", b"webhook"])
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_each_header_is_needed(family: bytes, absent: int) -> None:
    given = headers(family=family)
    del given[absent]
    assert refusal(given) == "missing_signature"


@pytest.mark.parametrize("doubled", [0, 1, 2])
@pytest.mark.parametrize("second", [None, b"other"])
def test_a_doubled_header_is_refused_even_with_the_same_value(doubled: int, second: bytes | None) -> None:
    given = headers()
    name, value = given[doubled]
    assert refusal([*given, (name, value if second is None else second)]) == "bad_signature"
    assert refusal([(name.upper(), value if second is None else second), *given]) == "bad_signature"


def test_a_missing_header_is_named_before_a_doubled_one() -> None:
    # docs/reference.md, "Receiving webhooks" gives an order: missing first, malformed second.
    svix_id, timestamp, _signature = headers()
    assert refusal([svix_id, svix_id, timestamp]) == "missing_signature"


@pytest.mark.parametrize("foreign", [0, 1, 2])
def test_families_do_not_mix(foreign: int) -> None:
    svix, webhook = headers(), headers(family=b"webhook")
    mixed = [webhook[at] if at == foreign else svix[at] for at in range(3)]
    assert refusal(mixed) == "missing_signature"
    assert refusal([*mixed[1:], *mixed[:1]]) == "missing_signature"


def test_svix_wins_if_both_families_are_present() -> None:
    good, bad = headers(), headers(b"msg_other", signature=b"v1,AAAA", family=b"webhook")
    assert accepted([*bad, *good]).sender_id == ID.decode()
    assert accepted([*good, *bad]).sender_id == ID.decode()


def test_a_bad_svix_family_is_not_rescued_by_a_good_webhook_family() -> None:
    good, bad = headers(family=b"webhook"), headers(signature=b"v1,AAAA")
    assert refusal([*good, *bad]) == "bad_signature"
    for stray in bad:
        assert refusal([*good, stray]) == "missing_signature"


# Signatures.

RIGHT_DIGEST = SIGNATURE.removeprefix(b"v1,")


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b" ",
        b"garbage",
        b"v1",
        b"v1,",
        b"v1,a,b",
        b"v1,=",
        b"v1,%%%",
        b",",
        b"v1," + RIGHT_DIGEST + b",",
        b"v1,\xc3\xa9",
        b"\xff\xfe",
        b"v1," + b"A" * 100_000,
        b"v1,AAAA " * 10_000,
        b"v1,v1,v1 , ,, v1,\x00",
        RIGHT_DIGEST,
        b"v1a," + RIGHT_DIGEST,
        b"v2," + RIGHT_DIGEST,
        b"V1," + RIGHT_DIGEST,
        b"v1;" + RIGHT_DIGEST,
        b"v1," + RIGHT_DIGEST[:-1],
        b"v1," + RIGHT_DIGEST[:20],
        b"v1," + RIGHT_DIGEST.swapcase(),
        b"v1," + base64.b64encode(bytes(32)),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_wrong_signature_is_refused_whatever_its_form(signature: bytes) -> None:
    assert refusal(headers(signature=signature)) == "bad_signature"


@pytest.mark.parametrize(
    "signature",
    [
        b"v1,AAAA " + SIGNATURE,
        SIGNATURE + b" v1,AAAA",
        b"garbage  " + SIGNATURE,
        SIGNATURE + b"  v1,a,b",
        b"v1a,AAAA v2,AAAA " + SIGNATURE,
        b"\xff\xfe " + SIGNATURE,
        b"v1,AAAA " * 1000 + SIGNATURE,
    ],
    ids=lambda value: repr(value[:30]),
)
def test_one_fitting_signature_among_others_is_enough(signature: bytes) -> None:
    assert accepted(headers(signature=signature)).body == BODY


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], BODY.replace(b"test_user", b"test_usar"), BODY + b"\x00"])
def test_a_right_signature_over_another_body_is_refused(body: bytes) -> None:
    assert refusal(headers(), body) == "bad_signature"


def test_a_signature_covers_the_id_and_the_timestamp() -> None:
    assert refusal(headers(message_id=ID + b"x")) == "bad_signature"
    assert refusal(headers(timestamp=b"%d" % (NOW + 1))) == "bad_signature"
    assert refusal(headers(timestamp=b"0%d" % NOW)) == "bad_signature"


def test_a_signature_of_another_secret_is_refused() -> None:
    assert refusal(signed(key=OTHER)) == "bad_signature"


def test_nothing_verifies_without_a_key() -> None:
    assert refusal(headers(), keys=()) == "bad_signature"


def test_either_of_our_keys_verifies_during_a_rotation() -> None:
    for keys in ([KEY, OTHER], [OTHER, KEY]):
        assert accepted(signed(key=KEY), keys=keys).body == BODY
        assert accepted(signed(key=OTHER), keys=keys).body == BODY


def test_either_signature_of_the_sender_verifies_during_its_rotation() -> None:
    made = sign([OTHER, KEY], ID.decode(), NOW, BODY, family="svix")
    given = [(name.encode(), value.encode()) for name, value in made.items()]
    assert accepted(given, keys=[KEY]).body == accepted(given, keys=[OTHER]).body == BODY


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"not json", b"x" * 1_000_000])
def test_a_signed_body_may_be_anything(body: bytes) -> None:
    assert accepted(signed(body=body), body).body == body


# Timestamps. Each is signed, so that nothing but its own form can be the reason.


@pytest.mark.parametrize(
    "timestamp",
    [
        b"",
        b" ",
        b"-1",
        b"-%d" % NOW,
        b"+%d" % NOW,
        b"%d.0" % NOW,
        b"1649367553e0",
        b"1.649367553e9",
        b"1_649_367_553",
        b"0x624f5601",
        b" %d" % NOW,
        b"%d " % NOW,
        b"%d\n" % NOW,
        b"%013d" % NOW,
        b"%d000" % NOW,
        b"9" * 5000,
        "١٦٤٩٣٦٧٥٥٣".encode(),
        b"nan",
        b"inf",
        b"\xff",
        b"2022-04-07T21:39:13Z",
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_malformed_timestamp_is_a_bad_signature_even_when_signed(timestamp: bytes) -> None:
    assert refusal(signed(timestamp=timestamp)) == "bad_signature"


@pytest.mark.parametrize("away", [301, -301, 1000, -1000, NOW])
def test_a_right_signature_at_the_wrong_time_is_stale(away: int) -> None:
    assert refusal(signed(timestamp=b"%d" % (NOW - away))) == "stale_timestamp"


@pytest.mark.parametrize("away", [0.25, -0.25])
def test_the_fraction_of_our_clock_counts_against_the_tolerance(away: float) -> None:
    at = NOW - 300 if away > 0 else NOW + 300
    assert refusal(signed(timestamp=b"%d" % at), now=NOW + away) == "stale_timestamp"


def test_a_timestamp_of_twelve_digits_is_well_formed() -> None:
    assert refusal(signed(timestamp=b"9" * 12)) == "stale_timestamp"
    assert accepted(signed(timestamp=b"%012d" % NOW)).body == BODY


@pytest.mark.parametrize("away", [300, -300, 299, 0])
def test_a_timestamp_within_the_tolerance_is_accepted(away: int) -> None:
    assert accepted(signed(timestamp=b"%d" % (NOW - away))).body == BODY


def test_the_tolerance_can_be_set() -> None:
    given = signed(timestamp=b"%d" % (NOW - 11))
    assert verify(given, BODY, [KEY], NOW, tolerance=11).body == BODY
    with pytest.raises(RejectedWebhook, match="stale_timestamp"):
        verify(given, BODY, [KEY], NOW, tolerance=10)


def test_a_wrong_signature_at_the_wrong_time_is_a_bad_signature() -> None:
    # A sender without the secret learns nothing about our clock.
    assert refusal(headers(timestamp=b"%d" % (NOW - 1000), signature=b"v1,AAAA")) == "bad_signature"


# Message ids. Signed too.


@pytest.mark.parametrize(
    "message_id",
    [
        b"",
        b"a" * 256,
        "日".encode() * 256,
        b"a\x00b",
        b"a\nb",
        b"a\tb",
        b"a\x1b[2Jb",
        b"a\x7f",
        "a\u202eb".encode(),
        "a\u2028b".encode(),
        b"\xff",
        b"msg_\xc3\x28",
        b"\xed\xa0\x80",
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_malformed_id_is_a_bad_signature_even_when_signed(message_id: bytes) -> None:
    assert refusal(signed(message_id=message_id)) == "bad_signature"


@pytest.mark.parametrize("message_id", ["a", "a" * 255, "日" * 255, "msg 1", "msg.1.2", "'; drop table--"])
def test_a_printable_id_of_up_to_255_characters_is_accepted(message_id: str) -> None:
    assert accepted(signed(message_id=message_id.encode())).sender_id == message_id


# Properties.

NAMES = [family + name for family in (b"svix-", b"webhook-") for name in (b"id", b"timestamp", b"signature")]
values = st.one_of(st.binary(max_size=40), st.sampled_from([ID, b"%d" % NOW, SIGNATURE, b"v1,", b"", b"v1,a,b"]))
any_headers = st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.binary(max_size=12)), values), max_size=8)


@settings(max_examples=300)
@given(given=any_headers, body=st.one_of(st.just(BODY), st.binary(max_size=40)), now=st.floats(0, 4e9))
def test_arbitrary_headers_are_refused_or_truly_signed_and_raise_nothing_else(given: Headers, body: bytes, now: float) -> None:
    try:
        message = verify(given, body, [KEY, OTHER], now)
    except RejectedWebhook as rejected:
        assert rejected.status == 401
        assert rejected.code in ("missing_signature", "bad_signature", "stale_timestamp")
    else:
        assert message == VerifiedMessage(ID.decode(), BODY, Signed(SIGNATURE, b"%d" % NOW, ""))


@given(position=st.integers(0, 31), flip=st.integers(1, 255))
def test_a_digest_with_one_byte_changed_is_refused(position: int, flip: int) -> None:
    digest = bytearray(base64.b64decode(RIGHT_DIGEST))
    digest[position] ^= flip
    assert refusal(headers(signature=b"v1," + base64.b64encode(digest))) == "bad_signature"


def test_a_refusal_tells_the_sender_neither_the_secret_nor_the_expected_signature_nor_its_own_bytes() -> None:
    for hostile in (headers(signature=b"v1,INTRUDER"), headers(b"INTRUDER\n"), headers(timestamp=b"INTRUDER")):
        with pytest.raises(RejectedWebhook) as caught:
            verify(hostile, BODY, [KEY], NOW)
        for told in (caught.value.detail, str(caught.value), repr(caught.value)):
            assert "INTRUDER" not in told
            assert RIGHT_DIGEST.decode() not in told
            assert SECRET.removeprefix("whsec_") not in told


# Keys.

TAIL = SECRET.removeprefix("whsec_")


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("v1," + SECRET, "v1,"),
        (TAIL, "whsec_"),
        ("WHSEC_" + TAIL, "whsec_"),
        ("", "whsec_"),
        ("whsec_", "24 to 75 bytes"),
        ("whsec_" + TAIL[:-1], "base64"),
        ("whsec_" + TAIL[:-1] + "!", "base64"),
        ("whsec_" + TAIL[:16] + " " + TAIL[16:], "base64"),
        ("whsec_" + TAIL[:16] + "é" + TAIL[16:], "base64"),
        (whsec(b"\xaa" * 23), "24 to 75 bytes"),
        (whsec(b"\xaa" * 76), "24 to 75 bytes"),
    ],
)
def test_a_bad_secret_is_refused_with_a_hint_and_without_any_part_of_it(secret: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Key(Secret(secret))
    told = str(caught.value) + repr(caught.value)
    parts = secret.removeprefix("v1,").removeprefix("whsec_")
    assert not any(parts[at : at + 6] in told for at in range(len(parts) - 5))


@pytest.mark.parametrize("length", [24, 75])
def test_a_secret_of_24_to_75_bytes_makes_a_key(length: int) -> None:
    assert Key(Secret(whsec(bytes(length)))).signature(b"a", b"1", b"").startswith(b"v1,")


def test_a_line_break_after_a_pasted_secret_does_no_harm() -> None:
    assert Key(Secret(f" {SECRET}\n")).signature(ID, b"%d" % NOW, BODY) == SIGNATURE


def test_a_key_signs_any_number_of_messages() -> None:
    key = Key(Secret(SECRET))
    assert key.signature(b"other", b"1", b"first") != SIGNATURE
    assert [key.signature(ID, b"%d" % NOW, BODY) for _ in range(2)] == [SIGNATURE, SIGNATURE]


def test_a_key_shows_no_secret() -> None:
    assert TAIL not in repr(KEY)
    assert TAIL not in str(KEY)
    assert not hasattr(KEY, "__dict__")


def test_a_verified_message_is_frozen() -> None:
    message = accepted(headers())
    with pytest.raises(AttributeError):
        message.body = b"other"  # type: ignore[misc]
    assert copy.copy(message) == message


# Unverified sources.


def test_an_unverified_source_needs_no_header() -> None:
    message = unverified([], BODY)
    assert (message.sender_id, message.body) == (None, BODY)


@pytest.mark.parametrize("name", [b"svix-id", b"webhook-id", b"Webhook-Id"])
def test_an_unverified_message_keeps_the_id_of_its_sender(name: bytes) -> None:
    assert unverified([(b"accept", b"*/*"), (name, b"msg_1")], BODY).sender_id == "msg_1"


@pytest.mark.parametrize("raw", [b"", b"a" * 256, b"a\nb", b"\xff"])
def test_an_unreadable_id_of_an_unverified_message_counts_as_none(raw: bytes) -> None:
    assert unverified([(b"svix-id", raw)], BODY).sender_id is None


@pytest.mark.parametrize("turn", [1, -1])
def test_svix_wins_in_an_unverified_message_too(turn: int) -> None:
    given = [(b"svix-id", b"msg_svix"), (b"webhook-id", b"msg_webhook")]
    assert unverified(given[::turn], BODY).sender_id == "msg_svix"


@given(given=any_headers)
def test_an_unverified_message_is_never_refused(given: Headers) -> None:
    assert unverified(given, BODY).body == BODY
