"""The environment of the process: its variables, and the files that hold secrets. Only this module reads `os.environ`."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from gateway.core.secrets import Secret, SecretRef

_LARGEST_SECRET = 1 << 20
"""Bytes. The limit ends the reading of a device such as /dev/zero."""


class Environment:
    """The variables of the process, and the files that hold secrets. It is made once and passed on."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    @classmethod
    def of_process(cls) -> Environment:
        return cls(os.environ)

    def get(self, name: str) -> str | None:
        """Return a variable; None if it is unset or empty, because shells often set an empty one."""
        return self._variables.get(name) or None

    def completed(self, defaults: Mapping[str, str]) -> Environment:
        """Return a copy in which `defaults` fill the variables that are unset or empty."""
        return Environment({**self._variables, **{name: value for name, value in defaults.items() if self.get(name) is None}})

    def directory(self, name: str) -> Path | None:
        """Return the first folder of a variable such as `$STATE_DIRECTORY`, in which systemd separates several by colons."""
        value = self.get(name)
        return Path(value.split(":")[0]) if value else None

    def secret(self, ref: SecretRef, base: Path) -> Secret:
        """Read a secret, without the line break at its end.

        Args:
            base: The folder that a relative `file` starts from.
        Raises:
            ValueError: It is missing, empty or not text. The message names its place, never its content.
        """
        if len(ref.kinds()) != 1:
            raise ValueError('a secret must be { env = "NAME" }, { file = "/path" } or { credential = "name" }')
        if ref.env is not None:
            value = self._variables.get(ref.env)
            if value is None:
                raise ValueError(f"the environment variable {ref.env} is not set")
        else:
            value = _read_secret(self._secret_path(ref, base))
        value = value.rstrip("\r\n")
        if not value:
            raise ValueError(f"the secret of {ref} is empty")
        if "-----BEGIN" not in value:  # certificates and keys in PEM have several lines, and may have a BOM
            _check_one_line(ref, value)
        return Secret(value)

    def _secret_path(self, ref: SecretRef, base: Path) -> Path:
        if ref.file is not None:
            return base / ref.file
        assert ref.credential is not None
        folder = self.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            raise ValueError(
                f"credential {ref.credential}: $CREDENTIALS_DIRECTORY is not set; credentials come from systemd (LoadCredential=)"
            )
        return Path(folder) / ref.credential


def _check_one_line(ref: SecretRef, value: str) -> None:
    """Raise ValueError for characters that an editor or a paste leaves around a secret, and that would become part of it."""
    if value.startswith("\ufeff"):
        raise ValueError(f"the secret of {ref} begins with a byte order mark; save it as UTF-8 without one")
    if re.search(r"[\r\n\x0b\x0c\x85\u2028\u2029]", value):
        raise ValueError(
            f"the secret of {ref} has several lines; it must be one line, unless it is PEM with its BEGIN and END lines"
        )
    if value != value.strip():
        raise ValueError(f"the secret of {ref} begins or ends with a space; remove it")


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file, or the first `most` bytes of a longer one.

    Pipes and devices are refused: a pipe would make the reader wait for a writer, and a device may never end. Raises OSError.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(
            code,
            "is a folder, not a file" if code == errno.EISDIR else "is a pipe, a socket or a device, not a file",
            str(path),
        )
    with path.open("rb") as opened:
        return opened.read(most)


def _read_secret(path: Path) -> str:
    if "\0" in str(path):
        raise ValueError("the path of a secret has a NUL character in it")
    try:
        raw = read_regular(path, _LARGEST_SECRET + 1)
        if len(raw) > _LARGEST_SECRET:
            raise ValueError(f"{path}: is longer than 1 MiB, too long for a secret")
        return raw.decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
