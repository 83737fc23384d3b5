"""The structs that `gateway.toml` is decoded into, and the only place of their defaults (docs/reference.md, "Configuration")."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

from gateway.config.location import Place
from gateway.core.errors import Problem
from gateway.core.events import IDENTITY
from gateway.core.ledger import Facts, Regression, milestone_of
from gateway.core.routing import Route
from gateway.core.secrets import Secret, SecretRef
from gateway.core.values import Duration, Rate, Size
from gateway.core.watches import Watch
from gateway.sinks.base import Locale, SinkSettings


class TlsSettings(Struct, frozen=True, kw_only=True):
    """The certificate and its key. A path written as a string becomes a reference when the file is loaded."""

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
    """The longest time that a stop waits for requests and deliveries in progress."""
    tls: TlsSettings | None = None
    trusted_proxies: list[str] = field(default_factory=list)
    """Networks, or "unix". `X-Forwarded-For` is honoured only from these addresses."""


class AdminUserSettings(Struct, frozen=True, kw_only=True):
    """One `[admin.users.NAME]` table: a person or a program that uses the admin listener."""

    token: SecretRef | None = None
    """The token that the user signs in with; None: only a proxy names this user."""
    role: Literal["support", "read", "operate"]


class AdminSettings(Struct, frozen=True, kw_only=True):
    listen: list[str] = field(default_factory=lambda: ["127.0.0.1:8081"])
    token: SecretRef | None = None
    """The token of the user `admin`, who may do everything. Without any user, callers on this host need none."""
    users: dict[str, AdminUserSettings] = field(default_factory=dict)
    user_header: str | None = None
    """The header in which a proxy names the user. It counts only from a unix socket and from `trusted_proxies`."""
    user_header_role: Literal["support", "read", "operate"] = "support"
    """The role of a user whom a proxy names, and who has no table of their own."""
    trusted_proxies: list[str] = field(default_factory=list)
    """Networks, or "unix"."""
    hosts: list[str] = field(default_factory=list)
    """Names by which browsers call the listener through a proxy."""

    @property
    def asks(self) -> bool:
        """True if callers have to say who they are."""
        return self.token is not None or bool(self.users) or self.user_header is not None


class StoreSettings(Struct, frozen=True, kw_only=True):
    path: str | None = None
    """The file of SQLite."""
    url: SecretRef | None = None
    """The URL of PostgreSQL, which several nodes share; None: the database is a file."""
    schema: str = "gateway"
    """The schema of PostgreSQL that holds the tables."""
    durability: Literal["primary", "replicated"] = "primary"
    """`replicated`: a message is acknowledged once a synchronous standby has it, too."""
    retention: Duration = Duration("90d")
    min_free: Size = Size("256MiB")


class NodeSettings(Struct, frozen=True, kw_only=True):
    """One of the gateways that share a PostgreSQL."""

    name: str | None = None
    """The name, which no other node may have; None: the name of the host."""
    lease: Duration = Duration("20s")
    """The time after which other nodes take over the sinks of a node that is silent."""


class AuditSettings(Struct, frozen=True, kw_only=True):
    path: str | None = None


class DefaultsSettings(Struct, frozen=True, kw_only=True):
    """Defaults for all sinks that send messages to people."""

    locale: Locale = "en"
    timezone: str = "UTC"


class SourceSettings(Struct, frozen=True, kw_only=True):
    path: str | None = None
    secrets: list[SecretRef] = field(default_factory=list)
    """A message is accepted if any of them verifies it, so that a secret can be rotated."""
    tolerance: Duration = Duration("5m")
    verify: Literal["standard_webhooks", "none"] = "standard_webhooks"
    allow_from: list[str] | None = None
    """The networks that may send; None allows every address."""
    keep_refused: Size = Size("64MiB")
    """The most bytes of well-formed requests with a wrong signature that are kept for `gateway reverify`; 0 keeps none."""
    identity: dict[str, list[str]] = field(default_factory=dict)
    silent_after: Duration = Duration("0s")
    """The time without a message after which people are told; 0 never tells."""

    def identity_fields(self) -> dict[str, list[str]]:
        """Return the identity fields by event type: those of the configuration, or else the defaults."""
        return IDENTITY | self.identity


class ReconcileSettings(Struct, frozen=True, kw_only=True):
    """How Legitmark's API is asked for the present state of service requests."""

    url: str
    """The URL of all service requests; a slash and the uuid of one follow it."""
    api_key: SecretRef
    header: str = "authorization"
    scheme: str = "Bearer"
    """The word before the key; empty for a header that holds the key alone."""
    source: str | None = None
    """The source whose service requests are compared; None means the first."""
    emit: bool = False
    """Make a `state_change` of what the API told, with the source `reconcile`."""
    gap: Duration = Duration("155m")
    """The time without a message of the source after which a reconciliation begins: the sender has given up by then."""
    rate: Rate = Rate("2/s")
    most: int = 10_000
    """The most service requests of a reconciliation of all open ones."""
    timeout: Duration = Duration("30s")
    proxy: str | SecretRef | None = None
    allow_networks: list[str] | None = None


