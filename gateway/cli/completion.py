"""`gateway completion`: the script by which a shell completes commands and options, and the names that it asks us for."""

from __future__ import annotations

import asyncio
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.cli.output import LONGEST_SHOWN
from gateway.config import find
from gateway.config.files import included, read
from gateway.core.events import Milestone
from gateway.core.ledger import KNOWN_STATES
from gateway.core.samples import SAMPLES
from gateway.host.environment import Environment

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext


_ANSWER_SECONDS: Final = 1.5
"""Seconds that a person waits for names which the running gateway has to give."""
_NEWEST: Final = 100
"""Service requests whose names are offered: those whose present state began last."""
_SHORTEST: Final = 4
"""Characters by which the gateway finds further ones."""


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script for bash, zsh or fish. It completes commands, options, and names of sinks, samples,
    states and, while the gateway runs, service requests.

    To install it, write it to ~/.local/share/bash-completion/completions/gateway, to a file _gateway in zsh's $fpath, or to
    ~/.config/fish/completions/gateway.fish.

    Example: source <(gateway completion bash)

    Parameters
    ----------
    shell
        The shell that the script is for.
    """
    from gateway.cli.commands import app

    print(app.generate_completion(shell=shell), end="")
    return 0


# cyclopts ignores every error of a completer: a shell must not show errors while it completes.


def sink_names(context: CompletionContext) -> list[str]:
    """Return the sinks that the configuration names, as far as it can be read."""
    return _names(context, "sinks")


def source_names(context: CompletionContext) -> list[str]:
    """Return the sources that the configuration names, as far as it can be read."""
    return _names(context, "sources")


def state_names(context: CompletionContext) -> list[str]:
    """Return the milestones, and the states that the reference documents."""
    return [*Milestone, *sorted(KNOWN_STATES)]


def request_names(context: CompletionContext) -> list[str]:
    """Return reference ids and uuids of service requests that begin with the typed text, as far as the running gateway says."""
    typed = context.incomplete
    found = asyncio.run(_requests(typed, _given(context, "--config"), _given(context, "--admin")))
    names = [name for one in found for name in (one["reference_id"], one["sr_uuid"]) if name]
    # A shell takes a name with a blank in it for several words, and other signs may draw on the terminal; long ones fill it.
    names = [name for name in dict.fromkeys(names) if len(name) <= LONGEST_SHOWN and name.startswith(typed)]
    return [name for name in names if name.isprintable() and " " not in name]


async def _requests(typed: str, config: str | None, admin: str | None) -> list[dict[str, Any]]:
    from gateway.cli.client import connected, segment

    async with asyncio.timeout(_ANSWER_SECONDS), connected(Path(config) if config else None, admin) as client:
        found: list[dict[str, Any]] = (await client.get("/api/srs", {"limit": _NEWEST}))["requests"]
        if len(typed) >= _SHORTEST:
            found += (await client.get(f"/api/srs/{segment(typed)}", {"limit": 1}))["requests"]
    return found


def _given(context: CompletionContext, option: str) -> str | None:
    given = context.get(option)
    return given.raw if given and given.raw else None


def _names(context: CompletionContext, table: str) -> list[str]:
    given = _given(context, "--config")
    main = read(find(Path(given) if given else None, Environment.of_process()))
    tables = [file.document.get(table) for file in (main, *included(main, []))]
    return sorted({name for found in tables if isinstance(found, dict) for name in found})


def event_names(context: CompletionContext) -> list[str]:
    """Return the samples, and the files that begin with the typed text."""
    files = glob(f"{context.incomplete}*") if context.incomplete else []  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [*SAMPLES, *files]


def sample_names(context: CompletionContext) -> list[str]:
    """Return the names of the samples."""
    return list(SAMPLES)
