"""Reads the commands and the options of `gateway`, to hold what the documents say of them."""

from __future__ import annotations

import re
import shlex

from cyclopts import App

from gateway.cli.commands import app

_END = {"|", "||", "&&", ";", "&", ">", ">/dev/null", "2>&1"}


def _commands(of: App, prefix: str) -> dict[str, App]:
    found: dict[str, App] = {}
    for name in of:
        if name.startswith("-"):
            continue
        inner = _commands(of[name], f"{prefix} {name}")
        found |= inner or {f"{prefix} {name}": of[name]}
    return found


COMMANDS = _commands(app, "gateway")
"""Every command by its whole name (`gateway db check`)."""


def options_of(command: str) -> set[str]:
    """Return the options of a command as they are typed, `--help` included."""
    arguments = COMMANDS[command].assemble_argument_collection()
    return {option for argument in arguments for option in argument.names if option.startswith("-")} | {"--help", "-h"}


def command_in(words: list[str]) -> str | None:
    """Return the longest command that the words begin with; None if there is no such command."""
    return next((name for size in (3, 2) if (name := " ".join(words[:size])) in COMMANDS), None)


def calls(text: str) -> list[list[str]]:
    """Return the words of every call of `gateway` in a shell text or an inline code, up to the end of the call."""
    found = []
    for match in re.finditer(r"(?:^|[\s(])(gateway [^\n#]*)", text, re.MULTILINE):
        try:
            words = shlex.split(match[1])
        except ValueError:
            words = match[1].split()
        end = next((at for at, word in enumerate(words) if word in _END), len(words))
        found.append(words[:end])
    return found
