"""Explains to a developer why the signature of a request fits, or does not: only what can be known from the request itself.

`signature` decides and tells a stranger nothing. This module decides nothing. It tries the mistakes that senders, proxies and
frameworks are known for, one at a time; if one of them makes the signature fit, that is a proof and is said. Otherwise it says
what remains: another secret, or a change that it does not know.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

from msgspec import Struct

from gateway.core.secrets import Secret
from gateway.core.signature import TOLERANCE

LONGEST_TRIED = 64 * 1024
"""Bytes of a body up to which changes are tried. Each costs a hash of the whole body."""
_FAMILIES = ("svix", "webhook")
_PARTS = ("id", "timestamp", "signature")
_SECONDS = re.compile(rb"[0-9]{1,12}")
_MILLISECONDS = re.compile(rb"[0-9]{13}")


class Kind(StrEnum):
    """The kinds of findings. `SignatureFinding.words` has the sentence of each."""

    SIGNED = "signed"
    STALE = "stale"
    NOT_CHECKED = "not_checked"
    NO_SIGNATURE = "no_signature"
    MISSING = "missing"
    MIXED = "mixed"
    DOUBLED = "doubled"
    BAD_ID = "bad_id"
    MILLISECONDS = "milliseconds"
    BAD_TIMESTAMP = "bad_timestamp"
    NO_ENTRY = "no_entry"
    BODY_CHANGED = "body_changed"
    WRONG_CONTENT = "wrong_content"
    WRONG_KEY = "wrong_key"
    WRONG_HASH = "wrong_hash"
    WRONG_FORM = "wrong_form"
    NO_FIT = "no_fit"


class BodyChange(StrEnum):
    """A change of a body after signing that a fitting signature proves."""

    LINE_BREAK_ADDED = "line_break_added"
    LINE_BREAK_LOST = "line_break_lost"
    CRLF = "crlf"
    LF = "lf"
    BOM_ADDED = "bom_added"
    BODY_ADDED = "body_added"
    REWRITTEN = "rewritten"
    ENCODING = "encoding"


class SignedContent(StrEnum):
    """The bytes that a signature covers in place of `id.timestamp.body`."""

    BODY = "body"
    TIMESTAMP_BODY = "timestamp.body"
    ID_BODY = "id.body"
    TIMESTAMP_ID_BODY = "timestamp.id.body"


class SignatureFinding(Struct, frozen=True, omit_defaults=True):
    """One thing that is known of a request. `words` says it in English; a page may say it in another language."""

    kind: Kind
    subject: str = ""
    """The header, the secret's label, the change or the form, by kind."""
    seconds: float = 0.0
    """How old the timestamp is, negative if it lies ahead; only of `stale`."""
    allowed: float = TOLERANCE
    """Seconds that it may be away; only of `stale`."""

    @property
    def words(self) -> str:
        """The finding as a sentence without its full stop. It quotes nothing of the request but names of headers."""
        return _WORDS[self.kind](self)


class SignatureFindings(Struct, frozen=True):
    """Everything that is known of the signature of a request."""

    signed: bool | None
    """The signature fits and its time is right; None if it could not be checked, because no secret is known."""
    found: tuple[SignatureFinding, ...]

    @property
    def words(self) -> str:
        return "; ".join(one.words for one in self.found)


class Suspect(Struct, frozen=True):
    """A secret that may have signed a request, with a label that holds no part of it."""

    label: str
    secret: Secret


