"""The structs that `gateway.toml` is decoded into, and the only place of their defaults (docs/reference.md, "Configuration")."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

from gateway.config.location import Place
from gateway.core.errors import Problem
from gateway.core.events import IDENTITY
from gateway.core.routing import Route
from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import Duration, Size
from gateway.sinks.base import Locale, SinkSettings


class TlsSettings(Struct, frozen=True, kw_only=True):
    """Where the certificate and its key lie; the text that is a path becomes a reference when the file is loaded."""

    certificate: str | SecretRef
    key: str | SecretRef

    @property
    def pair(self) -> tuple[SecretRef, SecretRef]:
        return _reference(self.certificate), _reference(self.key)


class ServerSettings(Struct, frozen=True, kw_only=True):
    listen: list[str] = field(default_factory=lambda: ["127.0.0.1:8080"])
    """"host:port", "unix:/path", or "fd:NAME" for a socket from systemd."""
    max_body: Size = Size("256KiB")
    drain: Duration = Duration("20s")
    """How long a stop waits for what is in flight."""
    tls: TlsSettings | None = None
    trusted_proxies: list[str] = field(default_factory=list)
    """Networks, or "unix": whose X-Forwarded-For counts."""


class AdminSettings(Struct, frozen=True, kw_only=True):
    listen: list[str] = field(default_factory=lambda: ["127.0.0.1:8081"])
    token: SecretRef | None = None
    """Needed unless every address is loopback or unix."""


class StoreSettings(Struct, frozen=True, kw_only=True):
    path: str | None = None
    retention: Duration = Duration("90d")
    min_free: Size = Size("256MiB")


class AuditSettings(Struct, frozen=True, kw_only=True):
    path: str | None = None


class DefaultsSettings(Struct, frozen=True, kw_only=True):
    """Defaults for all sinks whose messages people read."""

    locale: Locale = "en"
    timezone: str = "UTC"


class SourceSettings(Struct, frozen=True, kw_only=True):
    path: str | None = None
    secrets: list[SecretRef] = field(default_factory=list)
    """Any of them may verify, so that a secret can be rotated."""
    tolerance: Duration = Duration("5m")
    verify: Literal["standard_webhooks", "none"] = "standard_webhooks"
    allow_from: list[str] | None = None
    """Networks; None: everybody may send."""
    keep_refused: Size = Size("64MiB")
    """Bytes of well-formed requests that fit no secret, kept for `gateway reverify`; 0: none."""
    identity: dict[str, list[str]] = field(default_factory=dict)

    def identity_fields(self) -> dict[str, list[str]]:
        """Return the identity fields by event type: the defaults, replaced by what the operator wrote."""
        return IDENTITY | self.identity


class RouteSettings(Struct, frozen=True, kw_only=True):
    name: str | None = None
    match: dict[str, Any] | list[dict[str, Any]] | None = None
    unless: dict[str, Any] | list[dict[str, Any]] | None = None
    source: str | list[str] | None = None
    sinks: list[str]
    final: bool = False
    fallback: bool = False


class TestSettings(Struct, frozen=True, kw_only=True):
    """An expectation about the routes, beside them."""

    name: str
    event: dict[str, Any]
    without: list[str] = field(default_factory=list)
    source: str | None = None
    sinks: list[str] | None = None
    routes: list[str] | None = None
    not_sinks: list[str] | None = None


class Rule(Struct, frozen=True):
    """A route as written, and as compiled."""

    place: Place
    settings: RouteSettings
    route: Route


class Test(Struct, frozen=True):
    place: Place
    settings: TestSettings


class Config(Struct, frozen=True, kw_only=True):
    """A configuration that was found good: every name in it exists, every pattern is compiled."""

    file: Path
    files: tuple[Path, ...]
    """It, and those that it includes."""
    sha256: str
    """The digest of these files and then of the files that the sinks read, such as templates. For one file it is the number that
    `sha256sum` prints."""
    server: ServerSettings
    admin: AdminSettings
    store: StoreSettings
    audit: AuditSettings
    defaults: DefaultsSettings
    sources: dict[str, SourceSettings]
    """Their paths are filled in."""
    sinks: dict[str, SinkSettings]
    """The defaults of `[defaults]` are filled in, and the paths of templates are absolute."""
    sink_files: dict[str, dict[str, str]]
    """The texts of the files that a sink reads, such as its template, by sink and key: a text can change while the configuration
    that names its file stays the same. A text is "" if the file cannot be read; a key whose path cannot be meant is left out, and
    so is a sink that reads nothing."""
    sink_places: dict[str, Place]
    rules: tuple[Rule, ...]
    tests: tuple[Test, ...]
    database: Path
    audit_log: Path
    secrets: dict[SecretRef, Secret]
    """Empty where the file was loaded without its secrets."""
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    """What `check` says beside them, and what no other command and no `--strict` counts."""

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""
        return self.file.parent

    @property
    def routes(self) -> tuple[Route, ...]:
        return tuple(rule.route for rule in self.rules)

    def place(self, *keys: str | int) -> Place:
        """Return the place of something in the main file."""
        return Place(self.file, keys)

    def secret(self, ref: SecretRef) -> Secret:
        return self.secrets[ref]

    def has_secrets_of(self, other: Config) -> bool:
        """Whether every secret is what it is there."""
        return self.secrets.keys() == other.secrets.keys() and all(
            secret.reveal() == other.secrets[ref].reveal() for ref, secret in self.secrets.items()
        )

    def secrets_of(self, value: Any) -> list[str]:
        """What the secrets in some settings are, to compare two configurations; never to be shown."""
        if isinstance(value, SecretRef):
            return [self.secrets[value].reveal() if value in self.secrets else ""]
        if isinstance(value, Struct):
            value = [getattr(value, name) for name in value.__struct_fields__]
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return [found for item in items for found in self.secrets_of(item)]


def _reference(written: str | SecretRef) -> SecretRef:
    return SecretRef(file=written) if isinstance(written, str) else written
