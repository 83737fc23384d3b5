"""Pictures of every page, in each language and theme, for a person to look at: part of `make screenshots`.

    python -m tests.screenshots.pages [--narrow] [--only requests] [--documents]

Writes dist/screenshots/page-NAME-LANGUAGE-THEME.png. The gateway on them went through the story of `gateway demo`. `--narrow`
adds pictures at the width of a phone. `--documents` copies those that README.md and docs/ show to docs/pictures/.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, expect

from gateway.web.pages.page_table import PAGES
from tests.browser import stories
from tests.browser.matrix import PICTURED, Place
from tests.browser.visiting import LANGUAGES, NARROW, THEMES, WIDE, Look, Visit
from tests.screenshots.render import FOLDER, ROOT
from tests.support import chromium

IN_DOCUMENTS: Final = {
    "page-overview-en-light": "overview",
    "page-request-en-dark": "request",
    "page-message-ja-light": "message",
    "page-dead-en-light": "dead",
}
"""The pictures that the documents show, and their names in docs/pictures/."""
_SLIMMER: Final = "oxipng"
"""A program that makes a PNG smaller and changes no pixel (Debian 13 has it). Without it the pictures are a quarter larger."""
_LIVE: Final = {page.name for page in PAGES if page.live}


def main() -> int:
    parser = argparse.ArgumentParser(description="take pictures of the pages")
    parser.add_argument("--narrow", action="store_true", help="at the width of a phone, too")
    parser.add_argument("--only", help="names of pages, separated by commas")
    parser.add_argument("--documents", action="store_true", help="copy those of the documents to docs/pictures/")
    given = parser.parse_args()
    program = chromium.program()
    if program is None:
        print(f"screenshots: skipped: {chromium.MISSING}")
        return 0
    only = set(given.only.split(",")) if given.only else {page.name for page in PAGES}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="legitmark-gateway-") as folder:
        asyncio.run(_all(program, Path(folder), only, (WIDE, NARROW) if given.narrow else (WIDE,)))
    if given.documents:
        _copy_to_documents()
    return 0


async def _all(program: str, folder: Path, only: set[str], widths: tuple[int, ...]) -> None:
    async with chromium.started(program) as browser, stories.told(folder, _free_port(), hostile=False) as told:
        for place, language, theme, width in product(PICTURED, LANGUAGES, THEMES, widths):
            if place.page in only:
                name = f"page-{place.page}-{language}-{theme}{'' if width == WIDE else '-narrow'}"
                await _photograph(browser, told, place, Look(language, theme, width), FOLDER / f"{name}.png")


async def _photograph(browser: Browser, told: stories.Told, place: Place, look: Look, picture: Path) -> None:
    visit = await Visit.begin(browser, told.origin, look)
    try:
        await visit.to(place.path(told.names))
        if place.page in _LIVE:
            await expect(visit.page.locator("#live")).to_have_attribute("data-state", "live")
        await visit.page.screenshot(path=picture, full_page=True, animations="disabled", caret="hide")
    finally:
        await visit.end()
    if (slimmer := shutil.which(_SLIMMER)) is not None:
        command = [slimmer, "--quiet", "--opt", "4", "--strip", "safe", str(picture)]
        await asyncio.to_thread(subprocess.run, command, check=True)
    print(f"{picture.relative_to(ROOT)}, {picture.stat().st_size // 1024} KiB", flush=True)


def _copy_to_documents() -> None:
    to = ROOT / "docs" / "pictures"
    to.mkdir(exist_ok=True)
    for name, known_as in IN_DOCUMENTS.items():
        shutil.copyfile(FOLDER / f"{name}.png", to / f"{known_as}.png")
        print(f"{(to / f'{known_as}.png').relative_to(ROOT)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
