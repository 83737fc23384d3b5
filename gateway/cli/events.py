"""The events that commands name: samples, files, standard input, and messages of the running gateway."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from gateway.cli.errors import UsageError
from gateway.cli.output import printable, to_json
from gateway.config.decode import decode_table, suggestion
from gateway.config.location import Finding, Findings, Place
from gateway.config.settings import FactSettings
from gateway.core.ledger import Facts
from gateway.core.samples import SAMPLES, with_values


def event_bytes(name: str, assignments: list[str] | None, config: Path | None, admin: str | None) -> bytes:
    """Return the body that EVENT stands for, changed by `--set`. Without `--set`, a file is passed on byte for byte."""
    return changed(named_bytes(name, config, admin), assignments)


def named_bytes(name: str, config: Path | None, admin: str | None) -> bytes:
    """Return the body that EVENT stands for.

    EVENT is a sample's name, a file, `-` for standard input, or the id of a message in the running gateway. Raises UsageError;
    Unreachable if only a running gateway could know the name.
    """
    if name == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed: there is no event to read")
        return sys.stdin.buffer.read()
    if name in SAMPLES:
        return json.dumps(SAMPLES[name], ensure_ascii=False, separators=(",", ":")).encode()
    if (file := _file(name)) is not None:
        return file
    if re.fullmatch(r"[0-9a-f]{32}|msg_\w+", name):
        from gateway.cli.client import stored_body

        return asyncio.run(stored_body(name, config, admin))
    raise UsageError(f'"{name}" is neither a sample, a file nor the id of a message; {suggestion(name, SAMPLES)}')


def named_facts(assignments: list[str] | None) -> Facts | None:
    """Return the facts that `--fact` gives an event; None if it gives none. Raises UsageError."""
    if not assignments:
        return None
    try:
        table = with_values({}, assignments)
    except ValueError as error:
        raise UsageError(f"--fact: {error}") from None
    findings: Findings = []
    written = decode_table(FactSettings, table, Place(Path("--fact"), ()), findings)
    if written is None or findings:
        raise UsageError("; ".join(_said(finding) for finding in findings))
    return written.facts()


def _said(finding: Finding) -> str:
    name = ".".join(str(key) for key in finding.place.keys)
    return printable(f"--fact {name}: {finding.wrong}" + (f"; {finding.hint}" if finding.hint else ""))


def _file(name: str) -> bytes | None:
    """Return the content of a file; None if there is no such file. Raises UsageError if it can't be read."""
    try:
        path = Path(name)
        return path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise UsageError(f"{printable(name)} can't be read: {error.strerror}") from None
    except ValueError:
        return None  # the text cannot be a path


def changed(raw: bytes, assignments: list[str] | None) -> bytes:
    """Return a body with each `path=value` set; the very same bytes if there is nothing to set. Raises UsageError."""
    if not assignments:
        return raw
    try:
        event: Any = json.loads(raw)
        if not isinstance(event, dict):
            raise ValueError("--set needs an event that is a JSON object")
        return to_json(with_values(event, assignments), compact=True).encode()
    except RecursionError:
        raise UsageError("--set can't change an event that is nested so deeply") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
