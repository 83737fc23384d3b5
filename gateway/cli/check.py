"""`gateway check`: is this configuration good?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from gateway.cli.common import ConfigOption, JsonOption
from gateway.config import find, load
from gateway.core.errors import ConfigError, Problem
from gateway.core.values import Environment


def check(
    file: Path | None = None,
    /,
    *,
    config: ConfigOption = None,
    strict: Annotated[bool, Parameter(negative="", help="Warnings count: exit 1.")] = False,
    secrets: Annotated[bool, Parameter(negative="--no-secrets", help="Also read the secrets; --no-secrets for CI.")] = True,
    json_: JsonOption = False,
) -> int:
    """Check a configuration and say every problem at once.

    Exit codes: 0 good (warnings too), 1 warnings under --strict, 78 errors.

    Parameters
    ----------
    file
        The configuration; the same as --config.
    """
    environment = Environment.of_process()
    problems: Sequence[Problem] = ()
    summary = ""
    try:
        found = find(file or config, environment)
        loaded = load(found, environment, secrets=secrets)
        name, problems = str(found), loaded.warnings
        summary = f"{len(loaded.sources)} source(s), {len(loaded.sinks)} sink(s), {len(loaded.routes)} route(s)"
        status = 1 if strict and problems else 0
    except ConfigError as error:
        name, problems, status = error.file, error.problems, error.exit_code
    if json_:
        listed = [{"file": name, **msgspec.to_builtins(problem)} for problem in problems]
        print(json.dumps({"ok": status == 0, "problems": listed}, ensure_ascii=False))
        return status
    for problem in problems:
        print(f"{name}: {problem}")
    if status == 78:
        print(f"{name}: {len(problems)} problem(s); nothing of this file would be used")
    else:
        print(f"{name}: good: {summary}")
    return status
