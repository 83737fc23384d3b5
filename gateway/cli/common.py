"""What the commands share: the configuration option, errors for people, and the events they name."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.config import Config, find, load
from gateway.config.decode import suggestion
from gateway.core.errors import ConfigError, GatewayError, Problem
from gateway.core.samples import SAMPLES, with_values
from gateway.core.values import Environment

ConfigOption = Annotated[
    Path | None, Parameter(name=["--config", "-c"], help="The configuration; else $GATEWAY_CONFIG, ./gateway.toml, ...")
]
SetOption = Annotated[
    list[str] | None, Parameter(name="--set", negative="", help="Change a field first: path=value; may be repeated.")
]
JsonOption = Annotated[bool, Parameter(name="--json", negative="", help="For programs: one JSON document.")]


class UsageError(GatewayError):
    exit_code = 2


def configuration(given: Path | None, *, secrets: bool) -> Config:
    """Find and load; the warnings go to stderr. Raises ConfigError."""
    environment = Environment.of_process()
    config = load(find(given, environment), environment, secrets=secrets)
    complain(str(config.file), config.warnings)
    return config


def complain(file: str, problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(f"{file}: {problem}", file=sys.stderr)


def exit_code(error: BaseException) -> int:
    """Say on stderr what went wrong, once and for people; what the process has to end with."""
    cause = _cause(error)
    if isinstance(cause, ConfigError):
        complain(cause.file, cause.problems)
    elif isinstance(cause, GatewayError):
        print(f"gateway: error: {cause}", file=sys.stderr)
    else:
        # A bug. The traceback has no local variables, which could hold secrets.
        traceback.print_exception(cause)
        print("gateway: this is a bug in the gateway; please report it with the lines above", file=sys.stderr)
    return cause.exit_code if isinstance(cause, GatewayError) else 70


def event_bytes(name: str, assignments: list[str] | None) -> bytes:
    """The body that EVENT stands for: a sample's name, a file, or `-` for standard input.

    Without assignments, a file or standard input is passed on byte for byte. Raises UsageError.
    """
    if name == "-":
        raw = sys.stdin.buffer.read()
    elif name in SAMPLES:
        raw = json.dumps(SAMPLES[name], ensure_ascii=False, separators=(",", ":")).encode()
    elif Path(name).is_file():
        raw = Path(name).read_bytes()
    else:
        raise UsageError(f'"{name}" is neither a sample nor a file; {suggestion(name, SAMPLES)}')
    if not assignments:
        return raw
    try:
        event: Any = json.loads(raw)
        if not isinstance(event, dict):
            raise ValueError("--set needs an event that is a JSON object")
        return json.dumps(with_values(event, assignments), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise UsageError(str(error)) from None


def _cause(error: BaseException) -> BaseException:
    """The first error of ours inside a group of them: what else failed, failed because of it."""
    if isinstance(error, BaseExceptionGroup):
        causes = [_cause(inner) for inner in error.exceptions]
        return next((cause for cause in causes if isinstance(cause, GatewayError)), causes[0])
    return error
