"""The prose of the code, held to a few rules that a machine can check: how docstrings begin, and which phrases are banned."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [path for top in ("gateway", "tests") for path in sorted((ROOT / top).rglob("*.py"))]

NO_BEGINNING = {
    *("of", "with", "for", "in", "by", "to", "from", "without", "between", "at", "as"),
    *("what", "whether", "whoever", "none", "and", "but", "else"),
}
"""Words that leave a reader to guess the subject of a docstring: a preposition, a conjunction, a clause without its sentence."""

RIDDLES = {
    "whoever": "name the person or the part of the program",
    "whosoever": "name the person or the part of the program",
    "nobody's": "say who owns it, or that it has no owner",
    "in vain": "say that it failed, or had no effect",
    "can't be told": "say what is not known",
    "of nobody": "name the subject first",
    "that is none": "repeat the noun",
    "what is no": "repeat the noun: text that is not an address",
    "but for": "except",
    "for naught": "say that it failed, or had no effect",
    "for ever": "forever, or without end",
}
"""Phrases that a reader has to decode, each with the way out."""

KNOWN: dict[str, int] = {}
"""Offences that still stand, by folder: a number that may only become smaller."""


def folder_of(path: Path) -> str:
    """The folder of a file: one of those in `gateway/`, or `tests` as a whole."""
    parts = path.relative_to(ROOT).parent.parts
    return "/".join(parts[:2]) if parts[0] == "gateway" else parts[0]


FOLDERS = sorted({folder_of(path) for path in FILES})


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every docstring of a file: of the module, of classes and functions, and of the attributes that have one below them."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for at, statement in enumerate(body):
            if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
                continue
            documented = (
                isinstance(body[at - 1], (ast.Assign, ast.AnnAssign))
                if at
                else isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            )
            if documented and isinstance(statement.value.value, str):
                yield statement.value


def offences(path: Path) -> Iterator[str]:
    """Describe each offence against the rules in a file, with its place."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
    tree = ast.parse(text)
    if tree.body and ast.get_docstring(tree) is None:
        yield f"{name}:1: the module has no docstring"
    for docstring in docstrings(tree):
        first = re.match(r"\s*([A-Za-z']+)", str(docstring.value))
        if first is not None and first[1].lower() in NO_BEGINNING:
            yield f'{name}:{docstring.lineno}: a docstring begins with "{first[1]}"; begin with the subject or the verb'
    if path != Path(__file__):
        for number, line in enumerate(text.lower().splitlines(), 1):
            for phrase, instead in RIDDLES.items():
                if re.search(rf"\b{phrase}\b", line):
                    yield f'{name}:{number}: "{phrase}": {instead}'


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_begin_with_their_subject_and_no_phrase_has_to_be_decoded(folder: str) -> None:
    files = [path for path in FILES if folder_of(path) == folder]
    found = [offence for path in files for offence in offences(path)]
    assert len(found) <= KNOWN.get(folder, 0), "\n".join(found)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""Of the loop, from accepting to settling."""', 1),
        ('"""The loop."""\n\nLIMIT = 3\n"""What it takes at once."""', 1),
        ('"""The loop."""\n\n\ndef step() -> None:\n    """Whether a step was made."""', 1),
        ("LIMIT = 3", 1),
        ('"""The loop."""\n\n# Whoever asks, waits.\nLIMIT = 3\n"""Steps a second."""', 1),
        ('"""The loop."""\n\n\ndef step() -> None:\n    """Return True if a step was made."""', 0),
    ],
)
def test_an_offence_is_found_wherever_it_stands(text: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_prose.ROOT", tmp_path)
    (tmp_path / "module.py").write_text(text)
    assert len(list(offences(tmp_path / "module.py"))) == count
