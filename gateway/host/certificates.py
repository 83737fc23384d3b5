"""Certificates and their keys as PEM texts in memory: loading them into OpenSSL, and reading how long they are valid.

It knows neither the configuration nor sockets. No error text holds any part of a key.
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
    "OPENSSH PRIVATE KEY": "a key of OpenSSH, which TLS cannot use",
    "PRIVATE KEY": "a private key",
    "CERTIFICATE REQUEST": "a certificate request, which a certificate authority has to sign first",
    "CERTIFICATE": "a certificate",
    "PUBLIC KEY": "a public key",
    "PKCS7": "a PKCS #7 bundle, which openssl pkcs7 -print_certs turns into certificates",
}
"""Files that people use by mistake instead of a certificate or key, by the end of their first line in PEM (RFC 7468)."""


class PairError(ValueError):
    """An unusable pair of certificate and key. `part` tells which of the two is wrong, `reason` why."""

    def __init__(self, part: Literal["certificate", "key"], reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason


class Validity(Struct, frozen=True):
    """The period in which a certificate is valid, in Unix seconds."""

    begins: float
    ends: float

    def trouble(self, now: float, who: str = "clients") -> str | None:
        """Describe what is wrong with the period, or will be soon; None if all is well. `who` will refuse the certificate."""
        if now < self.begins:
            return f"is not valid before {day(self.begins)}: {who} refuse it until then; or the clock of this host is wrong"
        if now >= self.ends:
            return f"expired on {day(self.ends)}: {who} refuse it"
        if self.ends - now < EXPIRES_SOON.total_seconds():
            return f"expires on {day(self.ends)}, in {int((self.ends - now) // 86400)} day(s)"
        return None


def load_pair(context: ssl.SSLContext, certificate: Secret, key: Secret) -> None:
    """Load a certificate, the intermediate certificates that follow it, and its key into a context. Raises PairError.

    Each text may hold the other part as well, and both may be the same text. Only the certificates of the first and the key of
    the second are used.
    """
    shown, hidden = _blocks(_CERTIFICATE, certificate), _blocks(_KEY, key)
    if not shown:
        swapped = ", as if the two were swapped" if not hidden and _blocks(_CERTIFICATE, key) else ""
        raise PairError("certificate", f"{_no('certificate', certificate)}{swapped}")
    if not hidden or "OPENSSH" in hidden[0]:
        raise PairError("key", _no("private key", key))
    # Only the blocks: OpenSSL would also load a certificate from the key's file, and overlooks one that follows a BOM.
    with _file("".join([hidden[0], *shown])) as path:
        try:
            context.load_cert_chain(path, password=_refuse)
        except ssl.SSLError as error:
            raise _explained(error, shown, hidden) from None


def order_trouble(certificate: Secret) -> str | None:
    """Describe the first certificate that is not followed by that of its issuer (RFC 8446, section 4.4.2); None if all are."""
    try:
        names = [_names(base64.b64decode(match[2])) for match in _CERTIFICATE.finditer(certificate.reveal())]
    except (IndexError, ValueError):
        return None  # `load_pair` reports a damaged certificate
    for number, ((issuer, _), (_, subject)) in enumerate(pairwise(names), 2):
        if issuer != subject:
            return f"is in the wrong order: certificate {number} of its file did not issue the one before it"
    return None


def leaf(certificate: Secret) -> bytes:
    """Return the first certificate of a PEM text in DER. Raises ValueError if the text holds no certificate."""
    found = _CERTIFICATE.search(certificate.reveal())
    if found is None:
        raise ValueError("holds no certificate in PEM")
    return base64.b64decode(found[2])


def validity(certificate: Secret) -> Validity:
    """Return the validity of the first certificate of a PEM text. Raises ValueError if it is missing or damaged.

    The `ssl` module offers this only for a verified peer, so this function parses the DER: the validity follows the issuer in
    TBSCertificate.
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
    """Format the day of an instant, given in Unix seconds, as `2026-11-02` (UTC)."""
    return datetime.fromtimestamp(instant, UTC).date().isoformat()


