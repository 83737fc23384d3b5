"""Pictures of every page, in each language and theme, for a person to look at: part of `make screenshots`.

    python -m tests.screenshots.pages [--narrow] [--only overview,dead] [--documents]

Writes dist/screenshots/page-NAME-LANGUAGE-THEME.png. The gateway on them went through the story of `gateway demo`. `--narrow`
adds pictures at the width of a phone. `--documents` writes the pictures that README.md and docs/ show instead, to docs/pictures/.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from playwright.async_api import expect

from gateway.web.pages.page_table import PAGES
from tests.browser import stories
from tests.browser.matrix import PICTURED, Place
from tests.browser.visiting import LANGUAGES, NARROW, THEMES, WIDE, Look, Visit
from tests.screenshots.render import FOLDER, ROOT
from tests.support import chromium

DOCUMENTS: Final = ROOT / "docs" / "pictures"
_BROAD: Final = 1280
"""Pixels of the width of a picture in the documents: the seven sinks of the story fit in."""
DOCUMENTED: Final[Mapping[str, tuple[str, Look]]] = {
    "overview": ("overview", Look("en", "light", _BROAD)),
    "request": ("request", Look("en", "dark", _BROAD)),
    "message": ("message", Look("ja", "light", _BROAD)),
    "dead": ("dead", Look("en", "light", _BROAD)),
}
"""The pictures in docs/pictures/, by name: a page, and how it is looked at."""
_HIGHEST: Final = 695
"""Pixels of the height of a picture in the documents."""
_SLIMMER: Final = "oxipng"
"""A program that makes a PNG smaller and changes no pixel. Without it, the pictures are about a quarter larger."""
_LIVE: Final = {page.name for page in PAGES if page.live}


class Picture(NamedTuple):
    """A picture that is to be taken."""

    place: Place
    look: Look
    file: Path
    whole: bool
    """All of the page, however long it is."""


def main() -> int:
    parser = argparse.ArgumentParser(description="take pictures of the pages")
    parser.add_argument("--narrow", action="store_true", help="at the width of a phone, too")
    parser.add_argument("--only", help="names of pages, separated by commas")
    parser.add_argument("--documents", action="store_true", help="the pictures that the documents show, and no others")
    given = parser.parse_args()
    program = chromium.program()
    if program is None:
        print(f"screenshots: skipped: {chromium.MISSING}")
        return 0
    only = given.only.split(",") if given.only else [page.name for page in PAGES]
    pictures = _of_documents() if given.documents else _of_pages((WIDE, NARROW) if given.narrow else (WIDE,))
    with tempfile.TemporaryDirectory(prefix="legitmark-gateway-") as folder:
        asyncio.run(_take(program, Path(folder), [picture for picture in pictures if picture.place.page in only]))
    return 0


def _of_pages(widths: Sequence[int]) -> Iterator[Picture]:
    for place, language, theme, width in product(PICTURED, LANGUAGES, THEMES, widths):
        name = f"page-{place.page}-{language}-{theme}{'' if width == WIDE else '-narrow'}"
        yield Picture(place, Look(language, theme, width), FOLDER / f"{name}.png", whole=True)


def _of_documents() -> Iterator[Picture]:
    for name, (page, look) in DOCUMENTED.items():
        yield from (Picture(one, look, DOCUMENTS / f"{name}.png", whole=False) for one in PICTURED if one.page == page)


async def _take(program: str, folder: Path, pictures: Sequence[Picture]) -> None:
    async with chromium.started(program) as browser, stories.told(folder, _free_port(), hostile=False) as told:
        for picture in pictures:
            picture.file.parent.mkdir(parents=True, exist_ok=True)
            visit = await Visit.begin(browser, told.origin, picture.look)
            await visit.to(picture.place.path({**told.names, **({} if picture.whole else {"sr_uuid": told.shoes})}))
            if picture.place.page in _LIVE:
                await expect(visit.page.locator("#live")).to_have_attribute("data-state", "live")
            await _photograph(visit, picture)
            await visit.end()
            await asyncio.to_thread(_slim, picture.file)


async def _photograph(visit: Visit, picture: Picture) -> None:
    """Take the picture of a page, and leave out the empty rest of the window below a short one."""
    height: float = await visit.page.evaluate("() => Math.ceil(document.body.getBoundingClientRect().height)")
    await visit.page.screenshot(
        path=picture.file,
        full_page=True,
        clip={"x": 0, "y": 0, "width": picture.look.width, "height": height if picture.whole else min(height, _HIGHEST)},
        animations="disabled",
        caret="hide",
    )


def _slim(file: Path) -> None:
    if (slimmer := shutil.which(_SLIMMER)) is not None:
        subprocess.run([slimmer, "--quiet", "--opt", "4", "--strip", "safe", str(file)], check=True)
    print(f"{file.relative_to(ROOT)}, {file.stat().st_size // 1024} KiB", flush=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
