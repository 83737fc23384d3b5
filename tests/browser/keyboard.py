"""A person who uses a page by keyboard alone."""

from __future__ import annotations

from playwright.async_api import Page

_WATCH = """() => {
    window.reached = new Set();
    window.unseen = [];
    const named = element => `<${element.localName}> ${element.id || element.getAttribute("href") || element.textContent.trim()}`;
    window.note = () => {
        const element = document.activeElement;
        if (element === document.body) return true;
        if (reached.has(element)) return false;
        reached.add(element);
        const style = getComputedStyle(element), box = element.getBoundingClientRect();
        const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
        const within = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
        if (!drawn || !within) unseen.push(named(element));
        return true;
    };
    window.missed = () => [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
        .filter(one => one.type !== "hidden" && !one.disabled && one.checkVisibility({ visibilityProperty: true }))
        .filter(one => !reached.has(one)).map(named);
}"""
"""Keeps every element that had the focus, and those of them on which nobody could see it."""
_MOST_TABS = 400


async def tabbed(tab: Page) -> tuple[list[str], list[str]]:
    """Press Tab until the focus has been everywhere. Return the elements without a way to them, and those that do not show it."""
    await tab.evaluate(_WATCH)
    for _ in range(_MOST_TABS):
        await tab.keyboard.press("Tab")
        if not await tab.evaluate("() => note()"):
            break
    missed, unseen = await tab.evaluate("() => [missed(), unseen]")
    return list(missed), list(unseen)
