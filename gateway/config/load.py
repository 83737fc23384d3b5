"""Builds a `Config` from its files, or raises all problems at once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from gateway.config import checks, lint, rules, watch_rules
from gateway.config.decode import SECRET_FORMS, absolute, decode_table, secrets_in, suggestion
from gateway.config.files import TomlFile, included, missing_folders, read, read_table
from gateway.config.known_keys import DROP_IN, TABLES
from gateway.config.location import Finding, Findings, Place
from gateway.config.memo import Memo, Same
from gateway.config.paths import AS_IT_STANDS, unfit_as_written
from gateway.config.problems import is_secret_itself, problems_of
from gateway.config.secrecy import pasted
from gateway.config.settings import (
    AdminSettings,
    AuditSettings,
    Config,
    DefaultsSettings,
    NodeSettings,
    ReconcileSettings,
    ServerSettings,
    SourceSettings,
    StoreSettings,
    TlsSettings,
)
from gateway.core.errors import ConfigError, Problem
from gateway.core.routing import GATEWAY, RECONCILE
from gateway.core.secrets import Secret, SecretRef
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.sinks import SINK_TYPES, type_of
from gateway.sinks.base import SinkSettings
from gateway.sinks.text.language import is_timezone

S = TypeVar("S", bound=Struct)
_P = TypeVar("_P")
_PLACES = {
    "env": "write the name of the variable that holds it",
    "file": "write the path of the file that holds it",
    "credential": "write the name of the systemd credential that holds it",
}
_RESERVED = {GATEWAY: "the gateway's own events", RECONCILE: "events that were made from answers of Legitmark's API"}
_CREDENTIAL = re.compile(r"[^/\s\x00-\x1f\x7f]+")
"""A file name, because systemd stores a credential under its name (systemd.exec(5), LoadCredential=)."""


def load(
    file: Path, environment: Environment, *, secrets: bool = True, now: float | None = None, memo: Memo | None = None
) -> Config:
    """Read and check a configuration.

    Args:
        secrets: False resolves no secret, for a machine that has none (CI).
        now: Unix seconds, for the validity of certificates; None asks the clock of this host.
        memo: A memo made from that of an earlier load, whose results are reused for unchanged parts.
    Raises:
        ConfigError: It holds every problem in all files.
    """
    findings: Findings = []
    memo = memo or Memo()
    main = read(file, memo)
    loader = _Loader([main, *included(main, findings, memo)], environment, findings, memo)
    return loader.config(secrets=secrets, now=Clock().now() if now is None else now)


def load_admin(file: Path, environment: Environment) -> AdminSettings:
    """Read only [admin], for commands that have to work while the file is being edited. Raises ConfigError if that fails."""
    return _part(file, environment, "admin", _Loader.admin)


def load_store(file: Path, environment: Environment) -> tuple[Path, StoreSettings]:
    """Read only the path of the database and [store]. Raises ConfigError if that fails."""
    return _part(file, environment, "store", _Loader.store)


def load_audit(file: Path, environment: Environment) -> Path:
    """Read only the path of the audit log. Raises ConfigError if that fails."""
    return _part(file, environment, "audit", lambda loader: loader.audit()[1])


def load_sink_names(file: Path) -> set[str]:
    """Read only the names of the sinks. Raises ConfigError if a file can't be read, because some names are unknown then."""
    findings: Findings = []
    main = read(file)
    files = [main, *included(main, findings)]
    if findings:
        raise ConfigError(str(file), problems_of(findings, {file: main.text}))
    return {name for one in files for name in _table(one, "sinks")}


def _part(file: Path, environment: Environment, table: str, of: Callable[[_Loader], _P]) -> _P:
    findings: Findings = []
    try:
        main = read(file)
    except ConfigError:
        main = read_table(file, table)
    part = of(_Loader([main], environment, findings, Memo()))
    if findings:
        raise ConfigError(str(file), problems_of(findings, {file: main.text}))
    return part


