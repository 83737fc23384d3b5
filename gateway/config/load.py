"""Finds the file, reads it, and puts a `Config` together, or raises every problem at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.config import checks
from gateway.config.decode import decode_table, place, secret_refs, suggestion
from gateway.config.settings import (
    AdminSettings,
    AuditSettings,
    Config,
    RouteSettings,
    ServerSettings,
    SourceSettings,
    StoreSettings,
    TestSettings,
)
from gateway.core.errors import ConfigError, Problem
from gateway.core.patterns import Pattern, compile_pattern
from gateway.core.routing import Route
from gateway.core.values import Environment, Secret, SecretRef
from gateway.sinks import SINK_TYPES, SinkConfig

S = TypeVar("S", bound=Struct)
_TABLES = ("server", "admin", "store", "audit", "sources", "sinks", "routes", "tests")
_NAME = "gateway.toml"


def find(given: Path | None, environment: Environment) -> Path:
    """The file to use: `--config`, `$GATEWAY_CONFIG`, or the first of the usual places that has one. Raises ConfigError."""
    named = given or (Path(value) if (value := environment.get("GATEWAY_CONFIG")) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(str(named), [Problem("file", "is not there, or is not a file")])
        return named.absolute()
    places = [Path(_NAME), Path("/etc/legitmark-gateway") / _NAME]
    if (folder := environment.directory("CONFIGURATION_DIRECTORY")) is not None:
        places.insert(1, folder / _NAME)
    for candidate in places:
        if candidate.is_file():
            return candidate.absolute()
    looked = ", ".join(str(candidate) for candidate in places)
    raise ConfigError(_NAME, [Problem("file", f"none found; looked at {looked}", "name one with --config FILE")])


def load(file: Path, environment: Environment, *, secrets: bool = True) -> Config:
    """Read and check a configuration.

    Args:
        secrets: False resolves none of them, for a machine that has none (CI).
    Raises:
        ConfigError: with every problem that was found.
    """
    document = _read(file)
    return _Loader(file, environment, document).config(secrets=secrets)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(str(file), [Problem("file", str(error.strerror))]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [Problem("file", f"is not UTF-8 at byte {error.start}")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(file), [Problem("file", f"is not TOML: {error}")]) from None


class _Loader:
    def __init__(self, file: Path, environment: Environment, document: dict[str, Any]) -> None:
        self._file = file
        self._environment = environment
        self._document = document
        self._problems: list[Problem] = []

    def config(self, *, secrets: bool) -> Config:
        for name in self._document:
            if name not in _TABLES:
                self._problem(place(name), "unknown table", suggestion(name, _TABLES))
        server = self._single(ServerSettings, "server")
        admin = self._in_runtime_directory(self._single(AdminSettings, "admin"))
        store = self._single(StoreSettings, "store")
        audit = self._single(AuditSettings, "audit")
        sources = {
            name: msgspec.structs.replace(settings, path=f"/webhooks/{name}" if settings.path is None else settings.path)
            for name, settings in self._named(SourceSettings, "sources").items()
        }
        sinks = self._sinks()
        routes = self._routes(set(self._table("sinks")), set(self._table("sources")))
        tests = self._tests(set(self._table("sinks")), self._route_names())
        owners: list[tuple[str, Struct]] = [("[admin]", admin)]
        owners += [(place("sources", name), source) for name, source in sources.items()]
        owners += [(place("sinks", name), sink) for name, sink in sinks.items()]
        config = Config(
            file=self._file,
            server=server,
            admin=admin,
            store=store,
            audit=audit,
            sources=sources,
            sinks=sinks,
            routes=tuple(routes),
            tests=tuple(tests),
            database=self._path(store.path, "STATE_DIRECTORY", "gateway.db"),
            audit_log=self._path(audit.path, "LOGS_DIRECTORY", "audit.jsonl"),
            secrets=self._secrets(owners, resolve=secrets),
            warnings=tuple(checks.warnings(self._document, routes, sinks)),
        )
        found: list[Problem] = []
        checks.check(config, found)
        if secrets:
            checks.check_signing_secrets(config, found)
        # A key that could not be decoded has its default here: what the checks say of that was written by nobody.
        complained = {problem.place for problem in self._problems}
        self._problems += [problem for problem in found if problem.place not in complained]
        if self._problems:
            raise ConfigError(str(self._file), self._problems)
        return config

    def _problem(self, where: str, message: str, hint: str = "") -> None:
        self._problems.append(Problem(where, message, hint))

    def _single(self, kind: type[S], name: str) -> S:
        return decode_table(kind, self._document.get(name, {}), place(name), self._problems) or kind()

    def _table(self, name: str) -> dict[str, Any]:
        table = self._document.get(name, {})
        return table if isinstance(table, dict) else {}

    def _named(self, kind: type[S], name: str) -> dict[str, S]:
        if not isinstance(self._document.get(name, {}), dict):
            self._problem(place(name), f"has to be written [{name}.NAME]")
        found: dict[str, S] = {}
        for key, table in self._table(name).items():
            checks.check_name(key, place(name, key), self._problems)
            if key == "gateway":
                self._problem(place(name, key), "this name is the gateway's own: its events have it as their source")
            if (settings := decode_table(kind, table, place(name, key), self._problems)) is not None:
                found[key] = settings
        return found

    def _sinks(self) -> dict[str, SinkConfig]:
        if not isinstance(self._document.get("sinks", {}), dict):
            self._problem("[sinks]", "has to be written [sinks.NAME]")
        found: dict[str, SinkConfig] = {}
        for name, table in self._table("sinks").items():
            where = place("sinks", name)
            checks.check_name(name, where, self._problems)
            kind = table.get("type") if isinstance(table, dict) else None
            types = ", ".join(f'"{known}"' for known in SINK_TYPES)
            if not isinstance(kind, str) or kind not in SINK_TYPES:
                self._problem(f"{where} type", "is missing" if kind is None else "is no type of sink", f"one of {types}")
            elif (settings := decode_table(SINK_TYPES[kind], table, where, self._problems)) is not None:
                found[name] = settings
        return found

    def _routes(self, sinks: set[str], sources: set[str]) -> list[Route]:
        routes: list[Route] = []
        for at, settings in self._list(RouteSettings, "routes"):
            name = settings.name if settings.name is not None else f"route {at + 1}"
            where = f'[[routes]] "{name}"'
            if any(route.name == name for route in routes):
                self._problem(where, "another route has this name already")
            self._known(settings.sinks, sinks, f"{where} sinks", "sink")
            source_names = [settings.source] if isinstance(settings.source, str) else settings.source or []
            self._known(source_names, {*sources, "gateway"}, f"{where} source", "source")
            routes.append(
                Route(
                    name=name,
                    sinks=tuple(dict.fromkeys(settings.sinks)),
                    match=self._patterns(settings.match, f"{where} match"),
                    unless=self._patterns(settings.unless, f"{where} unless"),
                    sources=tuple(source_names),
                    final=settings.final,
                    fallback=settings.fallback,
                )
            )
        return routes

    def _route_names(self) -> set[str]:
        """Of every route that is written, good or not."""
        tables = self._document.get("routes", [])
        named = enumerate(tables if isinstance(tables, list) else [])
        return {str(table.get("name", f"route {at + 1}")) for at, table in named if isinstance(table, dict)}

    def _patterns(self, raw: dict[str, Any] | list[dict[str, Any]] | None, where: str) -> tuple[Pattern, ...]:
        if raw == []:
            self._problem(where, "an empty list matches nothing", "remove it, and every event matches")
        patterns: list[Pattern] = []
        for table in [raw] if isinstance(raw, dict) else raw or []:
            if not table:
                self._problem(where, "an empty table says nothing", "remove it, and every event matches")
            pattern, problems = compile_pattern(table)
            for problem in problems:
                self._problem(f"{where} {problem.path}", problem.message, problem.hint)
            patterns.append(pattern)
        return tuple(patterns)

    def _tests(self, sinks: set[str], routes: set[str]) -> list[TestSettings]:
        tests = [settings for _, settings in self._list(TestSettings, "tests")]
        for test in tests:
            where = f'[[tests]] "{test.name}"'
            self._known([*(test.sinks or []), *(test.not_sinks or [])], sinks, where, "sink")
            self._known(test.routes or [], routes, where, "route")
            self._known([test.source] if test.source else [], set(self._table("sources")), where, "source")
            if test.sinks is None and test.routes is None and test.not_sinks is None:
                self._problem(where, "expects nothing", "name sinks, routes or not_sinks")
        return tests

    def _list(self, kind: type[S], name: str) -> list[tuple[int, S]]:
        tables = self._document.get(name, [])
        if not isinstance(tables, list):
            self._problem(place(name), f"has to be written [[{name}]]")
            return []
        decoded = [(at, decode_table(kind, table, place(name, at), self._problems)) for at, table in enumerate(tables)]
        return [(at, settings) for at, settings in decoded if settings is not None]

    def _known(self, names: list[str], known: set[str], where: str, word: str) -> None:
        for name in names:
            if name not in known:
                self._problem(where, f'there is no {word} "{name}"', suggestion(name, known))

    def _in_runtime_directory(self, admin: AdminSettings) -> AdminSettings:
        folder = self._environment.directory("RUNTIME_DIRECTORY")
        if folder is None:
            return admin
        written = [text.replace("$RUNTIME_DIRECTORY", str(folder)) for text in admin.listen]
        return msgspec.structs.replace(
            admin, listen=written if "listen" in self._table("admin") else [f"unix:{folder}/admin.sock"]
        )

    def _path(self, written: str | None, variable: str, name: str) -> Path:
        if written is not None:
            return self._file.parent / written
        return (self._environment.directory(variable) or self._file.parent) / name

    def _secrets(self, owners: list[tuple[str, Struct]], *, resolve: bool) -> dict[SecretRef, Secret]:
        found: dict[SecretRef, Secret] = {}
        for where, ref in [pair for name, owner in owners for pair in secret_refs(owner, name)]:
            if len(ref.kinds()) != 1:
                self._problem(
                    where, "a secret has one place", 'write { env = "NAME" }, { file = "/path" } or { credential = "name" }'
                )
            elif resolve and ref not in found:
                try:
                    found[ref] = self._environment.secret(ref, self._file.parent)
                except ValueError as error:
                    self._problem(where, str(error))
        return found
