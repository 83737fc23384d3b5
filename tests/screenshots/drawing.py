"""Draws a Slack message as HTML, roughly as Slack shows its blocks. An unknown block is an error, not a gap."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d1c1d; --dim: #616061; --line: #dddddd; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #1a1d21; --ink: #d1d2d3; --dim: #9a9b9e; --line: #414347; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); }
body { font: 15px/1.46 Lato, 'Noto Sans', 'Noto Sans CJK JP', sans-serif; }
.message { padding: 12px 16px; overflow-wrap: anywhere; white-space: pre-wrap; }
.message > * { margin: 0 0 6px; }
.who { font-weight: 900; }
.who small { background: var(--line); border-radius: 2px; padding: 0 3px; font-size: 10px; font-weight: 400; }
h1 { font-size: 18px; line-height: 1.33; font-weight: 900; }
ul { margin: 0; padding: 0 0 0 24px; }
.context, .notification { color: var(--dim); font-size: 12px; }
.notification { border-top: 1px dashed var(--line); padding-top: 6px; }
.reply { margin-left: 24px; border-left: 3px solid var(--line); }
a { color: #1264a3; }
"""


def draw(message: dict[str, Any], kind: str = "") -> str:
    """Return the HTML of a message. `kind` is a CSS class; `reply` is for a reply in a conversation."""
    blocks = "".join(_block(block) for block in message["blocks"])
    notification = f'<div class="notification">notification: {escape(message["text"])}</div>'
    who = '<div class="who">Legitmark gateway <small>APP</small></div>'
    return f'<div class="message {kind}">{who}{blocks}{notification}</div>'


def _block(block: dict[str, Any]) -> str:
    match block:
        case {"type": "header", "text": text}:
            return f"<h1>{_plain(text)}</h1>"
        case {"type": "section", "text": text}:
            return f"<div>{_plain(text)}</div>"
        case {"type": "context", "elements": elements}:
            return f'<div class="context">{"  ".join(map(_plain, elements))}</div>'
        case {"type": "rich_text", "elements": elements}:
            return f"<div>{''.join(map(_rich, elements))}</div>"
        case {"type": "divider"}:
            return "<hr>"
    raise ValueError(f"no drawing for the block {block}")


def _plain(text: dict[str, Any]) -> str:
    if text["type"] not in ("plain_text", "mrkdwn"):
        raise ValueError(f"no drawing for the text {text}")
    return escape(text["text"])


def _rich(element: dict[str, Any]) -> str:
    match element:
        case {"type": "rich_text_section", "elements": elements}:
            return f"<div>{''.join(map(_run, elements))}</div>"
        case {"type": "rich_text_list", "elements": elements}:
            return f"<ul>{''.join(f'<li>{_rich(inner)}</li>' for inner in elements)}</ul>"
    raise ValueError(f"no drawing for the rich text {element}")


def _run(run: dict[str, Any]) -> str:
    match run:
        case {"type": "text", "text": text}:
            said = escape(text)
        case {"type": "link", "url": url, "text": text}:
            said = f'<a href="{escape(url)}">{escape(text)}</a>'
        case _:
            raise ValueError(f"no drawing for the run {run}")
    for name, tag in (("bold", "b"), ("italic", "i"), ("strike", "s"), ("code", "code")):
        if run.get("style", {}).get(name):
            said = f"<{tag}>{said}</{tag}>"
    return said