class _Loader:
    def __init__(self, files: list[TomlFile], environment: Environment, findings: Findings, memo: Memo) -> None:
        self._files = files
        self._main = files[0]
        self._environment = environment
        self._findings = findings
        self._memo = memo

    def config(self, *, secrets: bool, now: float) -> Config:
        self._check_tables()
        server = self._server()
        admin = self.admin()
        database, store = self.store()
        node = self._single(NodeSettings, "node")
        audit, audit_log = self.audit()
        sources = self._sources()
        defaults = self._single(DefaultsSettings, "defaults")
        reconcile = self._reconcile()
        sinks = self._sinks(defaults)
        written_sinks = {name for file in self._files for name in _table(file, "sinks")}
        written_sources = set(_table(self._main, "sources"))
        routes = rules.read_routes(self._files, written_sinks, written_sources, self._findings, self._memo)
        written_routes = rules.written_names(self._files)
        tests = rules.read_tests(self._files, written_sinks, written_sources, written_routes, self._findings, self._memo)
        watches = watch_rules.read_watches(self._files, self._findings, self._memo)
        owners: list[tuple[Place, Struct]] = [(self._place("server"), server), (self._place("admin"), admin)]
        owners += [(self._place("store"), store)]
        owners += [(self._place("reconcile"), reconcile)] if reconcile is not None else []
        owners += [(self._place("sources", name), source) for name, source in sources.items()]
        owners += list(sinks.values())
        sink_files = {name: read for name, (place, sink) in sinks.items() if (read := self._sink_files(sink, place))}
        texts = [file.text for file in self._files]
        texts += [text for of_sink in sink_files.values() for text in of_sink.values()]
        config = Config(
            file=self._main.path,
            files=tuple(file.path for file in self._files),
            sha256=hashlib.sha256("".join(texts).encode()).hexdigest(),
            server=server,
            admin=admin,
            store=store,
            node=node,
            audit=audit,
            defaults=defaults,
            reconcile=reconcile,
            sources=sources,
            sinks={name: sink for name, (_, sink) in sinks.items()},
            sink_files=sink_files,
            sink_places={name: place for name, (place, _) in sinks.items()},
            rules=tuple(routes),
            route_lines=rules.header_lines(self._files),
            watch_rules=tuple(watches),
            tests=tuple(tests),
            database=database,
            audit_log=audit_log,
            secrets=self._secrets(owners, resolve=secrets),
        )
        found: Findings = []
        checks.check(config, found, self._memo)
        if secrets:
            checks.check_secrets(config, found, now, self._memo)
        if not written_sources and not any(finding.place.keys[:1] == ("sources",) for finding in self._findings):
            found.append(
                Finding(self._place("sources"), "there are no sources", "add [sources.legitmark], or no webhook can arrive")
            )
        found += self._pasted()
        # Skip checks on keys that failed to decode: they hold defaults that the user never wrote.
        refused = [finding.place for finding in self._findings]
        self._findings += [
            finding
            for finding in found
            if not any(place == finding.place or (place.is_key and place.holds(finding.place)) for place in refused)
        ]
        self._findings += lint.warnings(config, self._findings, self._memo)
        problems = self._problems() if self._findings else []
        if any(problem.level == "error" for problem in problems):
            raise ConfigError(str(self._main.path), problems)
        return msgspec.structs.replace(
            config,
            warnings=tuple(problems),
            notes=(*lint.notes(config), *missing_folders(self._main)),
        )

    def _problems(self) -> list[Problem]:
        texts = {file.path: file.text for file in self._files}
        findings = tuple(self._findings)
        key = ("problems", findings, *map(Same, self._files))
        return self._memo.get(key, lambda: problems_of(findings, texts))

    def admin(self) -> AdminSettings:
        return self._in_runtime_directory(self._single(AdminSettings, "admin"))

    def store(self) -> tuple[Path, StoreSettings]:
        settings = self._single(StoreSettings, "store")
        path = self._path(settings.path, "STATE_DIRECTORY", "gateway.db")
        # SQLite's other files lie next to the file itself, not next to a link to it. The lock must lie there too: with a lock
        # per link, two processes could open the same database.
        return Path(os.path.realpath(path)) if os.path.islink(path) else path, settings  # noqa: PTH114 (never raises)

    def audit(self) -> tuple[AuditSettings, Path]:
        settings = self._single(AuditSettings, "audit")
        return settings, self._path(settings.path, "LOGS_DIRECTORY", "audit.jsonl")

    def _server(self) -> ServerSettings:
        server = self._single(ServerSettings, "server")
        if server.tls is None:
            return server
        certificate, key = server.tls.pair
        return msgspec.structs.replace(server, tls=TlsSettings(certificate=certificate, key=key))

    def _check_tables(self) -> None:
        for file in self._files:
            known = TABLES if file is self._main else DROP_IN
            for name in file.document:
                where = Place(file.path, (name,))
                if name not in TABLES:
                    self._say(where, "unknown table", suggestion(name, known), on="key")
                elif name not in known:
                    self._say(
                        where, f"belongs in {self._main.path.name}", f"an included file can have {', '.join(known)}", on="key"
                    )

    def _single(self, kind: type[S], name: str) -> S:
        return decode_table(kind, self._main.document.get(name, {}), self._place(name), self._findings) or kind()

    def _reconcile(self) -> ReconcileSettings | None:
        if "reconcile" not in self._main.document:
            return None
        return decode_table(ReconcileSettings, self._main.document["reconcile"], self._place("reconcile"), self._findings)

    def _sources(self) -> dict[str, SourceSettings]:
        if not isinstance(self._main.document.get("sources", {}), dict):
            self._say(self._place("sources"), "must be written [sources.NAME]")
        found: dict[str, SourceSettings] = {}
        for name, table in _table(self._main, "sources").items():
            where = self._place("sources", name)
            checks.check_name(name, where, self._findings)
            if name in _RESERVED:
                self._say(where, f"this name is reserved: it is the source of {_RESERVED[name]}", on="key")
            if (settings := decode_table(SourceSettings, table, where, self._findings)) is not None:
                path = f"/webhooks/{name}" if settings.path is None else settings.path
                found[name] = msgspec.structs.replace(settings, path=path)
        return found

    def _sinks(self, defaults: DefaultsSettings) -> dict[str, tuple[Place, SinkSettings]]:
        found: dict[str, tuple[Place, SinkSettings]] = {}
        written: dict[str, Place] = {}
        types = ", ".join(f'"{known}"' for known in SINK_TYPES)
        for file in self._files:
            if not isinstance(file.document.get("sinks", {}), dict):
                self._say(Place(file.path, ("sinks",)), "must be written [sinks.NAME]")
            for name, table in _table(file, "sinks").items():
                where = Place(file.path, ("sinks", name))
                checks.check_name(name, where, self._findings)
                if name in written:
                    self._say(where, f"{written[name].file.name} already has a sink with this name", on="key")
                written.setdefault(name, where)
                if not isinstance(table, dict):
                    decode_table(SinkSettings, table, where, self._findings)  # adds the finding
                    continue
                kind = table.get("type")
                if not isinstance(kind, str) or kind not in SINK_TYPES:
                    said = "is missing" if kind is None else "is not a type of sink"
                    self._say(where / "type", said, f"write one of {types}")
                else:
                    folder = None if file is self._main else file.path.parent
                    key = ("sink", where, folder is None, self._memo.text(table), defaults.locale, defaults.timezone)
                    found[name] = where, self._memo.collect(key, self._findings, partial(_sink, table, defaults, where, folder))
        return found

    def _in_runtime_directory(self, admin: AdminSettings) -> AdminSettings:
        folder = self._environment.directory("RUNTIME_DIRECTORY")
        if folder is None:
            return admin
        written = [text.replace("$RUNTIME_DIRECTORY", str(folder)) for text in admin.listen]
        default = "listen" not in _table(self._main, "admin")
        return msgspec.structs.replace(admin, listen=[f"unix:{folder}/admin.sock"] if default else written)

    def _path(self, written: str | None, variable: str, name: str) -> Path:
        folder = self._main.path.parent
        if written is not None:
            return folder / written
        return (self._environment.directory(variable) or folder) / name

    def _secrets(self, owners: list[tuple[Place, Struct]], *, resolve: bool) -> dict[SecretRef, Secret]:
        found: dict[SecretRef, Secret] = {}
        for where, ref in [pair for place, owner in owners for pair in secrets_in(owner, place, self._memo)]:
            if any(where.holds(finding.place) for finding in self._findings):
                continue
            if len(ref.kinds()) != 1:
                hint = 'write { env = "NAME" }, { file = "/path" } or { credential = "name" }'
                self._say(where, "a secret must have exactly one place", hint)
            elif is_secret_itself(kind := ref.kinds()[0], getattr(ref, kind)):
                self._say(where / kind, "this looks like the secret itself", f"{_PLACES[kind]}, and rotate the secret")
            elif (trouble := _unfit(ref, where.file.parent)) is not None:
                self._say(
                    where / kind, trouble, AS_IT_STANDS if kind == "file" else 'write only the name, as in "LoadCredential=name:"'
                )
            elif resolve and ref not in found:
                try:
                    found[ref] = self._environment.secret(ref, self._main.path.parent)
                except ValueError as error:
                    der = "not UTF-8" in str(error) and {"certificate", "key"} & set(where.keys)
                    self._say(where, str(error), "it may be DER; openssl x509 and openssl pkey write PEM" if der else "")
        return found

    def _pasted(self) -> Iterator[Finding]:
        """Yield the secrets that are in the file itself, except at places that already have a finding."""
        for file in self._files:
            for keys, on_key in pasted(file.document, self._memo):
                where = Place(file.path, keys)
                if not any(where.holds(finding.place) or finding.place == where for finding in self._findings):
                    hint = f"write {SECRET_FORMS}, and rotate the secret" if not on_key else "remove it, and rotate the secret"
                    on: Literal["key", "value"] = "key" if on_key else "value"
                    yield Finding(where, "this looks like a secret, which cannot be written into this file", hint, on=on)

    def _sink_files(self, sink: SinkSettings, where: Place) -> dict[str, str]:
        """Read the files that a sink names. The checks report a file that cannot be read; its text is "" here."""
        found: dict[str, str] = {}
        for key, read_text in type_of(sink).reads.items():
            written = getattr(sink, key)
            if written is not None and unfit_as_written(written, where.file.parent) is None:
                try:
                    found[key] = read_text(self._main.path.parent / written)
                except ValueError:
                    found[key] = ""
        return found

    def _place(self, *keys: str | int) -> Place:
        return Place(self._main.path, keys)

    def _say(self, where: Place, wrong: str, hint: str = "", *, on: str = "value") -> None:
        self._findings.append(Finding(where, wrong, hint, on="key" if on == "key" else "value"))


def _unfit(ref: SecretRef, base: Path) -> str | None:
    """Say why a reference probably does not name the place of a secret; None if it may."""
    if ref.file is not None:
        return unfit_as_written(ref.file, base)
    named = ref.credential is None or (_CREDENTIAL.fullmatch(ref.credential) and ref.credential not in (".", ".."))
    return None if named else "is not the name of a credential"


def _table(file: TomlFile, name: str) -> dict[str, Any]:
    table = file.document.get(name, {})
    return table if isinstance(table, dict) else {}


def _sink(
    table: dict[str, Any], defaults: DefaultsSettings, where: Place, folder: Path | None, findings: Findings
) -> SinkSettings:
    """Decode one sink, as far as that is possible without the others.

    Args:
        folder: where relative paths start; None leaves them relative to the main file.
    """
    kind = SINK_TYPES[table["type"]]
    settings: SinkSettings | None = decode_table(kind.config, table, where, findings)
    assert settings is not None  # it is a table
    if folder is not None:
        settings = absolute(settings, folder, kind.paths)
    # A wrong default is reported once, at its own place.
    timezone = defaults.timezone if is_timezone(defaults.timezone) else "UTC"
    return settings.completed(defaults.locale, timezone, where.file.parent)