class RouteSettings(Struct, frozen=True, kw_only=True):
    name: str | None = None
    match: dict[str, Any] | list[dict[str, Any]] | None = None
    unless: dict[str, Any] | list[dict[str, Any]] | None = None
    source: str | list[str] | None = None
    sinks: list[str]
    final: bool = False
    fallback: bool = False
    join: Duration = Duration("0s")
    """The longest time for which a QC/REJECTED and its media_rejected wait for each other, to go out as one message; 0 never."""


class StateBefore(Struct, frozen=True, kw_only=True):
    before: str


class FactSettings(Struct, frozen=True, kw_only=True):
    """The facts of the event of a test, by their names in patterns; the defaults are those of an event in good order."""

    stale: bool = False
    round: int = 1
    skipped: list[str] = field(default_factory=list)
    terminal_regression: Literal["verdict_changed", "reopened", "ended_twice", "after_invalidation"] | None = None
    undated: bool = False
    future: bool = False
    state: StateBefore | None = None

    def facts(self) -> Facts:
        return Facts(
            round=self.round,
            before=None if self.state is None else self.state.before,
            stale=self.stale,
            skipped=tuple(self.skipped),
            terminal_regression=None if self.terminal_regression is None else Regression(self.terminal_regression),
            undated=self.undated,
            future=self.future,
            since=milestone_of(self.state.before) if self.stale and self.state is not None else None,
        )


class WatchSettings(Struct, frozen=True, kw_only=True):
    """One `[[watch]]` table: how long a service request may stay in a state."""

    name: str
    state: str | list[str]
    after: Duration
    again: Duration | None = None


class TestSettings(Struct, frozen=True, kw_only=True):
    """One `[[tests]]` table: an event, and the sinks and routes that it is expected to reach."""

    name: str
    event: dict[str, Any]
    without: list[str] = field(default_factory=list)
    facts: FactSettings | None = None
    """The facts of the event; None for an event that has none."""
    source: str | None = None
    sinks: list[str] | None = None
    routes: list[str] | None = None
    not_sinks: list[str] | None = None


class Rule(Struct, frozen=True):
    """A route, both as written and as compiled."""

    place: Place
    settings: RouteSettings
    route: Route


class WatchRule(Struct, frozen=True):
    """A watch, both as written and as the gateway goes by it."""

    place: Place
    settings: WatchSettings
    watch: Watch


class Test(Struct, frozen=True):
    place: Place
    settings: TestSettings


class Config(Struct, frozen=True, kw_only=True):
    """A valid configuration: every name in it exists, and every pattern is compiled."""

    file: Path
    files: tuple[Path, ...]
    """The main file and the files that it includes."""
    sha256: str
    """The digest of these files, followed by the files that the sinks read, such as templates. For a single file it equals the
    output of `sha256sum`."""
    server: ServerSettings
    admin: AdminSettings
    store: StoreSettings
    node: NodeSettings
    audit: AuditSettings
    defaults: DefaultsSettings
    reconcile: ReconcileSettings | None
    """The table [reconcile]; None if the file has none."""
    sources: dict[str, SourceSettings]
    """The sources by name, with their paths filled in."""
    sinks: dict[str, SinkSettings]
    """The sinks by name, with the defaults of `[defaults]` filled in and the paths of templates made absolute."""
    sink_files: dict[str, dict[str, str]]
    """The texts of the files that the sinks read, such as templates, by sink and key. A text can change while the configuration
    that names its file stays the same. An unreadable file has the text "". A key with an invalid path is left out, and so is a
    sink that reads no file."""
    sink_places: dict[str, Place]
    rules: tuple[Rule, ...]
    route_lines: tuple[int, ...]
    """The 1-based line of each of the rules in its file; 0 if it is not known."""
    watch_rules: tuple[WatchRule, ...]
    tests: tuple[Test, ...]
    database: Path
    """The file of SQLite. On PostgreSQL there is no such file, but the node's own files are beside it (`core.database_files`)."""
    audit_log: Path
    secrets: dict[SecretRef, Secret]
    """The values of all secrets; empty if the file was loaded without them."""
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    """Remarks that only `check` prints. They are not warnings, and `--strict` ignores them."""

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""
        return self.file.parent

    @property
    def routes(self) -> tuple[Route, ...]:
        return tuple(rule.route for rule in self.rules)

    @property
    def watches(self) -> tuple[Watch, ...]:
        return tuple(rule.watch for rule in self.watch_rules)

    def place(self, *keys: str | int) -> Place:
        """Return the place of something in the main file."""
        return Place(self.file, keys)

    def secret(self, ref: SecretRef) -> Secret:
        return self.secrets[ref]

    def has_secrets_of(self, other: Config) -> bool:
        """Return True if both configurations have the same secrets with the same values."""
        return self.secrets.keys() == other.secrets.keys() and all(
            secret.reveal() == other.secrets[ref].reveal() for ref, secret in self.secrets.items()
        )

    def secrets_of(self, value: Any) -> list[str]:
        """List the values of the secrets in some settings, for comparing two configurations. Never show them."""
        if isinstance(value, SecretRef):
            return [self.secrets[value].reveal() if value in self.secrets else ""]
        if isinstance(value, Struct):
            value = [getattr(value, name) for name in value.__struct_fields__]
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return [found for item in items for found in self.secrets_of(item)]


def _reference(written: str | SecretRef) -> SecretRef:
    return SecretRef(file=written) if isinstance(written, str) else written
