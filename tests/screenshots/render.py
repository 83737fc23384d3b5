"""Pictures of all golden mails and Slack messages, for a person to look at: `make screenshots`.

Writes dist/screenshots/{email,slack}-LOCALE-{light,dark}.png, and the mails at the width of a phone, with a headless Chromium.
Without Chromium it prints a note and succeeds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from tests.screenshots.drawing import STYLE, draw
from tests.support import chromium

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "sinks" / "golden"
FOLDER = ROOT / "dist" / "screenshots"
SCHEMES = {"dark": 0, "light": 1}
"""The values of Blink's setting `preferredColorScheme`."""
COLUMNS = 4
SECONDS = 60
ROOM = {"email": (600, 620), "phone": (340, 720), "slack": (600, 900)}
"""Width and height of one picture in its sheet, in pixels."""


def pages(kind: str, locale: str, folder: Path) -> dict[str, Path]:
    """Return an HTML page for each message, by its name."""
    if kind != "slack":
        return {path.stem: path for path in sorted((GOLDEN / "email" / locale).glob("*.html"))}
    found = {}
    for path in sorted((GOLDEN / "slack" / locale).glob("*.json")):
        said = json.loads(path.read_bytes())
        body = draw(said["webhook"]) + draw(said["reply"], "reply")
        found[path.stem] = folder / f"{path.stem}.html"
        head = f'<!DOCTYPE html><html lang="{locale}"><meta charset="utf-8"><style>{STYLE}</style>'
        found[path.stem].write_text(f"{head}{body}", encoding="utf-8")
    return found


def sheet(kind: str, found: dict[str, Path]) -> tuple[str, int, int]:
    """Return a page that shows all of them, and its width and height."""
    width, height = ROOM[kind]
    frames = "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<iframe src="{path.as_uri()}" width="{width}" height="{height}"></iframe></figure>'
        for name, path in found.items()
    )
    style = (
        f":root {{ color-scheme: light dark; }} body {{ display: grid; grid-template-columns: repeat({COLUMNS}, {width}px);"
        " gap: 12px; margin: 0; padding: 12px; font: 13px sans-serif; background: #808080; } figure { margin: 0; }"
        " figcaption { height: 20px; color: #ffffff; } iframe { border: 0; }"
    )
    rows = -(-len(found) // COLUMNS)
    page = f'<!DOCTYPE html><meta charset="utf-8"><style>{style}</style>{frames}'
    return page, COLUMNS * (width + 12) + 12, rows * (height + 36) + 12


def photograph(browser: str, page: Path, picture: Path, size: tuple[int, int], scheme: int, profile: Path) -> None:
    """Take a picture of a page. Raises CalledProcessError or TimeoutExpired."""
    command = [browser, "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", f"--user-data-dir={profile}"]
    command += [f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={size[0]},{size[1]}"]
    command += ["--no-sandbox"] if os.getuid() == 0 else []  # Chromium refuses root otherwise; the pages are our own
    command += ["--virtual-time-budget=2000", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, timeout=SECONDS, stdin=subprocess.DEVNULL, capture_output=True)
    if not picture.exists():
        raise FileNotFoundError(f"{browser} made no {picture}")


def main() -> int:
    browser = chromium.program()
    if browser is None:
        print(f"screenshots: skipped: {chromium.MISSING}")
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots") as name:
        for kind in ROOM:
            for locale in ("en", "ja"):
                folder = Path(name) / f"{kind}-{locale}"
                folder.mkdir()
                page, width, height = sheet(kind, pages(kind, locale, folder))
                (folder / "sheet.html").write_text(page, encoding="utf-8")
                for scheme, number in SCHEMES.items():
                    picture = FOLDER / f"{kind}-{locale}-{scheme}.png"
                    picture.unlink(missing_ok=True)
                    photograph(browser, folder / "sheet.html", picture, (width, height), number, Path(name) / "profile")
                    print(picture.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
