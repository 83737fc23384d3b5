"""`gateway completion`: the shell completes commands and options by a script, and names of sinks and samples by asking us."""

from __future__ import annotations

from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.config import find
from gateway.config.files import included, read
from gateway.core.samples import SAMPLES
from gateway.host.environment import Environment

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the script by which a shell completes commands, options, and the names of samples and sinks.

    For this shell alone: source <(gateway completion bash). For good: write it to
    ~/.local/share/bash-completion/completions/gateway, a file _gateway in zsh's $fpath, or
    ~/.config/fish/completions/gateway.fish.

    Parameters
    ----------
    shell
        Which one it is for.
    """
    from gateway.cli.commands import app

    print(app.generate_completion(shell=shell), end="")
    return 0


# What fails in these is swallowed by cyclopts: a shell that completes is no place for errors.


def sink_names(context: CompletionContext) -> list[str]:
    """The sinks that the configuration names, as far as it can be read."""
    return _names(context, "sinks")


def source_names(context: CompletionContext) -> list[str]:
    """Its sources, likewise."""
    return _names(context, "sources")


def _names(context: CompletionContext, table: str) -> list[str]:
    given = context.get("--config")
    main = read(find(Path(given.raw) if given and given.raw else None, Environment.of_process()))
    tables = [file.document.get(table) for file in (main, *included(main, []))]
    return sorted({name for found in tables if isinstance(found, dict) for name in found})


def event_names(context: CompletionContext) -> list[str]:
    """The samples, and the files that begin with what is typed."""
    files = glob(f"{context.incomplete}*") if context.incomplete else []  # noqa: PTH207 - Path.glob takes no absolute one
    return [*SAMPLES, *files]


def sample_names(context: CompletionContext) -> list[str]:
    return list(SAMPLES)
