"""The blocks of a Slack message for the eye, and its text for notifications and screen readers.

The texts of a payload stand in `plain_text` and in rich text, where Slack looks for no markup; in the text of the message they
are escaped. Everything is cut to the lengths that Slack takes, because it refuses a longer message (docs.slack.dev, "Block Kit").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.sinks.text.language import Photo, Telling
from gateway.sinks.text.wording import Labels, filled

Block = dict[str, Any]

_HEADER = 150
_SECTION = 600
_ROW = 350
_OPEN = 75
_LINK = 3000
_CONTEXT = 300
_SIDE = 100
_REASON = 400
_GUIDANCE = 900
"""Characters of the guidance for one photo, as the two lengths above are for its side and its reason."""
_PHOTOS = 2000
"""Characters of all photos together. Beside the limits of single blocks, Slack refuses blocks of about 13,200 characters in all
(`msg_blocks_too_long`); no document of Slack mentions that."""
_MOST_PHOTOS = 20
_MRKDWN = 3000
_MOST_SECTIONS = 3
_HALF_ENTITY = re.compile(r"&(?!amp;|lt;|gt;)[a-z]{0,3}…$")


def whole(telling: Telling, labels: Labels) -> list[Block]:
    """Return the blocks of a message that stands alone or begins a thread."""
    names = labels.facts
    known = ((names["item"], telling.reference), (names["sr"], telling.short_sr), (names["when"], telling.when))
    rows = telling.facts if telling.notice else (*known, (names["reason"], telling.reason))
    blocks: list[Block] = [{"type": "header", "text": _plain(f"{telling.emoji} {telling.headline}", _HEADER, emoji=True)}]
    if telling.late:
        blocks.append({"type": "section", "text": _plain(telling.late, _SECTION)})
    if telling.advice:
        blocks.append({"type": "section", "text": _plain(telling.advice, _SECTION)})
    blocks += _rich(_rows(rows, labels), telling.photos, labels)
    return [*blocks, *_link(telling, labels), *_foot(telling, labels)]


def reply(telling: Telling, labels: Labels) -> list[Block]:
    """Return the blocks of a message below the first one of its thread, which names the item."""
    said = [_text(cut(f"{telling.emoji} {telling.headline}", _HEADER), bold=True)]
    if telling.late:
        said.append(_text(cut(f"\n{telling.late}", _SECTION)))
    if telling.advice:
        said.append(_text(cut(f"\n{telling.advice}", _SECTION)))
    rows = _rows(((labels.facts["reason"], telling.reason), (labels.facts["when"], telling.when)), labels)
    return [*_rich([*said, *([_text("\n")] if rows else []), *rows], telling.photos, labels), *_foot(telling, labels)]


def written(text: str, telling: Telling, labels: Labels, *, link: bool) -> list[Block]:
    """Return the text of an operator's template as blocks. Its markup counts, because the values in it are escaped."""
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": part, "verbatim": True}} for part in _sections(text)]
    return [*sections, *(_link(telling, labels) if link else []), *_foot(telling, labels)]


def whole_entities(text: str) -> str:
    """Remove half an escaped character before a cut."""
    return _HALF_ENTITY.sub("…", text)


def shortened(text: str, most: int) -> str:
    """Cut an escaped text to at most `most` characters, and never inside an escape."""
    return whole_entities(cut(text, most))


def cut(said: str, most: int) -> str:
    """Cut a text to at most `most` characters, as `units` counts them. A text that was cut ends in "…"."""
    if units(said) <= most:
        return said
    return said.encode("utf-16-le")[: 2 * (most - 1)].decode("utf-16-le", "ignore") + "…"


def units(said: str) -> int:
    """Return the length in UTF-16, where an emoji counts two. Slack does not document how it counts; this is the upper bound."""
    return len(said.encode("utf-16-le")) // 2


