"""Looks at a page as a person does: whether it fits into the window, which language it has, and which words are on it."""

from __future__ import annotations

from typing import cast

from playwright.async_api import Page

_SIDEWAYS = """() => {
    const root = document.scrollingElement, width = root.clientWidth, found = [];
    if (root.scrollWidth > width) found.push(`the page is ${root.scrollWidth} px wide in a window of ${width} px`);
    const scrolls = element => {
        for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
            const fits = at.getBoundingClientRect().right <= width + 0.5;
            if (fits && /auto|scroll/.test(getComputedStyle(at).overflowX)) return true;
        }
        return false;
    };
    for (const element of document.body.querySelectorAll("*")) {
        const box = element.getBoundingClientRect();
        if (box.width && box.height && box.right > width + 0.5 && element.checkVisibility() && !scrolls(element))
            found.push(`<${element.localName} class="${element.getAttribute("class") ?? ""}"> ends at ${box.right} px: ` +
                element.textContent.trim().slice(0, 60));
    }
    return found.slice(0, 5);
}"""
_WORDS = """() => {
    const words = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const at = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
        if (text && !at.closest("script, style, template, pre, code, [translate=no]") && at.checkVisibility()) words.push(text);
    }
    for (const element of document.body.querySelectorAll("[placeholder], [title], [aria-label], [alt]"))
        if (!element.closest("[translate=no]"))
            for (const name of ["placeholder", "title", "aria-label", "alt"])
                if (element.getAttribute(name)?.trim()) words.push(element.getAttribute(name).trim());
    words.push(document.title);
    return words;
}"""


async def sideways(page: Page) -> list[str]:
    """Return what makes the page wider than the window, or is cut off at its right edge; empty if nothing does.

    An element inside one that scrolls by itself and fits is no trouble.
    """
    return cast(list[str], await page.evaluate(_SIDEWAYS))


async def language(page: Page) -> str:
    """Return the language that the page says it has."""
    return cast(str, await page.evaluate("() => document.documentElement.lang"))


async def words(page: Page) -> list[str]:
    """Return every text that a person can see or hear, data excepted.

    Data stands in `<code>`, in `<pre>`, or below `translate="no"` (HTML, section 3.2.6.3), which also keeps a translating
    browser away from it.
    """
    return cast(list[str], await page.evaluate(_WORDS))
