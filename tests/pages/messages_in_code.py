"""Reads the English texts that code gives as reasons, as templates: what is put in at run time stands in braces."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_SENTENCE = re.compile(r"[A-Za-z']+[,;:]? [A-Za-z']+")
"""Two words, at least: what has fewer is a name, a key or a code."""


def messages(module: str, calls: Collection[str] = ()) -> Iterator[str]:
    """Yield the texts of a module.

    Args:
        module: its path below the repository.
        calls: only texts that stand in calls of these names; empty means all but docstrings.
    """
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for root in _roots(tree, calls):
        parts = {id(part) for node in ast.walk(root) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(root):
            if id(node) in docstrings or id(node) in parts:
                continue
            text = _template(node)
            if text is not None and _SENTENCE.search(re.sub(r"\{.*?\}", "x", text)):
                yield text


def _roots(tree: ast.Module, calls: Collection[str]) -> Iterator[ast.AST]:
    if not calls:
        yield tree
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            if name in calls:
                yield node


def _template(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{x{number}}}" for number, part in enumerate(values)
            )
    return None