def _rich(said: list[Block], photos: Sequence[Photo], labels: Labels) -> list[Block]:
    elements: list[Block] = [{"type": "rich_text_section", "elements": said}] if said else []
    if photos:
        title = _text(f"\n{labels.words.photos}" if said else labels.words.photos, bold=True)
        elements.append({"type": "rich_text_section", "elements": [title]})
        items = [{"type": "rich_text_section", "elements": item} for item in _photos(photos, labels)]
        elements.append({"type": "rich_text_list", "style": "bullet", "elements": items})
    return [{"type": "rich_text", "elements": elements}] if elements else []


def _rows(rows: Sequence[tuple[str, str | None]], labels: Labels) -> list[Block]:
    """Return names and values, one line each, and leave out the rows without a value."""
    found: list[Block] = []
    for name, value in rows:
        if value:
            before = "\n" if found else ""
            found += [_text(f"{before}{name}{labels.words.separator}", bold=True), _text(cut(value, _ROW))]
    return found


def _photos(photos: Sequence[Photo], labels: Labels) -> Iterator[list[Block]]:
    """Yield the elements of one line per photo: its side, the reason, and what to do."""
    parts = [_parts(photo, labels) for photo in photos]
    kept = _number_that_fits([sum(map(units, texts)) for texts in parts[:_MOST_PHOTOS]], _PHOTOS)
    for side, reason, guidance in parts[:kept]:
        between = labels.words.separator if reason else ""
        line = [_text(f"{side}{between}", bold=True), *([_text(reason)] if reason else [])]
        yield [*line, _text(f" — {guidance}")] if guidance else line
    if kept < len(parts):
        yield [_text(filled(labels.words.more, {"count": str(len(parts) - kept)}))]


def _sections(text: str) -> list[str]:
    """Split a text at its lines into pieces that a section takes. The text after three sections is cut."""
    found = [""]
    for line in text.split("\n"):
        piece = shortened(line, _MRKDWN)
        if found[-1] and units(found[-1]) + 1 + units(piece) <= _MRKDWN:
            found[-1] += f"\n{piece}"
        elif piece.strip():
            found += [piece]
    return [piece for piece in found if piece.strip()][:_MOST_SECTIONS]


def _link(telling: Telling, labels: Labels) -> list[Block]:
    """Return a link to the item. It is not a button, because Slack shows a warning at each click on a button that no app
    acknowledges, and the gateway cannot (docs.slack.dev/reference/block-kit/block-elements/button-element: "url")."""
    if telling.link is None or units(telling.link) > _LINK:  # a link that is cut would lead elsewhere
        return []
    link = {"type": "link", "url": telling.link, "text": cut(labels.words.open, _OPEN)}
    return [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [link]}]}]


def _parts(photo: Photo, labels: Labels) -> tuple[str, str, str]:
    side = photo.side or labels.words.photo
    return cut(side, _SIDE), cut(photo.reason, _REASON), cut(photo.guidance, _GUIDANCE)


def _foot(telling: Telling, labels: Labels) -> list[Block]:
    """Return the id of the message, for `gateway show`, and who told it if no sender did. A notice names another message, and its
    own id is of no use."""
    if telling.notice:
        return []
    said = [f"{labels.facts['message']}{labels.words.separator}{telling.message_id}"]
    if telling.origin is not None:
        said.append(f"{labels.facts['origin']}{labels.words.separator}{telling.origin}")
    return [{"type": "context", "elements": [_plain(text, _CONTEXT) for text in said]}]


def _plain(said: str, most: int, *, emoji: bool = False) -> Block:
    return {"type": "plain_text", "text": cut(said, most), "emoji": emoji}


def _text(said: str, **style: bool) -> Block:
    return {"type": "text", "text": said, **({"style": style} if style else {})}


def _number_that_fits(sizes: Sequence[int], room: int) -> int:
    """Return how many of the sizes, from the first on, fit into the room together."""
    for number, size in enumerate(sizes):
        room -= size
        if room < 0:
            return number
    return len(sizes)
