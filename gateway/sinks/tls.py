"""How a sink proves who it is, and whom it believes: the TLS context of one that names a certificate or an authority."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.core.values import Secret


def context(ca: Path | None = None, certificate: Secret | None = None, key: Secret | None = None) -> ssl.SSLContext:
    """A context for a client. Reads `ca` from the disk.

    Args:
        ca: PEM, the only authorities that are believed then; None believes those of this host.
        certificate: PEM, with the intermediate ones behind it; with a key, PEM too, and without a passphrase.
    Raises:
        ValueError: says which of them is wrong, and how; nothing of a key.
    """
    try:
        made = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError:
        raise ValueError(f"ca: {ca} holds no certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"ca: {ca}: {error.strerror}") from None
    if certificate is not None and key is not None:
        with _file(f"{key.reveal()}\n{certificate.reveal()}\n") as path:
            try:
                made.load_cert_chain(path, password=_refuse)
            except ssl.SSLError as error:
                raise ValueError(_pair_words(error)) from None
    return made


def refused(error: BaseException) -> bool:
    """Whether the other side ended TLS over our certificate, or for want of one (RFC 8446, section 6.2)."""
    reason = (error.reason if type(error) is ssl.SSLError else None) or ""  # aiohttp's own SSLErrors have none
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _refuse() -> str:
    """Else OpenSSL asks on the terminal."""
    raise ValueError("key: it is encrypted; the gateway needs one without a passphrase")


def _pair_words(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "certificate and key do not belong to each other"
    return "certificate or key: not in PEM, or cut when it was copied"


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
