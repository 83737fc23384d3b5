"""Every block of the documents is executed, or says right above itself why not; every command in them exists."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.commands import calls, command_in, options_of
from tests.docs.reading import DOCUMENTS, ROOT, blocks, text_of, without_blocks

BLOCKS = [
    pytest.param(document, block, id=f"{document.relative_to(ROOT)}:{block.line}")
    for document in DOCUMENTS
    for block in blocks(text_of(document))
]
EXECUTED = {"README.md": "tests/test_readme.py", "docs/operations.md": "tests/docs/test_operations.py"}
"""The documents whose blocks of `sh` and `toml` a test executes, and the test."""


def may_stand(kind: str, text: str, marker: str, document: str) -> bool:
    """Tell whether a block is executed somewhere, is no command at all, or says why it is not executed."""
    if marker.startswith("not run: ") and len(marker) > len("not run: because"):
        return True
    match kind:
        case "text":
            return True
        case "python":
            ast.parse(text)
            return True
        case "toml":
            tomllib.loads(text)
            return document in EXECUTED
        case "sh":
            return document in EXECUTED
    return False


@pytest.mark.parametrize(("document", "block"), BLOCKS)
def test_a_block_is_executed_or_says_why_not(document: Path, block: tuple[str, str, str, int]) -> None:
    kind, text, marker, _ = block
    assert may_stand(kind, text, marker, str(document.relative_to(ROOT)))


def test_the_tests_that_execute_the_documents_are_there() -> None:
    assert all((ROOT / file).exists() for file in (*EXECUTED, *EXECUTED.values()))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    text = text_of(document)
    inline = re.findall(r"`(gateway [^`]+)`", without_blocks(text))
    shown = [call for block in blocks(text) if block.kind in ("sh", "console") for call in calls(block.text)]
    for words in [*shown, *(call for part in inline for call in calls(part.replace("\\|", "|")))]:
        if words[1].startswith("-") or not re.fullmatch(r"[a-z]+", words[1]):
            continue  # `gateway --version`, or no command: `gateway COMMAND`
        name = command_in(words)
        assert name is not None, f"there is no command {' '.join(words)}"
        used = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
        assert used <= options_of(name), f"{' '.join(words)}: there is no option {used - options_of(name)}"
