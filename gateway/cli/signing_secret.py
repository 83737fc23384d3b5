"""The option `--secret`, which names a signing secret and never holds one: `ps` would show that to every user of the host."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.errors import UsageError
from gateway.core.secrets import Secret, SecretRef
from gateway.core.signature import Key
from gateway.host.environment import Environment


def signing_secret(text: str) -> Secret:
    """Return the signing secret that `--secret` names. Raises UsageError, without any part of a secret."""
    kind, _, name = text.partition(":")
    if kind not in ("env", "file", "credential") or not name:
        raise UsageError("--secret is env:NAME, file:PATH or credential:NAME, and not the secret itself: ps would show that")
    try:
        found = Environment.of_process().secret(SecretRef(**{kind: name}), Path())
        Key(found)
    except ValueError as error:
        raise UsageError(f"--secret: {error}") from None
    return found
