"""axe-core, the checker of accessibility: installed from npm when a test needs it, and kept nowhere in the repository."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from playwright.async_api import CDPSession, Page

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""The hash of `axe.min.js` of this version: a changed file is not run."""
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_SECONDS = 60
_OPTIONS = {"runOnly": {"type": "tag", "values": _RULES}, "resultTypes": ["violations"], "preload": False}
_FOUND = """.then(found => found.violations.map(rule => {
    const places = rule.nodes.map(node => `${node.target.join(" ")} (${node.any.map(check => check.message).join("; ")})`);
    return `${rule.id}: ${rule.help}: ${places.join(" | ")}`;
}))"""
_NO_TIMERS = "globalThis.setTimeout = (call, _wait, ...given) => { Promise.resolve().then(() => call(...given)); return 0 }; 0"
"""Timers do not run in a page without JavaScript. This replaces the ones of axe's own world, which the page does not see."""


class CannotInstall(Exception):
    """There is no axe-core here, and the reason why."""


class Axe(NamedTuple):
    """axe-core as it is on this machine."""

    code: str
    """Its source; "" if it could not be installed."""
    why_not: str

    @classmethod
    def installed(cls) -> Self:
        """Take it from the cache of this user, or install it."""
        try:
            return cls(_source(), "")
        except CannotInstall as why:
            return cls("", f"pages are not checked for accessibility: {why}")

    async def violations(self, page: Page) -> list[str]:
        """Check a page as it is now, and return what is wrong: the rule, its text, and the elements. Without axe-core, nothing.

        It runs in a world of its own, which the page's Content-Security-Policy does not reach, and which needs no JavaScript.
        """
        if not self.code:
            return []
        session = await page.context.new_cdp_session(page)
        try:
            tree = await session.send("Page.getFrameTree")
            world = await session.send(
                "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"], "worldName": f"axe-{VERSION}"}
            )
            place = world["executionContextId"]
            if not await _value(session, place, "typeof axe === 'object'"):
                await _value(session, place, _NO_TIMERS)
                await _value(session, place, f"{self.code}; 0")
            return cast(list[str], await _value(session, place, f"axe.run(document, {json.dumps(_OPTIONS)}){_FOUND}"))
        finally:
            await session.detach()


def _source() -> str:
    """Return the code of axe-core, from the cache of this user or from npm. Raises CannotInstall."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "legitmark-gateway-tests"
    kept = folder / f"axe-core-{VERSION}.min.js"
    with suppress(OSError):
        if (code := kept.read_bytes()) and _is_it(code):
            return code.decode()
    code = _from_npm()
    if not _is_it(code):
        raise CannotInstall(f"npm installed an axe-core {VERSION} that is not the one whose hash tests/browser/axe.py has")
    with suppress(OSError):  # a cache is no condition
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(code)
        Path(beside).replace(kept)
    return code.decode()


async def _value(session: CDPSession, place: int, expression: str) -> Any:
    answer = await session.send(
        "Runtime.evaluate", {"expression": expression, "contextId": place, "awaitPromise": True, "returnByValue": True}
    )
    assert "exceptionDetails" not in answer, f"axe-core failed: {answer['exceptionDetails']}"
    return answer["result"].get("value")


def _is_it(code: bytes) -> bool:
    return hashlib.sha256(code).hexdigest() == SHA256


def _from_npm() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("there is no npm here: on Debian, apt install npm")
    with tempfile.TemporaryDirectory(prefix="axe") as name:
        command = [npm, "install", "--prefix", name, "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]
        try:
            done = subprocess.run(
                [*command, f"axe-core@{VERSION}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotInstall(f"npm did not install axe-core within {_SECONDS} s") from None
        file = Path(name) / "node_modules" / "axe-core" / "axe.min.js"
        if done.returncode or not file.exists():
            raise CannotInstall(f"npm could not install axe-core {VERSION} (its exit code is {done.returncode})")
        return file.read_bytes()