def examine(
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes | None,
    suspects: Sequence[Suspect],
    now: float,
    tolerance: float = TOLERANCE,
) -> SignatureFindings:
    """Explain the signature of a request.

    Args:
        headers: names in any case, as they came.
        body: None if it is not known; then only the headers are looked at.
        suspects: the secrets that may have signed; a text that is no signing secret fits nothing.
        now: the arrival (Unix seconds, UTC).
        tolerance: seconds that the timestamp may be away, in both directions.
    """
    family, values, found = _claim(headers)
    if found is not None:
        return SignatureFindings(False, found)
    message_id, raw_timestamp, signatures = values
    about_time = _time(raw_timestamp, now, tolerance)
    entries = _entries(signatures)
    keys = [(suspect, key) for suspect in suspects if (key := _decoded(suspect.secret)) is not None]
    if not entries:
        digests = [_hmac(key, b"%b.%b.%b" % (message_id, raw_timestamp, body or b"")) for _, key in keys]
        in_another_form = any(_fits_in_another_form(signatures, digest) for digest in digests)
        why = SignatureFinding(Kind.WRONG_FORM) if in_another_form else SignatureFinding(Kind.NO_ENTRY, f"{family}-signature")
        return SignatureFindings(False, (why, *about_time))
    if not suspects or body is None:
        return SignatureFindings(None, (SignatureFinding(Kind.NOT_CHECKED), *about_time))
    for suspect, key in keys:
        if _fits(entries, _hmac(key, b"%b.%b.%b" % (message_id, raw_timestamp, body))):
            return SignatureFindings(not about_time, (SignatureFinding(Kind.SIGNED, suspect.label), *about_time))
    mistake = next(_mistakes(message_id, raw_timestamp, body, signatures, suspects, keys), None)
    return SignatureFindings(False, (mistake or SignatureFinding(Kind.NO_FIT), *about_time))


def _claim(headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, tuple[bytes, bytes, bytes], tuple[SignatureFinding, ...] | None]:
    """Return the family and the three values of the headers; or what is wrong with them."""
    came: dict[str, list[bytes]] = {}
    for name, value in headers:
        came.setdefault(name.decode("latin-1").lower(), []).append(value)
    parts = {family: [part for part in _PARTS if f"{family}-{part}" in came] for family in _FAMILIES}
    family = "webhook" if parts["webhook"] and not parts["svix"] else "svix"
    nothing = (b"", b"", b"")
    if not parts[family]:
        return family, nothing, (SignatureFinding(Kind.NO_SIGNATURE),)
    missing = [part for part in _PARTS if part not in parts[family]]
    if missing:
        other = next(one for one in _FAMILIES if one != family)
        if parts[other]:
            return family, nothing, (SignatureFinding(Kind.MIXED, f"{family}-{parts[family][0]}, {other}-{parts[other][0]}"),)
        return family, nothing, tuple(SignatureFinding(Kind.MISSING, f"{family}-{part}") for part in missing)
    doubled = [f"{family}-{part}" for part in _PARTS if len(came[f"{family}-{part}"]) > 1]
    if doubled:
        return family, nothing, tuple(SignatureFinding(Kind.DOUBLED, name) for name in doubled)
    message_id, timestamp, signatures = (came[f"{family}-{part}"][0] for part in _PARTS)
    if not _is_id(message_id):
        return family, nothing, (SignatureFinding(Kind.BAD_ID, f"{family}-id"),)
    if _SECONDS.fullmatch(timestamp) is None:
        kind = Kind.MILLISECONDS if _MILLISECONDS.fullmatch(timestamp) else Kind.BAD_TIMESTAMP
        return family, nothing, (SignatureFinding(kind, f"{family}-timestamp"),)
    return family, (message_id, timestamp, signatures), None


def _is_id(raw: bytes) -> bool:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return False
    return 0 < len(text) <= 255 and text.isprintable()


def _time(raw: bytes, now: float, tolerance: float) -> tuple[SignatureFinding, ...]:
    age = now - int(raw)
    return (SignatureFinding(Kind.STALE, seconds=age, allowed=tolerance),) if abs(age) > tolerance else ()


def _entries(signatures: bytes) -> list[bytes]:
    """Return what follows `v1,` in each entry of that version."""
    return [entry.removeprefix(b"v1,") for entry in signatures.split(b" ") if entry.startswith(b"v1,") and len(entry) > 3]