def _blocks(pattern: re.Pattern[str], text: Secret) -> list[str]:
    """Return the blocks in the form that OpenSSL accepts: ASCII lines, each without leading blanks and with a line feed."""
    found = (match[0].encode("ascii", "replace").decode() for match in pattern.finditer(text.reveal()))
    return ["".join(f"{line.strip()}\n" for line in block.splitlines()) for block in found]


def _issuer(der: bytes) -> tuple[int, int]:
    """Return the beginning and the end of the issuer of a certificate.

    In TBSCertificate (RFC 5280, section 4.1) it follows the version, which may be missing, the serial number and the signature
    algorithm.
    """
    _, inside, _ = _element(der, 0)
    _, at, _ = _element(der, inside)
    tag, _, _ = _element(der, at)
    for _ in range(3 if tag == 0xA0 else 2):
        _, _, at = _element(der, at)
    return at, _element(der, at)[2]


def _names(der: bytes) -> tuple[bytes, bytes]:
    """Return issuer and subject. The subject follows the validity."""
    begins, ends = _issuer(der)
    _, _, at = _element(der, ends)
    return der[begins:ends], der[at : _element(der, at)[2]]


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of an element, the start of its content, and its end (ITU-T X.690, section 8.1)."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return tag, start, start + length


def _instant(tag: int, content: bytes) -> float:
    """Return the Unix seconds of a time (RFC 5280, section 4.1.2.5).

    UTCTime has two digits for a year from 1950 to 2049; GeneralizedTime has four digits.
    """
    text = content.decode("ascii")
    if tag == 0x17:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _refuse() -> str:
    """Refuse to give a passphrase. Without this callback OpenSSL asks for one on the terminal."""
    raise PairError("key", "is encrypted; the gateway needs one without a passphrase")


def _no(wanted: str, text: Secret) -> str:
    """Describe a text that holds no block of the wanted kind, and what it holds instead if that is known."""
    raw, said = text.reveal(), f"holds no {wanted} in PEM"
    if "-----BEGIN" in raw and "\\n" in raw:
        return f"{said}: its line breaks are written as \\n"
    for ending, what in _OTHER_TEXTS.items():
        if re.search(rf"-----BEGIN [A-Z0-9 ]*{ending}-----", raw):
            if f"{ending}-----" not in raw.partition("-----END")[2]:
                return f"{said}: it holds the beginning of {what}, but not its end"
            return said if what.endswith(wanted) else f"{said}: it holds {what}"
    return said


def _explained(error: ssl.SSLError, shown: list[str], hidden: list[str]) -> PairError:
    reason = error.reason or ""
    # OpenSSL reports KEY_VALUES_MISMATCH for another key of the same type. It keeps one slot per type
    # (SSL_CTX_use_certificate(3)), so for a key of another type it finds no certificate: NO_CERTIFICATE_ASSIGNED.
    if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":
        return _mismatch(shown, hidden)
    if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
        return PairError("certificate", f"is too weak, OpenSSL refuses it: {reason}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata="".join(shown))
    except ssl.SSLError:
        return PairError("certificate", "is damaged, or was cut when it was copied")
    return PairError("key", "is damaged, or was cut when it was copied")


def _mismatch(shown: list[str], hidden: list[str]) -> PairError:
    for number, certificate in enumerate(shown[1:], 2):
        if _fit(certificate, hidden[0]):
            return PairError(
                "certificate", f"does not begin with the certificate of the key, which is number {number}: put that one first"
            )
    said = "does not belong to the certificate, which is the first one in its file"
    for number, key in enumerate(hidden[1:], 2):
        if _fit(shown[0], key):
            return PairError("key", f"{said}; key {number} does: remove the others")
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
    """Put a text into a file, because OpenSSL reads only files, and yield its path.

    The file is in memory, so that the key never reaches a disk. Systems without such files get a private temporary file.
    """
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
