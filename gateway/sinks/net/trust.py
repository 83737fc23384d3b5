"""How a sink proves who it is, and whom it believes: the TLS context of one that names a certificate or an authority."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from gateway.core.secrets import Secret
from gateway.host.certificates import load_pair
from gateway.host.environment import read_regular

_LARGEST_CA = 16 << 20
"""Bytes of a `ca` file; a reload compares the whole of it. All authorities that browsers believe take less than 1 MiB."""


def context(ca: Path | None = None, certificate: Secret | None = None, key: Secret | None = None) -> ssl.SSLContext:
    """A context for a client. Reads `ca` from the disk.

    Args:
        ca: PEM, the only authorities that are believed then; None believes those of this host.
        certificate: PEM, with the intermediate ones behind it; with a key, PEM too, and without a passphrase.
    Raises:
        ValueError: says which of them is wrong, and how; nothing of a key.
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
    """The context that believes the authorities of this host. All sinks share it, and must not change it.

    Reading them takes 26 ms of the loop, and a megabyte for each context. It is done anew once their files are other ones.
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
    """Return the text of a `ca` file. Raises ValueError, which says why it can't be one."""
    try:
        raw = read_regular(ca, _LARGEST_CA + 1)
    except OSError as error:
        raise ValueError(f"ca: {ca}: {error.strerror}") from None
    if len(raw) > _LARGEST_CA:
        raise ValueError(f"ca: {ca}: is longer than 16 MiB, and no list of authorities")
    return raw.decode("latin-1")


def refused(error: BaseException) -> bool:
    """Whether the other side ended TLS over our certificate, or for want of one (RFC 8446, section 6.2)."""
    reason = (error.reason if type(error) is ssl.SSLError else None) or ""  # that of a failed verification is a subclass
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)
