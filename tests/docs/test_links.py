"""Every link between the documents leads somewhere, and every file of the repository that they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.reading import DOCUMENTS, ROOT, anchors, links, text_of

_EVERYWHERE = ("gateway", "tests", "config", "systemd", "docs")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(document: Path) -> None:
    for target in links(text_of(document)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{target}: there is no such file"
        if anchor:
            assert anchor in anchors(text_of(file)), f"{target}: there is no such heading"


def test_every_file_of_the_code_that_names_a_heading_of_the_documents_finds_it() -> None:
    citing = re.compile(r'(docs/\w+\.md), "([^"]+)"')
    found = 0
    for top in _EVERYWHERE:
        for file in sorted((ROOT / top).rglob("*")):
            if file.suffix not in (".py", ".toml", ".sql", ".sh", ".yml") or not file.is_file():
                continue
            for name, heading in citing.findall(file.read_text(encoding="utf-8", errors="replace")):
                found += 1
                text = text_of(ROOT / name)
                assert re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE), f"{file}: {name} has no heading {heading!r}"
    assert found > 20


@pytest.mark.parametrize("top", _EVERYWHERE)
def test_no_file_cites_a_document_that_is_not_in_the_repository(top: str) -> None:
    elsewhere = re.compile(r"\b(?:CONTRACT|DESIGN|STYLE|FACTS)\b(?:\.md| section)")
    for file in sorted((ROOT / top).rglob("*")):
        if file.suffix in (".py", ".toml", ".md", ".sql", ".sh", ".yml") and file != Path(__file__):
            assert not elsewhere.search(file.read_text(encoding="utf-8", errors="replace")), file


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_in_the_repository(document: Path) -> None:
    named = re.findall(r"`((?:gateway|tests|config|systemd|docs)/[^\s`]+)`", text_of(document))
    for name in named:
        if not re.search(r"[A-Z]{2,}|[*:]", name):  # NAME stands for a name of your own
            assert (ROOT / name).exists(), f"{name} is not there"