def _decoded(secret: Secret) -> bytes | None:
    try:
        return base64.b64decode(secret.reveal().strip().removeprefix("whsec_"), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _hmac(key: bytes, content: bytes, digest: str = "sha256") -> bytes:
    return hmac.digest(key, content, digest)


def _fits(entries: Sequence[bytes], digest: bytes) -> bool:
    expected = base64.b64encode(digest)
    return any(hmac.compare_digest(entry, expected) for entry in entries)


def _mistakes(
    message_id: bytes,
    timestamp: bytes,
    body: bytes,
    signatures: bytes,
    suspects: Sequence[Suspect],
    keys: Sequence[tuple[Suspect, bytes]],
) -> Iterator[SignatureFinding]:
    """Yield a finding for each known mistake that makes the signature fit."""
    entries = _entries(signatures)
    right = b"%b.%b." % (message_id, timestamp)
    for _, key in keys:
        if _fits_in_another_form(signatures, _hmac(key, right + body)):
            yield SignatureFinding(Kind.WRONG_FORM)
        for digest in ("sha1", "sha512", "sha384"):
            if _fits(entries, _hmac(key, right + body, digest)):
                yield SignatureFinding(Kind.WRONG_HASH, f"HMAC-{digest.upper()}")
        if _fits(entries, hashlib.sha256(key + right + body).digest()):
            yield SignatureFinding(Kind.WRONG_HASH, "SHA-256")
    for suspect in suspects:
        for key in _read_wrongly(suspect.secret):
            if _fits(entries, _hmac(key, right + body)):
                yield SignatureFinding(Kind.WRONG_KEY, suspect.label)
    if len(body) > LONGEST_TRIED:
        return
    contents = {
        SignedContent.BODY: body,
        SignedContent.TIMESTAMP_BODY: b"%b.%b" % (timestamp, body),
        SignedContent.ID_BODY: b"%b.%b" % (message_id, body),
        SignedContent.TIMESTAMP_ID_BODY: b"%b.%b.%b" % (timestamp, message_id, body),
    }
    for content, signed in contents.items():
        if any(_fits(entries, _hmac(key, signed)) for _, key in keys):
            yield SignatureFinding(Kind.WRONG_CONTENT, content)
    for change, before in _bodies_before(body):
        if any(_fits(entries, _hmac(key, right + before)) for _, key in keys):
            yield SignatureFinding(Kind.BODY_CHANGED, change)


def _fits_in_another_form(signatures: bytes, digest: bytes) -> bool:
    """Return True if the header has the right bytes, but not as `v1,` and padded standard base64."""
    right = {digest.hex().encode(), base64.b64encode(digest).rstrip(b"="), base64.urlsafe_b64encode(digest).rstrip(b"=")}
    return any(entry.rstrip(b"=") in right or entry.lower() in right for entry in re.split(rb"[ ,;=]+", signatures))


def _read_wrongly(secret: Secret) -> Iterator[bytes]:
    """Yield the keys that libraries make of a signing secret if they do not decode it."""
    text = secret.reveal().strip()
    bare = text.removeprefix("whsec_")
    yield text.encode()
    yield bare.encode()


def _bodies_before(body: bytes) -> Iterator[tuple[BodyChange, bytes]]:
    """Yield the bodies that may have been signed, each with what happened to it since."""
    if body.endswith((b"\n", b"\r")):
        yield BodyChange.LINE_BREAK_ADDED, body.rstrip(b"\r\n")
        yield BodyChange.LINE_BREAK_ADDED, body[:-1]
    else:
        yield BodyChange.LINE_BREAK_LOST, body + b"\n"
        yield BodyChange.LINE_BREAK_LOST, body + b"\r\n"
    if b"\n" in body:
        plain = body.replace(b"\r\n", b"\n")
        yield BodyChange.CRLF, plain
        yield BodyChange.LF, plain.replace(b"\n", b"\r\n")
    if body.startswith(b"\xef\xbb\xbf"):
        yield BodyChange.BOM_ADDED, body[3:]
    if body:
        yield BodyChange.BODY_ADDED, b""
    with suppress(ValueError):
        yield BodyChange.ENCODING, body.decode().encode("latin-1")
    yield BodyChange.ENCODING, body.decode("latin-1").encode()
    for written in _written_anew(body):
        yield BodyChange.REWRITTEN, written


def _written_anew(body: bytes) -> Iterator[bytes]:
    """Yield the JSON of a body as the usual libraries would have written it, the key order kept or sorted."""
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError):
        return
    forms: tuple[dict[str, Any], ...] = (
        {"separators": (",", ":")},  # JSON.stringify, msgspec, Go
        {},  # Python's json.dumps
        {"indent": 2},
        {"indent": 4},
        {"indent": "\t"},
    )
    for sort in (False, True):
        for ascii_only in (False, True):
            for form in forms:
                try:
                    text = json.dumps(values, ensure_ascii=ascii_only, sort_keys=sort, **form)
                    yield text.encode()
                    # PHP's json_encode, and Jackson and Gson in some settings, write slashes and letters in their own way.
                    yield text.replace("/", "\\/").encode()
                except (ValueError, RecursionError, TypeError):
                    continue


