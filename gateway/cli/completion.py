"""`gateway completion`: the script by which a shell completes commands and options, and the names that it asks us for."""

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
    """Print the completion script for bash, zsh or fish. It completes commands, options, and names of sinks and samples.

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


def _names(context: CompletionContext, table: str) -> list[str]:
    given = context.get("--config")
    main = read(find(Path(given.raw) if given and given.raw else None, Environment.of_process()))
    tables = [file.document.get(table) for file in (main, *included(main, []))]
    return sorted({name for found in tables if isinstance(found, dict) for name in found})


def event_names(context: CompletionContext) -> list[str]:
    """Return the samples, and the files that begin with the typed text."""
    files = glob(f"{context.incomplete}*") if context.incomplete else []  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [*SAMPLES, *files]


def sample_names(context: CompletionContext) -> list[str]:
    """Return the names of the samples."""
    return list(SAMPLES)
