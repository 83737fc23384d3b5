"""Every exception that this gateway raises on purpose, each with its exit code or its HTTP status. It has no behaviour.

    GatewayError
    ├── ConfigError           the operator: gateway.toml is wrong; all problems at once   exit 78
    ├── SinkSetupError        the operator: a sink can't be opened as configured          exit 78
    ├── RejectedWebhook       the sender: this request is refused                         HTTP 4xx
    ├── Unreachable           the operator: no gateway answers there                      exit 69
    ├── ListenError           the operator: an address can't be listened on               exit 74
    ├── BackupFailed          the operator: no backup was made; its file is removed       exit 74
    │   ├── BackupElsewhere   the database is a server, which has tools of its own            exit 2
    │   ├── BackupExists      a file of that name exists already                          exit 2
    │   └── DatabaseJobBusy        another backup or check is running                          exit 1
    └── StoreError            the operator: nothing can be committed now                  HTTP 503
        ├── StoreOverloaded   too many requests wait for the disk already                 HTTP 503
        ├── StoreLocked       another process holds the database                          exit 73
        ├── StoreUnfit        the database server, or its URL, cannot keep the promises      exit 78
        ├── StoreCorrupt      the file is not a database that can be trusted              exit 65
        └── StoreFailed       the disk answered with an I/O error                         exit 74

Expected answers of other systems, such as a sink's 500, are values (see `outcome`), never exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from msgspec import Struct, field

EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "the check failed, or the gateway refused the act",
    2: "wrong usage, or an unknown sink, route or source",
    65: "the database is corrupt, or newer than this gateway",
    69: "no gateway answers",
    70: "a bug in the gateway",
    73: "another process holds the database",
    74: "an I/O error",
    78: "the configuration is wrong",
}
"""Every exit code of a command, with its meaning; from 65 on they are those of sysexits.h."""


class GatewayError(Exception):
    """The base of all of them. The process ends with `exit_code` (sysexits.h)."""

    exit_code: ClassVar[int] = 70


class Problem(Struct, frozen=True, kw_only=True):
    """One problem in a configuration: its place, what is wrong, and what to do about it."""

    place: str
    """Table and key as written in TOML: `[sinks.erp] retry`."""
    wrong: str = field(name="message")
    """The end of a sentence that `place` begins. In JSON the key is `message`."""
    hint: str = ""
    level: Literal["error", "warning", "note"] = "error"
    file: str = ""
    line: int | None = None
    """1-based. The column is 1-based too, and counts characters. Both are None if the file could not be read as text."""
    column: int | None = None
    source: str = ""
    """The line of the file, with anything that may be a secret masked."""
    width: int = 1
    """The number of characters to underline, from the column on."""

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}:{self.column}" if self.line is not None else self.file
        hint = f" ({self.hint})" if self.hint else ""
        place = "" if self.line is not None and self.place == "file" else f"{self.place}: "
        line = f"{at}: {self.level}: {place}{self.wrong}{hint}"
        return "".join(character if character.isprintable() or character == "\u3000" else "?" for character in line)


class ConfigError(GatewayError):
    exit_code = 78

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class SinkSetupError(GatewayError):
    exit_code = 78


class Unreachable(GatewayError):
    exit_code = 69


class ListenError(GatewayError):
    exit_code = 74


class BackupFailed(GatewayError):
    exit_code = 74
    code: ClassVar[str] = "backup_failed"


class BackupElsewhere(BackupFailed):
    exit_code = 2
    code = "backup_elsewhere"


class BackupExists(BackupFailed):
    exit_code = 2
    code = "backup_exists"


class DatabaseJobBusy(BackupFailed):
    exit_code = 1
    code = "busy"


class RejectedWebhook(GatewayError):
    """A request that is refused. `code` is also the reason in the audit log and in the metrics.

    docs/reference.md, "Receiving webhooks", has the closed list of codes.
    `detail` goes to the sender: it never holds a secret, an expected signature, or bytes of the request.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(f"{status} {code}: {detail}")


class StoreError(GatewayError):
    exit_code = 74
    code: ClassVar[str] = "store_unavailable"


class StoreOverloaded(StoreError):
    code = "overloaded"


class StoreLocked(StoreError):
    exit_code = 73


class StoreUnfit(StoreError):
    exit_code = 78


class StoreCorrupt(StoreError):
    exit_code = 65


class StoreFailed(StoreError):
    exit_code = 74
