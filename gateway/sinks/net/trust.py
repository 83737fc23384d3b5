"""The TLS contexts of sinks: the certificate by which a sink proves who it is, and the authorities that it trusts."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from gateway.core.secrets import Secret
from gateway.host.certificates import load_pair
from gateway.host.environment import read_regular

_LARGEST_CA = 16 << 20
"""Bytes of a `ca` file, which a reload compares as a whole. All authorities that browsers trust take less than 1 MiB."""


def context(ca: Path | None = None, certificate: Secret | None = None, key: Secret | None = None) -> ssl.SSLContext:
    """Make a context for a client. Reads `ca` from the disk.

    Args:
        ca: PEM with the only authorities to trust; None trusts the authorities of this host.
        certificate: PEM, followed by the intermediate certificates. It needs a key, in PEM without a passphrase.
    Raises:
        ValueError: says which of them is wrong, and how, without any content of the key.
    """
    if ca is not None:
        read_authorities(ca)
    try:
        made = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError:
        raise ValueError(f"ca: {ca} holds no certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"ca: {ca}: {error.strerror}") from None
    if certificate is not None and key is not None:
        load_pair(made, certificate, key)
    return made


def of_host() -> ssl.SSLContext:
    """Return the context that trusts the authorities of this host. All sinks share it, and must not change it.

    Reading them takes 26 ms of the loop, and a megabyte for each context. They are read again when their files change.
    """
    paths = ssl.get_default_verify_paths()
    stamps: list[tuple[str, int, int] | None] = []
    for path in (paths.cafile, paths.capath):
        try:
            found = None if path is None else Path(path).stat()
        except OSError:
            found = None
        stamps.append(None if found is None else (str(path), found.st_mtime_ns, found.st_ino))
    return _of_host(tuple(stamps))


@lru_cache(maxsize=1)
def _of_host(_stamps: tuple[tuple[str, int, int] | None, ...]) -> ssl.SSLContext:
    return ssl.create_default_context()


def read_authorities(ca: Path) -> str:
    """Return the text of a `ca` file. Raises ValueError, which says why the file cannot be one."""
    try:
        raw = read_regular(ca, _LARGEST_CA + 1)
    except OSError as error:
        raise ValueError(f"ca: {ca}: {error.strerror}") from None
    if len(raw) > _LARGEST_CA:
        raise ValueError(f"ca: {ca}: is longer than 16 MiB, so it is not a list of authorities")
    return raw.decode("latin-1")


def refused(error: BaseException) -> bool:
    """Return whether the other side ended TLS because of our certificate, or because it got none (RFC 8446, section 6.2)."""
    reason = (error.reason if type(error) is ssl.SSLError else None) or ""  # that of a failed verification is a subclass
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
