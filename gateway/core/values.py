"""Values with units, secrets, and the process environment. The only module that reads `os.environ`."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, Self

import durationpy
from msgspec import Struct

_SIZE_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_RATE_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LARGEST_SECRET = 1 << 20
"""Bytes. A device such as /dev/zero never ends."""
LONGEST_DURATION = 10 * 365 * 86400.0
"""Seconds. A bound that keeps every instant we add it to inside what `datetime` can print."""
LARGEST_SIZE = 2**63 - 1
"""Bytes: what SQLite and the kernel can count."""


class Duration(float):
    """A span of time in seconds, not negative, at most ten years; written `"30s"`, `"1h30m"`, `"90d"`."""

    def __new__(cls, value: str | float) -> Self:
        if isinstance(value, str):
            try:
                if re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+", value, re.ASCII) is None:
                    raise durationpy.DurationError
                value = durationpy.from_str(value).total_seconds()
            except (durationpy.DurationError, OverflowError):
                raise ValueError(f'"{value}" is not a duration; write "30s", "5m", "2h" or "90d"') from None
        if not 0 <= value <= LONGEST_DURATION:
            raise ValueError("a duration lies between 0s and ten years")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            if self >= seconds and self % seconds == 0:
                return f"{int(self // seconds)}{unit}"
        return f"{round(self * 1000)}ms" if self else "0s"


class Size(int):
    """A number of bytes, at most 8 EiB; written `"256KiB"`, `"1MiB"`, `"512B"`."""

    def __new__(cls, value: str | int) -> Self:
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,12}) ?([A-Za-z]{1,3})", value)
            if match is None or match[2] not in _SIZE_UNITS:
                raise ValueError(f'"{value}" is not a size; write "256KiB", "1MiB" or "512B" (kB is 1000, KiB 1024)')
            value = int(match[1]) * _SIZE_UNITS[match[2]]
        if not 0 <= value <= LARGEST_SIZE:
            raise ValueError("a size lies between 0B and 8EiB")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _SIZE_UNITS[unit] == 0:
                return f"{self // _SIZE_UNITS[unit]}{unit}"
        return f"{int(self)}B"


class Rate(float):
    """Deliveries per second, above 0; written `"50/s"`, `"100/m"`, `"600/h"`."""

    def __new__(cls, value: str | float) -> Self:
        if isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/([smh])", value)
            if match is None:
                raise ValueError(f'"{value}" is not a rate; write "50/s", "100/m" or "600/h"')
            value = float(match[1]) / _RATE_UNITS[match[2]]
        if value <= 0:
            raise ValueError("a rate is above 0")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        for unit, seconds in _RATE_UNITS.items():
            count = float(self) * seconds
            if round(count) and abs(count - round(count)) < 1e-6:
                return f"{round(count)}/{unit}"
        return f"{float(self) * _RATE_UNITS['h']:.6f}/h"


class Secret:
    """A secret in memory. It shows itself as `***` everywhere but in `reveal`, and can't be written: no pickle, no JSON."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for the one place that signs or authenticates with it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret can't be pickled")


class SecretRef(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret lies; exactly one of the three is set. The configuration never holds the secret itself."""

    env: str | None = None
    file: str | None = None
    credential: str | None = None

    def __str__(self) -> str:
        return " and ".join(f"{kind} {getattr(self, kind)}" for kind in self.kinds()) or "nothing"

    def kinds(self) -> list[str]:
        """Which of the three are set: exactly one, in a configuration that was found good."""
        return [kind for kind in ("env", "file", "credential") if getattr(self, kind) is not None]


class Environment:
    """What surrounds the process: its variables, and the files that secrets lie in. Made once and passed on."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    @classmethod
    def of_process(cls) -> Environment:
        return cls(os.environ)

    def get(self, name: str) -> str | None:
        """The variable, or None where it is unset or empty: systemd sets none, a shell often an empty one."""
        return self._variables.get(name) or None

    def completed(self, defaults: Mapping[str, str]) -> Environment:
        """Another one, with these variables where it has none."""
        return Environment({**self._variables, **{name: value for name, value in defaults.items() if self.get(name) is None}})

    def directory(self, name: str) -> Path | None:
        """The first folder of a `$STATE_DIRECTORY`-like variable of systemd, which separates several by a colon."""
        value = self.get(name)
        return Path(value.split(":")[0]) if value else None

    def secret(self, ref: SecretRef, base: Path) -> Secret:
        """Read a secret, without the line break at its end.

        Args:
            base: the folder that a relative `file` starts from.
        Raises:
            ValueError: it isn't there, is empty or isn't text; the message names the place, never the content.
        """
        if len(ref.kinds()) != 1:
            raise ValueError('a secret is { env = "NAME" }, { file = "/path" } or { credential = "name" }')
        if ref.env is not None:
            value = self._variables.get(ref.env)
            if value is None:
                raise ValueError(f"the environment variable {ref.env} is not set")
        else:
            value = _read_secret(self._secret_path(ref, base))
        value = value.rstrip("\r\n")
        if not value:
            raise ValueError(f"the secret of {ref} is empty")
        if "-----BEGIN" not in value:  # else certificates or keys in PEM, which have several lines and may have a BOM
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
    """Raise ValueError for what an editor or a paste leaves around a secret, which would be a part of it."""
    if value.startswith("\ufeff"):
        raise ValueError(f"the secret of {ref} begins with a byte order mark; save it as UTF-8 without one")
    if re.search(r"[\r\n\x0b\x0c\x85\u2028\u2029]", value):
        raise ValueError(
            f"the secret of {ref} has several lines; it is one line alone, unless it is PEM with its lines of dashes"
        )
    if value != value.strip():
        raise ValueError(f"the secret of {ref} begins or ends with a blank; remove it")


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file, or the first `most` bytes of a longer one.

    A pipe would keep its reader waiting for a writer, and a device may never end, so neither is opened. Raises OSError.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(
            code,
            "is a folder, and no file" if code == errno.EISDIR else "is a pipe, a socket or a device, and no file",
            str(path),
        )
    with path.open("rb") as opened:
        return opened.read(most)


def _read_secret(path: Path) -> str:
    if "\0" in str(path):
        raise ValueError("the path of a secret has a NUL in it")
    try:
        raw = read_regular(path, _LARGEST_SECRET + 1)
        if len(raw) > _LARGEST_SECRET:
            raise ValueError(f"{path}: is longer than 1 MiB, and no secret")
        return raw.decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None


def rfc3339(instant: float) -> str:
    """`2026-03-01T22:06:01.250Z`, for an instant in Unix seconds, UTC (RFC 3339, section 5.6)."""
    return _rfc3339(round(instant * 1000))


@lru_cache(maxsize=256)
def _rfc3339(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Actor(str):
    """The authenticated user who acts, and what the request says of who that is: a claim, kept beside it and never believed."""

    claimed: str | None

    def __new__(cls, user: str, claimed: str | None = None) -> Actor:
        made = super().__new__(cls, user)
        made.claimed = claimed
        return made


def claim_of(actor: str) -> str | None:
    """Return what a request said of who acts; None where it said nothing, or no request was made."""
    return actor.claimed if isinstance(actor, Actor) else None
