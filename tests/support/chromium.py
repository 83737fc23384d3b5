"""The Chromium of this machine, for the tests and for the pictures. Nothing here downloads a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = f"there is no Chromium here (none of {', '.join(PROGRAMS)}): on Debian, apt install chromium"
_HOSTS = "MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
"""Names and addresses that the browser can reach: this host by its two names, and by every name below `.example`, which are
servers of strangers on loopback. All others are not found, so nothing leaves this machine."""
_ARGUMENTS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-proxy-server", "--hide-scrollbars", f"--host-resolver-rules={_HOSTS}"),
)


def program() -> str | None:
    """Return the path of the Chromium of this machine; None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@asynccontextmanager
async def started(executable: str) -> AsyncIterator[Browser]:
    """Run a headless Chromium with a profile of its own, which goes away with it.

    Chromium refuses root unless its sandbox is off; the pages of the tests are our own.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, args=list(_ARGUMENTS), chromium_sandbox=os.geteuid() != 0
        )
        try:
            yield browser
        finally:
            await browser.close()
