"""Turns findings into problems with line, column and the text of the line, in which anything that may be a secret is masked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.config.location import Finding
from gateway.config.secrecy import SENSITIVE, Cleaner, is_unmistakable
from gateway.core.errors import Problem

_WITH_SECRETS = ("sinks", "sources", "admin", "store")
"""The tables into which a secret can be pasted by mistake."""
_HEADER = re.compile(r"\s*\[\[?\s*(?:server|admin|store|node|audit|sources|sinks|routes|tests)\b[a-z0-9_. -]*\]*\s*")
_VALUE = re.compile(r"[^\s\[\]{}=,\"']")
_REFERENCE = re.compile(r"""\{(?: *(?:env|file|credential) *= *(?:"[^"]*"|'[^']*') *,?)+ *\}""")
"""A reference to a secret, which is not secret itself."""
_PARTS = re.compile(f"({_REFERENCE.pattern})")
_COMMENT = re.compile(r"([\s\]},]*)#.*")
"""A comment after the last reference to a secret, with only brackets between them."""
_PASTED = re.compile(r"whsec_|-----BEGIN|[A-Za-z0-9+/=]{120}")
"""Secrets that can be recognised by their form: signing secrets, and keys in PEM."""
_NO_PLACE = re.compile(rf"(?i)xox[a-z]-|://|{_PASTED.pattern}")


def problems_of(findings: Iterable[Finding], texts: Mapping[Path, str]) -> list[Problem]:
    """Look up the place of each finding, and return the problems in the order of the files and lines."""
    from gateway.config.positions import Positions  # it costs start-up time that a good file need not pay

    positions = {path: Positions(text) for path, text in texts.items()}
    lines = {path: text.split("\n") for path, text in texts.items()}
    order = {path: number for number, path in enumerate(texts)}
    cleaner = Cleaner(texts.values())
    found = []
    for finding in findings:
        place = finding.place
        span = positions[place.file].find(place.keys, finding.on)
        line = lines[place.file][span.line - 1].rstrip("\r")
        if _may_show_a_secret(finding, line, header=span.line in positions[place.file].headers):
            line = masked(line)
        problem = Problem(
            file=str(place.file),
            place=str(place),
            wrong=finding.wrong,
            hint=finding.hint,
            level=finding.level,
            line=span.line,
            column=span.column,
            source=line,
            width=span.length,
        )
        found.append((order[place.file], span.line, span.column, cleaner.problem(problem)))
    return [problem for *_, problem in sorted(found, key=lambda entry: entry[:3])]


def masked(line: str, *, unparsed: str = "") -> str:
    """Return a line with everything after its first `=` replaced by stars.

    Args:
        unparsed: For a file that is not TOML, the nearest line with a key. The line is then masked only if it looks sensitive.
    """
    if unparsed and (_HEADER.fullmatch(line) or SENSITIVE.search(unparsed + line) is None):
        return line
    key, equals, value = line.partition("=") if "=" in line else ("", "", line)
    *before, last = _PARTS.split(value)
    closing = _COMMENT.fullmatch(last) if before else None  # the comment itself is omitted, because it may hold a secret too
    shown = "".join(part if _is_reference(part) else _VALUE.sub("*", part) for part in before)
    return key + equals + shown + (f"{closing[1]}# ..." if closing else _VALUE.sub("*", last))


def is_secret_itself(kind: str, written: str) -> bool:
    """Return True if the value in `{ env = ... }`, `{ file = ... }` or `{ credential = ... }` is the secret, not its name."""
    return (
        _NO_PLACE.search(written) is not None
        or is_unmistakable(written)
        or (kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", written) is None)
    )


def _is_reference(part: str) -> bool:
    if _REFERENCE.fullmatch(part) is None:
        return False
    pairs = re.findall(r"""(env|file|credential) *= *(?:"([^"]*)"|'([^']*)')""", part)
    return not any(is_secret_itself(kind, double or single) for kind, double, single in pairs)


def _may_show_a_secret(finding: Finding, line: str, *, header: bool) -> bool:
    keys = finding.place.keys
    if header or not line.strip():
        return _PASTED.search(line) is not None
    if keys and keys[0] in _WITH_SECRETS:
        whole_table = len(keys) <= (1 if keys[0] in ("admin", "store") else 2) or (
            keys[:2] == ("admin", "users") and len(keys) <= 3
        )
        sensitive = any(SENSITIVE.search(str(key)) for key in keys[1:]) or SENSITIVE.search(line) is not None
        return whole_table or sensitive or finding.on == "key"
    return _PASTED.search(line) is not None
