"""`gateway check`: reports every problem of a configuration at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from gateway.cli.errors import UsageError, explained
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import printable, to_json
from gateway.config import Config, find, load
from gateway.core.errors import ConfigError, Problem, StoreError
from gateway.host.environment import Environment

if TYPE_CHECKING:
    from gateway.sinks.base import Found


def check(
    file: Path | None = None,
    /,
    *,
    config: ConfigOption = None,
    strict: Annotated[bool, Parameter(negative="", help="Exit with 1 if there are warnings.")] = False,
    probe: Annotated[
        bool, Parameter(negative="", help="Also open every sink (name, connection, TLS, login) and [store] url; send nothing.")
    ] = False,
    secrets: Annotated[
        bool, Parameter(negative="--no-secrets", help="Read the secrets too (the default); --no-secrets is for CI.")
    ] = True,
    json_: JsonOption = False,
) -> int:
    """Check a configuration, and report every problem at once.

    Exit codes: 0 good, with or without warnings; 1 warnings with --strict, or a sink that does not open with --probe; 78 errors.

    Example: gateway check --strict --probe

    Parameters
    ----------
    file
        The configuration file; the same as --config.
    """
    if probe and not secrets:
        raise UsageError("--probe and --no-secrets can't be combined: a sink is opened with its secrets")
    environment = Environment.of_process()
    problems: Sequence[Problem] = ()
    loaded: Config | None = None
    try:
        path = find(file or config, environment)
        loaded = load(path, environment, secrets=secrets)
        name, problems = str(path), loaded.warnings
        status = 1 if strict and problems else 0
    except ConfigError as error:
        name, problems, status = error.file, error.problems, error.exit_code
    if not json_:
        _print(name, problems, loaded)
    probes = asyncio.run(_probe(loaded)) if probe and loaded is not None else {}
    server = asyncio.run(_probe_server(loaded)) if probe and loaded is not None else None
    if not all(found.ok for found in (*probes.values(), *((server,) if server is not None else ()))):
        status = 1
    if json_:
        document: dict[str, Any] = {"ok": status == 0, "problems": [_problem(problem) for problem in problems]}
        if probe:
            document["probes"] = [_probed(sink, found) for sink, found in probes.items()]
            if server is not None:
                document["store"] = _result(server)
        print(to_json(document))
    else:
        for name, found in (*probes.items(), *((("[store] url", server),) if server is not None else ())):
            print(printable(f"{name}: {found.detail}" if found.ok else f"{name}: failed: {found.detail}"))
        for note in loaded.notes if loaded is not None and not probe else ():  # only for people: JSON holds problems alone
            print("\n".join(explained(note)))
    return status


async def _probe(config: Config) -> Mapping[str, Found]:
    """Open every sink at the same time, and return the findings in the order of the file."""
    from gateway.host.clock import Clock
    from gateway.sinks import type_of
    from gateway.sinks.base import Opening

    clock = Clock()
    probes = (type_of(sink).probe(sink, Opening(name, config.base, config.secret, clock)) for name, sink in config.sinks.items())
    return dict(zip(config.sinks, await asyncio.gather(*probes), strict=True))


async def _probe_server(config: Config) -> Found | None:
    """Connect to the PostgreSQL of the configuration as a start does; None if the database is a file."""
    if config.store.url is None:
        return None
    from gateway.host.clock import Clock
    from gateway.sinks.base import Found
    from gateway.store.opening import probe_server

    clock, url = Clock(), config.secret(config.store.url).reveal()
    begun = clock.monotonic()
    try:
        ok, detail = True, await probe_server(url, config.store.schema, replicated=config.store.durability == "replicated")
    except StoreError as error:
        ok, detail = False, str(error)
    return Found(ok, detail, clock.monotonic() - begun)


def _print(name: str, problems: Sequence[Problem], loaded: Config | None) -> None:
    for problem in problems:
        print("\n".join(explained(problem)))
    if loaded is None:
        errors = sum(problem.level == "error" for problem in problems)
        print(f"{name}: {errors} problem(s); the gateway would not use this file")
    else:
        print(f"{name}: good: {len(loaded.sources)} source(s), {len(loaded.sinks)} sink(s), {len(loaded.rules)} route(s)")


def _problem(problem: Problem) -> dict[str, Any]:
    keys = ("file", "line", "column", "level", "place", "message", "hint")
    document = msgspec.to_builtins(problem)
    return {key: document[key] for key in keys}


def _probed(sink: str, found: Found) -> dict[str, Any]:
    return {"sink": sink, **_result(found)}


def _result(found: Found) -> dict[str, Any]:
    return {"ok": found.ok, "detail": found.detail, "duration_ms": round(found.seconds * 1000)}
