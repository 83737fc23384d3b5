"""Standard Webhooks as Svix implements them: verify what came in, sign what goes out. Bytes in, no clock, no I/O.

The source of every rule is the Standard Webhooks specification, section "Signature scheme", and the Svix documentation of manual
verification. Nothing may be parsed, stored or logged in full before `verify` has returned.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.core.errors import RejectedWebhook
from gateway.core.secrets import Secret

TOLERANCE = 300.0
"""Seconds that the signed timestamp may differ from the clock, in both directions (the value of Standard Webhooks)."""

_SVIX = (b"svix-id", b"svix-timestamp", b"svix-signature")
_WEBHOOK = (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
_NAMES = frozenset((*_SVIX, *_WEBHOOK))
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_ENTRY = re.compile(rb"v1,[A-Za-z0-9+/]{43}=")
"""An entry that may be an HMAC-SHA256: 32 bytes as base64."""
_BLOCK = 64
"""Bytes in a block of SHA-256 (RFC 2104's B)."""


class Key:
    """A signing secret, with both HMAC pads hashed once, so that a message costs two copies and two digests."""

    __slots__ = ("_inner", "_outer", "label")

    def __init__(self, secret: Secret, label: str = "") -> None:
        """Read a key. Raises ValueError, without any part of the secret, unless it is `whsec_` + base64 of 24 to 75 bytes.

        Args:
            label: names the secret for people, and holds no part of it.
        """
        self.label = label
        text = secret.reveal().strip()
        if text.startswith("v1,"):
            raise ValueError('a signing secret starts with "whsec_": remove the "v1," before it')
        if not text.startswith("whsec_"):
            raise ValueError('a signing secret starts with "whsec_"')
        try:
            raw = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError('what follows "whsec_" is not base64: was it cut when it was copied?') from None
        if not 24 <= len(raw) <= 75:
            raise ValueError(f"a signing secret has 24 to 75 bytes, this one {len(raw)}: was it cut when it was copied?")
        block = (raw if len(raw) <= _BLOCK else hashlib.sha256(raw).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def signature(self, message_id: bytes, timestamp: bytes, body: bytes) -> bytes:
        """Return one entry of a signature header: `v1,<base64>`."""
        inner = self._inner.copy()
        inner.update(b"%b.%b." % (message_id, timestamp))
        inner.update(body)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return b"v1," + base64.b64encode(outer.digest())


class Claim(Struct, frozen=True):
    """The three headers of a request, well-formed, as they came. Nobody has verified them: anybody may have sent them."""

    raw_id: bytes
    raw_timestamp: bytes
    signatures: bytes

    @property
    def sender_id(self) -> str:
        return self.raw_id.decode()

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return int(self.raw_timestamp)

    @property
    def may_fit(self) -> bool:
        """Some secret could fit: an entry has the form of a signature."""
        return any(_ENTRY.fullmatch(entry) for entry in self.signatures.split(b" "))


class Misfit(RejectedWebhook):
    """The refusal of a request whose headers are well-formed: no secret fits (`bad_signature`), or only its time is wrong
    (`stale_timestamp`).
    """

    def __init__(self, code: str, detail: str, claim: Claim) -> None:
        super().__init__(401, code, detail)
        self.claim = claim


class Signed(Struct, frozen=True):
    """How the sender signed a message, as far as it is kept to prove what came."""

    signature: bytes
    """The entry of the signature header that fitted: `v1,<base64>`."""
    timestamp: bytes
    """The signed timestamp as its header had it: digits, Unix seconds by the sender's clock."""
    key: str
    """The label of the secret that fitted. It never holds a part of the secret."""


def signed_fields(signed: Signed | None) -> tuple[str | None, str | None]:
    """Return the label of the secret and the signed timestamp, as the audit log has them; None if nobody verified the message."""
    return (None, None) if signed is None else (signed.key, signed.timestamp.decode())


class VerifiedMessage(Struct, frozen=True):
    """A message that may be believed. Only `fit` and `unverified` build one."""

    sender_id: str | None
    """The sender's message id; None only if the source is unverified and the request has no id."""
    body: bytes
    signed: Signed | None = None
    """The signature that fitted; None if the source is unverified."""

    @property
    def timestamp(self) -> int | None:
        """The instant at which the sender signed it (Unix seconds by the sender's clock); None if the source is unverified."""
        return None if self.signed is None else int(self.signed.timestamp)


def verify(
    headers: Iterable[tuple[bytes, bytes]], body: bytes, keys: Sequence[Key], now: float, tolerance: float = TOLERANCE
) -> VerifiedMessage:
    """Verify a message, or refuse it for the first of the three reasons that applies (docs/reference.md, "Receiving webhooks").

    Args:
        headers: names in any case, as they came. The first family with any of its three headers counts.
        now: Unix seconds, UTC.
        tolerance: seconds, in both directions.
    Raises:
        RejectedWebhook: 401 `missing_signature`, `bad_signature` or `stale_timestamp`; a Misfit if only the secret or the time is
            wrong.
    """
    return fit(claim_of(headers), body, keys, now, tolerance)


def claim_of(headers: Iterable[tuple[bytes, bytes]]) -> Claim:
    """Return the signature headers of a request. Raises RejectedWebhook if one is missing, doubled or malformed."""
    found: dict[bytes, bytes] = {}
    doubled: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered in _NAMES:
            if lowered in found:
                doubled.append(lowered)
            found[lowered] = value
    family = _WEBHOOK if found and found.keys().isdisjoint(_SVIX) else _SVIX
    for name in family:
        if name not in found:
            raise RejectedWebhook(401, "missing_signature", f"the header {name.decode()} is missing")
    for name in doubled:
        if name in family:
            raise RejectedWebhook(401, "bad_signature", f"the header {name.decode()} came more than once")
    claim = Claim(found[family[0]], found[family[1]], found[family[2]])
    _sender_id(claim.raw_id)
    if _TIMESTAMP.fullmatch(claim.raw_timestamp) is None:
        raise RejectedWebhook(401, "bad_signature", "the timestamp is not a number of Unix seconds")
    return claim


def fit(claim: Claim, body: bytes, keys: Sequence[Key], now: float, tolerance: float = TOLERANCE) -> VerifiedMessage:
    """Verify a message: one of the keys made its signature, and its timestamp is near `now`.

    Args:
        now: the arrival of the message (Unix seconds, UTC).
        tolerance: seconds, in both directions.
    Raises:
        Misfit: 401 `bad_signature` or `stale_timestamp`.
    """
    expected = [key.signature(claim.raw_id, claim.raw_timestamp, body) for key in keys]
    which = _fitting(claim.signatures, expected)
    if which is None:
        raise Misfit("bad_signature", "no signature fits this body, id and timestamp", claim)
    if abs(now - claim.timestamp) > tolerance:
        detail = f"the timestamp is more than {tolerance:g} s away from this host's clock"
        raise Misfit("stale_timestamp", detail, claim)
    signed = Signed(expected[which], claim.raw_timestamp, keys[which].label)
    return VerifiedMessage(sender_id=claim.sender_id, body=body, signed=signed)


def claimed_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the sender's id that a request claims, even if the rest of it is wrong; None if it has none, or a malformed one."""
    found = {name.lower(): value for name, value in headers}
    raw_id = found.get(b"svix-id", found.get(b"webhook-id"))
    try:
        return _sender_id(raw_id) if raw_id is not None else None
    except RejectedWebhook:
        return None


def unverified(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> VerifiedMessage:
    """Accept a message of a source with `verify = "none"`. A readable id header still counts as the sender's id."""
    return VerifiedMessage(sender_id=claimed_id(headers), body=body)


def sign(keys: Sequence[Key], message_id: str, now: float, body: bytes, family: str = "webhook") -> dict[str, str]:
    """Return the three headers of a message to send, named `webhook-*` or `svix-*`. Several keys sign side by side."""
    timestamp = str(int(now))
    signatures = [key.signature(message_id.encode(), timestamp.encode(), body).decode() for key in keys]
    return {f"{family}-id": message_id, f"{family}-timestamp": timestamp, f"{family}-signature": " ".join(signatures)}


def _sender_id(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > 255 or not text.isprintable():
        raise RejectedWebhook(401, "bad_signature", "the message id is not 1 to 255 printable characters")
    return text


def _fitting(header: bytes, expected: Sequence[bytes]) -> int | None:
    """Return which of the expected entries the header has, the first one; None if it has none."""
    # Every candidate is compared with every key, so that the time tells nothing about which one fitted. Entries that
    # are not v1 (garbage, other versions, the empty one between two spaces) equal no expected entry, and so count for nothing.
    fits = [False] * len(expected)
    for candidate in header.split(b" "):
        for number, wanted in enumerate(expected):
            fits[number] |= hmac.compare_digest(candidate, wanted)
    return fits.index(True) if any(fits) else None
