"""Certificates and their keys, as PEM texts in memory: given to OpenSSL, and asked how long they are valid.

Knows neither a configuration nor a socket. No text of an error holds anything of a key.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from gateway.core.attention import EXPIRES_SOON
from gateway.core.secrets import Secret

_CERTIFICATE = re.compile(r"-----BEGIN (?P<what>(?:X509 |TRUSTED )?CERTIFICATE)-----\s(.*?)-----END (?P=what)-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?P<what>(?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?-----END (?P=what)-----", re.DOTALL)
_OTHER_TEXTS = {
    "OPENSSH PRIVATE KEY": "a key of OpenSSH, which TLS can't use",
    "PRIVATE KEY": "a private key",
    "CERTIFICATE REQUEST": "a certificate request, which an authority has to sign first",
    "CERTIFICATE": "a certificate",
    "PUBLIC KEY": "a public key",
    "PKCS7": "a bundle in PKCS #7, which openssl pkcs7 -print_certs turns into certificates",
}
"""Files that people name in place of a certificate or its key, by the end of their first line in PEM (RFC 7468)."""


class PairError(ValueError):
    """A certificate and its key that can't be used. `part` is which of the two is wrong, `reason` how."""

    def __init__(self, part: Literal["certificate", "key"], reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason


class Validity(Struct, frozen=True):
    """When a certificate may be shown, in Unix seconds."""

    begins: float
    ends: float

    def trouble(self, now: float, who: str = "clients") -> str | None:
        """Say what is wrong with it, or will be soon; None if nothing is. `who` refuses it then."""
        if now < self.begins:
            return f"is not valid before {day(self.begins)}: {who} refuse it until then, or this host's clock is wrong"
        if now >= self.ends:
            return f"expired on {day(self.ends)}: {who} refuse it"
        if self.ends - now < EXPIRES_SOON.total_seconds():
            return f"expires on {day(self.ends)}, in {int((self.ends - now) // 86400)} day(s)"
        return None


def load_pair(context: ssl.SSLContext, certificate: Secret, key: Secret) -> None:
    """Let a context show a certificate, with the intermediate ones behind it in its text. Raises PairError.

    Either text may hold the other's part as well, or both be the same; of each, its own part counts.
    """
    shown, hidden = _blocks(_CERTIFICATE, certificate), _blocks(_KEY, key)
    if not shown:
        swapped = ", as if the two were swapped" if not hidden and _blocks(_CERTIFICATE, key) else ""
        raise PairError("certificate", f"{_no('certificate', certificate)}{swapped}")
    if not hidden or "OPENSSH" in hidden[0]:
        raise PairError("key", _no("private key", key))
    # Nothing but the blocks: OpenSSL would show a certificate that stands in the key's file, and does not see one behind a BOM.
    with _file("".join([hidden[0], *shown])) as path:
        try:
            context.load_cert_chain(path, password=_refuse)
        except ssl.SSLError as error:
            raise _explained(error, shown, hidden) from None


def order_trouble(certificate: Secret) -> str | None:
    """Say where the certificates of a text are not followed by who issued them (RFC 8446, section 4.4.2); None if they are."""
    try:
        names = [_names(base64.b64decode(match[2])) for match in _CERTIFICATE.finditer(certificate.reveal())]
    except (IndexError, ValueError):
        return None  # what is damaged is told elsewhere
    for number, ((issuer, _), (_, subject)) in enumerate(pairwise(names), 2):
        if issuer != subject:
            return f"is in the wrong order: the certificate at number {number} in its file did not issue the one before it"
    return None


def leaf(certificate: Secret) -> bytes:
    """The first certificate of a PEM text, the one that it is about, in DER. Raises ValueError where there is none."""
    found = _CERTIFICATE.search(certificate.reveal())
    if found is None:
        raise ValueError("holds no certificate in PEM")
    return base64.b64decode(found[2])


def validity(certificate: Secret) -> Validity:
    """How long the first certificate of a PEM text is valid. Raises ValueError if that is none.

    The `ssl` module tells it of a verified peer alone, so this walks to it: in TBSCertificate it follows the issuer.
    """
    der = leaf(certificate)
    try:
        _, at, _ = _element(der, _issuer(der)[1])
        tag, start, end = _element(der, at)
        begins = _instant(tag, der[start:end])
        tag, start, end = _element(der, end)
        return Validity(begins, _instant(tag, der[start:end]))
    except (IndexError, ValueError) as error:
        raise ValueError("is damaged") from error


def day(instant: float) -> str:
    """`2026-11-02`, of Unix seconds, UTC."""
    return datetime.fromtimestamp(instant, UTC).date().isoformat()


def _blocks(pattern: re.Pattern[str], text: Secret) -> list[str]:
    """Return the blocks that OpenSSL accepts: each from the beginning of a line, in ASCII, and ended by a line feed."""
    found = (match[0].encode("ascii", "replace").decode() for match in pattern.finditer(text.reveal()))
    return ["".join(f"{line.strip()}\n" for line in block.splitlines()) for block in found]


def _issuer(der: bytes) -> tuple[int, int]:
    """Where the issuer of a certificate begins and ends: in TBSCertificate (RFC 5280, section 4.1) it follows the version, which
    may be missing, the serial number and the signature algorithm."""
    _, inside, _ = _element(der, 0)
    _, at, _ = _element(der, inside)
    tag, _, _ = _element(der, at)
    for _ in range(3 if tag == 0xA0 else 2):
        _, _, at = _element(der, at)
    return at, _element(der, at)[2]


def _names(der: bytes) -> tuple[bytes, bytes]:
    """Issuer and subject; the subject follows how long it is valid."""
    begins, ends = _issuer(der)
    _, _, at = _element(der, ends)
    return der[begins:ends], der[at : _element(der, at)[2]]


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Its tag, where its content starts, and where it ends (ITU-T X.690, section 8.1)."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return tag, start, start + length


def _instant(tag: int, content: bytes) -> float:
    """UTCTime means 1950 to 2049, GeneralizedTime says all four digits of its year (RFC 5280, section 4.1.2.5)."""
    text = content.decode("ascii")
    if tag == 0x17:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _refuse() -> str:
    """Else OpenSSL asks on the terminal."""
    raise PairError("key", "is encrypted; the gateway needs one without a passphrase")


def _no(wanted: str, text: Secret) -> str:
    """Describe a text that holds no block of the kind that is wanted: what it holds instead, if that is known."""
    raw, said = text.reveal(), f"holds no {wanted} in PEM"
    if "-----BEGIN" in raw and "\\n" in raw:
        return f"{said}: its line breaks are the two characters \\ and n"
    for ending, what in _OTHER_TEXTS.items():
        if re.search(rf"-----BEGIN [A-Z0-9 ]*{ending}-----", raw):
            if f"{ending}-----" not in raw.partition("-----END")[2]:
                return f"{said}: it holds the beginning of {what}, and not its end"
            return said if what.endswith(wanted) else f"{said}: it holds {what}"
    return said


def _explained(error: ssl.SSLError, shown: list[str], hidden: list[str]) -> PairError:
    reason = error.reason or ""
    # KEY_VALUES_MISMATCH for another key of the same type. OpenSSL keeps a place for each type (SSL_CTX_use_certificate(3)), so a
    # key of another type than the certificate's has none beside it: NO_CERTIFICATE_ASSIGNED.
    if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":
        return _mismatch(shown, hidden)
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return PairError("certificate", f"is too weak for OpenSSL: {reason}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata="".join(shown))
    except ssl.SSLError:
        return PairError("certificate", "is damaged, or was cut when it was copied")
    return PairError("key", "is damaged, or was cut when it was copied")


def _mismatch(shown: list[str], hidden: list[str]) -> PairError:
    for number, certificate in enumerate(shown[1:], 2):
        if _fit(certificate, hidden[0]):
            return PairError(
                "certificate", f"begins with another one than the key's, which is number {number}: put that one first"
            )
    said = "does not belong to the certificate, the first one in its file"
    for number, key in enumerate(hidden[1:], 2):
        if _fit(shown[0], key):
            return PairError("key", f"{said}; the key at number {number} does: leave that one alone")
    return PairError("key", said)


def _fit(certificate: str, key: str) -> bool:
    with _file(key + certificate) as path:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=_refuse)
        except (ssl.SSLError, PairError):
            return False
    return True


@contextmanager
def _file(text: str) -> Iterator[str]:
    """OpenSSL reads files alone. One in memory, so that no disk sees a key; where there are none such, a private one for now."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("certificate"), "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor, not a path)
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            yield file.name
