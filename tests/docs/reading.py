"""Reads the Markdown documents of the repository: their headings, tables and blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        ROOT / "systemd/README.md",
    ]
)

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"<!-- (.+?) -->\s*\Z")
_CELL = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block of a document."""

    kind: str
    """The word behind the fence: `sh`, `toml`, `console`."""
    text: str
    marker: str
    """The comment right above the block, such as `not run: it needs root`; empty if there is none."""
    line: int
    """The line of its fence, 1-based."""


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a document, in their order."""
    found = []
    for match in _BLOCK.finditer(text):
        marker = _MARKER.search(text, 0, match.start())
        indent = match["indent"]
        lines = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        found.append(Block(match["kind"], lines, marker[1] if marker else "", text.count("\n", 0, match.start()) + 1))
    return found


def section(text: str, heading: str) -> str:
    """Return the part of a document below a heading, up to the next heading of the same level or above.

    Raises AssertionError if no heading has this text.
    """
    found = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.MULTILINE)
    assert found is not None, f"there is no heading {heading!r}"
    end = re.search(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], re.MULTILINE)
    return text[found.end() :][: end.start() if end else None]


def marked(text: str, name: str) -> str:
    """Return the part between `<!-- NAME: ... -->` and `<!-- end -->`. Raises AssertionError if there is none."""
    found = re.search(rf"^<!-- {re.escape(name)}: [^\n]* -->\n(.*?)^<!-- end -->", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no part marked {name!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows in a text, without the rows that head a table."""
    lines = text.splitlines()
    tables = [(at, line) for at, line in enumerate(lines) if line.startswith("|")]
    found = [
        (at, [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip().removeprefix("|").removesuffix("|"))])
        for at, line in tables
    ]
    rules = {at for at, cells in found if all(re.fullmatch(r":?-+:?", cell) for cell in cells)}
    return [cells for at, cells in found if at not in rules and at + 1 not in rules]


def words(cell: str) -> list[str]:
    """Return the texts in backticks of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def without_blocks(text: str) -> str:
    return _BLOCK.sub("", text)


def links(text: str) -> list[str]:
    """Return the targets of all links of a document that stand outside its blocks."""
    return _LINK.findall(without_blocks(text))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