def _age(one: SignatureFinding) -> str:
    away = f"{_span(abs(one.seconds))} {'old' if one.seconds > 0 else 'ahead of this clock'}"
    return f"the timestamp is {away}; at most {_span(one.allowed)} are allowed"


def _span(seconds: float) -> str:
    """Return a span of time in its largest unit, rounded down: `7 min`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and seconds % length < 1):
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


_CHANGES = {
    BodyChange.LINE_BREAK_ADDED: "the signature fits it without the line break at its end",
    BodyChange.LINE_BREAK_LOST: "the signature fits it with a line break at its end",
    BodyChange.CRLF: "the signature fits it with LF in place of CRLF",
    BodyChange.LF: "the signature fits it with CRLF in place of LF",
    BodyChange.BOM_ADDED: "the signature fits it without the byte order mark",
    BodyChange.BODY_ADDED: "the signature fits an empty body",
    BodyChange.REWRITTEN: "the signature fits the same JSON, written in another way: sign and verify the bytes as they are sent",
    BodyChange.ENCODING: "the signature fits it in another encoding of the letters",
}
_WORDS: dict[Kind, Callable[[SignatureFinding], str]] = {
    Kind.SIGNED: lambda one: f"signed by {one.subject}",
    Kind.STALE: _age,
    Kind.NOT_CHECKED: lambda one: "not checked: no secret is known here",
    Kind.NO_SIGNATURE: lambda one: "not signed: none of the headers svix-id, svix-timestamp and svix-signature came",
    Kind.MISSING: lambda one: f"the header {one.subject} is missing",
    Kind.MIXED: lambda one: f"headers of two families came ({one.subject}): all three must be of one",
    Kind.DOUBLED: lambda one: f"the header {one.subject} came more than once",
    Kind.BAD_ID: lambda one: f"{one.subject} is not 1 to 255 printable characters",
    Kind.MILLISECONDS: lambda one: f"{one.subject} is in milliseconds: it has to be in seconds",
    Kind.BAD_TIMESTAMP: lambda one: f"{one.subject} is not a number of Unix seconds",
    Kind.NO_ENTRY: lambda one: f'{one.subject} has no entry that begins with "v1,"',
    Kind.BODY_CHANGED: lambda one: f"the body was changed after signing: {_CHANGES[BodyChange(one.subject)]}",
    Kind.WRONG_CONTENT: lambda one: f"the right secret signed {one.subject}; it has to sign id.timestamp.body",
    Kind.WRONG_KEY: lambda one: f"{one.subject} was used as text: decode what follows whsec_ from base64",
    Kind.WRONG_HASH: lambda one: f"the right secret made {one.subject}; it has to be HMAC-SHA256",
    Kind.WRONG_FORM: lambda one: 'the right signature in another form; write "v1," and standard base64 with its padding',
    Kind.NO_FIT: lambda one: (
        "no secret that is known here fits: another one signed it, or the body, the id or the timestamp was changed after signing"
    ),
}
